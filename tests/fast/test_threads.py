"""The pool of threads, and the CPU kernels on it: used for enough work, without effect on bits."""

import threading

import numpy as np
import pytest
import torch

import fast
from fast import threads
from fast.distances import edge_lengths


@pytest.fixture
def two_threads(set_threads):
    set_threads(2)


@pytest.fixture
def used(monkeypatch):
    """Return the numbers of threads that kernels ask for."""
    asked = []
    run = threads.run

    def spy(function, calls, num_threads):
        asked.append(num_threads)
        return run(function, calls, num_threads)

    monkeypatch.setattr(threads, "run", spy)
    return asked


@pytest.mark.parametrize("num_threads", [1, 2, 5])
def test_results_come_in_the_order_of_the_calls(num_threads):
    release = threading.Event()

    def call(number, is_last):
        if num_threads > 1 and not is_last:
            assert release.wait(timeout=60)  # so that the last call ends first
        release.set()
        return 10 * number

    calls = [(0, False), (1, True)]
    assert threads.run(call, calls, num_threads) == [0, 10]
    assert threads.run(call, [], num_threads) == []


@pytest.mark.parametrize("num_threads", [1, 2])
def test_the_first_exception_is_raised(num_threads):
    def call(number):
        if number > 1:
            raise ValueError(f"call {number}")

    with pytest.raises(ValueError, match="call 2"):
        threads.run(call, [(number,) for number in range(5)], num_threads)


@pytest.mark.usefixtures("two_threads")
def test_few_operations_stay_on_one_thread():
    assert threads.number_for(threads._MIN_OPERATIONS - 1) == 1
    assert threads.number_for(threads._MIN_OPERATIONS) == 2


def everything(n, make_cloud):
    """Return what the kernels give for three clouds of n points."""
    points = torch.tensor(np.stack([make_cloud("features", n, seed) for seed in range(3)]))
    indices, radii = fast.topology_preserving_sampling(points, n // 2)
    radius = fast.covering_radius(points[0], indices[0])
    pairs = points[..., :2].sort(dim=-1).values
    loss = fast.persistence_weighted_chamfer(pairs, pairs.flip(0))
    return fast.pairwise_distances(points), indices, radii, radius, loss


@pytest.mark.parametrize(("n", "expected"), [(20, 1), (400, 2)])
@pytest.mark.usefixtures("two_threads")
def test_small_work_stays_on_one_thread(make_cloud, used, n, expected):
    everything(n, make_cloud)
    assert len(used) == 5  # the loss asks twice
    by_call = [*used[:2], used[-1]]  # sampling, covering radius, distances
    assert by_call == [expected] * 3


@pytest.mark.usefixtures("two_threads")
def test_the_number_of_threads_changes_no_bit(make_cloud, monkeypatch):
    shared = everything(300, make_cloud)
    monkeypatch.setattr(threads, "_MIN_OPERATIONS", 0)
    split = everything(300, make_cloud)
    torch.set_num_threads(1)
    for alone, one, other in zip(everything(300, make_cloud), shared, split, strict=True):
        assert torch.equal(alone, one)
        assert torch.equal(alone, other)


@pytest.mark.usefixtures("two_threads")
def test_the_gradient_of_edge_lengths_has_the_same_bits_in_every_run():
    rng = torch.Generator().manual_seed(0)
    points = torch.randn(500, 64, generator=rng, requires_grad=True)
    edges = torch.randint(500, (20_000, 2), generator=rng)
    weights = torch.randn(20_000, generator=rng)

    def gradient():
        total = edge_lengths(points, edges) @ weights
        return torch.autograd.grad(total, points)[0].numpy().tobytes()

    assert len({gradient() for _ in range(10)}) == 1


def with_duplicates(dtype, channels, seed):
    """Return features (4, 3000, channels) after a ReLU, a fifth of the rows copies of others."""
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(4, 3000, channels, generator=rng, dtype=dtype).relu()
    features[:, :600] = features[:, torch.randint(3000, (600,), generator=rng)]
    return features


def topological(teacher, student):
    return fast.topological_loss(teacher, student, num_samples=256, normalisation="l2")


def topological_of_concatenated(teacher, student):
    offset = torch.tensor([2500, 6000, 8900, 12000])
    module = fast.TopologicalLoss(num_samples=256, sample_on="concat")
    return module(teacher.flatten(0, 1), student.flatten(0, 1), offset)


def saliency(teacher, student):
    offsets = [torch.tensor([2500, 6000, 8900, 12000]), torch.tensor([2000, 5000])]
    stages = [[part.flatten(0, 1), part.flatten(0, 1)[:5000] * 2] for part in (teacher, student)]
    gradients = [[features.detach().cos() for features in stage] for stage in stages]
    return fast.SaliencyLoss()(stages[0], gradients[0], stages[1], gradients[1], offsets)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("loss", [topological, topological_of_concatenated, saliency])
@pytest.mark.usefixtures("two_threads")
def test_value_and_gradient_of_a_loss_have_the_same_bits_in_every_run(loss, dtype):
    teacher, student = with_duplicates(dtype, 48, seed=0), with_duplicates(dtype, 32, seed=1)

    def bits():
        leaf = student.clone().requires_grad_()
        value = loss(teacher, leaf)
        (gradient,) = torch.autograd.grad(value, leaf)
        assert gradient.abs().max() > 0
        return value.detach().numpy().tobytes() + gradient.numpy().tobytes()

    on_two = {bits() for _ in range(6)}
    assert len(on_two) == 1
    torch.set_num_threads(1)
    assert on_two == {bits()}

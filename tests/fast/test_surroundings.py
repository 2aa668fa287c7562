"""fast/ inside a training program: pickling, copies, workers, autocast, and Ctrl-C."""

import copy
import pickle
import signal

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

import fast


def clouds(seed, num_points=60):
    rng = torch.Generator().manual_seed(seed)
    return torch.randn(2, num_points, 8, generator=rng).flatten(0, 1)


def module_loss(module):
    student = clouds(1).requires_grad_()
    value = module(clouds(0), student, torch.tensor([60, 120]))
    (gradient,) = torch.autograd.grad(value, student)
    return torch.cat([value.detach()[None], gradient.flatten()])


@pytest.mark.parametrize("sampling", ["farthest", "random"])
@pytest.mark.parametrize(
    "copied",
    [lambda module: pickle.loads(pickle.dumps(module)), copy.deepcopy],
    ids=["pickled", "deep-copied"],
)
def test_a_copied_loss_gives_the_same_and_goes_on_as_the_original(copied, sampling):
    module = fast.TopologicalLoss(num_samples=20, sampling=sampling)
    first = module_loss(module)  # counts a call
    other = copied(module)
    want, got = module_loss(module), module_loss(other)
    assert torch.equal(got, want)
    assert torch.equal(got, first) == (sampling == "farthest")


def test_a_pickled_diagram_is_the_same():
    diagrams = fast.rips_persistence_of_points(clouds(0))
    for diagram in diagrams:
        other = pickle.loads(pickle.dumps(diagram))
        assert torch.equal(other.pairs, diagram.pairs)
        assert torch.equal(other.death_simplices, diagram.death_simplices)
        assert len(other) == len(diagram)


class Diagrams(Dataset):
    """Computes diagrams where the items are made."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return fast.rips_persistence_of_points(clouds(index, 200))[1].pairs[0].sum(dim=0)


@pytest.mark.parametrize("context", ["fork", "spawn"])
def test_workers_compute_what_the_process_itself_computes(context, set_threads):
    set_threads(2)
    alone = list(DataLoader(Diagrams(), batch_size=2))  # starts the pool that a fork inherits
    loader = DataLoader(Diagrams(), batch_size=2, num_workers=1, multiprocessing_context=context)
    for got, want in zip(loader, alone, strict=True):
        assert torch.equal(got, want)


def test_autocast_changes_no_bit():
    module = fast.TopologicalLoss(num_samples=20)
    want = module_loss(module)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = module_loss(module)
    assert torch.equal(got, want)


@pytest.mark.parametrize("num_threads", [1, 2])
def test_ctrl_c_ends_a_long_call_and_the_next_one_is_right(num_threads, set_threads):
    points = clouds(0, 100)
    want = fast.rips_persistence_of_points(points)[1].pairs
    many = torch.randn(400, 100, 8, generator=torch.Generator().manual_seed(0))

    def interrupt(number, frame):
        raise KeyboardInterrupt

    handler = signal.signal(signal.SIGALRM, interrupt)
    set_threads(num_threads)

    def compute_for_long():
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        for _ in range(100):
            fast.rips_persistence_of_points(many)

    try:
        with pytest.raises((KeyboardInterrupt, SystemError)) as caught:
            compute_for_long()
        # In the moment in which numba unpickles a constant it makes a SystemError of the signal.
        error = caught.value
        while not isinstance(error, KeyboardInterrupt):
            assert isinstance(error, SystemError)
            error = error.__cause__ or error.__context__
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert torch.equal(fast.rips_persistence_of_points(points)[1].pairs, want)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)


@pytest.mark.parametrize("max_dim", [0, 1])
def test_births_and_deaths_pass_gradcheck(max_dim):
    points = torch.randn(
        9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4), requires_grad=True
    )

    def pairs(points):
        return [diagram.pairs for diagram in fast.rips_persistence_of_points(points, max_dim)]

    assert torch.autograd.gradcheck(lambda points: torch.cat(pairs(points), dim=1), points)
    assert torch.autograd.gradgradcheck(lambda points: torch.cat(pairs(points), dim=1), points)

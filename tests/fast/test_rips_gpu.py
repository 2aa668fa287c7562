"""The CUDA kernels of Rips persistence: on a GPU, and in numba's simulator at small sizes."""

import dataclasses
import math
import warnings

import numpy as np
import pytest
import torch

import fast
import reference
from fast.kernels import launch_gpu
from tests.fast.test_diagram import FIELDS
from tests.fast.test_rips import tied_matrix
from tests.reference.checks import assert_same_diagram


def assert_equals_the_definition(kernels, matrices, max_dim=1, threshold=math.inf, **options):
    """Compare a batch of numpy matrices, cut to `sizes`, with the definition."""
    sizes = options.get("sizes") or [matrices.shape[1]] * len(matrices)
    dtype = options.pop("dtype", torch.float64)
    got = fast.rips_persistence(
        torch.tensor(matrices, dtype=dtype, device=kernels.device),
        max_dim,
        threshold,
        backend=kernels.backend,
        **options,
    )
    for cloud, (matrix, size) in enumerate(zip(matrices, sizes, strict=True)):
        want = reference.rips_persistence(matrix[:size, :size], max_dim, threshold)
        for diagram, expected in zip(got, want, strict=True):
            assert diagram.deaths.device.type == kernels.device
            assert_same_diagram(diagram.cloud(cloud), expected)
    return got


@pytest.mark.parametrize(
    ("largest", "dtype"),
    [(1, torch.float64), (3, torch.float32), (3, torch.float64), (8, torch.float64)],
    ids=str,
)
def test_ties_are_broken_as_the_definition_breaks_them(gpu_kernels, dtype, largest):
    matrices = np.stack([tied_matrix(11, largest, seed) for seed in range(2)])
    assert_equals_the_definition(gpu_kernels, matrices, dtype=dtype)


def test_it_equals_the_definition_where_loops_abound(gpu_kernels):
    matrices = tied_matrix(16, 4, 0)[None]
    _, loops = assert_equals_the_definition(gpu_kernels, matrices)
    assert loops.counts.min() > 3


@pytest.mark.parametrize("family", ["cube", "features", "circle"])
def test_it_equals_the_definition_on_clouds(gpu_kernels, make_cloud, family):
    matrices = reference.pairwise_distances(make_cloud(family, 14))[None]
    assert_equals_the_definition(gpu_kernels, matrices)


@pytest.mark.parametrize(("threshold", "max_dim"), [(0.0, 1), (2.0, 0), (2.0, 1), (3.5, 1)])
def test_a_threshold_ends_the_filtration(gpu_kernels, threshold, max_dim):
    matrices = np.stack([tied_matrix(9, 5, seed) for seed in range(2)])
    matrices[0][matrices[0] == 1] = 0.0  # two points in one place
    assert_equals_the_definition(gpu_kernels, matrices, max_dim, threshold)


def test_infinite_entries_are_never_joined(gpu_kernels):
    matrices = np.stack([tied_matrix(9, 6, seed) for seed in range(2)])
    matrices[matrices > 3] = np.inf
    components, _ = assert_equals_the_definition(gpu_kernels, matrices)
    assert components.num_essential.max() > 1


def test_sizes_cut_the_padding_off_unread(gpu_kernels):
    sizes = [0, 1, 2, 5, 9]
    matrices = np.full((5, 9, 9), np.nan)
    for index, size in enumerate(sizes):
        matrices[index, :size, :size] = tied_matrix(size, 4, index)
    got = assert_equals_the_definition(gpu_kernels, matrices, sizes=sizes)
    for diagram in got:
        assert (diagram.death_simplices[~diagram.mask] == -1).all()
        assert diagram.deaths.isfinite().all()


@pytest.mark.parametrize("n", [0, 1, 2])
@pytest.mark.parametrize("max_dim", [0, 1])
def test_clouds_too_small_for_a_loop(gpu_kernels, n, max_dim):
    assert_equals_the_definition(gpu_kernels, tied_matrix(n, 3, 0)[None], max_dim)


def test_a_negative_zero_is_a_zero(gpu_kernels):
    matrix = tied_matrix(8, 3, seed=0)
    matrix[0, 1] = matrix[1, 0] = 0.0
    assert_equals_the_definition(gpu_kernels, np.where(matrix == 0, -0.0, matrix)[None])


@pytest.mark.parametrize(("lanes", "panel"), [(1, 2), (2, 5)])
def test_how_the_elimination_is_split_does_not_matter(gpu_kernels, monkeypatch, lanes, panel):
    if gpu_kernels.backend != "cuda-simulator":
        pytest.skip("a compiled kernel keeps the constants that it was compiled with")
    pairing_gpu = pytest.importorskip("fast.kernels.pairing.pairing_gpu")
    monkeypatch.setattr(pairing_gpu, "_LANES", lanes)
    monkeypatch.setattr(pairing_gpu, "_PANEL", panel)
    _, loops = assert_equals_the_definition(gpu_kernels, tied_matrix(14, 5, seed=1)[None])
    assert loops.counts.item() > 5


@pytest.mark.parametrize("short_of", ["births", "relations", "pending"])
def test_too_little_room_is_made_more(gpu_kernels, monkeypatch, short_of):
    rips_gpu = pytest.importorskip("fast.kernels.rips.rips_gpu")
    tight = dataclasses.replace(rips_gpu._first_room(12), **{short_of: 1})
    monkeypatch.setattr(rips_gpu, "_first_room", lambda n: tight)
    assert_equals_the_definition(gpu_kernels, tied_matrix(12, 5, seed=1)[None])


@pytest.fixture
def by_lists(monkeypatch):
    """Let rows of bits have no memory, so that the elimination is one of lists."""
    rips_gpu = pytest.importorskip("fast.kernels.rips.rips_gpu")
    monkeypatch.setattr(rips_gpu, "_LEAST_ROW_BYTES", 0)
    monkeypatch.setattr(rips_gpu, "_ROWS_PER_MATRIX", 0)
    monkeypatch.delattr(rips_gpu, "_Pairing")  # it would be an error to ask for rows
    return pytest.importorskip("fast.kernels.pairing.list_pairing_gpu")


@pytest.mark.parametrize("largest", [2, 5])
def test_lists_in_place_of_rows_of_bits_give_the_same(gpu_kernels, by_lists, largest):
    sizes = [11, 2, 0, 10]
    matrices = np.stack([tied_matrix(11, largest, seed) for seed in range(4)])
    _, loops = assert_equals_the_definition(gpu_kernels, matrices, sizes=sizes)
    assert loops.counts.sum() > 0


def test_two_opposite_sides_have_more_births_than_a_word_holds(gpu_kernels, by_lists, monkeypatch):
    monkeypatch.setattr(by_lists, "_FEWEST_ENTRIES", 1)
    side = np.arange(18) % 2
    lengths = np.where(side[:, None] == side, 2.0, 1.0)
    np.fill_diagonal(lengths, 0.0)
    _, loops = assert_equals_the_definition(gpu_kernels, lengths[None])
    assert loops.counts.item() == 64


@pytest.mark.gpu
def test_1024_points_on_two_sides_take_little_memory(cuda):
    """As rows of bits their births would take 17 GB."""
    side = torch.arange(1024) % 2
    lengths = torch.where(side[:, None] == side, 2.0, 1.0).fill_diagonal_(0)[None].to(cuda)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    _, loops = fast.rips_persistence(lengths)
    assert loops.counts.item() == 511**2
    assert torch.cuda.max_memory_allocated() - before < 1 << 29


@pytest.mark.parametrize(
    ("i", "j", "value"),
    [(1, 2, np.nan), (3, 0, -1.0), (3, 0, -np.inf), (2, 2, 1.0), (0, 4, 9.0)],
    ids=["nan", "negative", "minus-inf", "diagonal", "asymmetric"],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_what_is_refused_is_refused_in_the_same_words(gpu_kernels, i, j, value, dtype):
    matrices = torch.tensor(np.stack([tied_matrix(5, 3, seed) for seed in range(3)]), dtype=dtype)
    matrices[1, i, j] = value
    with pytest.raises(ValueError, match="rips_persistence: ") as on_cpu:
        fast.rips_persistence(matrices)
    with pytest.raises(ValueError, match="rips_persistence: ") as on_gpu:
        fast.rips_persistence(matrices.to(gpu_kernels.device), backend=gpu_kernels.backend)
    assert str(on_gpu.value) == str(on_cpu.value)


def test_the_gradient_is_that_of_the_cpu(gpu_kernels, make_cloud):
    points = torch.tensor(np.stack([make_cloud("circle", 14, seed) for seed in range(2)]))
    gradients = []
    for device, backend in (("cpu", None), (gpu_kernels.device, gpu_kernels.backend)):
        distances = fast.pairwise_distances(points).to(device).requires_grad_()
        diagrams = fast.rips_persistence(distances, backend=backend)
        loss = sum((d.deaths.square() - d.births * d.deaths).sum() for d in diagrams)
        (first,) = torch.autograd.grad(loss, distances, create_graph=True)
        (second,) = torch.autograd.grad(first.square().sum(), distances)
        assert first.device.type == second.device.type == device
        gradients.append((first.detach().cpu(), second.cpu()))
    for on_cpu, on_gpu in zip(*gradients, strict=True):
        assert on_cpu.abs().max() > 0
        torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-14, atol=0)


# What the comparison must catch.


def _nothing_is_flagged(lunes_gpu):
    def launch(kernel, *arguments):
        if kernel is not lunes_gpu.flag_uncertain_lunes:
            launch_gpu.launch(kernel, *arguments)

    return launch


def _no_merges(lunes_gpu):
    def launch(kernel, *arguments):
        if kernel is not pytest.importorskip("fast.kernels.pairing.pairing_gpu").mark_tree:
            launch_gpu.launch(kernel, *arguments)

    return launch


@pytest.mark.parametrize("mutant", [_nothing_is_flagged, _no_merges])
def test_a_kernel_left_out_is_caught(gpu_kernels, monkeypatch, mutant):
    rips_gpu = pytest.importorskip("fast.kernels.rips.rips_gpu")
    monkeypatch.setattr(rips_gpu, "launch", mutant(rips_gpu.lunes_gpu))
    with pytest.raises(AssertionError):
        assert_equals_the_definition(gpu_kernels, tied_matrix(12, 5, seed=1)[None])


def test_a_round_left_out_is_caught(gpu_kernels, monkeypatch):
    monkeypatch.setattr(pytest.importorskip("fast.kernels.rips.rips_gpu"), "_ROUNDS", (0, 5, 35))
    with pytest.raises(AssertionError):
        assert_equals_the_definition(gpu_kernels, tied_matrix(12, 5, seed=1)[None])


# Full size, on a GPU alone.


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("family", ["cube", "gaussian", "features", "circle", "grid"])
def test_at_the_paper_s_size_it_equals_the_cpu(cuda, make_cloud, family, dtype):
    clouds = [make_cloud(family, n, seed=n) for n in (1024, 1000, 513)]
    points = torch.nn.utils.rnn.pad_sequence([torch.tensor(cloud) for cloud in clouds], True)
    distances = fast.pairwise_distances(points.to(dtype))
    sizes = [len(cloud) for cloud in clouds]
    want = fast.rips_persistence(distances, sizes=sizes)
    runs = [fast.rips_persistence(distances.to(cuda), sizes=sizes) for _ in range(3)]
    for got in runs:
        for diagram, expected in zip(got, want, strict=True):
            for field in FIELDS:
                assert torch.equal(getattr(diagram, field).cpu(), getattr(expected, field)), field


@pytest.mark.gpu
def test_at_4096_points_it_equals_the_cpu(cuda, make_cloud):
    distances = fast.pairwise_distances(torch.tensor(make_cloud("features", 4096)).float())
    want = fast.rips_persistence(distances)
    for diagram, expected in zip(fast.rips_persistence(distances.to(cuda)), want, strict=True):
        assert_same_diagram(diagram.cloud(0), expected.cloud(0))


@pytest.mark.gpu
def test_the_same_input_gives_the_same_gradient_bits(cuda, make_cloud):
    distances = fast.pairwise_distances(torch.tensor(make_cloud("features", 1024)).float())
    gradients = []
    for _ in range(3):
        leaf = distances.to(cuda).requires_grad_()
        sum(d.pairs.square().sum() for d in fast.rips_persistence(leaf)).backward()
        gradients.append(leaf.grad)
    assert torch.equal(gradients[0], gradients[1])
    assert torch.equal(gradients[0], gradients[2])


@pytest.mark.gpu
def test_it_runs_on_the_current_stream(cuda, make_cloud):
    points = torch.tensor(make_cloud("features", 256)).float()
    distances = fast.pairwise_distances(points)
    want = fast.rips_persistence(distances)
    with torch.cuda.stream(torch.cuda.Stream()):
        on_gpu = torch.empty_like(distances, device=cuda)
        torch.cuda._sleep(100_000_000)  # a kernel on another stream would read what is not there
        on_gpu.copy_(distances, non_blocking=True)
        got = fast.rips_persistence(on_gpu)
    torch.cuda.synchronize()
    for diagram, expected in zip(got, want, strict=True):
        assert_same_diagram(diagram.cloud(0), expected.cloud(0))


@pytest.mark.gpu
def test_the_host_waits_once(cuda, make_cloud):
    points = torch.tensor(make_cloud("features", 256)).float()
    distances = fast.pairwise_distances(points).to(cuda).requires_grad_()
    fast.rips_persistence(distances)  # compiles
    torch.cuda.synchronize()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            sum(d.pairs.sum() for d in fast.rips_persistence(distances)).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len([one for one in caught if "called a synchroniz" in str(one.message)]) == 1

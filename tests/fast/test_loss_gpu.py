"""The CUDA kernels of sampling, distances and nearest pairs: the CPU's results to the last bit.

On a GPU, and in numba's simulator at small sizes.
"""

import itertools

import numpy as np
import pytest
import torch

import fast
from fast import dispatch, sampling
from fast.kernels import launch_gpu

DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def on_both(operation, kernels, *arguments):
    """Return what the CPU's launcher and the GPU's give, both as lists of CPU tensors."""
    on_cpu = dispatch.kernel(operation, torch.device("cpu"))(*arguments)
    launcher = dispatch.kernel(operation, torch.device(kernels.device), kernels.backend)
    on_gpu = launcher(*(_moved(argument, kernels.device) for argument in arguments))
    for tensor in _flat(on_gpu):
        assert tensor.device.type == kernels.device
    return _flat(on_cpu), [tensor.cpu() for tensor in _flat(on_gpu)]


def _moved(argument, device):
    if isinstance(argument, list):
        return [_moved(each, device) for each in argument]
    return argument.to(device) if isinstance(argument, torch.Tensor) else argument


def _flat(result):
    return [result] if isinstance(result, torch.Tensor) else list(itertools.chain(*result))


def assert_same_bits(on_cpu, on_gpu):
    for expected, got in zip(on_cpu, on_gpu, strict=True):
        assert got.dtype == expected.dtype
        assert torch.equal(got, expected)


def lattice(n, channels, side, seed, dtype):
    """Return cells of a small lattice: ties and duplicates, exact in float32."""
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.integers(0, side, size=(n, channels)), dtype=dtype)


def tiles_of(monkeypatch, size):
    """Let a tile have few points, so that small clouds have many tiles."""
    monkeypatch.setattr(pytest.importorskip("fast.kernels.sampling.sampling_gpu"), "_TILE", size)


@DTYPES
@pytest.mark.parametrize("num_samples", [8, 10, 12])
def test_points_of_any_magnitude_are_told_apart(gpu_kernels, dtype, num_samples):
    large, tiny = (1e20, 1e-17) if dtype == torch.float32 else (1e140, 1e-160)
    generator = torch.Generator().manual_seed(0)
    points = torch.randn(12, 3, generator=generator, dtype=torch.float64)
    points[:8] *= large
    points[8:] *= tiny
    points[11] = points[9]
    points = points.to(dtype)
    on_cpu, on_gpu = on_both(
        "topology_preserving_sampling", gpu_kernels, [points[:8], points], [5, num_samples], 0
    )
    assert_same_bits(on_cpu, on_gpu)
    assert (on_cpu[1] >= 0).sum() == min(num_samples, 11)
    radii = on_both("covering_radius", gpu_kernels, points, points[:num_samples])
    assert_same_bits(*radii)


@DTYPES
@pytest.mark.parametrize("tile", [5, 7, 128])
@pytest.mark.parametrize("seed", range(2))
def test_clouds_of_any_sizes_are_sampled_as_on_the_cpu(gpu_kernels, monkeypatch, dtype, tile, seed):
    tiles_of(monkeypatch, tile)
    rng = np.random.default_rng(seed)
    clouds = [torch.tensor(rng.normal(size=(n, 6))).to(dtype) for n in (1, 31, 4, 17)]
    clouds += [lattice(33, 2, 4, seed, dtype).repeat(1, 3)]
    counts = [1, 20, 4, 9, 30]
    assert_same_bits(*on_both("topology_preserving_sampling", gpu_kernels, clouds, counts, 0))


@pytest.mark.parametrize("side", [1, 2, 5])
def test_ties_go_to_the_lowest_index_and_duplicates_end_a_cloud(gpu_kernels, monkeypatch, side):
    tiles_of(monkeypatch, 6)
    clouds = [lattice(n, 2, side, n, torch.float32) for n in (13, 40)]
    on_cpu, on_gpu = on_both("topology_preserving_sampling", gpu_kernels, clouds, [13, 24], 3)
    assert_same_bits(on_cpu, on_gpu)
    if side == 1:
        assert on_gpu[0].tolist() == [3] + [-1] * 12


def test_points_without_channels_are_all_in_one_place(gpu_kernels):
    clouds = [torch.zeros(5, 0)]
    assert_same_bits(*on_both("topology_preserving_sampling", gpu_kernels, clouds, [3], 1))


def test_the_public_function_takes_the_backend(gpu_kernels, make_cloud):
    points = torch.tensor(np.stack([make_cloud("circle", 20, seed) for seed in range(2)]))
    want = fast.topology_preserving_sampling(points, 7, 2)
    got = fast.topology_preserving_sampling(
        points.to(gpu_kernels.device), 7, 2, backend=gpu_kernels.backend
    )
    assert_same_bits(want, [each.cpu() for each in got])
    radius = fast.covering_radius(
        points[0].to(gpu_kernels.device), got[0][0], backend=gpu_kernels.backend
    )
    assert radius.item() == got[1][0, -1].item()


@DTYPES
@pytest.mark.parametrize("num_samples", [1, 4, 6])
def test_the_covering_radius_is_the_cpus(gpu_kernels, make_cloud, dtype, num_samples):
    points = torch.tensor(make_cloud("features", 21)).to(dtype)[:, :9]
    assert_same_bits(*on_both("covering_radius", gpu_kernels, points, points[:num_samples].clone()))


@DTYPES
def test_the_radii_of_all_clouds_take_one_launch(gpu_kernels, make_cloud, monkeypatch, dtype):
    module, started = pytest.importorskip("fast.kernels.sampling.sampling_gpu"), []

    def launch(kernel, *arguments):
        started.append(kernel)
        launch_gpu.launch(kernel, *arguments)

    clouds = [torch.tensor(make_cloud("features", n)).to(dtype)[:, :9] for n in (21, 1, 8)]
    indices = [torch.arange(count) for count in (4, 1, 7)]
    want = [fast.covering_radius(*each) for each in zip(clouds, indices, strict=True)]
    assert torch.equal(sampling.covering_radii(clouds, indices, None), torch.stack(want))
    monkeypatch.setattr(module, "launch", launch)
    moved = [_moved(each, gpu_kernels.device) for each in (clouds, indices)]
    got = sampling.covering_radii(*moved, gpu_kernels.backend)
    assert torch.equal(got.cpu(), torch.stack(want))
    assert started == [module._cover]


@DTYPES
@pytest.mark.parametrize("shape", [(1, 1, 3), (2, 11, 7), (3, 6, 0), (0, 4, 2), (2, 0, 2)])
def test_distances_are_the_cpus_to_the_last_bit(gpu_kernels, dtype, shape):
    points = torch.tensor(np.random.default_rng(0).normal(size=shape)).to(dtype)
    on_cpu, on_gpu = on_both("pairwise_distances", gpu_kernels, points)
    assert_same_bits(on_cpu, on_gpu)
    assert torch.equal(on_gpu[0], on_gpu[0].mT)


@DTYPES
@pytest.mark.filterwarnings("ignore:.*overflow encountered")  # of numpy, in the simulator
@pytest.mark.parametrize("scale", [2.0**-120, 1e-30, 3e18, 1e30])
def test_distances_radii_and_lengths_of_any_size_are_the_cpus(gpu_kernels, dtype, scale):
    points = torch.tensor(np.random.default_rng(0).normal(size=(1, 12, 3))).to(dtype)
    points[0, 1:3] = points[0, 0]
    points[0, 4:7] *= scale
    for operation, arguments in (
        ("pairwise_distances", (points,)),
        ("row_lengths", (points[0],)),
        ("covering_radius", (points[0], points[0, 5:6].clone())),
    ):
        assert_same_bits(*on_both(operation, gpu_kernels, *arguments))
    assert_same_bits(*on_both("topology_preserving_sampling", gpu_kernels, [points[0]], [12], 0))


@DTYPES
@pytest.mark.parametrize("seed", range(3))
def test_the_farthest_pair_and_the_means_are_the_cpus(gpu_kernels, dtype, seed):
    points = lattice(13, 2, 3, seed, dtype)
    for operation in ("farthest_pair", "column_means"):
        on_cpu = dispatch.kernel(operation, torch.device("cpu"))(points)
        launcher = dispatch.kernel(operation, torch.device(gpu_kernels.device), gpu_kernels.backend)
        on_gpu = launcher(points.to(gpu_kernels.device))
        for expected, got in zip(on_cpu, on_gpu, strict=True):
            assert torch.equal(got.cpu(), expected)


@DTYPES
@pytest.mark.parametrize("sizes", [(9, 14), (1, 1), (3, 0), (0, 3)], ids=str)
def test_nearest_pairs_are_the_cpus_ties_and_masks_included(gpu_kernels, dtype, sizes):
    rng = np.random.default_rng(0)
    pairs, others = (
        torch.tensor(rng.integers(0, 4, size=(3, size, 2)), dtype=dtype) for size in sizes
    )
    mask = torch.tensor(rng.random((3, sizes[1])) < 0.6)
    mask[1] = False
    assert_same_bits(*on_both("persistence_weighted_chamfer", gpu_kernels, pairs, others, mask))


def _sampled_along_a_line(gpu_kernels, num_samples):
    points = torch.tensor(np.sort(np.random.default_rng(0).random(120)))
    cloud = torch.stack([torch.cos(5 * points), torch.sin(5 * points)], dim=1)
    return on_both("topology_preserving_sampling", gpu_kernels, [cloud], [num_samples], 0)


def test_arrays_are_converted_once_and_not_in_each_round(gpu_kernels, monkeypatch):
    tiles_of(monkeypatch, 10)
    name = "_host_array" if gpu_kernels.backend == "cuda-simulator" else "_device_array"
    convert, counts = getattr(launch_gpu, name), []
    for num_samples in (3, 60):
        counts.append(0)

        def counted(argument):
            counts[-1] += 1
            return convert(argument)

        monkeypatch.setattr(launch_gpu, name, counted)
        assert_same_bits(*_sampled_along_a_line(gpu_kernels, num_samples))
    assert counts[0] == counts[1] > 0


def test_neighbors_lie_in_different_tiles_so_that_there_are_fewer_rounds(gpu_kernels, monkeypatch):
    if gpu_kernels.backend != "cuda-simulator":
        pytest.skip("a compiled kernel keeps the constants that it was compiled with")
    module = pytest.importorskip("fast.kernels.sampling.sampling_gpu")
    tiles_of(monkeypatch, 10)
    monkeypatch.setattr(module, "_CANDIDATES", 2)
    rows = module._rows_of_tiles([7, 1, 4], [3, 1, 2], torch.device("cpu")).tolist()
    assert rows == [0, 3, 6, 1, 4, 2, 5, 7, 8, 10, 9, 11]

    rounds = []

    def prepare(kernel, *arguments):
        run = launch_gpu.prepare(kernel, *arguments)

        def counted():
            rounds[-1] += kernel is module._update
            run()

        return counted

    monkeypatch.setattr(module, "prepare", prepare)
    for order in (module._rows_of_tiles, lambda sizes, *_: torch.arange(sum(sizes))):
        monkeypatch.setattr(module, "_rows_of_tiles", order)
        rounds.append(0)
        assert_same_bits(*_sampled_along_a_line(gpu_kernels, 40))
    assert 1 < rounds[0] < rounds[1]


# What the comparison must catch.


def test_a_candidate_that_may_not_be_the_farthest_is_caught(gpu_kernels, monkeypatch):
    """Bounds that are not looked at let a round pick on and on among its candidates."""
    module = pytest.importorskip("fast.kernels.sampling.sampling_gpu")

    def prepare(kernel, *arguments):
        run = launch_gpu.prepare(kernel, *arguments)

        def without_bounds():
            if kernel is module._pick:
                arguments[-3].fill_(-1)
            run()

        return without_bounds

    tiles_of(monkeypatch, 40)
    clouds = [torch.tensor(np.random.default_rng(0).normal(size=(40, 2)))]
    on_cpu, on_gpu = on_both("topology_preserving_sampling", gpu_kernels, clouds, [12], 0)
    assert_same_bits(on_cpu, on_gpu)
    monkeypatch.setattr(module, "prepare", prepare)
    on_cpu, on_gpu = on_both("topology_preserving_sampling", gpu_kernels, clouds, [12], 0)
    with pytest.raises(AssertionError):
        assert_same_bits(on_cpu, on_gpu)


def test_a_loop_that_gets_nowhere_ends_with_an_error(gpu_kernels, monkeypatch):
    module = pytest.importorskip("fast.kernels.sampling.sampling_gpu")

    def prepare(kernel, *arguments):
        run = launch_gpu.prepare(kernel, *arguments)
        return run if kernel is not module._pick else lambda: None

    monkeypatch.setattr(module, "prepare", prepare)
    points = torch.rand(9, 2, device=gpu_kernels.device)
    with pytest.raises(RuntimeError, match="no point is farthest; look for NaN"):
        fast.topology_preserving_sampling(points, 5, backend=gpu_kernels.backend)


# Full size, on a GPU alone.


@pytest.mark.gpu
@DTYPES
@pytest.mark.parametrize("family", ["cube", "gaussian", "features", "grid"])
def test_at_full_size_sampling_equals_the_cpu(cuda, make_cloud, family, dtype):
    sizes = [30_000, 12_345, 700, 1]
    clouds = [torch.tensor(make_cloud(family, n, seed=n)).to(dtype) for n in sizes]
    counts = [1024, 1024, 700, 1]
    want = dispatch.kernel("topology_preserving_sampling", torch.device("cpu"))(clouds, counts, 0)
    launcher = dispatch.kernel("topology_preserving_sampling", torch.device("cuda"))
    on_gpu = [cloud.to(cuda) for cloud in clouds]
    for _ in range(2):
        got = launcher(on_gpu, counts, 0)
        assert_same_bits(_flat(want), [each.cpu() for each in _flat(got)])
    radius = fast.covering_radius(on_gpu[0], got[0][0][got[0][0] >= 0])
    assert radius.item() == want[1][0][-1].item()


@pytest.mark.gpu
def test_120_000_points_are_sampled_as_on_the_cpu(cuda, make_cloud):
    points = torch.tensor(make_cloud("features", 120_000)).float()
    want = fast.topology_preserving_sampling(points, 1024)
    got = fast.topology_preserving_sampling(points.to(cuda), 1024)
    assert_same_bits(want, [each.cpu() for each in got])


@pytest.mark.gpu
@DTYPES
def test_at_full_size_distances_and_nearest_pairs_equal_the_cpu(cuda, make_cloud, dtype):
    clouds = torch.tensor(np.stack([make_cloud("features", 1024, s) for s in range(4)])).to(dtype)
    want = fast.pairwise_distances(clouds)
    assert torch.equal(fast.pairwise_distances(clouds.to(cuda)).cpu(), want)
    teacher, student = (each[..., :2].contiguous() for each in (clouds, clouds.flip(0)))
    mask = torch.rand(4, 1024) < 0.9
    want = dispatch.kernel("persistence_weighted_chamfer", torch.device("cpu"))(
        teacher, student, mask
    )
    got = dispatch.kernel("persistence_weighted_chamfer", torch.device("cuda"))(
        teacher.to(cuda), student.to(cuda), mask.to(cuda)
    )
    assert torch.equal(got.cpu(), want)


@pytest.mark.gpu
@pytest.mark.parametrize("sampling", ["random", "mixed"])
def test_drawn_points_are_the_cpus(cuda, make_cloud, sampling):
    points = torch.tensor(make_cloud("features", 30_000)).float()
    got = [
        fast.sample_points(
            points.to(device), 1024, sampling=sampling, generator=torch.Generator().manual_seed(1)
        ).cpu()
        for device in ("cpu", cuda)
    ]
    assert torch.equal(*got)


@pytest.mark.gpu
@pytest.mark.parametrize("loss", ["pwcd", "sinkhorn", "edges", "wasserstein"])
def test_the_whole_loss_and_its_gradient_are_the_cpus(cuda, make_cloud, loss):
    sizes = [30_000, 28_000, 900]
    teacher = torch.cat([torch.tensor(make_cloud("features", n, n)) for n in sizes]).float()
    student = torch.cat([torch.tensor(make_cloud("features", n, n + 1)) for n in sizes]).float()
    offset = torch.tensor(np.cumsum(sizes))
    # Normalising would round differently, and exchange picks that are almost equally far.
    weights = (1.0, 0.0) if loss == "wasserstein" else (1.0, 1.0)
    module = fast.TopologicalLoss(
        num_samples=1024, normalisation="none", loss=loss, dim_weights=weights
    )
    results = []
    for device in ("cpu", cuda):
        leaf = student.to(device).requires_grad_()
        value = module(teacher.to(device), leaf, offset.to(device))
        value.backward()
        results.append((value.detach().cpu(), leaf.grad.cpu()))
    torch.testing.assert_close(results[1][0], results[0][0], rtol=1e-5, atol=0)
    off = (results[1][1] - results[0][1]).norm() / results[0][1].norm()
    assert off < 1e-4


@pytest.mark.gpu
def test_nothing_but_sizes_comes_to_the_host(cuda, make_cloud):
    points = torch.tensor(make_cloud("features", 3000)).float().to(cuda)
    pairs = torch.rand(2, 50, 2, device=cuda)
    mask = torch.ones(2, 50, dtype=torch.bool, device=cuda)
    calls = torch.zeros((), dtype=torch.int64, device=cuda)
    matrices = [fast.pairwise_distances(each) for each in points[:100].view(2, 50, -1)]
    components = [fast.rips_persistence(each)[0] for each in matrices]
    for _ in range(2):  # the first call compiles
        torch.cuda.synchronize()
        try:
            torch.cuda.set_sync_debug_mode("error")
            fast.pairwise_distances(points)
            fast.covering_radius(points, torch.arange(9, device=cuda))
            fast.persistence_weighted_chamfer(pairs, pairs + 0.1, teacher_mask=mask)
            fast.sorted_wasserstein(pairs[..., 0], pairs[..., 1], teacher_mask=mask)
            fast.normalise(points, "rms")
            sampling.draw_points(sampling.key_of_call(1, calls), [3000], [1000])
            fast.critical_edge_matching(*components, *matrices)
        finally:
            torch.cuda.set_sync_debug_mode("default")

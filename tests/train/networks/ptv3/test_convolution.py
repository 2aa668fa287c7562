"""The sparse convolution, in all its forms, against a dense one; its backward by differences."""

from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from train.core.errors import UserError
from train.networks.ptv3 import convolution, convolution_cpu, convolution_spconv
from train.networks.ptv3.conv_backends import make_convolution
from train.networks.ptv3.convolution import ConvolutionWeights, SubmanifoldConv3d
from train.networks.ptv3.convolution_spconv import spconv_sites
from train.networks.ptv3.neighbors import neighbor_table

SIDE = 6


@dataclass(frozen=True)
class Form:
    """A form of the convolution and what it reads neighbors from."""

    name: str

    def convolution(self, *shape: int, bias: bool = True) -> ConvolutionWeights:
        return make_convolution(self.name, *shape, bias=bias).double()

    def neighbors(self, grid: Tensor, cloud: Tensor, kernel_size: int):
        if self.name == "torch":
            return neighbor_table(grid, cloud, kernel_size)
        return spconv_sites(grid, cloud, int(cloud.max()) + 1)


@pytest.fixture(params=[False, True], ids=["compiled", "gathered"])
def both_ways(request, as_on_a_gpu):
    """Our own convolution as it runs on a CPU, and as on a GPU."""
    if request.param:
        as_on_a_gpu()


@pytest.fixture
def on_threads():
    """Return a function that lets torch and our loops run on so many threads from then on."""
    yield torch.set_num_threads
    torch.set_num_threads(1)


@pytest.fixture(params=["compiled", "compiled-by-7-rows", "gathered", "gathered-by-rows", "spconv"])
def form(request, monkeypatch, as_on_a_gpu):
    """Every way to compute the convolution; our own also with few rows at a time."""
    if request.param == "spconv":
        pytest.importorskip("spconv.pytorch", reason="spconv, a peer, is not installed")
        return Form("spconv")
    if request.param == "compiled-by-7-rows":
        monkeypatch.setattr(convolution_cpu, "ROWS_AT_ONCE", 7)
    if request.param.startswith("gathered"):
        as_on_a_gpu(gathered_bytes=1 << (12 if request.param == "gathered-by-rows" else 28))
    return Form("torch")


def random_voxels(fraction: float, seed: int, num_clouds: int = 1) -> tuple[Tensor, Tensor]:
    """Return distinct voxels of a cube in random order, and their cloud."""
    generator = torch.Generator().manual_seed(seed)
    cells = torch.cartesian_prod(*[torch.arange(SIDE)] * 3)
    grids, clouds = [], []
    for cloud in range(num_clouds):
        picked = torch.randperm(len(cells), generator=generator)
        grids.append(cells[picked[: max(1, round(fraction * len(cells)))]])
        clouds.append(torch.full((len(grids[-1]),), cloud))
    return torch.cat(grids), torch.cat(clouds)


def dense_convolution(
    conv: ConvolutionWeights, feat: Tensor, grid: Tensor, cloud: Tensor
) -> Tensor:
    """Scatter to a grid of zeros, convolve with padding, read the active voxels."""
    x, y, z = grid.unbind(1)
    volume = feat.new_zeros(int(cloud.max()) + 1, SIDE, SIDE, SIDE, feat.shape[1])
    volume = volume.index_put((cloud, x, y, z), feat)
    out = torch.nn.functional.conv3d(
        volume.permute(0, 4, 1, 2, 3),
        conv.weight.permute(0, 4, 1, 2, 3),
        conv.bias,
        padding=conv.kernel_size // 2,
    )
    return out.permute(0, 2, 3, 4, 1)[cloud, x, y, z]


@pytest.mark.parametrize("fraction", [1.0, 0.2, 0.0], ids=["full", "sparse", "one-voxel"])
@pytest.mark.parametrize("kernel_size", [3, 5])
@pytest.mark.parametrize("bias", [True, False])
def test_it_equals_a_dense_convolution_read_at_the_active_voxels(form, fraction, kernel_size, bias):
    torch.manual_seed(0)
    grid, cloud = random_voxels(fraction, seed=1, num_clouds=2)
    conv = form.convolution(3, 4, kernel_size, bias=bias)
    feat = torch.randn(len(grid), 3, dtype=torch.float64)
    out = conv(feat, form.neighbors(grid, cloud, kernel_size))
    torch.testing.assert_close(out, dense_convolution(conv, feat, grid, cloud))


def test_a_kernel_of_one_voxel_is_a_linear_map_and_not_for_spconv(form):
    if form.name == "spconv":
        with pytest.raises(ValueError, match=r"torch\.nn\.Linear"):
            form.convolution(3, 4, 1)
        return
    grid, cloud = random_voxels(0.2, seed=1, num_clouds=2)
    conv, feat = form.convolution(3, 4, 1), torch.randn(len(grid), 3, dtype=torch.float64)
    want = feat @ conv.weight.view(4, 3).t() + conv.bias
    torch.testing.assert_close(conv(feat, form.neighbors(grid, cloud, 1)), want)


@pytest.mark.parametrize(("num_in", "num_out"), [(3, 4), (9, 6)])
def test_its_gradients_equal_those_of_the_dense_convolution(form, num_in, num_out):
    torch.manual_seed(0)
    grid, cloud = random_voxels(0.3, seed=2, num_clouds=2)
    conv = form.convolution(num_in, num_out, 3)
    feat = torch.randn(len(grid), num_in, dtype=torch.float64, requires_grad=True)
    slope = torch.randn(len(grid), num_out, dtype=torch.float64)
    wanted = [feat, conv.weight, conv.bias]
    sparse = (conv(feat, form.neighbors(grid, cloud, 3)) * slope).sum()
    dense = (dense_convolution(conv, feat, grid, cloud) * slope).sum()
    for got, want in zip(
        torch.autograd.grad(sparse, wanted), torch.autograd.grad(dense, wanted), strict=True
    ):
        torch.testing.assert_close(got, want)


@pytest.mark.parametrize("shared", [False, True], ids=["distinct", "voxels-shared"])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_its_backward_agrees_with_finite_differences(form, kernel_size, shared):
    torch.manual_seed(0)
    grid, cloud = random_voxels(0.05, seed=3, num_clouds=2)
    if shared:
        again = torch.randperm(len(grid))[:8]
        grid, cloud = torch.cat([grid, grid[again]]), torch.cat([cloud, cloud[again]])
    assert neighbor_table(grid, cloud, kernel_size).num_pairs > 0
    conv = form.convolution(2, 3, kernel_size)
    table = form.neighbors(grid, cloud, kernel_size)
    feat = torch.randn(len(grid), 2, dtype=torch.float64, requires_grad=True)

    def run(feat: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        parameters = {"weight": weight, "bias": bias}
        return torch.func.functional_call(conv, parameters, (feat, table))

    assert torch.autograd.gradcheck(run, (feat, conv.weight, conv.bias))


@pytest.mark.usefixtures("both_ways")
def test_its_backward_needs_input_and_weight_alone():
    """Autograd through a gather would keep the rows of all 27 taps."""
    grid, cloud = random_voxels(0.5, seed=3)
    conv, feat = SubmanifoldConv3d(4, 6, 3), torch.randn(len(grid), 4, requires_grad=True)
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        conv(feat, neighbor_table(grid, cloud, 3))
    assert sorted(kept) == sorted([feat.shape, torch.Size([27, 4, 6])])


@pytest.mark.usefixtures("both_ways")
def test_a_pass_for_the_features_alone_makes_no_gradient_of_the_weight(monkeypatch):
    """The saliency takes such passes; a step would compute each weight's gradient twice."""
    made = []

    def spy(*arguments):
        made.append("weight")
        return of_weight(*arguments)

    of_weight = convolution._weight_gradient
    monkeypatch.setattr(convolution, "_weight_gradient", spy)
    grid, cloud = random_voxels(0.3, seed=4)
    table = neighbor_table(grid, cloud, 3)
    conv, feat = SubmanifoldConv3d(2, 2, 3), torch.randn(len(grid), 2, requires_grad=True)
    loss = conv(feat, table).square().sum()
    (alone,) = torch.autograd.grad(loss, feat, retain_graph=True)
    assert made == []
    loss.backward()
    assert made == ["weight"]
    assert torch.equal(feat.grad, alone)
    assert conv.weight.grad.abs().max() > 0


@pytest.mark.parametrize("frozen", ["input", "weight"])
def test_a_frozen_side_costs_no_gradient_and_changes_none_of_the_other(frozen):
    torch.manual_seed(0)
    grid, cloud = random_voxels(0.3, seed=4)
    pairs = neighbor_table(grid, cloud, 3)
    conv = SubmanifoldConv3d(2, 2, 3)
    feat = torch.randn(len(grid), 2, requires_grad=True)
    conv(feat, pairs).square().sum().backward()
    want = (conv.weight if frozen == "input" else feat).grad.clone()
    conv.zero_grad()
    again = feat.detach().requires_grad_(frozen == "weight")
    conv.weight.requires_grad_(frozen == "input")
    conv(again, pairs).square().sum().backward()
    got = (conv.weight if frozen == "input" else again).grad
    assert torch.equal(got, want)
    assert (again if frozen == "input" else conv.weight).grad is None


def test_voxels_of_different_clouds_are_no_neighbors():
    grid = torch.tensor([[0, 0, 0], [0, 0, 1]])
    assert neighbor_table(grid, torch.tensor([0, 0]), 3).num_pairs == 2
    assert neighbor_table(grid, torch.tensor([0, 1]), 3).num_pairs == 0


def test_voxels_on_opposite_faces_are_no_neighbors():
    faces = torch.tensor([[0, 0, 0], [0, 0, 4], [0, 4, 0], [0, 4, 4], [4, 0, 0], [4, 4, 4]])
    for kernel_size in (3, 5, 7):
        assert neighbor_table(faces, torch.zeros(6, dtype=torch.long), kernel_size).num_pairs == 0


def test_the_pairs_of_a_smaller_kernel_are_selected_from_a_larger():
    grid, cloud = random_voxels(0.4, seed=5, num_clouds=2)
    selected = neighbor_table(grid, cloud, 5).inner(3)
    searched = neighbor_table(grid, cloud, 3)
    assert selected.num_pairs == searched.num_pairs > 0
    assert torch.equal(selected.rows, searched.rows)


def test_a_point_that_shares_its_voxel_still_gets_its_own_center_tap():
    grid = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 2]])
    pairs = neighbor_table(grid, torch.zeros(3, dtype=torch.long), 3)
    conv = SubmanifoldConv3d(1, 1, 3, bias=False)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 1, 1, 1, 0] = 1.0
    feat = torch.tensor([[1.0], [10.0], [100.0]])
    assert torch.equal(conv(feat, pairs), feat)
    with torch.no_grad():
        conv.weight[0, 1, 1, 0, 0] = 1.0  # from the voxel below in z: its first point stands for it
    assert torch.equal(conv(feat, pairs), torch.tensor([[1.0], [10.0], [101.0]]))


def test_a_voxel_of_two_points_hides_no_other_neighbor():
    grid = torch.tensor([[0, 1, 0], [0, 1, 0], [0, 1, 1], [0, 1, 2], [1, 1, 1]])
    table = neighbor_table(grid, torch.zeros(5, dtype=torch.long), 3)
    of_the_last = [row for row in table.rows[:, 4].tolist() if row < 5]
    assert of_the_last == [0, 2, 3, 4], "below, beside and above in the slice x - 1, and itself"


def test_a_further_point_of_a_voxel_sees_itself_alone():
    grid = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 2]])
    table = neighbor_table(grid, torch.zeros(3, dtype=torch.long), 3)
    assert [row for row in table.rows[:, 1].tolist() if row < 3] == [1]
    assert sorted(row for row in table.rows[:, 2].tolist() if row < 3) == [0, 2]


@pytest.mark.usefixtures("both_ways")
def test_autocast_runs_in_bfloat16_and_stays_close():
    torch.manual_seed(0)
    grid, cloud = random_voxels(0.5, seed=6)
    pairs = neighbor_table(grid, cloud, 3)
    conv = SubmanifoldConv3d(8, 8, 3)
    feat = torch.randn(len(grid), 8)
    exact = conv(feat, pairs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = conv(feat, pairs)
    assert rounded.dtype == torch.bfloat16
    # 27 taps of 8 channels, each product rounded to 8 bits, summed in float32.
    torch.testing.assert_close(rounded.float(), exact, atol=0.03, rtol=0.02)
    rounded.float().sum().backward()
    assert conv.weight.grad.dtype == torch.float32


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.usefixtures("both_ways")
def test_16_bit_products_are_summed_in_float32(dtype):
    """Ones are lost when added to a large number of as few bits, one at a time."""
    grid = torch.cartesian_prod(*[torch.arange(3)] * 3)
    conv = SubmanifoldConv3d(1, 1, 3, bias=False).to(dtype)
    with torch.no_grad():
        conv.weight.fill_(1.0)
    center = 13
    feat = torch.ones(27, 1, dtype=dtype)
    feat[center] = {torch.bfloat16: 256.0, torch.float16: 2048.0}[dtype]
    pairs = neighbor_table(grid, torch.zeros(27, dtype=torch.long), 3)
    assert conv(feat, pairs)[center].item() == feat[center].item() + 26


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_parts_of_a_16_bit_weight_gradient_are_summed_in_float32(dtype, as_on_a_gpu):
    """A part that is rounded to 16 bits loses what it holds beside a large number."""
    as_on_a_gpu(gathered_bytes=1 << 8)
    grid = torch.stack([torch.arange(0, 600, 3), *[torch.zeros(200, dtype=torch.long)] * 2], 1)
    feat = torch.full((200, 1), 16.0, dtype=dtype)
    feat[1::2] = 1 / 16
    table = neighbor_table(grid, torch.zeros(200, dtype=torch.long), 3)
    got = convolution._weight_gradient(feat, feat, table.rows)
    assert got.dtype == torch.float32
    assert got[13].item() == 100 * 256 + 100 / 256


@pytest.mark.parametrize("searched", [False, True], ids=["compiled", "searched"])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_the_table_names_the_voxel_at_each_offset_and_is_mutual(kernel_size, searched, as_on_a_gpu):
    if searched:
        as_on_a_gpu()
    grid, cloud = random_voxels(0.4, seed=8, num_clouds=2)
    table = neighbor_table(grid, cloud, kernel_size)
    radius, num_taps = kernel_size // 2, kernel_size**3
    row_of = {
        voxel: row
        for row, voxel in enumerate(map(tuple, torch.cat([cloud[:, None], grid], 1).tolist()))
    }
    for tap in range(num_taps):
        offset = [tap // kernel_size**2, tap // kernel_size % kernel_size, tap % kernel_size]
        there = grid + torch.tensor(offset) - radius
        want = [
            row_of.get((b, *voxel), len(grid))
            for b, voxel in zip(cloud.tolist(), there.tolist(), strict=True)
        ]
        assert table.rows[tap].tolist() == want
        for here, there in enumerate(want):
            assert there == len(grid) or table.rows[num_taps - 1 - tap, there] == here


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
def test_both_searches_find_the_same_where_voxels_are_shared(kernel_size, as_on_a_gpu):
    grid, cloud = random_voxels(0.4, seed=10, num_clouds=3)
    again = torch.randint(len(grid), (60,), generator=torch.Generator().manual_seed(0))
    grid, cloud = torch.cat([grid, grid[again]]), torch.cat([cloud, cloud[again]])
    compiled = neighbor_table(grid, cloud, kernel_size)
    as_on_a_gpu()
    assert torch.equal(neighbor_table(grid, cloud, kernel_size).rows, compiled.rows)


@pytest.mark.parametrize("num_threads", [2, 3])
def test_threads_change_no_bit_of_results_and_gradients(num_threads, on_threads):
    torch.manual_seed(0)
    grid, cloud = random_voxels(0.5, seed=9, num_clouds=3)
    table, conv = neighbor_table(grid, cloud, 3), SubmanifoldConv3d(5, 7, 3)
    feat = torch.randn(len(grid), 5, requires_grad=True)

    def results():
        out = conv(feat, table)
        return [out, *torch.autograd.grad(out.square().sum(), [feat, conv.weight, conv.bias])]

    alone = results()
    on_threads(num_threads)
    together = results()
    assert all(torch.equal(got, want) for got, want in zip(together, alone, strict=True))


def test_what_fails_on_a_thread_is_raised(monkeypatch, on_threads):
    def fail(*arguments):
        raise RuntimeError("no such row")

    monkeypatch.setattr(convolution_cpu, "_add_products", fail)
    grid, cloud = random_voxels(0.5, seed=9)
    on_threads(2)
    with pytest.raises(RuntimeError, match="no such row"):
        SubmanifoldConv3d(2, 2, 3)(torch.zeros(len(grid), 2), neighbor_table(grid, cloud, 3))


def test_spconv_is_refused_where_it_would_be_wrong(on_threads):
    pytest.importorskip("spconv.pytorch", reason="spconv, a peer, is not installed")
    grid, cloud = random_voxels(0.5, seed=7)
    layer = make_convolution("spconv", 2, 2, 3, bias=True)
    sites = spconv_sites(grid, cloud, int(cloud.max()) + 1)
    on_threads(2)
    with pytest.raises(UserError, match=r"2 threads .* set OMP_NUM_THREADS=1"):
        layer(torch.zeros(len(grid), 2), sites)


def test_spconv_is_named_where_it_is_missing(monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr(convolution_spconv.importlib, "import_module", missing)
    convolution_spconv.load_spconv.cache_clear()
    try:
        with pytest.raises(UserError, match=r"convolution='spconv' needs the package spconv"):
            make_convolution("spconv", 2, 2, 3, bias=True)
    finally:
        convolution_spconv.load_spconv.cache_clear()


def test_the_table_of_another_kernel_is_refused():
    grid, cloud = random_voxels(0.5, seed=7)
    with pytest.raises(ValueError, match="side 5"):
        SubmanifoldConv3d(2, 2, 3)(torch.zeros(len(grid), 2), neighbor_table(grid, cloud, 5))
    with pytest.raises(ValueError, match="odd"):
        neighbor_table(grid, cloud, 2)

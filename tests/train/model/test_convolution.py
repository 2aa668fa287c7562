"""The sparse convolution against a dense one, its backward by finite differences."""

import pytest
import torch
from torch import Tensor

from train.model.convolution import SubmanifoldConv3d
from train.model.neighbours import neighbour_pairs

SIDE = 6


@pytest.fixture(params=[7, 2048], ids=["blocks-of-7-rows", "one-block"])
def rows_at_once(request, monkeypatch):
    """Let a convolution finish few rows at a time, so that small clouds need many blocks."""
    monkeypatch.setattr("train.model.neighbours.ROWS_AT_ONCE", request.param)
    return request.param


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


def dense_convolution(conv: SubmanifoldConv3d, feat: Tensor, grid: Tensor, cloud: Tensor) -> Tensor:
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


@pytest.mark.usefixtures("rows_at_once")
@pytest.mark.parametrize("fraction", [1.0, 0.2, 0.0], ids=["full", "sparse", "one-voxel"])
@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("bias", [True, False])
def test_it_equals_a_dense_convolution_read_at_the_active_voxels(fraction, kernel_size, bias):
    torch.manual_seed(0)
    grid, cloud = random_voxels(fraction, seed=1, num_clouds=2)
    conv = SubmanifoldConv3d(3, 4, kernel_size, bias=bias).double()
    feat = torch.randn(len(grid), 3, dtype=torch.float64)
    out = conv(feat, neighbour_pairs(grid, cloud, kernel_size))
    torch.testing.assert_close(out, dense_convolution(conv, feat, grid, cloud))


@pytest.mark.usefixtures("rows_at_once")
def test_its_gradients_equal_those_of_the_dense_convolution():
    torch.manual_seed(0)
    grid, cloud = random_voxels(0.3, seed=2, num_clouds=2)
    conv = SubmanifoldConv3d(3, 4, 3).double()
    feat = torch.randn(len(grid), 3, dtype=torch.float64, requires_grad=True)
    slope = torch.randn(len(grid), 4, dtype=torch.float64)
    wanted = [feat, conv.weight, conv.bias]
    sparse = (conv(feat, neighbour_pairs(grid, cloud, 3)) * slope).sum()
    dense = (dense_convolution(conv, feat, grid, cloud) * slope).sum()
    for got, want in zip(
        torch.autograd.grad(sparse, wanted), torch.autograd.grad(dense, wanted), strict=True
    ):
        torch.testing.assert_close(got, want)


@pytest.mark.usefixtures("rows_at_once")
@pytest.mark.parametrize("shared", [False, True], ids=["distinct", "voxels-shared"])
@pytest.mark.parametrize("kernel_size", [3, 5])
def test_its_backward_agrees_with_finite_differences(kernel_size, shared):
    torch.manual_seed(0)
    grid, cloud = random_voxels(0.05, seed=3, num_clouds=2)
    if shared:
        again = torch.randperm(len(grid))[:8]
        grid, cloud = torch.cat([grid, grid[again]]), torch.cat([cloud, cloud[again]])
    conv = SubmanifoldConv3d(2, 3, kernel_size).double()
    pairs = neighbour_pairs(grid, cloud, kernel_size)
    assert pairs.num_pairs > 0
    feat = torch.randn(len(grid), 2, dtype=torch.float64, requires_grad=True)

    def run(feat: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        parameters = {"weight": weight, "bias": bias}
        return torch.func.functional_call(conv, parameters, (feat, pairs))

    assert torch.autograd.gradcheck(run, (feat, conv.weight, conv.bias))


@pytest.mark.parametrize("frozen", ["input", "weight"])
def test_a_frozen_side_costs_no_gradient_and_changes_none_of_the_other(frozen):
    torch.manual_seed(0)
    grid, cloud = random_voxels(0.3, seed=4)
    pairs = neighbour_pairs(grid, cloud, 3)
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


def test_voxels_of_different_clouds_are_no_neighbours():
    grid = torch.tensor([[0, 0, 0], [0, 0, 1]])
    assert neighbour_pairs(grid, torch.tensor([0, 0]), 3).num_pairs == 2
    assert neighbour_pairs(grid, torch.tensor([0, 1]), 3).num_pairs == 0


def test_voxels_on_opposite_faces_are_no_neighbours():
    faces = torch.tensor([[0, 0, 0], [0, 0, 4], [0, 4, 0], [0, 4, 4], [4, 0, 0], [4, 4, 4]])
    for kernel_size in (3, 5, 7):
        assert neighbour_pairs(faces, torch.zeros(6, dtype=torch.long), kernel_size).num_pairs == 0


def test_the_pairs_of_a_smaller_kernel_are_selected_from_a_larger():
    grid, cloud = random_voxels(0.4, seed=5, num_clouds=2)
    selected = neighbour_pairs(grid, cloud, 5).inner(3)
    searched = neighbour_pairs(grid, cloud, 3)
    assert selected.num_pairs == searched.num_pairs > 0
    for side in ("here", "there"):
        got, want = getattr(selected, side), getattr(searched, side)
        assert len(got) == len(want) == 13
        assert all(torch.equal(g, w) for g, w in zip(got, want, strict=True))


def test_a_point_that_shares_its_voxel_still_gets_its_own_centre_tap():
    grid = torch.tensor([[1, 1, 1], [1, 1, 1], [1, 1, 2]])
    pairs = neighbour_pairs(grid, torch.zeros(3, dtype=torch.long), 3)
    conv = SubmanifoldConv3d(1, 1, 3, bias=False)
    with torch.no_grad():
        conv.weight.zero_()
        conv.weight[0, 1, 1, 1, 0] = 1.0
    feat = torch.tensor([[1.0], [10.0], [100.0]])
    assert torch.equal(conv(feat, pairs), feat)
    with torch.no_grad():
        conv.weight[0, 1, 1, 0, 0] = 1.0  # from the voxel below in z: its first point stands for it
    assert torch.equal(conv(feat, pairs), torch.tensor([[1.0], [10.0], [101.0]]))


def test_a_voxel_of_two_points_hides_no_other_neighbour():
    grid = torch.tensor([[0, 1, 0], [0, 1, 0], [0, 1, 1], [0, 1, 2], [1, 1, 1]])
    pairs = neighbour_pairs(grid, torch.zeros(5, dtype=torch.long), 3)
    of_the_last = [
        there.tolist() for here, there in zip(pairs.here, pairs.there, strict=True) if 4 in here
    ]
    assert of_the_last == [[0], [2], [3]], "below, beside and above in the slice x - 1"


def test_autocast_runs_in_bfloat16_and_stays_close():
    torch.manual_seed(0)
    grid, cloud = random_voxels(0.5, seed=6)
    pairs = neighbour_pairs(grid, cloud, 3)
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
def test_16_bit_products_are_summed_in_float32(dtype):
    """Ones are lost when added to a large number of as few bits, one at a time."""
    grid = torch.cartesian_prod(*[torch.arange(3)] * 3)
    conv = SubmanifoldConv3d(1, 1, 3, bias=False).to(dtype)
    with torch.no_grad():
        conv.weight.fill_(1.0)
    centre = 13
    feat = torch.ones(27, 1, dtype=dtype)
    feat[centre] = {torch.bfloat16: 256.0, torch.float16: 2048.0}[dtype]
    pairs = neighbour_pairs(grid, torch.zeros(27, dtype=torch.long), 3)
    assert conv(feat, pairs)[centre].item() == feat[centre].item() + 26


def test_blocks_cover_every_pair_once_in_order_of_taps(rows_at_once):
    grid, cloud = random_voxels(0.4, seed=8)
    pairs = neighbour_pairs(grid, cloud, 3)
    assert [block.start for block in pairs.blocks] == list(range(0, len(grid), rows_at_once))
    seen = []
    for block in pairs.blocks:
        tap = torch.arange(27).repeat_interleave(torch.tensor(block.tap_sizes))
        offset = torch.stack([tap // 9, tap // 3 % 3, tap % 3], dim=1) - 1
        assert torch.equal(grid[block.here] + offset, grid[block.there])
        assert ((block.here >= block.start) & (block.here < block.stop)).all()
        seen += zip(block.here.tolist(), block.there.tolist(), strict=True)
    assert len(seen) == len(set(seen)) == pairs.num_pairs + len(grid)


def test_pairs_of_another_kernel_are_refused():
    grid, cloud = random_voxels(0.5, seed=7)
    with pytest.raises(ValueError, match="side 5"):
        SubmanifoldConv3d(2, 2, 3)(torch.zeros(len(grid), 2), neighbour_pairs(grid, cloud, 5))
    with pytest.raises(ValueError, match="odd"):
        neighbour_pairs(grid, cloud, 2)

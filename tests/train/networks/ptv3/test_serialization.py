"""The curves against a second, per-voxel implementation and against what defines them."""

import pytest
import torch

from tests.train.networks.ptv3.plain_ptv3 import curve_index
from train.networks.ptv3.serialization import ORDERS, curve_depth, hilbert_code, serialize, z_code


def full_grid(side):
    return torch.cartesian_prod(*[torch.arange(side)] * 3)


@pytest.mark.parametrize("depth", [1, 2, 5, 11, 16])
@pytest.mark.parametrize("name", ORDERS)
def test_codes_equal_those_of_the_per_voxel_implementation(name, depth):
    generator = torch.Generator().manual_seed(depth)
    grid = torch.randint(0, 1 << depth, (60, 3), generator=generator)
    grid[0], grid[1] = 0, (1 << depth) - 1
    code = serialize(grid, torch.zeros(60, dtype=torch.long), depth, (name,))[0]
    want = [curve_index(name, voxel, depth) for voxel in grid.tolist()]
    assert code.tolist() == want


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_consecutive_hilbert_cells_share_a_face_and_every_cell_is_visited_once(depth):
    grid = full_grid(1 << depth)
    code = hilbert_code(grid, depth)
    assert sorted(code.tolist()) == list(range(len(grid)))
    steps = grid[code.argsort()].diff(dim=0).abs().sum(1)
    assert (steps == 1).all()


def test_a_z_code_of_known_value():
    # x = 0b01, y = 0b10, z = 0b11: bits x1 y1 z1 x0 y0 z0 = 0 1 1 1 0 1
    assert z_code(torch.tensor([[1, 2, 3]])).item() == 0b011101


@pytest.mark.parametrize("name", ORDERS)
def test_a_prefix_of_a_code_is_the_code_of_the_cell_twice_as_wide(name):
    depth = 4
    grid = full_grid(1 << depth)
    cloud = torch.zeros(len(grid), dtype=torch.long)
    fine = serialize(grid, cloud, depth, (name,))
    coarse = serialize(grid >> 1, cloud, depth - 1, (name,))
    assert torch.equal(fine >> 3, coarse)


def test_clouds_never_mix_in_sorted_order():
    grid = full_grid(4).repeat(3, 1)
    cloud = torch.arange(3).repeat_interleave(64)[torch.randperm(192)]
    code = serialize(grid, cloud, 2, ORDERS)
    for row in code:
        assert (cloud[row.argsort()].diff() >= 0).all()


def test_trans_exchanges_x_and_y():
    grid = full_grid(8)
    cloud = torch.zeros(len(grid), dtype=torch.long)
    for name in ("z", "hilbert"):
        straight = serialize(grid[:, [1, 0, 2]], cloud, 3, (name,))
        assert torch.equal(serialize(grid, cloud, 3, (f"{name}-trans",)), straight)


@pytest.mark.parametrize(
    ("largest", "main", "old"), [(0, 1, 0), (1, 2, 1), (6, 3, 3), (7, 4, 3), (8, 4, 4)]
)
def test_the_two_depth_rules_differ_one_below_a_power_of_two(largest, main, old):
    assert curve_depth(largest, "main") == main
    assert curve_depth(largest, "v1.5.1") == old


def test_unknown_names_are_refused():
    grid, cloud = full_grid(2), torch.zeros(8, dtype=torch.long)
    with pytest.raises(ValueError, match="peano"):
        serialize(grid, cloud, 1, ("z", "peano"))
    with pytest.raises(ValueError, match="orders"):
        serialize(grid, cloud, 1, ())
    with pytest.raises(ValueError, match="newest"):
        curve_depth(3, "newest")

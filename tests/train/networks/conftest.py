"""Small clouds and networks of both kinds."""

import pytest
import torch

from train.networks.litept import build_litept
from train.networks.ptv3 import SIZES, build_segmentor, convolution, neighbors


def _surface(num_voxels, seed, side=32):
    """Return distinct voxels near a wavy floor and a wall, as LiDAR leaves them, in any order.

    The corners are always there, so clouds of one `side` have curves of one depth.
    """
    generator = torch.Generator().manual_seed(seed)
    flat = torch.rand(20 * num_voxels, 3, generator=generator) * side
    flat[:, 2] = torch.where(
        flat[:, 1] > 0.9 * side, flat[:, 2] / 2, 2 + 1.5 * torch.sin(flat[:, 0] / 5)
    )
    grid = flat.long().unique(dim=0)
    grid = grid[torch.randperm(len(grid), generator=generator)]
    corners = torch.tensor([[0, 0, 0], [side - 2, 1, 1]])[:num_voxels]
    grid = torch.cat([corners, grid[: max(0, 3 * num_voxels)]])
    keep = [row for row, voxel in enumerate(grid.tolist()) if voxel not in corners.tolist()]
    grid = torch.cat([corners, grid[keep]])[:num_voxels]
    assert len(grid) == num_voxels, "the surface has too few voxels; enlarge it"
    return grid[torch.randperm(num_voxels, generator=generator)]


def _make_batch(sizes, seed=0, dtype=torch.float64, side=32):
    grids = [_surface(size, seed + cloud, side) for cloud, size in enumerate(sizes)]
    grid = torch.cat(grids)
    generator = torch.Generator().manual_seed(seed)
    coord = 0.05 * (grid + torch.rand(grid.shape, generator=generator))
    strength = torch.rand(len(grid), 1, generator=generator)
    return {
        "feat": torch.cat([coord, strength], dim=1).to(dtype),
        "coord": coord.to(dtype),
        "grid_coord": grid,
        "offset": torch.tensor(sizes).cumsum(0),
    }


def randomize(model, seed=0):
    """Give norms and biases values that matter; fresh ones are 0 and 1 and hide mistakes."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
            elif tensor.is_floating_point() and tensor.ndim == 1:
                tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator))
    return model


@pytest.fixture(scope="session")
def make_batch():
    """Return a function from cloud sizes to a batch of that many distinct voxels each."""
    return _make_batch


@pytest.fixture(scope="session")
def make_network():
    """Return a function from a size and options to a float64 network with telling weights."""

    def make(size="tiny-student", num_classes=5, seed=0, **overrides):
        torch.manual_seed(seed)
        build = build_segmentor if size in SIZES else build_litept
        return randomize(build(size, num_classes, **overrides).double(), seed)

    return make


@pytest.fixture
def as_on_a_gpu(monkeypatch):
    """Return a function that lets our convolution search, gather and multiply as on a GPU."""

    def switch(*, gathered_bytes=1 << 28):
        for module in (convolution, neighbors):
            monkeypatch.setattr(module, "_runs_compiled", lambda tensor: False)
        monkeypatch.setattr(convolution, "GATHERED_BYTES", gathered_bytes)

    return switch

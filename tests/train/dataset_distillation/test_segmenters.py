"""Networks on frames: voxels by a plain loop, logits back at points, and both learn a scene."""

import numpy as np
import pytest
import torch

from tests.train.dataset_distillation.frames.toy_scenes import scenes
from train.core.errors import UserError
from train.dataset_distillation.networks.segmenters import (
    SEGMENTERS,
    VoxelSegmenter,
    build_segmenter,
    voxel_batch,
)
from train.networks.protocol import NetworkOutput, NetworkSpec
from train.networks.registry import build_network


def test_voxels_are_those_of_a_plain_loop():
    rng = np.random.default_rng(0)
    coord = torch.from_numpy(rng.uniform(-3, 3, (3, 50, 3)).astype(np.float32))
    coord[1, 7] = coord[1, 3]  # two points at one place
    strength = torch.from_numpy(rng.random((3, 50)).astype(np.float32))
    batch, voxel_of = voxel_batch(coord, strength, 0.8)
    ends = [0, *batch["offset"].tolist()]
    for frame in range(3):
        cells = np.floor(coord[frame].numpy().astype(np.float32) / np.float32(0.8)).astype(int)
        cells -= cells.min(axis=0)
        first = {}
        for point, cell in enumerate(map(tuple, cells)):
            first.setdefault(cell, point)
        rows = slice(ends[frame], ends[frame + 1])
        found = {tuple(cell): row for row, cell in enumerate(batch["grid_coord"][rows].tolist())}
        assert found.keys() == first.keys()
        for cell, point in first.items():
            row = ends[frame] + found[cell]
            assert torch.equal(batch["coord"][row], coord[frame, point])
            assert torch.equal(batch["feat"][row, :3], coord[frame, point])
            assert batch["feat"][row, 3] == strength[frame, point]
        for point, cell in enumerate(map(tuple, cells)):
            assert voxel_of[frame * 50 + point] == ends[frame] + found[cell]


def test_a_point_has_the_logits_of_its_voxel_in_meters():
    class Echo(torch.nn.Module):
        coarsest_cell_voxels = 2

        def forward(self, batch):
            return NetworkOutput(batch["coord"], {}, {})

    network = VoxelSegmenter(Echo(), 0.5, 20.0)
    points = torch.rand(2, 40, 3)
    logits = network(points, torch.zeros(2, 40))
    assert logits.shape == (2, 3, 40)
    # The voxel's first point is less than a voxel away, and in meters.
    assert ((logits.transpose(1, 2) - 20 * points).abs() < 0.5).all()


@pytest.mark.parametrize("name", SEGMENTERS)
def test_every_network_gives_logits_and_gradients_of_one_frame_too(name):
    torch.manual_seed(0)
    frames = scenes(2)
    network = build_segmenter(name, 4, 0.5, frames.meters).train()
    for number in (1, 2):
        points = torch.from_numpy(frames.points[:number])
        logits = network(points, torch.from_numpy(frames.strength[:number]))
        assert logits.shape == (number, 4, 120)
    logits.square().sum().backward()
    grads = [p.grad for p in network.parameters() if p.requires_grad]
    assert sum(g is not None and bool(g.abs().sum() > 0) for g in grads) > len(grads) // 2


def test_ptv3_is_the_registrys_own():
    network = build_segmenter("ptv3", 4, 0.5, 10.0)
    assert network.network.spec().size == "tiny-student"
    assert network.network.in_channels == 4


def test_mistakes_are_named():
    for name, grid_size_m, words in (
        ("dgcnn", 0.5, "'dgcnn' is unknown for LiDAR frames"),
        ("ptv3", 1.0, "too large for frames of 10 m"),
        ("ptv3", 1e-4, "too many voxels"),
        ("ptv3", 0.0, "grid_size_m"),
    ):
        with pytest.raises(UserError, match=words):
            build_segmenter(name, 4, grid_size_m, 10.0)
    tiny = build_network(NetworkSpec("ptv3", "tiny-student", 4, 4))
    with pytest.raises(ValueError, match="frames; give at most"):
        voxel_batch(torch.zeros(1, 1, 3).expand(40_000, 1, 3), torch.zeros(40_000, 1), 1.0)
    assert tiny.coarsest_cell_voxels == 16

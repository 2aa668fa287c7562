"""The geometry of a real LiDAR frame, against sets of voxels."""

import itertools

import numpy as np
import pytest
import torch

from train.networks.ptv3 import build_hierarchy, build_segmentor

FRAME = "semantickitti/dev/sequences/00/velodyne/000000.bin"


@pytest.fixture(scope="module")
def frame(real_data):
    """Return the frame at 5 cm, one point a voxel, as the network takes it."""
    points = np.fromfile(real_data / FRAME, np.float32).reshape(-1, 4)
    grid = np.floor(points[:, :3] / np.float32(0.05)).astype(np.int64)
    _, first = np.unique(grid, axis=0, return_index=True)
    grid = grid[first] - grid[first].min(0)
    return {
        "feat": torch.from_numpy(points[first]),
        "coord": torch.from_numpy(points[first, :3]),
        "grid_coord": torch.from_numpy(grid),
        "offset": torch.tensor([len(first)]),
    }


@pytest.mark.real_data
def test_neighbors_of_a_real_frame_are_those_of_a_set_of_voxels(frame):
    table = build_hierarchy(frame).table(0, 3)
    row_of = {voxel: row for row, voxel in enumerate(map(tuple, frame["grid_coord"].tolist()))}
    for row in range(0, len(row_of), 97):
        x, y, z = frame["grid_coord"][row].tolist()
        cube = itertools.product((x - 1, x, x + 1), (y - 1, y, y + 1), (z - 1, z, z + 1))
        want = sorted(row_of[voxel] for voxel in cube if voxel in row_of)
        found = [there for there in table.rows[:, row].tolist() if there < len(row_of)]
        assert sorted(found) == want


@pytest.mark.real_data
def test_the_tiny_student_labels_every_voxel_of_a_real_frame(frame):
    torch.manual_seed(0)
    model = build_segmentor("tiny-student", 19).eval()
    with torch.no_grad():
        output = model(frame)
        logits, stages = output.logits, output.features
    assert logits.shape == (len(frame["coord"]), 19)
    assert logits.isfinite().all()
    assert [len(stages[f"enc{s}"]) for s in range(5)] == sorted(
        (len(stages[f"enc{s}"]) for s in range(5)), reverse=True
    )

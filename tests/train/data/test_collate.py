"""A batch is its sweeps one after the other, and every index says so."""

import dataclasses

import numpy as np
import pytest
import torch

from train.data.batch import collate
from train.data.frame import LidarFrame
from train.data.transforms import VoxelFrame, voxelize


@pytest.fixture
def three(sweep: LidarFrame) -> list[VoxelFrame]:
    """Return three voxelized sweeps of different sizes."""
    parts = []
    for number, count in enumerate((700, 1, 300)):
        part = dataclasses.replace(
            sweep,
            coord=sweep.coord[:count] + np.float32(number),
            strength=sweep.strength[:count],
            segment=sweep.segment[:count],
            name=f"00/{number:06d}",
        )
        parts.append(voxelize(part, 0.5))
    return parts


def test_offsets_are_the_ends_of_each_sweep(three):
    batch = collate(three)
    sizes = [len(part.coord) for part in three]
    assert batch["offset"].tolist() == [sizes[0], sizes[0] + sizes[1], sum(sizes)]
    assert batch["raw_offset"].tolist() == [700, 701, 1001]
    assert list(batch.names) == ["00/000000", "00/000001", "00/000002"]


def test_every_sweep_lies_between_its_offsets(three):
    batch = collate(three)
    ends, raw_ends = batch["offset"].tolist(), batch["raw_offset"].tolist()
    for number, part in enumerate(three):
        rows = slice(ends[number - 1] if number else 0, ends[number])
        raw = slice(raw_ends[number - 1] if number else 0, raw_ends[number])
        np.testing.assert_array_equal(batch["coord"][rows], part.coord)
        np.testing.assert_array_equal(batch["feat"][rows, :3], part.coord)
        np.testing.assert_array_equal(batch["feat"][rows, 3:], part.strength)
        np.testing.assert_array_equal(batch["grid_coord"][rows], part.grid_coord)
        np.testing.assert_array_equal(batch["segment"][rows], part.segment)
        np.testing.assert_array_equal(batch["raw_segment"][raw], part.raw_segment)
        # `inverse` points at rows of the whole batch.
        np.testing.assert_array_equal(
            batch["coord"][batch["inverse"][raw]], part.coord[part.inverse]
        )
        assert batch["inverse"][raw].min() >= rows.start
        assert batch["inverse"][raw].max() < rows.stop


def test_types_are_those_the_network_takes(three):
    batch = collate(three)
    for key in ("feat", "coord"):
        assert batch[key].dtype == torch.float32
    for key in ("grid_coord", "offset", "segment", "inverse", "raw_segment", "raw_offset"):
        assert batch[key].dtype == torch.int64, key
    assert batch["feat"].shape[1] == 4


def test_the_batch_is_a_copy(three):
    batch = collate(three[:1])
    batch["coord"].zero_()
    batch["inverse"].zero_()
    assert np.abs(three[0].coord).max() > 0
    assert three[0].inverse.max() > 0


def test_without_labels_the_batch_has_none(three):
    bare = [dataclasses.replace(part, segment=None, raw_segment=None) for part in three]
    batch = collate(bare)
    assert "segment" not in batch
    assert "raw_segment" not in batch


def test_a_mix_of_labeled_and_not_is_refused(three):
    three[1] = dataclasses.replace(three[1], segment=None, raw_segment=None)
    with pytest.raises(ValueError, match="not 00/000001"):
        collate(three)


def test_no_sweeps_make_no_batch():
    with pytest.raises(ValueError, match="no sweeps"):
        collate([])

"""Counts are those of the voxels themselves, are measured once, and bound what training reads."""

from pathlib import Path

import numpy as np
import pytest
from torch.utils.data import DataLoader

from tests.train.data.damage import refused
from tests.train.processes import run_processes, values_of
from train.data.batch import VoxelBudgetBatchSampler, collate
from train.data.dataset_spec import OpenOptions
from train.data.loader import TrainingFrames
from train.data.semantickitti import SPEC, SemanticKitti
from train.data.transforms import PAPER_AUGMENTATION, augment, voxelize
from train.data.voxel_counts import VoxelCounts, measure_voxels, voxel_counts

GRID_SIZE_M = 4.0


class Watched(SemanticKitti):
    """A source that counts how often it is read."""

    reads = 0

    def __getitem__(self, index):
        type(self).reads += 1
        return super().__getitem__(index)


@pytest.fixture
def root(write_tree) -> Path:
    sizes = (900, 150, 600, 400, 800, 300)
    return write_tree({"00": {f"{n:06d}": (size, True) for n, size in enumerate(sizes)}})


@pytest.fixture
def source(root: Path) -> SemanticKitti:
    return SPEC.open(root, sequences=["00"])


@pytest.mark.parametrize("workers", [0, 2])
def test_counts_are_those_of_a_set_of_cells(source, workers: int):
    counts = measure_voxels(source, GRID_SIZE_M, num_workers=workers)
    assert counts.points.tolist() == [900, 150, 600, 400, 800, 300]
    cells = [
        len({tuple(cell) for cell in np.floor(frame.coord.astype(float) / GRID_SIZE_M).tolist()})
        for frame in (source[index] for index in range(6))
    ]
    assert counts.voxels.tolist() == cells
    assert max(cells) < 900  # some voxels hold several points


def test_counts_are_measured_once(root, tmp_path: Path):
    source = Watched(root, OpenOptions(sequences=["00"]))
    cache = tmp_path / "cache"
    Watched.reads = 0
    first = voxel_counts(source, GRID_SIZE_M, root, cache_dir=cache)
    assert Watched.reads == 6
    again = voxel_counts(source, GRID_SIZE_M, root, cache_dir=cache)
    assert Watched.reads == 6
    np.testing.assert_array_equal(again.voxels, first.voxels)
    np.testing.assert_array_equal(again.points, first.points)
    voxel_counts(source, 2 * GRID_SIZE_M, root, cache_dir=cache)
    assert Watched.reads == 12
    path = root / "sequences/00/velodyne/000001.bin"
    path.write_bytes(path.read_bytes()[: 100 * 16])
    (root / "sequences/00/labels/000001.label").write_bytes(np.full(100, 40, "<u4").tobytes())
    changed = voxel_counts(source, GRID_SIZE_M, root, cache_dir=cache)
    assert Watched.reads == 18
    assert changed.points.tolist() == [900, 100, 600, 400, 800, 300]


def measuring(root: Path) -> tuple[list[int], int]:
    Watched.reads = 0
    counts = voxel_counts(Watched(root, OpenOptions(sequences=["00"])), GRID_SIZE_M, root)
    return counts.voxels.tolist(), Watched.reads


def test_of_several_processes_the_first_measures(root):
    (first, reads), *others = values_of(run_processes(3, measuring, root))
    assert reads == 6
    assert others == [(first, 0)] * 2


def test_growth_is_bounded_by_the_points():
    counts = VoxelCounts(points=np.array([100, 100]), voxels=np.array([50, 95]))
    assert counts.grown(1.1).tolist() == [61, 100]
    assert counts.grown(1.0).tolist() == [50, 95]


def test_a_bad_frame_stops_or_counts_as_the_one_in_its_place(root):
    for number in (0, 4, 5):
        path = root / f"sequences/00/labels/{number:06d}.label"
        path.write_bytes(np.full(path.stat().st_size // 4, 77, "<u4").tobytes())
    source = SPEC.open(root, sequences=["00"])
    refused(lambda: measure_voxels(source, GRID_SIZE_M), "000000.label")
    counts = measure_voxels(source, GRID_SIZE_M, on_bad_frame="skip")
    assert counts.points.tolist() == [150, 150, 600, 400, 150, 150]
    frames = TrainingFrames(source, on_bad_frame="skip")
    taken = [len(frames.__getitems__([index])[0].inverse) for index in range(6)]
    assert taken == counts.points.tolist()


@pytest.mark.parametrize(("bound", "max_voxels", "repeats"), [(900, None, 1), (700, 200, 2)])
def test_no_batch_exceeds_the_bound_and_nothing_is_cut(source, bound, max_voxels, repeats):
    frames = TrainingFrames(
        source,
        grid_size_m=GRID_SIZE_M,
        max_voxels=max_voxels,
        repeats=repeats,
        max_batch_voxels=bound,
        counts=measure_voxels(source, GRID_SIZE_M),
    )
    order = VoxelBudgetBatchSampler(
        len(frames), 4, planned_voxels=frames.planned_voxels(), max_batch_voxels=bound
    )
    loader = DataLoader(frames, batch_sampler=order, collate_fn=collate)
    sizes = []
    for epoch in range(4):
        frames.set_epoch(epoch)
        order.set_epoch(epoch)
        for batch in loader:
            assert len(batch["feat"]) <= bound
            assert batch.cropped_voxels == 0
            sizes.append(len(batch.names))
    assert sum(sizes) == 4 * len(frames)
    assert len(set(sizes)) > 1


def test_what_exceeds_its_plan_is_cut_and_counted(source):
    wrong = VoxelCounts(points=np.full(6, 10), voxels=np.full(6, 10))
    # Voxels of one point and no augmentation: nothing but the crop depends on the epoch.
    plain = {"grid_size_m": 0.005, "augmentation": None, "seed": 4}
    frames = TrainingFrames(source, max_batch_voxels=300, counts=wrong, **plain)
    free = TrainingFrames(source, **plain)
    batch = collate(frames.__getitems__([0, 1, 2]))
    assert len(batch["feat"]) == 300
    assert batch.cropped_voxels == len(collate(free.__getitems__([0, 1, 2]))["feat"]) - 300
    again = collate(frames.__getitems__([0, 1, 2]))
    assert again["feat"].equal(batch["feat"])
    frames.set_epoch(1)
    assert not collate(frames.__getitems__([0, 1, 2]))["feat"].equal(batch["feat"])


def test_counts_of_another_source_are_refused(source):
    five = VoxelCounts(points=np.ones(5, dtype=np.int64), voxels=np.ones(5, dtype=np.int64))
    for counts, said in ((five, "6 frames, not 5"), (None, "6 frames, not None")):
        with pytest.raises(ValueError, match=said):
            TrainingFrames(source, max_batch_voxels=10, counts=counts)


@pytest.mark.real_data
@pytest.mark.parametrize("grid_size_m", [0.05, 0.2])
def test_real_frames_grow_less_than_is_planned(real_data: Path, grid_size_m: float):
    source = SPEC.open(real_data / "semantickitti/dev", sequences=["00"])
    planned = int(measure_voxels(source, grid_size_m).grown(PAPER_AUGMENTATION.scale_max)[0])
    for seed in range(8):
        grown = augment(source[0], np.random.default_rng(seed), PAPER_AUGMENTATION)
        assert len(voxelize(grown, grid_size_m).coord) <= planned

"""A training sample depends on seed, epoch and index, and on nothing else."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from torch.utils.data import DataLoader

from tests.train.data.damage import refused
from tests.train.data.waymo.conftest import tiny_frame, write_split
from train.data.batch import BadFrame, collate
from train.data.dataset_spec import dataset_spec
from train.data.decoded import decoded_frames
from train.data.frame import FrameSource
from train.data.loader import EvaluationFrames, TrainingFrames
from train.data.semantickitti import SPEC, SemanticKitti
from train.data.transforms import Augmentation, VoxelFrame, voxelize
from train.data.voxel_counts import VoxelCounts
from train.data.waymo.frame import LaserName
from train.inspection.inspect import REPORT, main


@pytest.fixture
def source(write_tree) -> SemanticKitti:
    """Return four frames of a few hundred points."""
    return SPEC.open(
        write_tree({"00": {f"{n:06d}": (200 + 50 * n, True) for n in range(4)}}), sequences=["00"]
    )


def fingerprint(sample) -> tuple[bytes, bytes, bytes]:
    return sample.coord.tobytes(), sample.inverse.tobytes(), sample.grid_coord.tobytes()


def test_a_sample_depends_on_seed_epoch_and_index_alone(source):
    first, second = (TrainingFrames(source, max_voxels=100, seed=3) for _ in range(2))
    first.set_epoch(2)
    second.set_epoch(2)
    in_order = [fingerprint(first[i]) for i in range(4)]
    assert [fingerprint(second[i]) for i in (3, 2, 1, 0)][::-1] == in_order
    first.set_epoch(0)
    assert fingerprint(first[0]) != in_order[0]
    first.set_epoch(2)
    assert first.epoch == 2
    assert [fingerprint(first[i]) for i in range(4)] == in_order
    samples = {}
    for seed in (0, 1):
        data = TrainingFrames(source, seed=seed, repeats=2)
        for epoch in (0, 1):
            data.set_epoch(epoch)
            for index in (0, 4):  # the same frame, the second time round
                samples[seed, epoch, index] = fingerprint(data[index])
    assert len(set(samples.values())) == len(samples) == 8


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_change_nothing_in_any_epoch(source, persistent: bool):
    def epochs(workers: int) -> list[list[bytes]]:
        data = TrainingFrames(source, max_voxels=150, seed=5)
        loader = DataLoader(
            data,
            batch_size=2,
            collate_fn=collate,
            num_workers=workers,
            persistent_workers=persistent and workers > 0,
        )
        seen = []
        for epoch in range(3):
            data.set_epoch(epoch)
            seen.append([batch["feat"].numpy().tobytes() for batch in loader])
        return seen

    alone = epochs(0)
    assert len({part for epoch in alone for part in epoch}) == 6
    assert epochs(2) == alone


def test_repeats_lengthen_the_epoch_and_walk_the_source_again(source):
    data = TrainingFrames(source, augmentation=None, repeats=3)
    assert len(data) == 12
    assert [data[i].name for i in range(12)] == list(source.names) * 3
    with pytest.raises(IndexError):
        data[12]


@pytest.mark.parametrize(
    ("augmentation", "sign"),
    [(None, 1), (Augmentation(0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0), -1)],
)
def test_points_are_the_frame_s_own_augmented_as_said(source, augmentation, sign: int):
    sample = TrainingFrames(source, augmentation=augmentation)[1]
    own = {(sign * x, y, z) for x, y, z in source[1].coord.tolist()}
    assert {tuple(row) for row in sample.coord.tolist()} <= own


def test_the_crop_bounds_the_sample(source):
    assert len(TrainingFrames(source, max_voxels=60)[2].coord) == 60
    assert len(TrainingFrames(source)[2].coord) > 60


def test_the_box_is_applied_before_voxels_are_made(source):
    box = (-5.0, -5.0, -1.0, 5.0, 5.0, 1.0)
    for data in (
        TrainingFrames(source, clip_range_m=box),
        EvaluationFrames(source, clip_range_m=box),
    ):
        sample = data[0]
        assert np.abs(sample.coord).max() == 5.0
        # 10 m at 5 cm, and the face itself
        assert sample.grid_coord.max() == 200
        assert len(sample.inverse) == len(source[0].coord)


def test_evaluation_leaves_the_frame_whole_and_is_the_same_every_time(source):
    data = EvaluationFrames(source, 0.5)
    assert len(data) == 4
    for index in range(4):
        sample = data[index]
        assert fingerprint(sample) == fingerprint(data[index])
        assert fingerprint(sample) == fingerprint(voxelize(source[index], 0.5))
        assert len(sample.inverse) == len(source[index].coord)
        np.testing.assert_array_equal(sample.raw_segment, source[index].segment)


@pytest.mark.parametrize("wrong", [{"repeats": 0}, {"seed": -1}, {"max_voxels": 0}])
def test_an_impossible_setting_is_named(source, wrong):
    refused(lambda: TrainingFrames(source, **wrong), *wrong)
    with pytest.raises(ValueError, match="epoch"):
        TrainingFrames(source).set_epoch(-1)


def within_one_cell(write_tree, points: int = 1) -> SemanticKitti:
    """Return two frames; all points of the first lie within 20 cm."""
    root = write_tree({"00": {"000000": (points, True), "000001": (300, True)}})
    path = root / "sequences/00/velodyne/000000.bin"
    near = np.full((points, 4), 3.03, "<f4")
    near[:, 0] += np.linspace(0, 0.2, points)
    path.write_bytes(near.tobytes())
    return SPEC.open(root, sequences=["00"])


@pytest.mark.parametrize(("points", "cell"), [(1, 1), (5, 16)])
def test_a_frame_within_one_coarsest_cell_is_a_bad_one(write_tree, points: int, cell: int):
    source = within_one_cell(write_tree, points)
    options = {"augmentation": None, "coarsest_cell_voxels": cell}
    said = f"000000.bin: the {points} points of frame 00/000000 lie"
    refused(lambda: TrainingFrames(source, **options)[0], said)
    skipping = TrainingFrames(source, on_bad_frame="skip", **options)
    batch = collate(skipping.__getitems__([0, 1]))
    assert list(batch.names) == ["00/000001", "00/000001"]
    (bad,) = batch.skipped
    assert bad.name == "00/000000"
    assert f"{0.05 * cell:g} m, the network's coarsest" in bad.message
    # Evaluation has no use for a second value.
    assert len(EvaluationFrames(source)[0].inverse) == points


def test_a_frame_of_two_coarsest_cells_is_a_good_one_and_a_crop_to_one_a_bad_sample(write_tree):
    source = within_one_cell(write_tree, 5)
    assert len(TrainingFrames(source, augmentation=None, coarsest_cell_voxels=4)[0].inverse) == 5
    with pytest.raises(ValueError, match="coarsest_cell_voxels must be at least 1, not 0"):
        TrainingFrames(source, coarsest_cell_voxels=0)
    cropped = TrainingFrames(source, augmentation=None, max_voxels=1)
    refused(lambda: cropped[1], "within one cell")


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("bounded", [False, True])
def test_a_process_without_samples_gets_an_empty_batch(source, workers: int, bounded: bool):
    counts = VoxelCounts(points=np.full(4, 400), voxels=np.full(4, 400)) if bounded else None
    data = TrainingFrames(source, max_batch_voxels=900 if bounded else None, counts=counts)
    loader = DataLoader(
        data, batch_sampler=[[0], [], [1, 2]], collate_fn=collate, num_workers=workers
    )
    batches = list(loader)
    assert [len(batch.names) for batch in batches] == [1, 0, 2]
    nothing = batches[1]
    assert not nothing.tensors
    assert (nothing.skipped, nothing.cropped_voxels, nothing.num_clouds) == ((), 0, 0)


def test_an_unlabeled_source_serves_samples_without_labels(write_tree):
    root = write_tree({"11": {"000000": (50, False)}})
    data = EvaluationFrames(SPEC.open(root, sequences=["11"], require_labels=False))
    assert data[0].segment is None
    assert dataclasses.is_dataclass(data[0])


def test_without_labels_frames_with_and_without_make_one_batch_of_equal_points(write_tree):
    root = write_tree({"11": {"000000": (150, True), "000001": (150, False)}})
    some = SPEC.open(root, sequences=["11"], require_labels=False)
    with_labels, without = TrainingFrames(some), TrainingFrames(some, labels=False)
    batch = collate(without.__getitems__([0, 1]))
    assert len(batch["offset"]) == 2
    assert not {"segment", "raw_segment"} & set(batch)
    assert fingerprint(without[0]) == fingerprint(with_labels[0])
    with pytest.raises(ValueError, match="some frames have labels"):
        collate(with_labels.__getitems__([0, 1]))


COUNTS = {"one point": 1, "one voxel": 4}


def bare(name: str, root: Path, count: int) -> None:
    """Write simulated frames, the first of them of some points that are 3 mm apart."""
    spec = dataset_spec(name)
    made = spec.simulate(root, num_frames=2, num_validation_frames=1, azimuth_steps=48, seed=0)
    points, labels, *_ = spec.open(root, sequences=made.training_sequences).files(0)
    columns, width = (5, 1) if name == "nuscenes" else (4, 4)
    values = np.full((count, columns), 3.01, "<f4")
    values[:, :3] += np.random.default_rng(count).uniform(0, 0.003, (count, 3)).astype("<f4")
    values[:, 3] = 0.25
    points.write_bytes(values.tobytes())
    labels.write_bytes(labels.read_bytes()[:width] * count)


def semantickitti(root: Path, count: int) -> None:
    bare("semantickitti", root, count)


def nuscenes(root: Path, count: int) -> None:
    bare("nuscenes", root, count)


def waymo(root: Path, count: int, data_format: str) -> None:
    frame = tiny_frame(timestamp=1000)
    top = next(laser for laser in frame.lasers if laser.name == LaserName.TOP)
    images = [np.full_like(image, -1.0) for image in top.returns]
    images[0][0, 0, :2] = 20.0, 0.5
    if count > 1:
        images[1][0, 0, :2] = 20.001, 0.5
    poses = np.broadcast_to(top.pixel_pose[0, 0], top.pixel_pose.shape).copy()
    small = dataclasses.replace(top, returns=(images[0], images[1]), pixel_pose=poses)
    frames = [dataclasses.replace(frame, lasers=(small,)), tiny_frame(timestamp=1100)]
    write_split(root / "training", data_format, {"seg_a": frames})


def waymo_v1(root: Path, count: int) -> None:
    waymo(root, count, "v1")


def waymo_v2(root: Path, count: int) -> None:
    waymo(root, count, "v2")


@pytest.fixture(
    params=[semantickitti, nuscenes, waymo_v1, waymo_v2], ids=lambda write: write.__name__
)
def write(request) -> Callable[[Path, int], None]:
    return request.param


def opened(write: Callable[..., None], root: Path, kind: str) -> FrameSource:
    """Return a source whose first frame is small."""
    write(root, COUNTS[kind])
    name = write.__name__.partition("_")[0]
    spec = dataset_spec(name)
    return spec.open(root, sequences=["00"] if name == "semantickitti" else ())


@pytest.mark.parametrize("kind", COUNTS)
def test_they_are_read_kept_and_voxelized(write, tmp_path: Path, kind: str):
    source = opened(write, tmp_path / "data", kind)
    frame = source[0]
    count = len(frame.coord)
    assert 1 <= count <= COUNTS[kind]
    assert (count == 1) == (kind == "one point")
    assert frame.strength.shape == (count, 1)
    assert frame.segment is not None
    assert frame.segment.shape == (count,)
    kept = decoded_frames(source, tmp_path / "kept")[0]
    np.testing.assert_array_equal(kept.coord, frame.coord)
    for rng in (None, np.random.default_rng(0)):
        voxels = voxelize(frame, 0.05, rng=rng)
        assert voxels.grid_coord.tolist() == [[0, 0, 0]]
        assert voxels.coord[0].tolist() in frame.coord.tolist()
        assert voxels.inverse.tolist() == [0] * count
        assert len(source[1].coord) > count
    assert 1 <= len(EvaluationFrames(source)[0].coord) <= count
    # Batch norm cannot train on it: it is refused, or left out like a damaged one.
    refused(lambda: TrainingFrames(source)[0], "cannot be trained on; remove the frame")
    served = TrainingFrames(source, on_bad_frame="skip").__getitems__([0])
    assert [type(sample) for sample in served] == [VoxelFrame, BadFrame]
    assert len(served[0].coord) > count


@pytest.mark.parametrize("kind", COUNTS)
def test_looking_over_names_and_draws_them(write, tmp_path: Path, kind: str, capsys):
    source = opened(write, tmp_path / "data", kind)
    name = write.__name__.partition("_")[0]
    arguments = ["--dataset", name, "--data-root", str(tmp_path / "data")]
    chosen = ["--split", "training"] if name != "semantickitti" else ["--sequences", "00"]
    output = tmp_path / "out"
    assert main([*arguments, *chosen, "--output", str(output), "--pictures", "1"]) == 1
    report = json.loads((output / REPORT).read_text())
    assert report["one_voxel_frames"] == [source.names[0]]
    assert report["points_a_frame"][0] == len(source[0].coord)
    assert imread(output / report["pictures"][0]).shape[1] == 2000
    shown = capsys.readouterr().out.splitlines()
    at = shown.index("frames in one voxel of 5 cm: 1")
    assert shown[at + 1] == source.names[0]
    (problem,) = report["problems"]
    assert problem.startswith(f"{source.names[0]}: all {len(source[0].coord)} points lie in one")

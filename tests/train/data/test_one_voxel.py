"""Frames of one point, or of points in one voxel: every reader gives them, and they are named."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from tests.train.data.waymo.frames import tiny_frame
from train.core.errors import UserError
from train.data.batch import BadFrame
from train.data.dataset_spec import dataset_spec
from train.data.decoded import decoded_frames
from train.data.frame import FrameSource
from train.data.loader import EvaluationFrames, TrainingFrames
from train.data.transforms import VoxelFrame, voxelize
from train.data.waymo.frame import LaserName
from train.data.waymo.write import write_segment_v1, write_segment_v2
from train.inspection.inspect import REPORT, main

COUNTS = {"one point": 1, "one voxel": 4}


def semantickitti(root: Path, count: int) -> None:
    for number, points in enumerate((count, 50)):
        for folder, content in (
            ("velodyne", _points(points, 4)),
            ("labels", np.full(points, 40, "<u4")),
        ):
            ending = "bin" if folder == "velodyne" else "label"
            path = root / "sequences/00" / folder / f"{number:06d}.{ending}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.tobytes())


def nuscenes(root: Path, count: int) -> None:
    made = dataset_spec("nuscenes").simulate(
        root, num_sweeps=2, num_validation_sweeps=1, azimuth_steps=48, seed=0
    )
    source = dataset_spec("nuscenes").open(root, sequences=made.training_sequences)
    points, labels, *_ = source.files(0)
    points.write_bytes(_points(count, 5).tobytes())
    labels.write_bytes(labels.read_bytes()[:1] * count)


def waymo(root: Path, count: int, write: Callable[..., None]) -> None:
    frame = tiny_frame(timestamp=1000)
    top = next(laser for laser in frame.lasers if laser.name == LaserName.TOP)
    images = [np.full_like(image, -1.0) for image in top.returns]
    images[0][0, 0, :2] = 20.0, 0.5
    if count > 1:
        images[1][0, 0, :2] = 20.001, 0.5
    poses = np.broadcast_to(top.pixel_pose[0, 0], top.pixel_pose.shape).copy()
    small = dataclasses.replace(top, returns=(images[0], images[1]), pixel_pose=poses)
    write(root, [dataclasses.replace(frame, lasers=(small,)), tiny_frame(timestamp=1100)])


def waymo_v1(root: Path, count: int) -> None:
    waymo(root, count, lambda to, frames: write_segment_v1(to / "training/x.tfrecord", frames))


def waymo_v2(root: Path, count: int) -> None:
    waymo(root, count, lambda to, frames: write_segment_v2(to / "training", "seg_a", frames))


def _points(count: int, columns: int) -> np.ndarray:
    """Return points that are 3 mm apart, or, if there are many, everywhere."""
    rng = np.random.default_rng(count)
    points = np.full((count, columns), 3.01, "<f4")
    points[:, :3] += rng.uniform(0, 0.003 if count < 50 else 30, (count, 3)).astype("<f4")
    points[:, 3] = 0.25
    return points


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
    sweep = source[0]
    count = len(sweep.coord)
    assert 1 <= count <= COUNTS[kind]
    assert (count == 1) == (kind == "one point")
    assert sweep.strength.shape == (count, 1)
    assert sweep.segment is not None
    assert sweep.segment.shape == (count,)
    kept = decoded_frames(source, tmp_path / "kept")[0]
    np.testing.assert_array_equal(kept.coord, sweep.coord)
    for rng in (None, np.random.default_rng(0)):
        voxels = voxelize(sweep, 0.05, rng=rng)
        assert voxels.grid_coord.tolist() == [[0, 0, 0]]
        assert voxels.coord[0].tolist() in sweep.coord.tolist()
        assert voxels.inverse.tolist() == [0] * count
        assert len(source[1].coord) > count
    assert 1 <= len(EvaluationFrames(source)[0].coord) <= count
    # Batch norm cannot train on it: it is refused, or left out like a damaged one.
    with pytest.raises(UserError, match="cannot be trained on; remove the sweep"):
        TrainingFrames(source)[0]
    served = TrainingFrames(source, on_bad_sweep="skip").__getitems__([0])
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
    assert report["one_voxel_sweeps"] == [source.names[0]]
    assert report["points_a_sweep"][0] == len(source[0].coord)
    assert imread(output / report["pictures"][0]).shape[1] == 2000
    shown = capsys.readouterr().out.splitlines()
    at = shown.index("sweeps in one voxel of 5 cm: 1")
    assert shown[at + 1] == source.names[0]
    (problem,) = report["problems"]
    assert problem.startswith(f"{source.names[0]}: all {len(source[0].coord)} points lie in one")

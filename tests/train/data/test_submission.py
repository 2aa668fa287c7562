"""Submissions of every benchmark: what is read back is what was predicted, nothing half done."""

import dataclasses
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.train.data.submissions import (
    entries,
    read_nuscenes,
    read_semantickitti,
    read_waymo,
)
from tests.train.data.waymo.conftest import tiny_frame, write_split
from train.core.errors import UserError
from train.data.dataset_spec import DatasetSpec, dataset_spec
from train.data.frame import FrameSource
from train.data.submission import Submission
from train.data.waymo import SPEC, WaymoSubmission
from train.data.waymo.frame import LaserName
from train.data.waymo.protobuf import Message


@pytest.fixture(scope="module", params=["nuscenes", "semantickitti", "waymo"])
def dataset(request, tmp_path_factory) -> tuple[DatasetSpec, FrameSource]:
    """Return a benchmark and three frames to predict."""
    spec = dataset_spec(request.param)
    made = spec.simulate(
        tmp_path_factory.mktemp(request.param),
        num_frames=1,
        num_validation_frames=3,
        azimuth_steps=40,
        seed=3,
    )
    return spec, spec.open(made.root, "validation")


@pytest.fixture
def start(dataset, tmp_path: Path) -> Callable[..., Submission]:
    """Return a function that begins a submission."""
    spec, source = dataset
    return lambda name="out/s": spec.submission(tmp_path / name, source, "a@b.org")


def predictions(dataset) -> list[np.ndarray]:
    spec, source = dataset
    rng = np.random.default_rng(0)
    return [rng.integers(0, len(spec.class_names), len(frame.coord)) for frame in source]


def filled(submission: Submission, dataset) -> Path:
    for frame, prediction in reversed(list(zip(dataset[1], predictions(dataset), strict=True))):
        submission.add(frame, prediction)
    return submission.finish()


def test_a_submission_reads_back_as_what_was_predicted(dataset, start, tmp_path: Path):
    spec, source = dataset
    path = filled(start(), dataset)
    assert path == tmp_path / "out/s"
    assert [file.name for file in path.parent.iterdir()] == ["s"]
    if spec.name == "waymo":
        found = read_waymo(path, source)
    else:
        found = {"nuscenes": read_nuscenes, "semantickitti": read_semantickitti}[spec.name](path)
    assert set(found) == set(source.names)
    for name, wanted in zip(source.names, predictions(dataset), strict=True):
        of_top = source.points_of(name).top_pixel >= 0 if spec.name == "waymo" else slice(None)
        np.testing.assert_array_equal(found[name][of_top], wanted[of_top])


def test_the_same_predictions_give_the_same_bytes(dataset, start):
    first, second = (filled(start(name), dataset).read_bytes() for name in ("a", "b"))
    assert first == second


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda count, classes: np.zeros(count + 1, np.int64), "shape"),
        (lambda count, classes: np.zeros((count, 1), np.int64), "shape"),
        (lambda count, classes: np.full(count, classes), "outside 0 to"),
        (lambda count, classes: np.full(count, -1), "outside 0 to"),
    ],
    ids=["longer", "two-dimensional", "too-large", "ignored"],
)
def test_a_prediction_that_does_not_fit_is_refused(dataset, start, wrong, message: str):
    spec, source = dataset
    submission, frame = start(), source[0]
    with pytest.raises(UserError, match=message) as error:
        submission.add(frame, wrong(len(frame.coord), len(spec.class_names)))
    assert str(error.value).startswith(f"{frame.path}: the prediction ")
    filled(submission, dataset)


def test_a_frame_added_twice_and_a_missing_one_are_refused(dataset, start, tmp_path: Path):
    submission, frame = start(), dataset[1][1]
    submission.add(frame, np.zeros(len(frame.coord), np.int64))
    with pytest.raises(UserError, match="added before"):
        submission.add(frame, np.zeros(len(frame.coord), np.int64))
    missing = min(dataset[1].names[0], dataset[1].names[2])
    with pytest.raises(UserError, match=f"2 frames have no prediction, {missing} for example"):
        submission.finish()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(start, tmp_path: Path):
    (tmp_path / "s").write_bytes(b"mine")
    with pytest.raises(UserError, match="exists already"):
        start("s")
    assert (tmp_path / "s").read_bytes() == b"mine"
    with pytest.raises(UserError, match="cannot be written"):
        start("s/below")


def test_semantickitti_s_files_hold_the_server_s_names_and_raw_ids(write_tree, tmp_path: Path):
    spec = dataset_spec("semantickitti")
    root = write_tree({"11": {"000000": (30, False)}})
    source = spec.open(root, sequences=["11"], require_labels=False)
    submission = spec.submission(tmp_path / "s.zip", source, "")
    submission.add(source[0], np.arange(30) % 19)
    content = entries(submission.finish())["sequences/11/predictions/000000.label"]
    # The official learning_map_inv, copied by hand.
    inverse = [10, 11, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 70, 71, 72, 80, 81]
    assert np.frombuffer(content, "<u4").tolist() == (inverse + inverse)[:30]


# ---- Waymo: the server's own message -------------------------------------------------------------


def test_the_bytes_are_those_of_the_server_s_message(tmp_path: Path):
    frame = tiny_frame(lasers=[LaserName.TOP], labeled=False)
    write_split(tmp_path / "testing", "v1", {"seg_a": [frame]})
    source = SPEC.open(tmp_path, "test", require_labels=False)
    submission = WaymoSubmission(
        tmp_path / "x.bin", source, account_name="a@b.org", method_name="ours"
    )
    lidar_frame = source[0]
    fewer = dataclasses.replace(lidar_frame, coord=lidar_frame.coord[:-1])
    with pytest.raises(UserError, match="points on disk"):
        submission.add(fewer, np.zeros(len(fewer.coord), dtype=np.int64))
    submission.add(lidar_frame, np.full(len(lidar_frame.coord), 21))
    message = Message(submission.finish().read_bytes(), range(1, 11))
    assert (message.text(1), message.text(2)) == ("a@b.org", "ours")
    # All lidars, no frames before or after.
    assert [message.integer(number, -1) for number in (7, 8, 9)] == [1, 0, 0]
    (listed,) = Message(message.content(10), (1,)).contents(1)
    one = Message(listed, (1, 2, 3))
    assert (one.text(2), one.integer(3)) == ("seg_a", 1000)
    laser = Message(one.content(1), (1, 2, 3))
    assert laser.integer(1) == 1
    for number, image in zip((2, 3), frame.lasers[0].returns, strict=True):
        data = zlib.decompress(Message(laser.content(number), (6,)).content(6))
        matrix = Message(data, (1, 2))
        assert Message(matrix.content(2), (1,)).integers(1).tolist() == [4, 6, 2]
        values = matrix.integers(1).reshape(4, 6, 2)
        assert (values[..., 0] == 0).all()
        np.testing.assert_array_equal(values[..., 1], np.where(image[..., 0] > 0, 22, 0))

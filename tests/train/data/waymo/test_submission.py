"""Submissions: what is written is what was predicted, in the server's own message."""

import dataclasses
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.train.data.waymo.frames import tiny_frame, tiny_split, write_split
from train.core.errors import UserError
from train.data.waymo import SPEC, Waymo, WaymoSubmission, read_submission
from train.data.waymo.frame import LaserName
from train.data.waymo.frame_proto import write_integers
from train.data.waymo.protobuf import Message, write_content, write_integer, write_text


@pytest.fixture(params=["v1", "v2"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Waymo:
    """Return three frames to predict."""
    split = tiny_split({"seg_a": [False, True], "seg_b": [False]})
    write_split(tmp_path / "testing", request.param, split)
    return SPEC.open(tmp_path, "test", require_labels=False)


def fill(submission: WaymoSubmission, source: Waymo) -> dict[str, np.ndarray]:
    """Add random predictions for all frames and return them."""
    rng = np.random.default_rng(0)
    predictions = {}
    for index in reversed(range(len(source))):
        sweep = source[index]
        predictions[sweep.name] = rng.integers(0, 22, len(sweep.coord))
        submission.add(sweep, predictions[sweep.name])
    return predictions


def test_predictions_come_back_at_their_pixels(source: Waymo, tmp_path: Path):
    submission = WaymoSubmission(tmp_path / "out/x.bin", source)
    predictions = fill(submission, source)
    path = submission.finish()
    assert path == tmp_path / "out/x.bin"
    assert [file.name for file in path.parent.iterdir()] == ["x.bin"]
    found = read_submission(path)
    assert set(found) == set(source.names)
    for name, images in found.items():
        assert images.shape == (2, 4, 6)
        where = source.top_pixels(name)
        of_top = where.pixel >= 0
        np.testing.assert_array_equal(
            images.reshape(-1)[where.pixel[of_top]], predictions[name][of_top]
        )
        assert (images >= 0).sum() == of_top.sum()


def test_the_bytes_are_those_of_the_server_s_message(tmp_path: Path):
    frame = tiny_frame(lasers=[LaserName.TOP], labeled=False)
    write_split(tmp_path / "testing", "v1", {"seg_a": [frame]})
    source = SPEC.open(tmp_path, "test", require_labels=False)
    submission = WaymoSubmission(
        tmp_path / "x.bin", source, account_name="a@b.org", method_name="ours"
    )
    sweep = source[0]
    submission.add(sweep, np.full(len(sweep.coord), 21))
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


@pytest.mark.parametrize(
    ("prediction", "said"),
    [
        (lambda count: np.zeros(count + 1, dtype=np.int64), "shape"),
        (lambda count: np.full(count, 22), "outside 0 to 21"),
        (lambda count: np.full(count, -1), "outside 0 to 21"),
    ],
)
def test_a_prediction_that_does_not_fit_is_refused(source, tmp_path, prediction, said: str):
    submission = WaymoSubmission(tmp_path / "x.bin", source)
    sweep = source[0]
    with pytest.raises(UserError, match=said):
        submission.add(sweep, prediction(len(sweep.coord)))
    fill(submission, source)
    submission.finish()


def test_points_that_are_not_those_on_disk_are_refused(source: Waymo, tmp_path: Path):
    submission = WaymoSubmission(tmp_path / "x.bin", source)
    sweep = source[0]
    fewer = dataclasses.replace(sweep, coord=sweep.coord[:-1])
    with pytest.raises(UserError, match="points on disk"):
        submission.add(fewer, np.zeros(len(fewer.coord), dtype=np.int64))


def test_a_sweep_added_twice_and_a_missing_one_are_refused(source: Waymo, tmp_path: Path):
    submission = WaymoSubmission(tmp_path / "x.bin", source)
    sweep = source[1]
    submission.add(sweep, np.zeros(len(sweep.coord), dtype=np.int64))
    with pytest.raises(UserError, match="added before"):
        submission.add(sweep, np.zeros(len(sweep.coord), dtype=np.int64))
    with pytest.raises(UserError, match="2 sweeps have no prediction, seg_a/1000 for example"):
        submission.finish()
    assert not list(tmp_path.glob("x.bin*"))


def test_a_place_that_cannot_be_written_is_named(source: Waymo, tmp_path: Path):
    (tmp_path / "x.bin").write_bytes(b"mine")
    with pytest.raises(UserError, match="exists already"):
        WaymoSubmission(tmp_path / "x.bin", source)
    assert (tmp_path / "x.bin").read_bytes() == b"mine"
    with pytest.raises(UserError, match="cannot be written"):
        WaymoSubmission(tmp_path / "x.bin/y.bin", source)


def listed(name: int = 1, shape=(2, 3, 2), value: int = 1, context: str = "seg") -> bytes:
    """Return one frame of a submission."""
    image = write_integers(np.full(shape, value, dtype=np.int32))
    other = write_integers(np.full((2, 3, 2), 1, dtype=np.int32))
    laser = write_integer(1, name) + write_content(2, write_content(6, image))
    laser += write_content(3, write_content(6, other))
    frame = write_content(1, laser) + write_text(2, context) + write_integer(3, 7)
    return write_content(1, frame)


@pytest.mark.parametrize(
    ("results", "said"),
    [
        (b"", "no frames"),
        (listed(name=2), "another lidar than TOP"),
        (listed(shape=(2, 4, 2)), "have shapes"),
        (listed(shape=(2, 3, 3)), "shape"),
        (listed(value=23), "class that there is not"),
        (listed(value=-1), "class that there is not"),
        (listed() * 2, "seg/7 comes twice"),
        (write_integer(1, 5), "holds field 1"),
        (b"\xff", "runs past the end"),
    ],
)
def test_what_is_no_submission_is_refused(tmp_path: Path, results: bytes, said: str):
    path = tmp_path / "x.bin"
    path.write_bytes(write_content(10, results))
    with pytest.raises(UserError, match=said) as error:
        read_submission(path)
    assert str(error.value).startswith(f"{path}: ")
    path.write_bytes(write_content(10, listed()))
    assert list(read_submission(path)) == ["seg/7"]
    with pytest.raises(UserError, match="cannot be read"):
        read_submission(tmp_path / "nope.bin")

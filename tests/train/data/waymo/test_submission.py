"""Waymo's submission: the server's own message."""

import dataclasses
import zlib
from pathlib import Path

import numpy as np
import pytest

from tests.train.data.waymo.frames import tiny_frame, write_split
from train.core.errors import UserError
from train.data.waymo import SPEC, WaymoSubmission
from train.data.waymo.frame import LaserName
from train.data.waymo.protobuf import Message


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

"""Frames as v1 bytes: written and read back, read by a library that is not ours, and damaged."""

import struct
import zlib

import numpy as np
import pytest

from tests.train.data.waymo.conftest import tiny_frame
from tests.train.data.waymo.test_protobuf import message_class
from train.data.waymo import frame_proto as proto
from train.data.waymo.frame import Frame, FrameError, LaserName
from train.data.waymo.frame_proto import (
    MAX_MATRIX_BYTES,
    read_floats,
    read_frame,
    read_integers,
    write_floats,
    write_frame,
    write_integers,
)
from train.data.waymo.protobuf import WireError, write_content, write_doubles, write_integer


def assert_same(found: Frame, expected: Frame) -> None:
    """Check that two frames hold the same, bit for bit."""
    assert (found.context, found.timestamp_micros) == (expected.context, expected.timestamp_micros)
    np.testing.assert_array_equal(found.pose, expected.pose)
    assert [laser.name for laser in found.lasers] == [laser.name for laser in expected.lasers]
    for ours, theirs in zip(found.lasers, expected.lasers, strict=True):
        for name in ("extrinsic", "inclinations", "inclination_min", "inclination_max"):
            np.testing.assert_array_equal(
                getattr(ours.calibration, name), getattr(theirs.calibration, name)
            )
        pairs = zip(
            (*ours.returns, ours.pixel_pose, *ours.labels),
            (*theirs.returns, theirs.pixel_pose, *theirs.labels),
            strict=True,
        )
        for image, wanted in pairs:
            assert (image is None) == (wanted is None)
            if image is not None:
                assert image.dtype == wanted.dtype
                np.testing.assert_array_equal(image, wanted)


@pytest.mark.parametrize("labeled", [True, False])
def test_what_is_written_is_read(labeled: bool):
    frame = tiny_frame(labeled=labeled)
    assert_same(read_frame(write_frame(frame)), frame)


def test_lasers_are_found_by_name_whatever_the_order_of_their_calibrations():
    frame = tiny_frame()
    data = write_frame(frame)
    message = proto.Message(data, (1, 2, 3, 5))
    inner = proto.Message(message.content(1), (1, 3))
    turned = proto.write_text(1, frame.context) + b"".join(
        write_content(3, bytes(part)) for part in reversed(inner.contents(3))
    )
    moved = (
        write_content(1, turned)
        + write_integer(2, frame.timestamp_micros)
        + write_content(3, bytes(message.content(3)))
        + b"".join(write_content(5, bytes(part)) for part in message.contents(5))
    )
    assert moved != data
    assert_same(read_frame(moved), frame)


def test_an_empty_laser_message_is_left_out():
    data = write_frame(tiny_frame(lasers=[])) + write_content(5, b"") * 3
    data += write_content(5, write_integer(1, 1) + write_content(2, b""))
    assert read_frame(data).lasers == ()


def test_a_matrix_has_the_bytes_of_its_message():
    image = np.array([[[1, -1]]], dtype=np.int32)
    data = zlib.decompress(write_integers(image))
    assert data == b"\x0a\x0b\x01" + b"\xff" * 9 + b"\x01" + b"\x12\x06\x08\x01\x08\x01\x08\x02"
    floats = zlib.decompress(write_floats(np.array([[[0.5]]], dtype=np.float32)))
    assert floats == b"\x0a\x04" + struct.pack("<f", 0.5) + b"\x12\x06\x08\x01\x08\x01\x08\x01"


def matrix(data: bytes, dims: list[int]) -> memoryview:
    """Return a compressed matrix of raw data bytes and any shape."""
    shape = b"".join(write_integer(1, size) for size in dims)
    return memoryview(zlib.compress(write_content(1, data) + write_content(2, shape)))


@pytest.mark.parametrize(
    ("dims", "said"),
    [
        ([], r"shape \(\), expected"),
        ([2, 2], r"shape \(2, 2\)"),
        ([2, 2, 3], r"shape \(2, 2, 3\), expected \(rows, columns, 2\)"),
        ([2, 2, 2, 1], "shape"),
        ([0, 4, 2], "shape"),
        ([-2, -2, 2], "shape"),
        ([2, 3, 2], "8 values, its shape .* needs 12"),
        ([1, 2, 2], "8 values, its shape .* needs 4"),
        ([1 << 20, 1 << 20, 2], r"expected \(rows"),
        ([1 << 62, 1 << 62, 2], r"expected \(rows"),
        (list(range(100)), r"shape \(0, 1, 2, 3, 4, \.\.\.\)"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(dims: list[int], said: str):
    with pytest.raises(FrameError, match=said):
        read_floats(matrix(bytes(32), dims), 2, "it")
    with pytest.raises(FrameError, match=said):
        read_integers(matrix(bytes(8), dims), 2, "it")


def test_an_integer_of_more_than_32_bits_is_refused():
    assert read_integers(matrix(b"\xff" * 9 + b"\x01\x00", [1, 1, 2]), 2, "it")[0, 0, 0] == -1
    with pytest.raises(FrameError, match="more than 32 bits"):
        read_integers(matrix(b"\xff\xff\xff\xff\x0f\x00", [1, 1, 2]), 2, "it")


def test_what_unpacks_to_too_much_is_not_unpacked():
    bomb = memoryview(zlib.compress(bytes(MAX_MATRIX_BYTES + 1)))
    assert len(bomb) < 20_000
    with pytest.raises(WireError, match="unpacks to more than"):
        read_floats(bomb, 4, "it")


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_what_cannot_be_unpacked_is_refused(cut: int):
    whole = write_floats(np.ones((3, 3, 4), dtype=np.float32))
    with pytest.raises(WireError, match="cut short"):
        read_floats(memoryview(whole[:-cut]), 4, "it")
    with pytest.raises(WireError, match="cannot be unpacked"):
        read_floats(memoryview(b"\x00" + whole[1:]), 4, "it")


def pose_of(values: np.ndarray) -> bytes:
    """Return a frame that has nothing but a name and this pose."""
    context = write_content(1, b"seg")
    return write_content(1, context) + write_content(3, write_doubles(1, values))


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.zeros(0), "has 0 numbers"),
        (np.zeros(17), "has 17 numbers"),
        (np.zeros(16), "no rotation"),
        (np.full(16, np.nan), "no rotation"),
        (np.diag([1.0, 1.0, -1.0, 1.0]).reshape(-1), "no rotation"),
        (np.diag([2.0, 2.0, 2.0, 1.0]).reshape(-1), "no rotation"),
        (np.diag([1.0, 1.0, 1.0, 2.0]).reshape(-1), "no rotation"),
        (np.where(np.arange(16) == 3, np.inf, np.eye(4).reshape(-1)), "no rotation"),
    ],
)
def test_a_pose_that_is_none_is_refused(values: np.ndarray, said: str):
    with pytest.raises(FrameError, match=f"pose.*{said}"):
        read_frame(pose_of(values))


def test_a_lidar_without_calibration_or_of_an_unknown_number_is_refused():
    image = write_content(2, write_floats(np.ones((1, 1, 4), dtype=np.float32)))
    start = pose_of(np.eye(4).reshape(-1))
    rear = write_content(5, write_integer(1, LaserName.REAR) + write_content(2, image))
    with pytest.raises(FrameError, match="REAR has no calibration"):
        read_frame(start + rear)
    with pytest.raises(FrameError, match="no lidar number 6"):
        read_frame(start + write_content(5, write_integer(1, 6) + write_content(2, image)))


@pytest.mark.parametrize("angle", [np.nan, 2.0])
def test_a_beam_that_looks_nowhere_is_refused(angle: float):
    frame = tiny_frame(lasers=[LaserName.TOP])
    calibration = frame.lasers[0].calibration
    calibration.inclinations[2] = angle
    with pytest.raises(FrameError, match="beam inclination"):
        read_frame(write_frame(frame))


# The format's published field numbers.
MESSAGES = {
    "Frame": [("context", 1, "Context"), ("timestamp_micros", 2, "int64"),
              ("pose", 3, "Transform"), ("lasers", 5, "Laser*")],
    "Context": [("name", 1, "string"), ("laser_calibrations", 3, "LaserCalibration*")],
    "LaserCalibration": [("name", 1, "int32"), ("beam_inclinations", 2, "double*"),
                         ("beam_inclination_min", 3, "double"),
                         ("beam_inclination_max", 4, "double"), ("extrinsic", 5, "Transform")],
    "Transform": [("transform", 1, "double*")],
    "Laser": [("name", 1, "int32"), ("ri_return1", 2, "RangeImage"),
              ("ri_return2", 3, "RangeImage")],
    "RangeImage": [("range_image_compressed", 2, "bytes"),
                   ("range_image_pose_compressed", 4, "bytes"),
                   ("segmentation_label_compressed", 6, "bytes")],
    "MatrixFloat": [("data", 1, "float+"), ("shape", 2, "MatrixShape")],
    "MatrixInt32": [("data", 1, "int32+"), ("shape", 2, "MatrixShape")],
    "MatrixShape": [("dims", 1, "int32*")],
}  # fmt: skip


@pytest.mark.oracle
def test_google_s_own_library_finds_every_part_where_the_format_has_it():
    frame = tiny_frame()
    theirs = message_class(MESSAGES, "Frame")()
    theirs.ParseFromString(write_frame(frame))
    assert (theirs.context.name, theirs.timestamp_micros) == ("seg_a", 1000)
    np.testing.assert_array_equal(theirs.pose.transform, frame.pose.reshape(-1))
    for laser, calibration, ours in zip(
        theirs.lasers, theirs.context.laser_calibrations, frame.lasers, strict=True
    ):
        assert laser.name == calibration.name == ours.name
        extrinsic = ours.calibration.extrinsic.reshape(-1)
        np.testing.assert_array_equal(calibration.extrinsic.transform, extrinsic)
        assert calibration.beam_inclination_min == ours.calibration.inclination_min
        assert calibration.beam_inclination_max == ours.calibration.inclination_max
        listed = ours.calibration.inclinations
        assert list(calibration.beam_inclinations) == ([] if listed is None else listed.tolist())
        for index, part in enumerate((laser.ri_return1, laser.ri_return2)):
            matrices = [(part.range_image_compressed, ours.returns[index], "MatrixFloat")]
            if index == 0 and ours.pixel_pose is not None:
                poses = part.range_image_pose_compressed
                matrices.append((poses, ours.pixel_pose, "MatrixFloat"))
            if ours.labels[index] is not None:
                labels = part.segmentation_label_compressed
                matrices.append((labels, ours.labels[index], "MatrixInt32"))
            for data, image, kind in matrices:
                parsed = message_class(MESSAGES, kind)()
                parsed.ParseFromString(zlib.decompress(data))
                values = np.array(parsed.data, dtype=image.dtype)
                np.testing.assert_array_equal(values.reshape(list(parsed.shape.dims)), image)
    # What the library writes of it, our reader reads.
    assert_same(read_frame(theirs.SerializeToString()), frame)

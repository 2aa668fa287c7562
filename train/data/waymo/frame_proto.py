"""Frames as v1 stores them: the protocol buffer `waymo.open_dataset.Frame`, read and written.

The numbers of its fields stand in this file alone.
"""

import zlib
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.data.waymo.frame import (
    LABEL_CHANNELS,
    POSE_CHANNELS,
    RANGE_CHANNELS,
    Calibration,
    Frame,
    FrameError,
    Laser,
    LaserName,
    checked_calibration,
    checked_image,
    checked_transform,
)
from train.data.waymo.protobuf import (
    Message,
    WireError,
    pack_varints,
    write_content,
    write_double,
    write_doubles,
    write_integer,
    write_text,
)

FRAME_CONTEXT: Final = 1
FRAME_TIMESTAMP: Final = 2
FRAME_POSE: Final = 3
FRAME_LASERS: Final = 5
CONTEXT_NAME: Final = 1
CONTEXT_CALIBRATIONS: Final = 3
CALIBRATION_NAME: Final = 1
CALIBRATION_INCLINATIONS: Final = 2
CALIBRATION_MIN: Final = 3
CALIBRATION_MAX: Final = 4
CALIBRATION_EXTRINSIC: Final = 5
TRANSFORM_MATRIX: Final = 1
LASER_NAME: Final = 1
LASER_RETURNS: Final = (2, 3)
IMAGE_RANGES: Final = 2
IMAGE_POSES: Final = 4
IMAGE_LABELS: Final = 6
MATRIX_DATA: Final = 1
MATRIX_SHAPE: Final = 2
SHAPE_DIMS: Final = 1

MAX_MATRIX_BYTES: Final = 1 << 24
"""A real image unpacks to 4 MB at most; what unpacks to more than four times that is damaged."""


def read_frame(data: bytes | memoryview) -> Frame:
    """Return a frame; lidars without a range image are left out.

    Raises
    ------
    WireError, FrameError
        If the bytes are no frame, or parts of it are missing or do not fit together.
    """
    message = Message(data, (FRAME_CONTEXT, FRAME_TIMESTAMP, FRAME_POSE, FRAME_LASERS))
    context = Message(message.content(FRAME_CONTEXT), (CONTEXT_NAME, CONTEXT_CALIBRATIONS))
    pose = _read_transform(message.content(FRAME_POSE), "the frame's pose")
    calibrations = _read_calibrations(context.contents(CONTEXT_CALIBRATIONS))
    lasers = [_read_laser(part, calibrations) for part in message.contents(FRAME_LASERS)]
    return Frame(
        context.text(CONTEXT_NAME),
        message.integer(FRAME_TIMESTAMP),
        pose,
        tuple(laser for laser in lasers if laser is not None),
    )


def write_frame(frame: Frame) -> bytes:
    """Return a frame's bytes."""
    calibrations = (
        write_content(CONTEXT_CALIBRATIONS, _write_calibration(laser.name, laser.calibration))
        for laser in frame.lasers
    )
    context = write_text(CONTEXT_NAME, frame.context) + b"".join(calibrations)
    return b"".join(
        (
            write_content(FRAME_CONTEXT, context),
            write_integer(FRAME_TIMESTAMP, frame.timestamp_micros),
            write_content(FRAME_POSE, write_doubles(TRANSFORM_MATRIX, frame.pose.reshape(-1))),
            *(write_content(FRAME_LASERS, _write_laser(laser)) for laser in frame.lasers),
        )
    )


def read_floats(data: memoryview, channels: int, what: str) -> NDArray[np.float32]:
    """Return a compressed MatrixFloat as an image (H, W, channels).

    Raises
    ------
    WireError, FrameError
        If it cannot be unpacked, or its shape is not that of an image.
    """
    message, dims = _read_matrix(data, what)
    return checked_image(message.floats(MATRIX_DATA), dims, channels, what)


def read_integers(data: memoryview, channels: int, what: str) -> NDArray[np.int32]:
    """Return a compressed MatrixInt32 as an image (H, W, channels); raises as `read_floats`."""
    message, dims = _read_matrix(data, what)
    values = message.integers(MATRIX_DATA)
    if len(values) and (values.min() < -(1 << 31) or values.max() >= 1 << 31):
        raise FrameError(f"{what} has values of more than 32 bits")
    return checked_image(values.astype(np.int32), dims, channels, what)


def write_floats(image: NDArray[np.float32]) -> bytes:
    """Return an image as a compressed MatrixFloat."""
    return _write_matrix(image.astype("<f4").tobytes(), image.shape)


def write_integers(image: NDArray[np.int32]) -> bytes:
    """Return an image as a compressed MatrixInt32."""
    return _write_matrix(pack_varints(image), image.shape)


def _write_matrix(data: bytes, shape: Sequence[int]) -> bytes:
    """Return a compressed matrix of packed values."""
    dims = b"".join(write_integer(SHAPE_DIMS, size) for size in shape)
    return zlib.compress(write_content(MATRIX_DATA, data) + write_content(MATRIX_SHAPE, dims))


def _read_matrix(data: memoryview, what: str) -> tuple[Message, tuple[int, ...]]:
    """Return a compressed matrix's message and its shape."""
    message = Message(_unzip(data, what), (MATRIX_DATA, MATRIX_SHAPE))
    shape = Message(message.content(MATRIX_SHAPE), (SHAPE_DIMS,))
    return message, tuple(shape.integers(SHAPE_DIMS).tolist())


def _unzip(data: memoryview, what: str) -> bytes:
    """Return what is compressed in some bytes, if it is whole and of bounded size."""
    stream = zlib.decompressobj()
    try:
        unpacked = stream.decompress(data, MAX_MATRIX_BYTES)
    except zlib.error as error:
        raise WireError(f"{what} cannot be unpacked ({error})") from error
    if stream.unconsumed_tail:
        raise WireError(f"{what} unpacks to more than {MAX_MATRIX_BYTES} bytes")
    if not stream.eof:
        raise WireError(f"{what} cannot be unpacked (it is cut short)")
    return unpacked


def _read_transform(data: memoryview, what: str) -> NDArray[np.float64]:
    """Return a rigid transform."""
    values = Message(data, (TRANSFORM_MATRIX,)).doubles(TRANSFORM_MATRIX)
    return checked_transform(values, what)


def _read_calibrations(parts: Sequence[memoryview]) -> dict[int, Message]:
    """Return calibrations by lidar; only those that are used are looked into."""
    wanted = (
        CALIBRATION_NAME,
        CALIBRATION_INCLINATIONS,
        CALIBRATION_MIN,
        CALIBRATION_MAX,
        CALIBRATION_EXTRINSIC,
    )
    messages = [Message(part, wanted) for part in parts[: len(LaserName) + 1]]
    return {message.integer(CALIBRATION_NAME): message for message in messages}


def _read_calibration(messages: dict[int, Message], name: LaserName) -> Calibration:
    """Return one lidar's calibration."""
    if name not in messages:
        raise FrameError(f"{name.name} has no calibration")
    message = messages[name]
    extrinsic = Message(message.content(CALIBRATION_EXTRINSIC), (TRANSFORM_MATRIX,))
    return checked_calibration(
        extrinsic.doubles(TRANSFORM_MATRIX),
        message.doubles(CALIBRATION_INCLINATIONS),
        message.double(CALIBRATION_MIN),
        message.double(CALIBRATION_MAX),
        name.name,
    )


def _read_laser(data: memoryview, calibrations: dict[int, Message]) -> Laser | None:
    """Return what a lidar saw; None for a message without range images, whatever its name."""
    message = Message(data, (LASER_NAME, *LASER_RETURNS))
    wanted = (IMAGE_RANGES, IMAGE_POSES, IMAGE_LABELS)
    first, second = (Message(message.content(number), wanted) for number in LASER_RETURNS)
    number = message.integer(LASER_NAME)
    if not (first.content(IMAGE_RANGES) or second.content(IMAGE_RANGES)):
        if number == LaserName.TOP and first.content(IMAGE_LABELS):
            raise FrameError("TOP has labels, but no ranges")
        return None
    if number not in list(LaserName):
        raise FrameError(f"there is no lidar number {number}")
    name = LaserName(number)
    is_top = name == LaserName.TOP
    ranges: list[NDArray[np.float32] | None] = []
    labels: list[NDArray[np.int32] | None] = []
    for index, part in enumerate((first, second)):
        what = f"return {index + 1} of {name.name}"
        image, label = part.content(IMAGE_RANGES), part.content(IMAGE_LABELS)
        ranges.append(read_floats(image, RANGE_CHANNELS, f"{what}, ranges") if image else None)
        # Other lidars have no labels; a field that is there all the same would not be used.
        labels.append(
            read_integers(label, LABEL_CHANNELS, f"{what}, labels") if label and is_top else None
        )
    poses = first.content(IMAGE_POSES) if is_top else None
    return Laser(
        name,
        _read_calibration(calibrations, name),
        (ranges[0], ranges[1]),
        read_floats(poses, POSE_CHANNELS, "the pixel poses of TOP") if poses else None,
        (labels[0], labels[1]),
    )


def _write_calibration(name: LaserName, calibration: Calibration) -> bytes:
    """Return a calibration's bytes."""
    listed = calibration.inclinations
    extrinsic = write_doubles(TRANSFORM_MATRIX, calibration.extrinsic.reshape(-1))
    return b"".join(
        (
            write_integer(CALIBRATION_NAME, name),
            b"" if listed is None else write_doubles(CALIBRATION_INCLINATIONS, listed),
            write_double(CALIBRATION_MIN, calibration.inclination_min),
            write_double(CALIBRATION_MAX, calibration.inclination_max),
            write_content(CALIBRATION_EXTRINSIC, extrinsic),
        )
    )


def _write_laser(laser: Laser) -> bytes:
    """Return a lidar's bytes."""
    parts = [write_integer(LASER_NAME, laser.name)]
    for index, number in enumerate(LASER_RETURNS):
        image = b""
        ranges, labels = laser.returns[index], laser.labels[index]
        if ranges is not None:
            image += write_content(IMAGE_RANGES, write_floats(ranges))
        if index == 0 and laser.pixel_pose is not None:
            image += write_content(IMAGE_POSES, write_floats(laser.pixel_pose))
        if labels is not None:
            image += write_content(IMAGE_LABELS, write_integers(labels))
        parts.append(write_content(number, image))
    return b"".join(parts)

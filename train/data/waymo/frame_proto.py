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
    CameraCalibration,
    CameraName,
    Frame,
    FrameError,
    Laser,
    LaserName,
    Shot,
    checked_calibration,
    checked_camera_calibration,
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
FRAME_IMAGES: Final = 4
FRAME_LASERS: Final = 5
CONTEXT_NAME: Final = 1
CONTEXT_CAMERAS: Final = 2
CONTEXT_CALIBRATIONS: Final = 3
CALIBRATION_NAME: Final = 1
CALIBRATION_INCLINATIONS: Final = 2
CALIBRATION_MIN: Final = 3
CALIBRATION_MAX: Final = 4
CALIBRATION_EXTRINSIC: Final = 5
CAMERA_NAME: Final = 1
CAMERA_INTRINSICS: Final = 2
CAMERA_EXTRINSIC: Final = 3
CAMERA_WIDTH: Final = 4
CAMERA_HEIGHT: Final = 5
CAMERA_SHUTTER: Final = 6
GLOBAL_SHUTTER: Final = 5
SHOT_NAME: Final = 1
SHOT_IMAGE: Final = 2
SHOT_POSE: Final = 3
SHOT_POSE_TIME: Final = 5
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


def read_frame(data: bytes | memoryview, *, lasers: bool = True, cameras: bool = False) -> Frame:
    """Return a frame; lidars without a range image and cameras without an image are left out.

    Parameters
    ----------
    data
        The message's bytes.
    lasers, cameras
        What to read of it.

    Raises
    ------
    WireError, FrameError
        If the bytes are no frame, or parts of it are missing or do not fit together.
    """
    fields = (FRAME_CONTEXT, FRAME_TIMESTAMP, FRAME_POSE, FRAME_IMAGES, FRAME_LASERS)
    message = Message(data, fields)
    context = Message(
        message.content(FRAME_CONTEXT), (CONTEXT_NAME, CONTEXT_CAMERAS, CONTEXT_CALIBRATIONS)
    )
    pose = _read_transform(message.content(FRAME_POSE), "the frame's pose")
    calibrations = _read_calibrations(context.contents(CONTEXT_CALIBRATIONS))
    found = message.contents(FRAME_LASERS) if lasers else []
    seen = [_read_laser(part, calibrations) for part in found]
    shots: tuple[Shot, ...] = ()
    if cameras:
        cameras_by_name = _read_cameras(context.contents(CONTEXT_CAMERAS))
        parts = message.contents(FRAME_IMAGES)[: len(CameraName) + 1]
        taken = [_read_shot(part, cameras_by_name) for part in parts]
        shots = tuple(shot for shot in taken if shot is not None)
    return Frame(
        context.text(CONTEXT_NAME),
        message.integer(FRAME_TIMESTAMP),
        pose,
        tuple(laser for laser in seen if laser is not None),
        shots,
    )


def write_frame(frame: Frame) -> bytes:
    """Return a frame's bytes."""
    calibrations = (
        write_content(CONTEXT_CALIBRATIONS, _write_calibration(laser.name, laser.calibration))
        for laser in frame.lasers
    )
    cameras = (
        write_content(CONTEXT_CAMERAS, _write_camera(shot.name, shot.calibration))
        for shot in frame.shots
        if shot.calibration is not None
    )
    name = write_text(CONTEXT_NAME, frame.context)
    context = name + b"".join(cameras) + b"".join(calibrations)
    return b"".join(
        (
            write_content(FRAME_CONTEXT, context),
            write_integer(FRAME_TIMESTAMP, frame.timestamp_micros),
            write_content(FRAME_POSE, write_doubles(TRANSFORM_MATRIX, frame.pose.reshape(-1))),
            *(write_content(FRAME_IMAGES, _write_shot(shot)) for shot in frame.shots),
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


def _read_cameras(parts: Sequence[memoryview]) -> dict[int, CameraCalibration]:
    """Return the cameras' calibrations by number."""
    wanted = (CAMERA_NAME, CAMERA_INTRINSICS, CAMERA_EXTRINSIC, CAMERA_WIDTH, CAMERA_HEIGHT)
    found = {}
    for part in parts[: len(CameraName) + 1]:
        message = Message(part, wanted)
        number = message.integer(CAMERA_NAME)
        extrinsic = Message(message.content(CAMERA_EXTRINSIC), (TRANSFORM_MATRIX,))
        found[number] = checked_camera_calibration(
            message.doubles(CAMERA_INTRINSICS),
            extrinsic.doubles(TRANSFORM_MATRIX),
            message.integer(CAMERA_WIDTH),
            message.integer(CAMERA_HEIGHT),
            f"camera {number}",
        )
    return found


def _read_shot(data: memoryview, cameras: dict[int, CameraCalibration]) -> Shot | None:
    """Return a camera's image; None for a message without one."""
    message = Message(data, (SHOT_NAME, SHOT_IMAGE, SHOT_POSE, SHOT_POSE_TIME))
    jpeg, number = message.content(SHOT_IMAGE), message.integer(SHOT_NAME)
    if not jpeg:
        return None
    if number not in list(CameraName):
        raise FrameError(f"there is no camera number {number}")
    name = CameraName(number)
    pose = _read_transform(message.content(SHOT_POSE), f"the pose of camera {name.name}")
    time = message.double(SHOT_POSE_TIME)
    return Shot(name, cameras.get(number), bytes(jpeg), pose, time)


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


def _write_camera(name: CameraName, camera: CameraCalibration) -> bytes:
    """Return a camera's calibration's bytes."""
    extrinsic = write_doubles(TRANSFORM_MATRIX, camera.extrinsic.reshape(-1))
    return b"".join(
        (
            write_integer(CAMERA_NAME, name),
            write_doubles(CAMERA_INTRINSICS, camera.intrinsics),
            write_content(CAMERA_EXTRINSIC, extrinsic),
            write_integer(CAMERA_WIDTH, camera.width),
            write_integer(CAMERA_HEIGHT, camera.height),
            # Simulated images are taken at one moment.
            write_integer(CAMERA_SHUTTER, GLOBAL_SHUTTER),
        )
    )


def _write_shot(shot: Shot) -> bytes:
    """Return an image's bytes."""
    return b"".join(
        (
            write_integer(SHOT_NAME, shot.name),
            write_content(SHOT_IMAGE, shot.jpeg),
            write_content(SHOT_POSE, write_doubles(TRANSFORM_MATRIX, shot.pose.reshape(-1))),
            write_double(SHOT_POSE_TIME, shot.pose_timestamp_s),
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

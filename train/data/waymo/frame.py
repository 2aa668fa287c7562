"""One frame as both formats hold it: range images, camera images, where all were taken from.

The reader makes frames from either format, the writers take them; nothing here knows about files.

Shape letters: H rows (beams, the highest first), W columns (azimuth steps).
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from train.data.frame import is_rigid

RANGE_CHANNELS: Final = 4
"""Range in meters, intensity, elongation, no-label zone."""

POSE_CHANNELS: Final = 6
"""Roll, pitch, yaw in radians, x, y, z in meters: vehicle to world when a pixel was measured."""

LABEL_CHANNELS: Final = 2
"""Instance id, class."""

MAX_PIXELS: Final = 1 << 21
"""Twelve times a real TOP image; what claims to be larger is damaged."""


INTRINSICS: Final = 9
"""Focal lengths and center (f_u, f_v, c_u, c_v), then the lens: k1, k2, p1, p2, k3."""

_Number = TypeVar("_Number", np.float32, np.int32)


class FrameError(ValueError):
    """A frame's parts do not fit together; the reader says in which file."""


class LaserName(IntEnum):
    """The lidars, in the order in which their points come."""

    TOP = 1
    FRONT = 2
    SIDE_LEFT = 3
    SIDE_RIGHT = 4
    REAR = 5


@dataclass(frozen=True)
class Calibration:
    """Where a lidar sits and where its beams look.

    Attributes
    ----------
    extrinsic
        (4, 4) float64 from the lidar's frame to the vehicle's, meters.
    inclinations
        (H,) float64 radians, ascending as stored; None for beams that are evenly spaced.
    inclination_min, inclination_max
        Radians: between which edges the beams are spaced if they are not listed.
    """

    extrinsic: NDArray[np.float64]
    inclinations: NDArray[np.float64] | None
    inclination_min: float
    inclination_max: float

    def rows(self, height: int) -> NDArray[np.float64]:
        """Return the inclination of each row of an image, the highest beam first.

        Raises
        ------
        FrameError
            If another number of beams is listed.
        """
        if self.inclinations is None:
            span = self.inclination_max - self.inclination_min
            ascending = self.inclination_min + (np.arange(height) + 0.5) / height * span
        elif len(self.inclinations) == height:
            ascending = self.inclinations
        else:
            raise FrameError(
                f"{len(self.inclinations)} beam inclinations for an image of {height} rows"
            )
        return ascending[::-1]


@dataclass(frozen=True)
class Laser:
    """What one lidar saw.

    Attributes
    ----------
    name
        Which lidar.
    calibration
        Where it sits.
    returns
        Range images of the first and the second return, (H, W, 4) float32; None if not there. A
        pixel whose range is not above 0 saw nothing.
    pixel_pose
        (H, W, 6) float32 for both returns, TOP alone; None for the others.
    labels
        Labels of the first and the second return, (H, W, 2) int32; None without labels.
    """

    name: LaserName
    calibration: Calibration
    returns: tuple[NDArray[np.float32] | None, NDArray[np.float32] | None]
    pixel_pose: NDArray[np.float32] | None = None
    labels: tuple[NDArray[np.int32] | None, NDArray[np.int32] | None] = (None, None)


class CameraName(IntEnum):
    """The cameras."""

    FRONT = 1
    FRONT_LEFT = 2
    FRONT_RIGHT = 3
    SIDE_LEFT = 4
    SIDE_RIGHT = 5


@dataclass(frozen=True)
class CameraCalibration:
    """Where a camera sits and how it sees.

    Attributes
    ----------
    intrinsics
        (9,) float64, see `INTRINSICS`.
    extrinsic
        (4, 4) float64 from the camera's frame (x forward, y left, z up) to the vehicle's.
    width, height
        Pixels.
    """

    intrinsics: NDArray[np.float64]
    extrinsic: NDArray[np.float64]
    width: int
    height: int


@dataclass(frozen=True)
class Shot:
    """One image of one camera.

    Attributes
    ----------
    name
        Which camera.
    calibration
        The camera's; None if the file has none for it.
    jpeg
        The image's bytes.
    pose
        (4, 4) float64 from the vehicle's frame to the world at `pose_timestamp_s`.
    pose_timestamp_s
        The time of the image's middle, seconds since 1970.
    """

    name: CameraName
    calibration: CameraCalibration | None
    jpeg: bytes
    pose: NDArray[np.float64]
    pose_timestamp_s: float


@dataclass(frozen=True)
class Frame:
    """One turn of all lidars.

    Attributes
    ----------
    context
        The segment's name.
    timestamp_micros
        When.
    pose
        (4, 4) float64 from the vehicle's frame to the world, meters.
    lasers
        At most one of each name, in any order.
    shots
        What the cameras saw, in any order; none unless they are asked for.
    """

    context: str
    timestamp_micros: int
    pose: NDArray[np.float64]
    lasers: tuple[Laser, ...]
    shots: tuple[Shot, ...] = ()

    @property
    def name(self) -> str:
        """The frame's name, "CONTEXT/TIMESTAMP_MICROS"."""
        return f"{self.context}/{self.timestamp_micros}"


def checked_image(
    values: NDArray[_Number], dims: tuple[int, ...], channels: int, what: str
) -> NDArray[_Number]:
    """Return flat values as an image (H, W, channels).

    Raises
    ------
    FrameError
        If the shape has other channels, is empty or too large, or does not hold so many values.
    """
    height, width, found = dims if len(dims) == 3 else (0, 0, 0)
    if found != channels or height < 1 or width < 1 or height * width > MAX_PIXELS:
        raise FrameError(f"{what} has shape {_show(dims)}, expected (rows, columns, {channels})")
    if len(values) != height * width * channels:
        raise FrameError(
            f"{what} has {len(values)} values, its shape {_show(dims)} needs "
            f"{height * width * channels}"
        )
    return values.reshape(height, width, channels)


def checked_calibration(
    extrinsic: NDArray[np.float64],
    inclinations: NDArray[np.float64],
    inclination_min: float,
    inclination_max: float,
    what: str,
) -> Calibration:
    """Return a calibration; no listed inclinations mean evenly spaced beams.

    Raises
    ------
    FrameError
        If the extrinsic is no rigid transform or an angle is not one.
    """
    listed = inclinations if len(inclinations) else None
    angles = [inclination_min, inclination_max] if listed is None else listed
    # Straight down is an angle too, also when it was rounded to float32.
    if not (np.abs(angles) <= np.pi / 2 + 1e-6).all():
        raise FrameError(f"{what} has a beam inclination that is no angle within 90 degrees")
    return Calibration(
        checked_transform(extrinsic, f"the extrinsic of {what}"),
        listed,
        float(inclination_min),
        float(inclination_max),
    )


def checked_camera_calibration(
    intrinsics: NDArray[np.float64],
    extrinsic: NDArray[np.float64],
    width: int,
    height: int,
    what: str,
) -> CameraCalibration:
    """Return a calibration.

    Raises
    ------
    FrameError
        If there are not nine intrinsics, or the extrinsic is no rigid transform.
    """
    if len(intrinsics) != INTRINSICS:
        raise FrameError(f"{what} has {len(intrinsics)} intrinsics, expected {INTRINSICS}")
    checked = checked_transform(extrinsic, f"the extrinsic of {what}")
    return CameraCalibration(intrinsics, checked, width, height)


def checked_transform(values: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    """Return 16 numbers as a rigid transform (4, 4).

    Raises
    ------
    FrameError
        If there are not 16, one is not finite, or it is not a rotation with a translation.
    """
    if len(values) != 16:
        raise FrameError(f"{what} has {len(values)} numbers, expected 16 (a 4 x 4 matrix)")
    matrix = values.reshape(4, 4)
    if not (np.abs(matrix) < 1e7).all() or not is_rigid(matrix):
        raise FrameError(f"{what} is no rotation with a translation")
    return matrix


def _show(dims: tuple[int, ...]) -> str:
    """Return a shape, cut if it is long."""
    return f"({', '.join(map(str, dims[:5]))}{', ...' if len(dims) > 5 else ''})"

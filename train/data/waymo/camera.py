"""A camera's image as both formats hold it, and what it is to the points of its frame.

Waymo's cameras are pinholes with a lens (Brown's model) and a rolling shutter that reads columns or
rows one after the other. An image has one pose, the vehicle's at the time of the image's middle:
that pose is used for all of it. Towards the edges the vehicle was up to half a readout before or
after it; `docs/guides/cameras.md` says how many pixels that is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.frame import SKIP_HINT, CameraImage
from train.data.waymo.transform import FrameError, checked_transform

INTRINSICS: Final = 9
"""Focal lengths and center (f_u, f_v, c_u, c_v), then the lens: k1, k2, p1, p2, k3."""

# Waymo's camera frame has x forward, y left, z up.
_OPTICAL: Final = np.array(
    [[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)


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


def camera_images(
    shots: Sequence[Shot], pose: NDArray[np.float64], timestamp_micros: int, path: Path
) -> tuple[CameraImage, ...]:
    """Return a frame's images as its points are to them.

    Parameters
    ----------
    shots
        What the cameras saw, in any order.
    pose, timestamp_micros
        The frame's.
    path
        The file, for errors.

    Raises
    ------
    UserError
        If there are no images, one has no calibration, or a calibration cannot be used.
    """
    where = f"{path}: frame {timestamp_micros}"
    if not shots:
        raise UserError(
            f"{where} has no camera images; download the files that have them, {SKIP_HINT}"
        )
    images = []
    for shot in sorted(shots, key=lambda shot: shot.name):
        camera = shot.calibration
        if camera is None:
            raise UserError(
                f"{where}: camera {shot.name.name}: the image has no calibration; copy the file "
                f"again, {SKIP_HINT}"
            )
        f_u, f_v, c_u, c_v, *lens = camera.intrinsics.tolist()
        vehicle_from_world = np.linalg.inv(shot.pose)
        images.append(
            CameraImage(
                name=shot.name.name,
                intrinsic=np.array([[f_u, 0.0, c_u], [0.0, f_v, c_v], [0.0, 0.0, 1.0]]),
                camera_from_points=_OPTICAL
                @ np.linalg.inv(camera.extrinsic)
                @ (vehicle_from_world @ pose),
                width=camera.width,
                height=camera.height,
                time_offset_s=shot.pose_timestamp_s - timestamp_micros * 1e-6,
                encoded=shot.jpeg,
                place=where,
                distortion=tuple(lens) if any(lens) else (),
            )
        )
    return tuple(images)

"""What a camera's image is to the points of its frame.

Waymo's cameras are pinholes with a lens (Brown's model) and a rolling shutter that reads columns or
rows one after the other. An image has one pose, the vehicle's at the time of the image's middle:
that pose is used for all of it. Towards the edges the vehicle was up to half a readout before or
after it; `docs/guides/cameras.md` says how many pixels that is.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.frame import SKIP_HINT, CameraImage
from train.data.waymo.frame import Shot

# Waymo's camera frame has x forward, y left, z up.
_OPTICAL: Final = np.array(
    [[0.0, -1.0, 0.0, 0.0], [0.0, 0.0, -1.0, 0.0], [1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)


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

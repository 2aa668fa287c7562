"""Which cameras the vehicles of the datasets carry, and when in a sweep each takes its image."""

from typing import Final

import numpy as np

from train.simulation.simulator.camera import PinholeCamera, pinhole
from train.simulation.simulator.sensor import SpinningLidar

_NUSCENES: Final = (
    ("CAM_FRONT", (1.70, 0.0, 1.51), 0.0, 70.0),
    ("CAM_FRONT_RIGHT", (1.55, -0.49, 1.50), -55.0, 70.0),
    ("CAM_BACK_RIGHT", (1.01, -0.48, 1.56), -110.0, 70.0),
    ("CAM_BACK", (0.03, 0.0, 1.57), 180.0, 110.0),
    ("CAM_BACK_LEFT", (1.04, 0.48, 1.56), 110.0, 70.0),
    ("CAM_FRONT_LEFT", (1.52, 0.49, 1.51), 55.0, 70.0),
)
_WAYMO: Final = (
    ("FRONT", (1.54, -0.02, 2.12), 0.0, 50.0),
    ("FRONT_LEFT", (1.49, 0.09, 2.12), 45.0, 50.0),
    ("FRONT_RIGHT", (1.49, -0.10, 2.12), -45.0, 50.0),
    ("SIDE_LEFT", (1.43, 0.12, 2.12), 90.0, 50.0),
    ("SIDE_RIGHT", (1.43, -0.11, 2.12), -90.0, 50.0),
)
_KITTI: Final = (("image_2", (0.27, 0.06, 1.68), 0.0, 82.0),)


def nuscenes_cameras() -> tuple[PinholeCamera, ...]:
    """Return nuScenes' six cameras, about where they are mounted, as wide as they see.

    Images are 320 x 160 instead of 1600 x 900, and so a little flatter.
    """
    return _cameras(_NUSCENES)


def waymo_cameras() -> tuple[PinholeCamera, ...]:
    """Return Waymo's five cameras, in the order of their numbers, without a lens's distortion."""
    return _cameras(_WAYMO)


def kitti_cameras() -> tuple[PinholeCamera, ...]:
    """Return KITTI's left color camera; the vehicle's frame is on the ground below the lidar."""
    return _cameras(_KITTI)


def share_of_turn(lidar: SpinningLidar, yaw_deg: float) -> float:
    """Return when in its turn a lidar looks where a camera does, as a share of the turn.

    Cameras are triggered then, so that both see the same moment.

    Parameters
    ----------
    lidar
        Its mount may be turned about the vertical axis.
    yaw_deg
        Where the camera looks, from the vehicle's heading to the left.
    """
    mounted_deg = float(np.rad2deg(np.arctan2(lidar.mount[1, 0], lidar.mount[0, 0])))
    turned = yaw_deg - mounted_deg - lidar.first_azimuth_deg
    return float((-turned if lidar.clockwise else turned) % 360.0 / 360.0)


def _cameras(
    rows: tuple[tuple[str, tuple[float, float, float], float, float], ...],
) -> tuple[PinholeCamera, ...]:
    return tuple(pinhole(name, place, yaw, view_deg=view) for name, place, yaw, view in rows)

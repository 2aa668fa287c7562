"""How sweeps are shown: a color for each class, and where points are as the sensor sees them.

Shape letters: N points.
"""

import numpy as np
from numpy.typing import NDArray

CLASS_COLORS = {
    "car": (0.39, 0.59, 0.96),
    "bicycle": (0.39, 0.90, 0.96),
    "motorcycle": (0.12, 0.24, 0.59),
    "truck": (0.31, 0.12, 0.71),
    "bus": (0.39, 0.31, 0.98),
    "other-vehicle": (0.20, 0.20, 1.00),
    "construction_vehicle": (0.00, 0.35, 0.75),
    "trailer": (0.55, 0.35, 0.75),
    "person": (1.00, 0.12, 0.12),
    "pedestrian": (1.00, 0.12, 0.12),
    "bicyclist": (1.00, 0.16, 0.78),
    "motorcyclist": (0.59, 0.12, 0.35),
    "road": (0.90, 0.00, 0.90),
    "driveable_surface": (0.90, 0.00, 0.90),
    "lane-marker": (1.00, 0.55, 1.00),
    "parking": (1.00, 0.59, 1.00),
    "sidewalk": (0.45, 0.15, 0.45),
    "curb": (0.75, 0.35, 0.60),
    "other-ground": (0.69, 0.00, 0.29),
    "other_flat": (0.69, 0.00, 0.29),
    "walkable": (0.59, 0.94, 0.31),
    "building": (1.00, 0.78, 0.00),
    "manmade": (1.00, 0.78, 0.00),
    "fence": (1.00, 0.47, 0.20),
    "barrier": (1.00, 0.47, 0.20),
    "vegetation": (0.00, 0.69, 0.00),
    "trunk": (0.53, 0.24, 0.00),
    "tree-trunk": (0.53, 0.24, 0.00),
    "terrain": (0.59, 0.94, 0.31),
    "pole": (1.00, 0.94, 0.59),
    "traffic-sign": (1.00, 0.00, 0.00),
    "sign": (0.80, 0.00, 0.00),
    "traffic-light": (0.00, 1.00, 0.75),
    "construction-cone": (1.00, 0.47, 0.20),
    "traffic_cone": (0.00, 1.00, 0.75),
}
"""Colors that readers of SemanticKITTI's pictures know; like classes elsewhere have the same."""

UNLABELED_COLOR = (0.35, 0.35, 0.35)


def class_colors(class_names: tuple[str, ...]) -> NDArray[np.float64]:
    """Return a color (red, green, blue in 0..1) for each class, then the one for no class."""
    rows = []
    for number, name in enumerate(class_names):
        around = number * 0.618034 * 2 * np.pi
        default = tuple(0.55 + 0.45 * np.cos(around + shift) for shift in (0.0, 2.1, 4.2))
        rows.append(CLASS_COLORS.get(name, default))
    return np.array([*rows, UNLABELED_COLOR], dtype=np.float64)


def directions(
    coord: NDArray[np.float32], origin_m: tuple[float, float, float], forward_deg: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return where points are as seen from the sensor.

    Parameters
    ----------
    coord
        (N, 3).
    origin_m, forward_deg
        Where the sensor is in the points' frame, and which way the vehicle heads, from x towards y.

    Returns
    -------
    azimuth_deg, elevation_deg, range_m
        (N,) each. Azimuth is in [-180, 180), 0 ahead and positive to the left.
    """
    x, y, z = coord.astype(np.float64).T - np.array(origin_m)[:, None]
    range_m = np.sqrt(x * x + y * y + z * z)
    azimuth = (np.rad2deg(np.arctan2(y, x)) - forward_deg + 180.0) % 360.0 - 180.0
    elevation = np.rad2deg(np.arcsin(np.clip(z / np.maximum(range_m, 1e-9), -1.0, 1.0)))
    return azimuth, elevation, range_m

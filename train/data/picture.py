"""Draws a sweep from above and as the sensor sees it, colored by class, remission and range.

Shape letters: N points.
"""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from train.data.frame import LidarFrame

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


_DEGREES_A_PANEL = 30.0
_POINTS_A_PANORAMA = 200_000  # of dots of one square point; fewer points get larger dots


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


def draw(
    sweep: LidarFrame,
    class_names: tuple[str, ...],
    path: Path,
    *,
    extent_m: float = 50.0,
    origin_m: tuple[float, float, float] = (0.0, 0.0, 0.0),
    forward_deg: float = 0.0,
) -> None:
    """Write a PNG with two views from above and three panoramas from the sensor.

    All points are drawn as seen from one place, the farthest first, so that what is near hides what
    is behind it: with several lidars, too, this is what one would see from there.

    Parameters
    ----------
    sweep
        With or without labels.
    class_names
        In the order of train ids.
    path
        The file to write.
    extent_m
        How far the views from above reach, either way.
    origin_m, forward_deg
        As for `directions`.
    """
    azimuth, elevation, range_m = directions(sweep.coord, origin_m, forward_deg)
    number = np.full(len(range_m), -1) if sweep.segment is None else sweep.segment
    by_class = class_colors(class_names)[number]
    strength = sweep.strength[:, 0].astype(np.float64)
    strength = strength / max(float(np.quantile(strength, 0.98)), 1e-9)
    by_strength = colormaps["viridis"](np.clip(strength, 0.0, 1.0))
    by_range = colormaps["turbo"](np.log(np.maximum(range_m, 2.0) / 2.0) / np.log(40.0))
    # A degree is as high in every picture, but for lidars that look down at their own bumper.
    span = float(np.quantile(elevation, 0.999) - np.quantile(elevation, 0.001))
    height = min(max(span / _DEGREES_A_PANEL, 0.5), 2.5)
    figure = Figure(figsize=(20, 11 + 4 * height), layout="constrained")
    figure.suptitle(f"{sweep.name}, {len(range_m):,} points")
    grid = figure.add_gridspec(4, 2, height_ratios=[3, height, height, height])
    from_above = np.argsort(sweep.coord[:, 2], kind="stable")
    for column, (color, title) in enumerate(((by_class, "class"), (by_strength, "strength"))):
        axes = figure.add_subplot(grid[0, column])
        x, y, _ = sweep.coord[from_above].T
        axes.scatter(x, y, c=color[from_above], s=0.6, linewidths=0)
        axes.set(title=f"from above, {title}", xlabel="x [m]", ylabel="y [m]", aspect="equal")
        axes.set(xlim=(-extent_m, extent_m), ylim=(-extent_m, extent_m), facecolor="black")
    views = ((by_class, "class"), (by_strength, "strength"), (by_range, "range"))
    from_sensor = np.argsort(-range_m, kind="stable")
    dot = float(np.clip(_POINTS_A_PANORAMA / len(range_m), 1.0, 6.0))
    for row, (color, title) in enumerate(views, start=1):
        axes = figure.add_subplot(grid[row, :])
        axes.scatter(
            azimuth[from_sensor],
            elevation[from_sensor],
            c=color[from_sensor],
            s=dot,
            linewidths=0,
        )
        axes.set(title=f"as the sensor sees it, {title}", ylabel="elevation [degrees]")
        axes.set(xlim=(180, -180), facecolor="black")
    axes.set(xlabel="azimuth [degrees], 0 ahead, positive to the left")
    figure.savefig(path, format="png")

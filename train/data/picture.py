"""Draws a sweep from above and as the sensor sees it, coloured by class, remission and range.

Shape letters: N points.
"""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from numpy.typing import NDArray

from train.data.sweep import Sweep

COLOURS = {
    "car": (0.39, 0.59, 0.96),
    "bicycle": (0.39, 0.90, 0.96),
    "motorcycle": (0.12, 0.24, 0.59),
    "truck": (0.31, 0.12, 0.71),
    "other-vehicle": (0.20, 0.20, 1.00),
    "person": (1.00, 0.12, 0.12),
    "bicyclist": (1.00, 0.16, 0.78),
    "motorcyclist": (0.59, 0.12, 0.35),
    "road": (0.90, 0.00, 0.90),
    "parking": (1.00, 0.59, 1.00),
    "sidewalk": (0.45, 0.15, 0.45),
    "other-ground": (0.69, 0.00, 0.29),
    "building": (1.00, 0.78, 0.00),
    "fence": (1.00, 0.47, 0.20),
    "vegetation": (0.00, 0.69, 0.00),
    "trunk": (0.53, 0.24, 0.00),
    "terrain": (0.59, 0.94, 0.31),
    "pole": (1.00, 0.94, 0.59),
    "traffic-sign": (1.00, 0.00, 0.00),
}
"""Colours that readers of SemanticKITTI's pictures know; other names get one by position."""

UNLABELLED = (0.35, 0.35, 0.35)


def class_colours(class_names: tuple[str, ...]) -> NDArray[np.float64]:
    """Return a colour (red, green, blue in 0..1) for each class, then the one for no class."""
    rows = []
    for number, name in enumerate(class_names):
        around = number * 0.618034 * 2 * np.pi
        default = tuple(0.55 + 0.45 * np.cos(around + shift) for shift in (0.0, 2.1, 4.2))
        rows.append(COLOURS.get(name, default))
    return np.array([*rows, UNLABELLED], dtype=np.float64)


def draw(sweep: Sweep, class_names: tuple[str, ...], path: Path, *, extent_m: float = 50.0) -> None:
    """Write a PNG with two views from above and three of the sensor's own.

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
    """
    x, y, z = sweep.coord.T.astype(np.float64)
    range_m = np.sqrt(x * x + y * y + z * z)
    azimuth = np.rad2deg(np.arctan2(y, x))
    elevation = np.rad2deg(np.arcsin(z / np.maximum(range_m, 1e-9)))
    number = np.full(len(x), -1) if sweep.segment is None else sweep.segment
    by_class = class_colours(class_names)[number]
    strength = sweep.strength[:, 0].astype(np.float64)
    strength = strength / max(float(np.quantile(strength, 0.98)), 1e-9)
    by_strength = colormaps["viridis"](np.clip(strength, 0.0, 1.0))
    by_range = colormaps["turbo"](np.log(np.maximum(range_m, 2.0) / 2.0) / np.log(40.0))
    figure = Figure(figsize=(20, 24), layout="constrained")
    figure.suptitle(f"{sweep.name}, {len(x):,} points")
    grid = figure.add_gridspec(4, 2, height_ratios=[3, 1, 1, 1])
    for column, (colour, title) in enumerate(((by_class, "class"), (by_strength, "strength"))):
        axes = figure.add_subplot(grid[0, column])
        axes.scatter(x, y, c=colour, s=0.6, linewidths=0)
        axes.set(title=f"from above, {title}", xlabel="x [m]", ylabel="y [m]", aspect="equal")
        axes.set(xlim=(-extent_m, extent_m), ylim=(-extent_m, extent_m), facecolor="black")
    views = ((by_class, "class"), (by_strength, "strength"), (by_range, "range"))
    for row, (colour, title) in enumerate(views, start=1):
        axes = figure.add_subplot(grid[row, :])
        axes.scatter(azimuth, elevation, c=colour, s=1.6, linewidths=0)
        axes.set(title=f"as the sensor sees it, {title}", ylabel="elevation [degrees]")
        axes.set(xlim=(180, -180), facecolor="black")
    figure.savefig(path, format="png")

"""Draws a sweep from above and as the sensor sees it, colored by class, remission and range."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from train.data.frame import LidarFrame
from train.data.views import class_colors, directions

_DEGREES_A_PANEL = 30.0
_POINTS_A_PANORAMA = 200_000  # of dots of one square point; fewer points get larger dots


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
        As for `train.data.views.directions`.
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

"""Draws a sweep from above and as the sensor sees it, colored by class, remission and range."""

from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from train.data.frame import LidarFrame
from train.inspection.views import class_colors, directions

_RANGES_M = (2.0, 80.0)
_TICKS_M = (2, 5, 10, 20, 40, 80)
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
    """Write a PNG with two views from above and three panoramas from the sensor, and a legend.

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
        As for `train.inspection.views.directions`.
    """
    azimuth, elevation, range_m = directions(sweep.coord, origin_m, forward_deg)
    number = np.full(len(range_m), -1) if sweep.segment is None else sweep.segment
    by_class = class_colors(class_names)[number]
    strength = sweep.strength[:, 0].astype(np.float64)
    strengths = ScalarMappable(
        Normalize(0.0, max(float(np.quantile(strength, 0.98)), 1e-9), clip=True),
        colormaps["viridis"],
    )
    ranges = ScalarMappable(LogNorm(*_RANGES_M, clip=True), colormaps["turbo"])
    by_strength, by_range = strengths.to_rgba(strength), ranges.to_rgba(range_m)
    # A degree is as high in every picture, but for lidars that look down at their own bumper.
    span = float(np.quantile(elevation, 0.999) - np.quantile(elevation, 0.001))
    height = min(max(span / _DEGREES_A_PANEL, 0.5), 2.5)
    figure = Figure(figsize=(20, 11.5 + 4 * height), layout="constrained")
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
    panoramas: list[Axes] = []
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
        panoramas.append(axes)
    axes.set(xlabel="azimuth [degrees], 0 ahead, positive to the left")
    # Beside all three, so that they stay aligned.
    figure.colorbar(
        ranges, ax=panoramas, label="range [m]", pad=0.01, aspect=40, ticks=_TICKS_M, format="%d"
    )
    figure.colorbar(strengths, ax=panoramas, label="strength", pad=0.01, aspect=40, extend="max")
    _draw_legend(figure, number, class_names)
    figure.savefig(path, format="png")


def _draw_legend(figure: Figure, number: NDArray[np.integer], class_names: tuple[str, ...]) -> None:
    """Name the colors of the classes that are there, below the views."""
    colors = class_colors(class_names)
    there = np.unique(number).tolist()
    names = {each: "no label" if each == -1 else class_names[each] for each in there}
    handles = [
        Line2D([], [], marker="s", ls="", ms=9, color=tuple(colors[each]), label=name)
        for each, name in names.items()
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=11, frameon=False)

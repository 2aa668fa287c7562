"""The picture that compares simulated frames with a real one: our points, and histograms of both.

No point of the real frame is drawn.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from benchmarks.studies.compare.statistics import RANGE_EDGES_M, FrameStatistics, shares
from train.data.frame import LidarFrame
from train.data.semantickitti import CLASS_NAMES
from train.inspection.views import class_colors, directions

_REAL: Final = "#d95f02"
_OURS: Final = "#1b6ca8"
_EXTENT_M: Final = 40.0


def draw_comparison(
    real: FrameStatistics, found: Sequence[FrameStatistics], shown: LidarFrame, path: Path
) -> None:
    """Write a PNG.

    Parameters
    ----------
    real, found
        What the real frame and simulated ones are like.
    shown
        The simulated frame to draw from above and as the sensor sees it.
    path
        The file to write.
    """
    figure = Figure(figsize=(15, 17), layout="constrained")
    grid = figure.add_gridspec(5, 2, height_ratios=[6.2, 1.5, 1.5, 3, 3.6])
    _draw_points(figure, grid, shown)
    _draw_rings(figure.add_subplot(grid[3, 0]), real, found)
    _draw_ranges(figure.add_subplot(grid[3, 1]), real, found)
    _draw_classes(figure.add_subplot(grid[4, 0]), real, found)
    _draw_strength(figure.add_subplot(grid[4, 1]), real, found)
    figure.savefig(path, format="png", dpi=80)


def _draw_points(figure: Figure, grid: GridSpec, shown: LidarFrame) -> None:
    azimuth, elevation, range_m = directions(shown.coord, (0.0, 0.0, 0.0), 0.0)
    number = np.full(len(range_m), -1) if shown.segment is None else shown.segment
    by_class = class_colors(CLASS_NAMES)[number]
    by_strength = colormaps["viridis"](np.clip(shown.strength[:, 0] / 0.6, 0.0, 1.0))
    upwards = np.argsort(shown.coord[:, 2], kind="stable")
    inwards = np.argsort(-range_m, kind="stable")
    for column, (color, title) in enumerate(((by_class, "class"), (by_strength, "strength"))):
        axes = figure.add_subplot(grid[0, column])
        x, y, _ = shown.coord[upwards].T
        axes.scatter(x, y, c=color[upwards], s=0.7, linewidths=0)
        axes.set(title=f"simulated frame {shown.name} from above, {title}", facecolor="black")
        axes.set(xlim=(-_EXTENT_M, _EXTENT_M), ylim=(-_EXTENT_M, _EXTENT_M), aspect="equal")
        axes.set(xlabel="x [m]", ylabel="y [m]")
        axes = figure.add_subplot(grid[1 + column, :])
        axes.scatter(azimuth[inwards], elevation[inwards], c=color[inwards], s=1.3, linewidths=0)
        axes.set(title=f"the same as the sensor sees it, {title}", facecolor="black")
        axes.set(xlim=(180, -180), ylabel="elevation [°]")
    axes.set(xlabel="azimuth [°], 0 ahead, positive to the left")


def _draw_rings(axes: Axes, real: FrameStatistics, found: Sequence[FrameStatistics]) -> None:
    rings = min(len(one.by_ring) for one in found)
    counts = np.array([one.by_ring[:rings] for one in found])
    axes.fill_between(range(rings), counts.min(axis=0), counts.max(axis=0), color=_OURS, alpha=0.25)
    label = f"simulated, mean and span of {len(found)} frames"
    axes.plot(range(rings), counts.mean(axis=0), color=_OURS, label=label)
    axes.plot(real.by_ring, color=_REAL, label="real frame")
    axes.set(title="points of each ring, the uppermost first", xlabel="ring", ylabel="points")
    axes.set_ylim(bottom=0)
    axes.legend()


def _draw_ranges(axes: Axes, real: FrameStatistics, found: Sequence[FrameStatistics]) -> None:
    widths = np.diff(RANGE_EDGES_M)
    density = np.array([one.by_range / one.points / widths for one in found])
    for values, color in (
        (density.mean(axis=0), _OURS),
        (real.by_range / real.points / widths, _REAL),
    ):
        axes.stairs(values, RANGE_EDGES_M, color=color)
    for low, high, start, end in zip(
        density.min(axis=0), density.max(axis=0), RANGE_EDGES_M[:-1], RANGE_EDGES_M[1:], strict=True
    ):
        axes.fill_between([start, end], low, high, color=_OURS, alpha=0.25, linewidth=0)
    axes.set(title="range", xlabel="meters", ylabel="share of points per meter")
    axes.set(yscale="log", ylim=(1e-5, None))


def _draw_classes(axes: Axes, real: FrameStatistics, found: Sequence[FrameStatistics]) -> None:
    place = np.arange(len(CLASS_NAMES))
    many = shares(found)
    floor = 1e-6
    axes.barh(place + 0.2, np.maximum(many.mean(axis=0), floor), 0.4, color=_OURS)
    axes.barh(place - 0.2, np.maximum(shares([real])[0], floor), 0.4, color=_REAL)
    axes.set(title="share of points with a class", xscale="log", xlim=(floor, 1))
    axes.set_yticks(place, CLASS_NAMES)
    axes.invert_yaxis()


def _draw_strength(axes: Axes, real: FrameStatistics, found: Sequence[FrameStatistics]) -> None:
    place = np.arange(len(CLASS_NAMES))
    for number in place:
        rows = [one.strength[number + 1] for one in found if one.by_class[number + 1] >= 20]
        kept = [real.strength[number + 1]] if real.by_class[number + 1] >= 20 else []
        for quartiles, shift, color in ((rows, 0.2, _OURS), (kept, -0.2, _REAL)):
            if quartiles:
                low, middle, high = np.median(quartiles, axis=0)
                axes.plot([low, high], [number + shift] * 2, color=color, linewidth=2)
                axes.plot([middle], [number + shift], "o", color=color, markersize=5)
    axes.set(title="strength by class: median and quartiles", xlabel="strength", xlim=(0, 1))
    axes.set_yticks(place, CLASS_NAMES)
    axes.invert_yaxis()

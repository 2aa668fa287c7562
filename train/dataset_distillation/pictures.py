"""Pictures of clouds, real ones beside those that were made.

Objects have a row per class; LiDAR frames are seen from above and from the side.

Shape letters: N points.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from train.core.atomic_write import atomic_write
from train.dataset_distillation.clouds import PointClouds
from train.inspection.views import class_colors

MOST_CLASSES: Final = 16
_LARGEST_LEGEND: Final = 24
_AZIMUTH, _ELEVATION = np.deg2rad(-55.0), np.deg2rad(22.0)


def draw_clouds(path: Path, columns: Mapping[str, PointClouds], *, each: int = 1) -> None:
    """Write a PNG with a row per class; z is up.

    Columns are sets of the same classes by title, of each class the first clouds; ValueError if
    there is no column, or the classes differ.
    """
    sets = list(columns.values())
    if not sets or any(clouds.classes != sets[0].classes for clouds in sets):
        raise ValueError("draw_clouds: give at least one set, all of the same classes")
    classes = sets[0].classes[:MOST_CLASSES]
    wide = each * len(sets)
    figure = Figure(figsize=(1.9 * wide + 0.6, 1.9 * len(classes)), layout="constrained")
    grid = figure.subplots(len(classes), wide, squeeze=False)
    for row, name in enumerate(classes):
        for number, (title, clouds) in enumerate(columns.items()):
            for place in range(each):
                axes = grid[row, number * each + place]
                axes.set_axis_off()
                rows = clouds.rows_of(row)
                if place < len(rows):
                    _draw_object(axes, clouds.points[rows[place]])
                if row == 0 and place == 0:
                    axes.set_title(title, fontsize=10)
                if number == 0 and place == 0:
                    axes.text(-1.25, 0.0, name, rotation=90, va="center", fontsize=9)
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=80)


def _draw_object(axes: Axes, points: NDArray[np.float32]) -> None:
    """Draw a cloud as seen from in front and above, nearer points over farther ones."""
    cos, sin = np.cos(_AZIMUTH), np.sin(_AZIMUTH)
    x, y, z = points.T
    right, away = cos * x - sin * y, sin * x + cos * y
    up = np.cos(_ELEVATION) * z - np.sin(_ELEVATION) * -away
    depth = np.cos(_ELEVATION) * away + np.sin(_ELEVATION) * -z
    order = np.argsort(-depth, kind="stable")
    size = 4.0 if len(points) <= 512 else 2.0
    axes.scatter(right[order], up[order], c=z[order], s=size, linewidths=0, cmap="viridis")
    axes.set_xlim(-1.1, 1.1)
    axes.set_ylim(-1.1, 1.1)
    axes.set_aspect("equal")


def draw_frames(path: Path, columns: Mapping[str, PointClouds], *, each: int = 1) -> None:
    """Write a PNG, points colored by class; points without one are left out.

    Columns are frames of the same classes and range by title, of each the first ones; ValueError if
    there is nothing to draw, or classes or ranges differ.
    """
    sets = list(columns.values())
    if not sets or any(
        (frames.part_names, frames.meters) != (sets[0].part_names, sets[0].meters)
        for frames in sets
    ):
        raise ValueError("draw_frames: give at least one set, all of the same classes and range")
    colors = class_colors(sets[0].part_names)
    shown = [(title, frames, row) for title, frames in columns.items() for row in range(each)]
    figure = Figure(figsize=(4.2 * len(shown), 7.4), layout="constrained")
    grid = figure.subplots(2, len(shown), squeeze=False, height_ratios=[3, 1])
    there: set[int] = set()
    for column, (title, frames, row) in enumerate(shown):
        if row >= len(frames):
            grid[0, column].set_axis_off()
            grid[1, column].set_axis_off()
            continue
        assert frames.parts is not None
        assert frames.meters is not None
        segment = frames.parts[row]
        labeled = segment >= 0
        there |= set(np.unique(segment[labeled]).tolist())
        coord, color = frames.coord_m[row][labeled], colors[segment[labeled]]
        _draw_frame(grid[0, column], coord, color, 1, frames.meters, frames.meters)
        _draw_frame(grid[1, column], coord, color, 2, frames.meters, frames.meters / 3)
        grid[0, column].set(title=f"{title}, from above", ylabel="y, m")
        grid[1, column].set(title="from the side", xlabel="x, m", ylabel="z, m")
    handles = [
        Line2D([], [], marker="s", ls="", color=tuple(colors[k]), label=sets[0].part_names[k])
        for k in sorted(there)[:_LARGEST_LEGEND]
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False)
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=70)


def _draw_frame(
    axes: Axes,
    coord: NDArray[np.float32],
    color: NDArray[np.float64],
    up: int,
    wide_m: float,
    high_m: float,
) -> None:
    """Draw x to the right and another axis up; what is nearest to the eye last."""
    order = np.argsort(coord[:, 3 - up] * (1 if up == 1 else -1), kind="stable")
    size = 6.0 if len(coord) <= 2048 else 2.0
    axes.scatter(coord[order, 0], coord[order, up], c=color[order], s=size, linewidths=0)
    axes.set(xlim=(-wide_m, wide_m), ylim=(-high_m, high_m), aspect="equal", facecolor="0.12")

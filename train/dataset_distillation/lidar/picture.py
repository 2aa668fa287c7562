"""Pictures of frames: from above and from the side, real ones beside those that were made.

Shape letters: N points.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from train.core.atomic_write import atomic_write
from train.dataset_distillation.lidar.frames import FrameClouds
from train.inspection.views import class_colors

_LARGEST_LEGEND = 24


def draw_frames(path: Path, columns: Mapping[str, FrameClouds], *, each: int = 1) -> None:
    """Write a PNG, points colored by class; points without one are left out.

    Parameters
    ----------
    path
        The file to write.
    columns
        By title, frames of the same classes and range.
    each
        Frames of each, the first ones.

    Raises
    ------
    ValueError
        If there is nothing to draw, or classes or ranges differ.
    UserError
        If the file cannot be written.
    """
    sets = list(columns.values())
    if not sets or any(
        (frames.class_names, frames.meters) != (sets[0].class_names, sets[0].meters)
        for frames in sets
    ):
        raise ValueError("draw_frames: give at least one set, all of the same classes and range")
    colors = class_colors(sets[0].class_names)
    shown = [(title, frames, row) for title, frames in columns.items() for row in range(each)]
    figure = Figure(figsize=(4.2 * len(shown), 7.4), layout="constrained")
    grid = figure.subplots(2, len(shown), squeeze=False, height_ratios=[3, 1])
    there: set[int] = set()
    for column, (title, frames, row) in enumerate(shown):
        if row >= len(frames):
            grid[0, column].set_axis_off()
            grid[1, column].set_axis_off()
            continue
        segment = frames.segment[row]
        labeled = segment >= 0
        there |= set(np.unique(segment[labeled]).tolist())
        coord, color = frames.coord_m[row][labeled], colors[segment[labeled]]
        _scatter(grid[0, column], coord, color, 1, frames.meters, frames.meters)
        _scatter(grid[1, column], coord, color, 2, frames.meters, frames.meters / 3)
        grid[0, column].set(title=f"{title}, from above", ylabel="y, m")
        grid[1, column].set(title="from the side", xlabel="x, m", ylabel="z, m")
    handles = [
        Line2D([], [], marker="s", ls="", color=tuple(colors[k]), label=sets[0].class_names[k])
        for k in sorted(there)[:_LARGEST_LEGEND]
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=6, frameon=False)
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=70)


def _scatter(
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

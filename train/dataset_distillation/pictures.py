"""Pictures of clouds: a row per class, real ones beside those that were made.

Shape letters: N points.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from train.core.atomic_write import atomic_write
from train.dataset_distillation.objects.clouds import ObjectClouds

MOST_CLASSES: Final = 16
_AZIMUTH, _ELEVATION = np.deg2rad(-55.0), np.deg2rad(22.0)


def draw_clouds(path: Path, columns: Mapping[str, ObjectClouds], *, each: int = 1) -> None:
    """Write a PNG.

    Parameters
    ----------
    path
        The file to write.
    columns
        By title, sets of the same classes; z is up.
    each
        Clouds of a class in each column, the first ones.

    Raises
    ------
    ValueError
        If there is no column, or the classes differ.
    UserError
        If the file cannot be written.
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
                    _draw(axes, clouds.points[rows[place]])
                if row == 0 and place == 0:
                    axes.set_title(title, fontsize=10)
                if number == 0 and place == 0:
                    axes.text(-1.25, 0.0, name, rotation=90, va="center", fontsize=9)
    with atomic_write(path) as unfinished:
        figure.savefig(unfinished, format="png", dpi=80)


def _draw(axes: Axes, points: NDArray[np.float32]) -> None:
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

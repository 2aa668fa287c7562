"""Figures 3 and 5: what the networks say about a frame, and where they are wrong.

Figure 3 is one frame from above. It is not chosen by hand: of the frames that were looked at it is
the one whose share of right points is the student's median. Figure 5 is two cells of the ground,
one where the distilled student gained most over the student trained alone, one where it lost most,
both found by counting points.

Shape letters: N points.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from benchmarks.studies.figures.figure_file import Drawn, rounded
from benchmarks.studies.figures.networks import ALONE, ROLES, STUDENT, TITLES, Shown, Trained
from benchmarks.studies.figures.palette import BLUE, RIGHT, VERMILION, WRONG, class_colors
from train.core.errors import UserError
from train.data.frame import IGNORE_INDEX

NAME_OF_FRAME: Final = "figure3"
NAME_OF_CELLS: Final = "figure5"
CELL_M: Final = 16.0
MIN_POINTS: Final = 200
_EXTENT_M: Final = 40.0
_UNLABELED: Final = "#EFEFEF"
# Without blended edges neighbors keep their classes' colors, and the file is half as large.
_CRISP: Final[dict[str, Any]] = {"linewidths": 0, "antialiaseds": False}


def make_frame(trained: Trained, shown: Sequence[Shown]) -> Drawn:
    """Return Figure 3.

    Parameters
    ----------
    trained
        The networks.
    shown
        The frames that were looked at, at least one.
    """
    by_share = sorted(shown, key=lambda frame: frame.right(STUDENT))
    frame = by_share[(len(by_share) - 1) // 2]
    roles = [role for role in ROLES if role in frame.predictions]
    numbers = {
        **trained.described(),
        "frame": frame.name,
        "looked_at": len(shown),
        "points": len(frame.coord),
        "right": {role: rounded(frame.right(role)) for role in roles},
    }
    figure = Figure(figsize=(3.6 * (1 + len(roles)), 7.9), layout="constrained")
    axes = figure.subplots(2, 1 + len(roles), squeeze=False)
    near = np.abs(frame.coord[:, :2]).max(axis=1) <= _EXTENT_M
    upwards = np.argsort(frame.coord[:, 2], kind="stable")
    rows = upwards[near[upwards]]
    names = trained.spec.class_names
    _draw_classes(axes[0, 0], frame, frame.truth, rows, names, 1.2)
    axes[0, 0].set_title("ground truth", fontsize=11)
    axes[1, 0].axis("off")
    for column, role in enumerate(roles, start=1):
        _draw_classes(axes[0, column], frame, frame.predictions[role], rows, names, 1.2)
        _draw_errors(axes[1, column], frame, role, rows, 1.2)
        axes[0, column].set_title(TITLES[role], fontsize=11)
        axes[1, column].set_title(f"{100 * frame.right(role):.1f}% of points right", fontsize=10)
    for axis in (axes[0, 0], *axes[:, 1:].flat):
        axis.set(xlim=(-_EXTENT_M, _EXTENT_M), ylim=(-_EXTENT_M, _EXTENT_M))
    for axis in axes[1, 1:]:
        axis.set_xlabel("x [m]", fontsize=9)
    axes[0, 0].set_ylabel("y [m]", fontsize=9)
    _add_legend(axes[1, 0], names, [frame.truth, *frame.predictions.values()])
    figure.suptitle(f"{trained.spec.name}, frame {frame.name}, from above", fontsize=12)
    return Drawn(numbers, figure)


@dataclass(frozen=True)
class Cell:
    """A square of the ground, and how many more points the student has right there.

    Attributes
    ----------
    frame
        Where.
    corner_m
        Its least x and y.
    points
        Labeled points in it.
    gain
        Points that the distilled student has right, minus those that the student alone has.
    """

    frame: Shown
    corner_m: tuple[float, float]
    points: int
    gain: int

    def holds(self) -> NDArray[np.bool_]:
        """Return which of the frame's points lie in it, (N,)."""
        low = np.array(self.corner_m)
        inside = (self.frame.coord[:, :2] >= low) & (self.frame.coord[:, :2] < low + CELL_M)
        return np.asarray(inside.all(axis=1))


def cells(frame: Shown) -> list[Cell]:
    """Return the cells of a frame that have at least `MIN_POINTS` labeled points.

    Raises
    ------
    UserError
        If the student or the student alone is missing.
    """
    for role, flag in ((STUDENT, "--student"), (ALONE, "--baseline")):
        if role not in frame.predictions:
            raise UserError(f"{NAME_OF_CELLS} compares with the {role}: give {flag} FILE")
    labeled = frame.truth != IGNORE_INDEX
    place = np.floor(frame.coord[labeled, :2] / CELL_M).astype(np.int64)
    right = [frame.predictions[role][labeled] == frame.truth[labeled] for role in (STUDENT, ALONE)]
    gained = right[0].astype(np.int64) - right[1].astype(np.int64)
    corners, cell_of = np.unique(place, axis=0, return_inverse=True)
    cell_of = cell_of.reshape(-1)
    points = np.bincount(cell_of, minlength=len(corners))
    gains = np.bincount(cell_of, weights=gained, minlength=len(corners)).round().astype(np.int64)
    return [
        Cell(frame, (float(x) * CELL_M, float(y) * CELL_M), int(count), int(gain))
        for (x, y), count, gain in zip(corners, points, gains, strict=True)
        if count >= MIN_POINTS
    ]


def make_cells(trained: Trained, shown: Sequence[Shown]) -> Drawn:
    """Return Figure 5.

    Raises
    ------
    UserError
        If a network is missing, or no cell has enough points.
    """
    found = [cell for frame in shown for cell in cells(frame)]
    if not found:
        raise UserError(
            f"{NAME_OF_CELLS}: no square of {CELL_M:g} m has {MIN_POINTS} labeled points"
        )
    # The first of equals, in the order of the frames.
    best, worst = max(found, key=lambda cell: cell.gain), min(found, key=lambda cell: cell.gain)
    roles = [role for role in (ALONE, STUDENT, "teacher") if role in best.frame.predictions]
    figure = Figure(figsize=(3.1 * (1 + len(roles)) + 1.9, 12.6), layout="constrained")
    axes = figure.subplots(4, 1 + len(roles), squeeze=False)
    names = trained.spec.class_names
    for row, (cell, title, color) in enumerate(
        ((best, "most gained", BLUE), (worst, "most lost", VERMILION))
    ):
        _draw_cell(axes[2 * row : 2 * row + 2], cell, roles, names, title, color)
    labels = [
        labels[cell.holds()]
        for cell in (best, worst)
        for labels in (cell.frame.truth, *cell.frame.predictions.values())
    ]
    figure.legend(handles=_handles(names, labels), loc="outside right upper", frameon=False)
    figure.suptitle(
        f"{trained.spec.name}: where the distilled student gained and lost most", fontsize=12
    )
    numbers = {
        **trained.described(),
        "looked_at": len(shown),
        "cells": len(found),
        "cell_m": CELL_M,
        "gained_in_all": sum(cell.gain for cell in found),
        "points_in_all": sum(cell.points for cell in found),
        "shown": [
            {
                "what": what,
                "frame": cell.frame.name,
                "corner_m": list(cell.corner_m),
                "points": cell.points,
                "gain": cell.gain,
            }
            for what, cell in (("most gained", best), ("most lost", worst))
        ],
    }
    return Drawn(numbers, figure)


def _draw_cell(
    axes: NDArray[np.object_],
    cell: Cell,
    roles: Sequence[str],
    names: Sequence[str],
    title: str,
    color: str,
) -> None:
    """Draw two rows: classes, and below them what is wrong."""
    inside = cell.holds()
    upwards = np.argsort(cell.frame.coord[:, 2], kind="stable")
    rows = upwards[inside[upwards]]
    labeled = cell.frame.truth[rows] != IGNORE_INDEX
    size = float(np.clip(30_000 / max(len(rows), 1), 3.0, 14.0))
    _draw_classes(axes[0, 0], cell.frame, cell.frame.truth, rows, names, size)
    axes[0, 0].set_title("ground truth", fontsize=11)
    axes[0, 0].set_ylabel("y [m]", fontsize=9)
    axes[1, 0].axis("off")
    axes[1, 0].text(
        0.0, 0.75, f"{title}: {cell.gain:+,} points\nof {cell.points:,}", color=color, fontsize=12,
        transform=axes[1, 0].transAxes, va="top",
    )  # fmt: skip
    axes[1, 0].text(
        0.0, 0.45, f"frame {cell.frame.name.rpartition('/')[2]}", color="0.35", fontsize=8,
        transform=axes[1, 0].transAxes, va="top",
    )  # fmt: skip
    for column, role in enumerate(roles, start=1):
        prediction = cell.frame.predictions[role]
        _draw_classes(axes[0, column], cell.frame, prediction, rows, names, size)
        _draw_errors(axes[1, column], cell.frame, role, rows, size)
        right = (prediction[rows] == cell.frame.truth[rows])[labeled].mean()
        axes[0, column].set_title(TITLES[role], fontsize=11)
        axes[1, column].set_title(f"{100 * right:.1f}% right", fontsize=10)
        axes[1, column].set_xlabel("x [m]", fontsize=9)
    for axis in (axes[0, 0], *axes[:, 1:].flat):
        axis.set(xlim=(cell.corner_m[0], cell.corner_m[0] + CELL_M))
        axis.set(ylim=(cell.corner_m[1], cell.corner_m[1] + CELL_M))
        for side in axis.spines.values():
            side.set(color=color, linewidth=1.6)


def _draw_classes(
    axis: Axes,
    frame: Shown,
    labels: NDArray[np.int64],
    rows: NDArray[np.int64],
    names: Sequence[str],
    size: float,
) -> None:
    """Draw points from above, colored by class; `rows` says which, the lowest first."""
    colors = np.vstack([class_colors(names), [[0.937] * 3]])  # the last row: no label
    x, y = frame.coord[rows, :2].T
    axis.scatter(x, y, s=size, c=colors[labels[rows]], **_CRISP)
    axis.set_aspect("equal")
    axis.tick_params(labelsize=7)


def _draw_errors(axis: Axes, frame: Shown, role: str, rows: NDArray[np.int64], size: float) -> None:
    """Draw right points in gray and wrong ones over them."""
    truth, said = frame.truth[rows], frame.predictions[role][rows]
    x, y = frame.coord[rows, :2].T
    kinds = (
        (truth == IGNORE_INDEX, _UNLABELED),
        ((truth == said), RIGHT),
        ((truth != said) & (truth != IGNORE_INDEX), WRONG),
    )
    for which, color in kinds:
        axis.scatter(x[which], y[which], s=size, c=color, **_CRISP)
    axis.set_aspect("equal")
    axis.tick_params(labelsize=7)


def _handles(names: Sequence[str], labels: Sequence[NDArray[np.int64]]) -> list[Line2D]:
    """Return the legend of the classes that occur, and of the errors."""
    colors = class_colors(names)
    present = sorted({int(number) for part in labels for number in np.unique(part)})
    kinds = [(names[number], colors[number]) for number in present if number != IGNORE_INDEX]
    kinds += [("no label", _UNLABELED), ("lower row: right", RIGHT), ("lower row: wrong", WRONG)]
    return [
        Line2D([], [], ls="", marker="o", ms=6, color=color, label=name) for name, color in kinds
    ]


def _add_legend(axis: Axes, names: Sequence[str], labels: Sequence[NDArray[np.int64]]) -> None:
    handles = _handles(names, labels)
    axis.legend(
        handles=handles, loc="center", ncols=1 + (len(handles) > 12), frameon=False, fontsize=9
    )


def summary_of_frame(numbers: Mapping[str, Any]) -> str:
    """Return what Figure 3 shows, in a sentence or two."""
    shares = ", ".join(f"{role} {100 * value:.1f}%" for role, value in numbers["right"].items())
    return (
        f"Frame {numbers['frame']} of {numbers['dataset']}, the student's median of "
        f"{numbers['looked_at']}; points right: {shares}"
    )


def summary_of_cells(numbers: Mapping[str, Any]) -> str:
    """Return what Figure 5 shows, in a sentence or two."""
    best, worst = numbers["shown"]
    return (
        f"Of {numbers['cells']} squares of {numbers['cell_m']:g} m in {numbers['looked_at']} "
        f"frames: the distilled student has {best['gain']:+,} points of {best['points']:,} right "
        f"where it gained most, {worst['gain']:+,} of {worst['points']:,} where it lost most, and "
        f"{numbers['gained_in_all']:+,} of {numbers['points_in_all']:,} in all"
    )

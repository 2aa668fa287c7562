"""A street to put things beside, the main street or an arm of a cross street, and what is taken.

Both are lined in the same way. Places are given along the course and across it, to the left.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.simulation.simulator.layout import REACH_M, Crossing, Layout
from train.simulation.simulator.parts import Spot, chance, uniform
from train.simulation.simulator.scene import Frame, SceneBuilder

_HOUSE_DEPTH_M: Final = 17.0


class Footprints:
    """Rectangles on the ground."""

    def __init__(self) -> None:
        # x, y, cosine and sine of the heading, half length, half width
        self._rows = np.zeros((64, 6))
        self._count = 0

    def record(self, frame: Frame, half_length: float, half_width: float) -> None:
        """Add a rectangle about a frame, whatever else is there."""
        if self._count == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        self._rows[self._count] = _row(frame, half_length, half_width)
        self._count += 1

    def take(self, frame: Frame, half_length: float, half_width: float) -> bool:
        """Add a rectangle if it touches no other; return whether it was added."""
        if self._touched(_row(frame, half_length, half_width)).any():
            return False
        self.record(frame, half_length, half_width)
        return True

    def _touched(self, row: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which rectangles share a place with another one (separating axes)."""
        rows = self._rows[: self._count]
        offset = rows[:, :2] - row[:2]
        # The angle between the two tells how far each reaches along the other's axes.
        cos = np.abs(rows[:, 2] * row[2] + rows[:, 3] * row[3])
        sin = np.abs(rows[:, 3] * row[2] - rows[:, 2] * row[3])
        touched = np.ones(len(rows), dtype=np.bool_)
        for axis_x, axis_y, own, other in (
            (row[2], row[3], row[4], cos * rows[:, 4] + sin * rows[:, 5]),
            (-row[3], row[2], row[5], sin * rows[:, 4] + cos * rows[:, 5]),
            (rows[:, 2], rows[:, 3], rows[:, 4], cos * row[4] + sin * row[5]),
            (-rows[:, 3], rows[:, 2], rows[:, 5], sin * row[4] + cos * row[5]),
        ):
            apart = np.abs(offset[:, 0] * axis_x + offset[:, 1] * axis_y)
            touched &= apart < own + other
        return touched


def _row(frame: Frame, half_length: float, half_width: float) -> NDArray[np.float64]:
    cos, sin = float(np.cos(frame.yaw)), float(np.sin(frame.yaw))
    return np.array([frame.x, frame.y, cos, sin, half_length, half_width])


@dataclass(frozen=True)
class Course:
    """A course of the street's layout.

    Attributes
    ----------
    layout
        Where it lies.
    origin_m
        Where along the main street it begins.
    arm
        0 for the main street, else the side to which the arm leads away from it.
    start_m, end_m
        Where there is something beside it, along itself.
    half_road_m
        Half the width of its carriageway.
    parking, walk
        Widths of parking strip and sidewalk by side.
    gaps
        By side, where others interrupt it, in order.
    taken
        Where something stands already; the same for all courses of a street.
    """

    layout: Layout
    origin_m: float
    arm: float
    start_m: float
    end_m: float
    half_road_m: float
    parking: dict[float, float]
    walk: dict[float, float]
    gaps: dict[float, list[tuple[float, float]]]
    taken: Footprints

    def frame(self, along_m: float, across_m: float, turn: float = 0.0) -> Frame:
        """Return the frame of something on the ground, headed along the course plus `turn`."""
        if self.arm == 0:
            return self.layout.frame(along_m, across_m, turn)
        along, across = self.origin_m - self.arm * across_m, self.arm * along_m
        return self.layout.frame(along, across, turn + self.arm * math.pi / 2)

    def curb(self, side: float) -> float:
        """Return how far a side's sidewalk begins from the middle."""
        return self.half_road_m + self.parking[side]

    def outer(self, side: float) -> float:
        """Return how far a side's sidewalk ends from the middle."""
        return self.curb(side) + self.walk[side]

    def is_free(self, side: float, along_m: float, margin_m: float) -> bool:
        """Return whether a place on a side is well away from what interrupts it."""
        return all(
            not first - margin_m < along_m < last + margin_m for first, last in self.gaps[side]
        )

    def stretches(self, side: float, margin_m: float) -> list[tuple[float, float]]:
        """Return the parts of a side that nothing interrupts, at least 6 m long each."""
        found, along = [], self.start_m
        for first, last in self.gaps[side]:
            found.append((along, first - margin_m))
            along = max(along, last + margin_m)
        found.append((along, self.end_m))
        return [(first, last) for first, last in found if last - first >= 6.0]


@dataclass(frozen=True)
class Roadside:
    """A side of a course while things are put there; places are given from the middle outwards.

    Attributes
    ----------
    course
        Of which it is a side.
    side
        1 for the left, -1 for the right.
    scene
        Where things are collected.
    rng
        Source of chance.
    """

    course: Course
    side: float
    scene: SceneBuilder
    rng: np.random.Generator

    def uniform(self, low: float, high: float) -> float:
        """Return a number between two."""
        return uniform(self.rng, low, high)

    def chance(self, share: float) -> bool:
        """Return true in this share of all cases."""
        return chance(self.rng, share)

    @property
    def curb(self) -> float:
        """How far the sidewalk begins from the middle."""
        return self.course.curb(self.side)

    @property
    def outer(self) -> float:
        """How far it ends from the middle."""
        return self.course.outer(self.side)

    @property
    def parking(self) -> float:
        """Width of the parking strip, 0 for none."""
        return self.course.parking[self.side]

    def is_free(self, along_m: float, margin_m: float) -> bool:
        """Return whether a place is well away from what interrupts this side."""
        return self.course.is_free(self.side, along_m, margin_m)

    def spot(self, along_m: float, out_m: float, turn: float = 0.0) -> Spot:
        """Return a place on the ground, headed along the course plus `turn`."""
        return Spot(self.scene, self.course.frame(along_m, self.side * out_m, turn), self.rng)

    def facing(self, along_m: float, out_m: float) -> Spot:
        """Return a place that looks at the course."""
        return self.spot(along_m, out_m, -self.side * np.pi / 2)

    def take(self, spot: Spot, half_length: float, half_width: float) -> bool:
        """Take the ground about a place if nothing else has taken any of it."""
        return self.course.taken.take(spot.frame, half_length, half_width)


def courses(layout: Layout, taken: Footprints) -> list[Course]:
    """Return the main street, then the arms of its cross streets, with one set of footprints."""
    main = Course(
        layout,
        0.0,
        0.0,
        layout.start_m,
        layout.end_m,
        layout.half_road_m,
        layout.parking,
        layout.walk,
        {side: layout.blocked(side) for side in (1.0, -1.0)},
        taken,
    )
    found = [main]
    for crossing in layout.crossings:
        found.extend(_arm(layout, crossing, arm, taken) for arm in crossing.arms)
    return found


def _arm(layout: Layout, crossing: Crossing, arm: float, taken: Footprints) -> Course:
    nothing = {1.0: 0.0, -1.0: 0.0}
    walk = {1.0: crossing.walk_m, -1.0: crossing.walk_m}
    # The first houses belong to the main street; theirs are beside the arm before that.
    start = layout.outer(arm) + _HOUSE_DEPTH_M + 2.0
    gaps: dict[float, list[tuple[float, float]]] = {1.0: [], -1.0: []}
    return Course(
        layout, crossing.along_m, arm, start, REACH_M, crossing.half_m, nothing, walk, gaps, taken
    )

"""The sides of a street, and of the arms of its cross streets: where things go, what is taken.

All are lined in the same way. Places are given along the street or arm, and from its middle out.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.simulation.simulator.layout import REACH_M, Crossing, Layout
from train.simulation.simulator.parts import Chance, Spot
from train.simulation.simulator.scene import Frame, SceneBuilder

_HOUSE_DEPTH_M: Final = 17.0
_SHORTEST_M: Final = 6.0

Span = tuple[float, float]


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
class Site(Chance):
    """A street while things are put there.

    Attributes
    ----------
    layout
        Of the main street.
    scene, rng
        Where things are collected, and the source of chance.
    taken
        Where something stands already.
    """

    layout: Layout
    scene: SceneBuilder
    rng: np.random.Generator
    taken: Footprints

    def place(self, along_m: float, across_m: float, turn: float = 0.0) -> Spot:
        """Return a place on the ground, headed along the main street plus `turn`."""
        return Spot(self.scene, self.layout.frame(along_m, across_m, turn), self.rng)

    def take(self, spot: Spot, half_length: float, half_width: float) -> bool:
        """Take the ground about a place if nothing else has taken any of it."""
        return self.taken.take(spot.frame, half_length, half_width)

    def put(
        self, spot: Spot, half: tuple[float, float], draw: Callable[..., object], *more: object
    ) -> None:
        """Draw something on ground of half a length and a width, if nothing else has taken it."""
        if self.take(spot, *half):
            draw(spot, *more)


@dataclass(frozen=True)
class Roadside(Site):
    """A side of the main street, or of a arm.

    Attributes
    ----------
    side
        1 for the left, -1 for the right.
    start_m, end_m
        From where to where there is something, along the street or arm.
    half_road_m, parking, walk
        Half the width of the carriageway, the widths of the parking strip (0 for none) and of the
        sidewalk.
    gaps
        Where others interrupt it, in order.
    origin_m, arm
        Where along the main street a arm begins and to which side it leads; 0 for no arm.
    """

    side: float
    start_m: float
    end_m: float
    half_road_m: float
    parking: float
    walk: float
    gaps: tuple[Span, ...] = ()
    origin_m: float = 0.0
    arm: float = 0.0

    @property
    def curb(self) -> float:
        """How far the sidewalk begins from the middle."""
        return self.half_road_m + self.parking

    @property
    def outer(self) -> float:
        """How far it ends from the middle."""
        return self.curb + self.walk

    @property
    def with_traffic(self) -> float:
        """The turn of who stands on this side as its lanes lead."""
        return math.pi if self.side > 0 else 0.0

    def is_free(self, along_m: float, margin_m: float) -> bool:
        """Return whether a place is well away from what interrupts this side."""
        return all(not first - margin_m < along_m < last + margin_m for first, last in self.gaps)

    def stretches(self, margin_m: float) -> list[Span]:
        """Return the parts that nothing interrupts, well away from what does, but no short ones."""
        found, along = [], self.start_m
        for first, last in self.gaps:
            found.append((along, first - margin_m))
            along = max(along, last + margin_m)
        found.append((along, self.end_m))
        return [(first, last) for first, last in found if last - first >= _SHORTEST_M]

    def spot(self, along_m: float, out_m: float, turn: float = 0.0) -> Spot:
        """Return a place on the ground, headed along the street or arm plus `turn`."""
        along, across = along_m, self.side * out_m
        if self.arm:
            along, across = self.origin_m - self.arm * across, self.arm * along
            turn += self.arm * math.pi / 2
        return self.place(along, across, turn)

    def facing(self, along_m: float, out_m: float) -> Spot:
        """Return a place that looks at the street or arm."""
        return self.spot(along_m, out_m, -self.side * np.pi / 2)


def roadsides(site: Site) -> list[Roadside]:
    """Return the left and the right side of the main street, then those of all arms."""
    layout, shared = site.layout, (site.layout, site.scene, site.rng, site.taken)

    def main(side: float) -> Roadside:
        ends, gaps = (layout.start_m, layout.end_m), tuple(layout.blocked(side))
        widths = (layout.half_road_m, layout.parking[side], layout.walk[side])
        return Roadside(*shared, side, *ends, *widths, gaps)

    def beside(crossing: Crossing, arm: float, side: float) -> Roadside:
        # The first houses belong to the main street; theirs are beside the arm before that.
        ends = (layout.outer(arm) + _HOUSE_DEPTH_M + 2.0, REACH_M)
        widths, origin = (crossing.half_m, 0.0, crossing.walk_m), crossing.along_m
        return Roadside(*shared, side, *ends, *widths, (), origin, arm)

    arms = ((crossing, arm) for crossing in layout.crossings for arm in crossing.arms)
    both = (1.0, -1.0)
    return [*map(main, both), *(beside(*place, side) for place in arms for side in both)]

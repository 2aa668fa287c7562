"""A street to put things beside: the main street, or an arm of a cross street.

Both are lined in the same way. Places are given along the course and across it, to the left.
"""

import math
from dataclasses import dataclass
from typing import Final

from train.simulation.simulator.footprints import Footprints
from train.simulation.simulator.layout import REACH_M, Crossing, Layout
from train.simulation.simulator.scene import Frame

_HOUSE_DEPTH_M: Final = 17.0


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

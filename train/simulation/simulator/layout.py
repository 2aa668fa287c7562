"""Where a street lies: its lanes, its crossings, its ground, and how places on it translate.

Places are given along the street and across it, to the left of its middle.
"""

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from train.simulation.simulator.ground import Ground
from train.simulation.simulator.kernels import ground_height
from train.simulation.simulator.markings import Painter
from train.simulation.simulator.scene import Frame
from train.simulation.simulator.surfaces import Kind

_MARGIN_M: Final = 110.0
REACH_M: Final = 60.0
"""How far cross streets go."""

Setting = Literal["suburb", "town", "arterial"]


@dataclass(frozen=True)
class Crossing:
    """A street that crosses, or that ends here.

    Attributes
    ----------
    along_m
        Where its middle is.
    half_m, walk_m
        Half the width of its carriageway, and the width of its sidewalks.
    arms
        1 where it goes to the left, -1 to the right.
    lights
        Whether there are traffic lights.
    zebra
        Whether there are stripes to walk on.
    """

    along_m: float
    half_m: float
    walk_m: float
    arms: tuple[float, ...]
    lights: bool
    zebra: bool

    @property
    def reach_m(self) -> float:
        """From its middle to the outer edge of its sidewalks."""
        return self.half_m + self.walk_m


@dataclass(frozen=True)
class Lane:
    """A lane: where its middle is across the street, and 1 or -1 for where it leads."""

    across_m: float
    sense: float


@dataclass(frozen=True)
class Stretch:
    """A part of one side of the street.

    Attributes
    ----------
    side
        1 for the left, -1 for the right.
    start_m, end_m
        Along the street.
    """

    side: float
    start_m: float
    end_m: float

    def touches(self, start_m: float, end_m: float) -> bool:
        """Return whether it shares anything with another part."""
        return self.start_m < end_m and start_m < self.end_m


class Layout:
    """A street's ground and lanes, drawn by chance, without anything on it.

    Parameters
    ----------
    length_m
        How far the sensor drives; the street goes on beyond both ends.
    rng
        The only source of chance.
    """

    def __init__(self, length_m: float, rng: np.random.Generator) -> None:
        self.length_m = length_m
        self.start_m, self.end_m = -_MARGIN_M, length_m + _MARGIN_M
        self.setting: Setting = ("suburb", "town", "arterial")[
            int(rng.choice(3, p=[0.66, 0.2, 0.14]))
        ]
        town, wide = self.setting == "town", self.setting == "arterial"
        each_way = 2 if wide or (town and rng.random() < 0.25) else 1
        lane = float(rng.uniform(3.0, 3.4) if each_way > 1 else rng.uniform(2.9, 3.9))
        self.median_m = float(rng.uniform(0.7, 1.6)) if wide and rng.random() < 0.5 else 0.0
        self.half_road_m = self.median_m + each_way * lane
        self.lanes = tuple(
            Lane(-sense * (self.median_m + (number + 0.5) * lane), sense)
            for sense in (1.0, -1.0)
            for number in range(each_way)
        )
        self.sensor_lane = self.lanes[int(rng.integers(each_way))]
        self.tram = not self.median_m and self.setting != "suburb" and rng.random() < 0.7
        strip = 0.7 if town else (0.25 if wide else 0.3)
        self.parking = {side: 2.1 if rng.random() < strip else 0.0 for side in (1.0, -1.0)}
        widths = (2.4, 4.8) if town else (1.8, 4.2)
        self.walk = {side: float(rng.uniform(*widths)) for side in (1.0, -1.0)}
        self.crossings = self._cross(rng)
        self.works = self._dig(rng)
        self.open_lots = self._open(rng)
        self.ground = self._lay(rng, lane)

    def frame(self, along_m: float, across_m: float, turn: float = 0.0) -> Frame:
        """Return the frame of something on the ground, headed along the street plus `turn`."""
        x, y, heading = self.ground.to_world(along_m, across_m)
        return Frame(x, y, float(ground_height(x, y, self.ground.packed)), heading + turn)

    def curb(self, side: float) -> float:
        """Return how far a side's sidewalk begins from the middle."""
        return self.half_road_m + self.parking[side]

    def outer(self, side: float) -> float:
        """Return how far a side's sidewalk ends from the middle."""
        return self.curb(side) + self.walk[side]

    def blocked(self, side: float) -> list[tuple[float, float]]:
        """Return where cross streets and building sites interrupt a side, in order."""
        gaps = [
            (crossing.along_m - crossing.reach_m, crossing.along_m + crossing.reach_m)
            for crossing in self.crossings
            if side in crossing.arms
        ]
        gaps += [(works.start_m, works.end_m) for works in self.works if works.side == side]
        return sorted(gaps)

    def _cross(self, rng: np.random.Generator) -> tuple[Crossing, ...]:
        crossings = []
        along = self.start_m + float(rng.uniform(30, 80))
        signals = {"suburb": 0.15, "town": 0.5, "arterial": 0.9}[self.setting]
        while along < self.end_m - 20:
            both = rng.random() < 0.55
            one = 1.0 if rng.random() < 0.5 else -1.0
            lights = bool(rng.random() < signals)
            crossings.append(
                Crossing(
                    along,
                    float(rng.uniform(2.7, 4.2)),
                    float(rng.uniform(1.5, 2.8)),
                    (1.0, -1.0) if both else (one,),
                    lights,
                    lights or bool(rng.random() < 0.35),
                )
            )
            along += float(rng.uniform(60, 130))
        return tuple(crossings)

    def _dig(self, rng: np.random.Generator) -> tuple[Stretch, ...]:
        """Return at most one building site, near where the sensor drives."""
        if rng.random() >= 0.35:
            return ()
        side = 1.0 if rng.random() < 0.5 else -1.0
        span = float(rng.uniform(12, 26))
        start = float(rng.uniform(-35, self.length_m + 10))
        works = Stretch(side, start, start + span)
        return (works,) if self._is_clear(works) else ()

    def _open(self, rng: np.random.Generator) -> tuple[tuple[Stretch, Kind], ...]:
        """Return lots without a building, and what their ground is."""
        lots = []
        along = self.start_m
        while along < self.end_m:
            side = 1.0 if rng.random() < 0.5 else -1.0
            span = float(rng.uniform(14, 30))
            kind = Kind.OTHER_GROUND if rng.random() < 0.7 else Kind.PARKING
            lot = Stretch(side, along, along + span)
            if self._is_clear(lot, self.works):
                lots.append((lot, kind))
            along += span + float(rng.uniform(30, 90))
        return tuple(lots)

    def _is_clear(self, stretch: Stretch, works: tuple[Stretch, ...] = ()) -> bool:
        """Return whether a part of a side keeps away from cross streets and building sites."""
        for crossing in self.crossings:
            reach = crossing.reach_m + 4.0
            if stretch.touches(crossing.along_m - reach, crossing.along_m + reach):
                return False
        return not any(stretch.touches(other.start_m, other.end_m) for other in works)

    def _lay(self, rng: np.random.Generator, lane_m: float) -> Ground:
        """Draw bends and hills, and paint everything that is not the plain cross-section."""
        painter = Painter(self.start_m, self.end_m, self.half_road_m)
        for side in (1.0, -1.0):
            if self.walk[side] > 2.6 and rng.random() < 0.3:
                painter.verge(side, self.curb(side))
            painter.driveways(side, self.curb(side), self.walk[side], rng)
        for stretch, kind in self.open_lots:
            outer = self.outer(stretch.side)
            painter.lot(stretch.side, stretch.start_m, stretch.end_m, outer, kind)
        painter.lines(lane_m, self.median_m, rng)
        for crossing in self.crossings:
            painter.open_median(crossing.along_m, crossing.half_m, self.median_m)
            for arm in crossing.arms:
                painter.arm(crossing.along_m, crossing.half_m, crossing.walk_m, arm, self.curb(arm))
        if self.tram:
            painter.rails([lane.across_m for lane in self.lanes if abs(lane.across_m) < lane_m])
        for crossing in self.crossings:
            if crossing.zebra:
                for arm in (1.0, -1.0):
                    painter.zebra(crossing.along_m, crossing.half_m, arm)
            for arm in crossing.arms:
                painter.stop_line(crossing.along_m, crossing.half_m, arm, self.curb(arm))
                if crossing.zebra:
                    painter.arm_zebra(crossing.along_m, crossing.half_m, arm, self.curb(arm))
            if crossing.lights:
                painter.own_stop_lines(
                    crossing.along_m, crossing.half_m, self.median_m, self.lanes_across()
                )
            elif not self.median_m and lane_m > 3.5 and crossing.zebra:
                painter.refuge(crossing.along_m, crossing.half_m)
        for works in self.works:
            painter.works(works.side, works.start_m, works.end_m, self.outer(works.side))
        return Ground(
            half_road_m=self.half_road_m,
            parking_left_m=self.parking[1.0],
            parking_right_m=self.parking[-1.0],
            sidewalk_left_m=self.walk[1.0],
            sidewalk_right_m=self.walk[-1.0],
            curb_m=float(rng.uniform(0.08, 0.15)),
            bend_m=float(rng.uniform(0, 12)),
            bend_length_m=float(rng.uniform(45, 90)),
            hill_m=float(rng.uniform(0, 0.8)),
            hill_length_m=float(rng.uniform(60, 120)),
            bump_m=float(rng.uniform(0.02, 0.08)),
            marking_m=0.0,
            start_m=self.start_m,
            end_m=self.end_m,
            reach_m=REACH_M,
            patches=painter.patches(),
        )

    def lanes_across(self) -> tuple[tuple[float, float], ...]:
        """Return each lane's middle across the street and its sense."""
        return tuple((lane.across_m, lane.sense) for lane in self.lanes)

"""Where a street lies: lanes, crossings, what is painted, and how places on it translate.

Places are given along the street and across it, to the left of its middle.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from train.simulation.simulator.ground import Ground
from train.simulation.simulator.kernels import ground_height
from train.simulation.simulator.parts import Point, pick
from train.simulation.simulator.scene import Frame
from train.simulation.simulator.surfaces import Kind

_FAR_M: Final = 1e3
_LINE_M: Final = 0.12
_CORNER_M: Final = 3.0
_MARGIN_M: Final = 110.0
REACH_M: Final = 60.0
"""How far cross streets go."""

Setting = Literal["suburb", "town", "arterial"]
_SETTINGS: Final[dict[Setting, float]] = {"suburb": 0.66, "town": 0.2, "arterial": 0.14}


@dataclass(frozen=True)
class Crossing:
    """A street that crosses, or that ends here.

    Attributes
    ----------
    along_m, half_m, walk_m
        Where its middle is, half the width of its carriageway, the width of its sidewalks.
    arms
        1 where it goes to the left, -1 to the right.
    lights, zebra
        Whether there are traffic lights, and stripes to walk on.
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


class Lane(NamedTuple):
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


class Painter:
    """Collects patches for `Ground`; what is painted later covers what is there.

    Parameters
    ----------
    start_m, end_m
        The street's ends.
    half_road_m, median_m
        Half the width of its carriageway, and of what lies between its two directions, if anything.
    """

    def __init__(
        self, start_m: float, end_m: float, half_road_m: float, median_m: float = 0.0
    ) -> None:
        self._ends, self._half_road_m, self._median_m = (start_m, end_m), half_road_m, median_m
        self._rows: list[tuple[float, ...]] = []

    def patches(self) -> NDArray[np.float64]:
        """Return all patches, (Z, 6)."""
        return np.array(self._rows, dtype=np.float64).reshape(-1, 6)

    def _paint(self, along: Point, across: Point, kind: Kind, *, raised: bool = False) -> None:
        self._rows.append((*sorted(along), *sorted(across), float(kind), float(raised)))

    def verge(self, side: float, curb: float) -> None:
        """Sow grass between curb and sidewalk."""
        across = (side * (curb + 0.15), side * (curb + 1.1))
        self._paint(self._ends, across, Kind.TERRAIN, raised=True)

    def driveways(self, side: float, curb: float, walk: float, rng: np.random.Generator) -> None:
        """Pave a way over the verge and into the yards now and then."""
        along = self._ends[0] + float(rng.uniform(5, 25))
        across = (side * (curb + 0.15), side * (curb + walk + 4.5))
        while along < self._ends[1]:
            self._paint((along, along + 3.0), across, Kind.SIDEWALK, raised=True)
            along += float(rng.uniform(14, 45))

    def lot(self, lot: Stretch, outer: float, kind: Kind) -> None:
        """Surface a lot beside the sidewalk; a car park gets lines between its places."""
        side = lot.side
        across = (side * outer, side * (outer + 18.0))
        self._paint((lot.start_m, lot.end_m), across, kind, raised=True)
        if kind == Kind.PARKING:
            lines = (side * (outer + 4.5), side * (outer + 9.5))
            for along in np.arange(lot.start_m + 1.0, lot.end_m - 1.0, 2.8):
                ends = (float(along), float(along) + 0.1)
                self._paint(ends, lines, Kind.ROAD_MARKING, raised=True)

    def lines(self, lane_m: float, rng: np.random.Generator) -> None:
        """Draw the middle line or lay the median, the lines between lanes, and edge lines."""
        ends, half, median_m = self._ends, _LINE_M / 2, self._median_m
        if median_m > 0:
            surface = Kind.TERRAIN if rng.random() < 0.5 else Kind.TRAFFIC_ISLAND
            self._paint(ends, (-median_m, median_m), Kind.CURB, raised=True)
            edge = median_m - 0.15
            self._paint(ends, (-edge, edge), surface, raised=True)
        elif self._half_road_m > 1.5 * lane_m:
            for across in (-0.12, 0.12):
                self._paint(ends, (across - half, across + half), Kind.LANE_MARKING)
        elif rng.random() < 0.6:
            self._dashes(0.0, 3.0, 9.0)
        each_way = round((self._half_road_m - median_m) / lane_m)
        for number in range(1, each_way):
            for sense in (1.0, -1.0):
                self._dashes(sense * (median_m + number * lane_m), 4.0, 12.0)
        if rng.random() < (0.8 if each_way > 1 else 0.25):
            for sense in (1.0, -1.0):
                across = sense * (self._half_road_m - 0.2)
                self._paint(ends, (across - half, across + half), Kind.LANE_MARKING)

    def _dashes(self, across: float, dash: float, period: float) -> None:
        line = (across - _LINE_M / 2, across + _LINE_M / 2)
        for along in np.arange(*self._ends, period):
            self._paint((float(along), float(along) + dash), line, Kind.LANE_MARKING)

    def rails(self, lanes: Sequence[float]) -> None:
        """Lay a track in the middle of each lane."""
        for lane in lanes:
            for rail in (lane - 0.72, lane + 0.72):
                self._paint(self._ends, (rail - 0.05, rail + 0.05), Kind.RAIL)

    def open_median(self, crossing: Crossing) -> None:
        """Clear the carriageway where a street crosses, and the median for who walks or turns."""
        middle, half = crossing.along_m, crossing.half_m
        beyond, reach = 4.5 if self._median_m else 0.0, max(self._median_m, 0.3)
        along = (middle - half - beyond, middle + half + beyond)
        self._paint(along, (-reach, reach), Kind.ROAD)
        edge = self._half_road_m
        self._paint((middle - half, middle + half), (-edge, edge), Kind.ROAD)

    def arm(self, crossing: Crossing, arm: float, curb: float) -> None:
        """Pave a arm of a cross street: sidewalks, curbs, carriageway and rounded corners."""
        middle, half = crossing.along_m, crossing.half_m
        far, reach = arm * _FAR_M, crossing.reach_m
        self._paint((middle - reach, middle + reach), (arm * curb, far), Kind.SIDEWALK, raised=True)
        stone = half + 0.15
        self._paint((middle - stone, middle + stone), (arm * curb, far), Kind.CURB, raised=True)
        road = arm * self._half_road_m
        self._paint((middle - half, middle + half), (road, far), Kind.ROAD)
        # Nobody may park where cars turn in.
        turn = half + _CORNER_M
        self._paint((middle - turn, middle + turn), (road, arm * curb), Kind.ROAD)
        step = 0.1
        for depth in np.arange(0.0, _CORNER_M, step):
            # A quarter of a circle about a center on the sidewalk.
            widen = _CORNER_M - float(np.sqrt(_CORNER_M**2 - (_CORNER_M - depth - step / 2) ** 2))
            across = (arm * (curb + float(depth)), arm * (curb + float(depth) + step))
            for side in (1.0, -1.0):
                edge = middle + side * (half + widen)
                self._paint((edge, edge + 0.15 * side), across, Kind.CURB, raised=True)
                self._paint((middle + side * half, edge), across, Kind.ROAD)

    def zebra(self, crossing: Crossing, side: float) -> None:
        """Paint stripes across the main street before (-1) or behind (1) a crossing."""
        middle, half = crossing.along_m, crossing.half_m
        along = (middle + side * (half + 1.2), middle + side * (half + 4.0))
        self._stripes(along, (-self._half_road_m + 0.25, self._half_road_m - 0.25), lengthwise=True)

    def arm_zebra(self, crossing: Crossing, arm: float, curb: float) -> None:
        """Paint stripes across a arm of a cross street."""
        middle, half = crossing.along_m, crossing.half_m
        across = (arm * (curb + 0.5), arm * (curb + 3.0))
        self._stripes(across, (middle - half + 0.2, middle + half - 0.2), lengthwise=False)

    def _stripes(self, length: Point, width: Point, *, lengthwise: bool) -> None:
        for low in np.arange(width[0], width[1] - 0.4, 1.0):
            stripe = (float(low), float(low) + 0.5)
            ends = (length, stripe) if lengthwise else (stripe, length)
            self._paint(*ends, Kind.ROAD_MARKING)

    def stop_line(self, crossing: Crossing, arm: float, curb: float) -> None:
        """Paint the stop line of a arm, on the half that leads to the main street."""
        middle, half = crossing.along_m, crossing.half_m
        across = (arm * (curb + 3.8), arm * (curb + 4.2))
        self._paint((middle - arm * half, middle), across, Kind.ROAD_MARKING)

    def own_stop_lines(self, crossing: Crossing, lanes: Sequence[Lane]) -> None:
        """Paint the main street's stop lines, and an arrow before them in each lane."""
        middle, half = crossing.along_m, crossing.half_m
        for sense in (1.0, -1.0):
            stop = middle - sense * (half + 4.8)
            across = (-sense * max(self._median_m, 0.2), -sense * (self._half_road_m - 0.2))
            self._paint((stop, stop - 0.4 * sense), across, Kind.ROAD_MARKING)
        for across_m, sense in lanes:
            tip = middle - sense * (half + 9.0)
            shaft = (tip, tip - 3.5 * sense)
            self._paint(shaft, (across_m - 0.08, across_m + 0.08), Kind.ROAD_MARKING)
            for number in range(5):
                back, wide = tip + sense * (0.9 - 0.2 * number), 0.08 + 0.08 * number
                row = (back, back - 0.2 * sense)
                self._paint(row, (across_m - wide, across_m + wide), Kind.ROAD_MARKING)

    def refuge(self, crossing: Crossing) -> None:
        """Lay an island in the middle of the street beside its stripes."""
        middle, half = crossing.along_m, crossing.half_m
        for side in (1.0, -1.0):
            along = (middle + side * (half + 4.4), middle + side * (half + 8.4))
            self._paint(along, (-0.5, 0.5), Kind.TRAFFIC_ISLAND, raised=True)

    def works(self, works: Stretch, outer: float) -> None:
        """Dig up parking strip and sidewalk."""
        across = (works.side * (self._half_road_m + 0.2), works.side * (outer + 2.0))
        self._paint((works.start_m, works.end_m), across, Kind.OTHER_GROUND)


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
        self.setting = pick(rng, _SETTINGS)
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
            widths = (float(rng.uniform(2.7, 4.2)), float(rng.uniform(1.5, 2.8)))
            arms = (1.0, -1.0) if both else (one,)
            zebra = lights or bool(rng.random() < 0.35)
            crossings.append(Crossing(along, *widths, arms, lights, zebra))
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
        ends = [(other.start_m, other.end_m) for other in works]
        for crossing in self.crossings:
            reach = crossing.reach_m + 4.0
            ends.append((crossing.along_m - reach, crossing.along_m + reach))
        return not any(stretch.touches(*each) for each in ends)

    def _lay(self, rng: np.random.Generator, lane_m: float) -> Ground:
        """Draw bends and hills, and paint everything that is not the plain cross-section."""
        painter = Painter(self.start_m, self.end_m, self.half_road_m, self.median_m)
        for side in (1.0, -1.0):
            if self.walk[side] > 2.6 and rng.random() < 0.3:
                painter.verge(side, self.curb(side))
            painter.driveways(side, self.curb(side), self.walk[side], rng)
        for stretch, kind in self.open_lots:
            painter.lot(stretch, self.outer(stretch.side), kind)
        painter.lines(lane_m, rng)
        for crossing in self.crossings:
            painter.open_median(crossing)
            for arm in crossing.arms:
                painter.arm(crossing, arm, self.curb(arm))
        if self.tram:
            painter.rails([lane.across_m for lane in self.lanes if abs(lane.across_m) < lane_m])
        for crossing in self.crossings:
            if crossing.zebra:
                for arm in (1.0, -1.0):
                    painter.zebra(crossing, arm)
            for arm in crossing.arms:
                painter.stop_line(crossing, arm, self.curb(arm))
                if crossing.zebra:
                    painter.arm_zebra(crossing, arm, self.curb(arm))
            if crossing.lights:
                painter.own_stop_lines(crossing, self.lanes)
            elif not self.median_m and lane_m > 3.5 and crossing.zebra:
                painter.refuge(crossing)
        for works in self.works:
            painter.works(works, self.outer(works.side))
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
            start_m=self.start_m,
            end_m=self.end_m,
            reach_m=REACH_M,
            patches=painter.patches(),
        )

"""Paints a street: lines, stripes, rails, islands, driveways, and the arms of cross streets."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.simulation.simulator.surfaces import Kind

_FAR_M: Final = 1e3
_LINE_M: Final = 0.12
_CORNER_M: Final = 3.0


class Painter:
    """Collects patches for `Ground`; what is painted later covers what is there.

    Parameters
    ----------
    start_m, end_m
        The street's ends.
    half_road_m
        Half the width of its carriageway.
    """

    def __init__(self, start_m: float, end_m: float, half_road_m: float) -> None:
        self._start_m, self._end_m, self._half_road_m = start_m, end_m, half_road_m
        self._rows: list[tuple[float, ...]] = []

    def patches(self) -> NDArray[np.float64]:
        """Return all patches, (Z, 6)."""
        return np.array(self._rows, dtype=np.float64).reshape(-1, 6)

    def _paint(
        self,
        along: tuple[float, float],
        across: tuple[float, float],
        kind: Kind,
        *,
        raised: bool = False,
    ) -> None:
        self._rows.append((*sorted(along), *sorted(across), float(kind), float(raised)))

    def verge(self, side: float, curb: float) -> None:
        """Sow grass between curb and sidewalk."""
        ends, across = (self._start_m, self._end_m), (side * (curb + 0.15), side * (curb + 1.1))
        self._paint(ends, across, Kind.TERRAIN, raised=True)

    def driveways(self, side: float, curb: float, walk: float, rng: np.random.Generator) -> None:
        """Pave a way over the verge and into the yards now and then."""
        along = self._start_m + float(rng.uniform(5, 25))
        while along < self._end_m:
            across = (side * (curb + 0.15), side * (curb + walk + 4.5))
            self._paint((along, along + 3.0), across, Kind.SIDEWALK, raised=True)
            along += float(rng.uniform(14, 45))

    def lot(self, side: float, start: float, end: float, outer: float, kind: Kind) -> None:
        """Surface a lot beside the sidewalk; a car park gets lines between its places."""
        self._paint((start, end), (side * outer, side * (outer + 18.0)), kind, raised=True)
        if kind == Kind.PARKING:
            for along in np.arange(start + 1.0, end - 1.0, 2.8):
                lines = (side * (outer + 4.5), side * (outer + 9.5))
                ends = (float(along), float(along) + 0.1)
                self._paint(ends, lines, Kind.ROAD_MARKING, raised=True)

    def lines(self, lane_m: float, median_m: float, rng: np.random.Generator) -> None:
        """Draw the middle line or lay the median, the lines between lanes, and edge lines."""
        ends, half = (self._start_m, self._end_m), _LINE_M / 2
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
        for along in np.arange(self._start_m, self._end_m, period):
            ends = (float(along), float(along) + dash)
            line = (across - _LINE_M / 2, across + _LINE_M / 2)
            self._paint(ends, line, Kind.LANE_MARKING)

    def rails(self, lanes: Sequence[float]) -> None:
        """Lay a track in the middle of each lane."""
        ends = (self._start_m, self._end_m)
        for lane in lanes:
            for rail in (lane - 0.72, lane + 0.72):
                self._paint(ends, (rail - 0.05, rail + 0.05), Kind.RAIL)

    def open_median(self, middle: float, half: float, median_m: float) -> None:
        """Clear the carriageway where a street crosses, and the median for who walks or turns."""
        along = (middle - half - (4.5 if median_m else 0.0), middle + half)
        along = (along[0], middle + half + (4.5 if median_m else 0.0))
        reach = max(median_m, 0.3)
        self._paint(along, (-reach, reach), Kind.ROAD)
        edge = self._half_road_m
        self._paint((middle - half, middle + half), (-edge, edge), Kind.ROAD)

    def arm(self, middle: float, half: float, walk: float, arm: float, curb: float) -> None:
        """Pave an arm of a cross street: sidewalks, curbs, carriageway and rounded corners."""
        far, reach = arm * _FAR_M, half + walk
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

    def zebra(self, middle: float, half: float, side: float) -> None:
        """Paint stripes across the main street before (-1) or behind (1) a crossing."""
        along = (middle + side * (half + 1.2), middle + side * (half + 4.0))
        self._stripes(along, (-self._half_road_m + 0.25, self._half_road_m - 0.25), lengthwise=True)

    def arm_zebra(self, middle: float, half: float, arm: float, curb: float) -> None:
        """Paint stripes across an arm of a cross street."""
        across = (arm * (curb + 0.5), arm * (curb + 3.0))
        self._stripes(across, (middle - half + 0.2, middle + half - 0.2), lengthwise=False)

    def _stripes(
        self, length: tuple[float, float], width: tuple[float, float], *, lengthwise: bool
    ) -> None:
        for low in np.arange(width[0], width[1] - 0.4, 1.0):
            stripe = (float(low), float(low) + 0.5)
            ends = (length, stripe) if lengthwise else (stripe, length)
            self._paint(*ends, Kind.ROAD_MARKING)

    def stop_line(self, middle: float, half: float, arm: float, curb: float) -> None:
        """Paint the stop line of an arm, on the half that leads to the main street."""
        across = (arm * (curb + 3.8), arm * (curb + 4.2))
        self._paint((middle - arm * half, middle), across, Kind.ROAD_MARKING)

    def own_stop_lines(
        self, middle: float, half: float, median_m: float, lanes: Sequence[tuple[float, float]]
    ) -> None:
        """Paint the main street's stop lines, and an arrow before them in each lane."""
        for sense in (1.0, -1.0):
            stop = middle - sense * (half + 4.8)
            across = (-sense * max(median_m, 0.2), -sense * (self._half_road_m - 0.2))
            self._paint((stop, stop - 0.4 * sense), across, Kind.ROAD_MARKING)
        for across_m, sense in lanes:
            tip = middle - sense * (half + 9.0)
            self._paint(
                (tip, tip - 3.5 * sense), (across_m - 0.08, across_m + 0.08), Kind.ROAD_MARKING
            )
            for number in range(5):
                back, wide = tip + sense * (0.9 - 0.2 * number), 0.08 + 0.08 * number
                row = (back, back - 0.2 * sense)
                self._paint(row, (across_m - wide, across_m + wide), Kind.ROAD_MARKING)

    def refuge(self, middle: float, half: float) -> None:
        """Lay an island in the middle of the street beside its stripes."""
        for side in (1.0, -1.0):
            along = (middle + side * (half + 4.4), middle + side * (half + 8.4))
            self._paint(along, (-0.5, 0.5), Kind.TRAFFIC_ISLAND, raised=True)

    def works(self, side: float, start: float, end: float, outer: float) -> None:
        """Dig up parking strip and sidewalk."""
        across = (side * (self._half_road_m + 0.2), side * (outer + 2.0))
        self._paint((start, end), across, Kind.OTHER_GROUND)

"""Where a street lies: its ground, and how places along and across it translate to the world."""

import numpy as np

from train.data.simulator.ground import Ground
from train.data.simulator.raycast import ground_height
from train.data.simulator.scene import Frame
from train.data.simulator.surfaces import Kind

_MARGIN_M = 110.0


class Layout:
    """A street's ground, drawn by chance, without anything on it.

    Parameters
    ----------
    length_m
        How far the sensor drives; the street goes on beyond both ends.
    rng
        The only source of chance.
    """

    def __init__(self, length_m: float, rng: np.random.Generator) -> None:
        self.start_m, self.end_m = -_MARGIN_M, length_m + _MARGIN_M
        self.ground, self.crossings, self.zones = _lay_ground(self.start_m, self.end_m, rng)
        self._packed = self.ground.packed()

    def frame(self, along_m: float, across_m: float, turn: float = 0.0) -> Frame:
        """Return the frame of something on the ground, headed along the street plus `turn`."""
        x, y, heading = self.ground.to_world(along_m, across_m)
        height = ground_height(x, y, self._packed, self.ground.cells, self.ground.swell)
        return Frame(x, y, float(height), heading + turn)

    def sidewalk(self, side: float) -> tuple[float, float]:
        """Return the inner and outer edge of a side's sidewalk, as distances from the middle."""
        ground = self.ground
        if side > 0:
            inner = ground.half_road_m + ground.parking_left_m
            return inner, inner + ground.sidewalk_left_m
        inner = ground.half_road_m + ground.parking_right_m
        return inner, inner + ground.sidewalk_right_m

    def in_crossing(self, along_m: float, margin_m: float = 0.0) -> bool:
        """Return whether a place along the street lies in a cross street."""
        return any(abs(along_m - middle) < half + margin_m for middle, half in self.crossings)

    def between_crossings(self, margin_m: float) -> list[tuple[float, float]]:
        """Return the stretches of street without a cross street, at least 6 m long."""
        stretches, along = [], self.start_m
        for middle, half in self.crossings:
            stretches.append((along, float(middle - half - margin_m)))
            along = float(middle + half + margin_m)
        stretches.append((along, self.end_m))
        return [(first, last) for first, last in stretches if last - first >= 6.0]

    def is_open(self, along: float, across: float) -> bool:
        """Return whether a zone, and so no building, covers a place."""
        return any(
            start <= along < end and low <= across < high
            for start, end, low, high, _, _ in self.zones
        )


def _lay_ground(
    start_m: float, end_m: float, rng: np.random.Generator
) -> tuple[
    Ground, list[tuple[float, float]], list[tuple[float, float, float, float, float, float]]
]:
    """Draw a cross-section, bends, cross streets and zones."""
    crossings = []
    along = start_m + float(rng.uniform(30, 80))
    while along < end_m:
        crossings.append((along, float(rng.uniform(2.8, 4.0))))
        along += float(rng.uniform(60, 130))
    half_road = float(rng.uniform(2.9, 4.2))
    left = float(rng.choice([0.0, 2.1], p=[0.3, 0.7]))
    right = float(rng.choice([0.0, 2.1], p=[0.4, 0.6]))
    walk_left, walk_right = float(rng.uniform(1.8, 3.4)), float(rng.uniform(1.8, 3.4))
    zones = []
    along = start_m
    while along < end_m:
        side = 1.0 if rng.random() < 0.5 else -1.0
        beyond = half_road + (left + walk_left if side > 0 else right + walk_right)
        span = float(rng.uniform(12, 25))
        kind = Kind.OTHER_GROUND if rng.random() < 0.7 else Kind.PARKING
        low, high = sorted((side * beyond, side * (beyond + 18.0)))
        zones.append((along, along + span, low, high, float(kind), 1.0))
        along += span + float(rng.uniform(30, 90))
    roads = [(at - half, at + half, -60.0, 60.0, float(Kind.ROAD), 0.0) for at, half in crossings]
    ground = Ground(
        half_road_m=half_road,
        parking_left_m=left,
        parking_right_m=right,
        sidewalk_left_m=walk_left,
        sidewalk_right_m=walk_right,
        curb_m=float(rng.uniform(0.08, 0.15)),
        bend_m=float(rng.uniform(0, 12)),
        bend_length_m=float(rng.uniform(45, 90)),
        hill_m=float(rng.uniform(0, 0.8)),
        hill_length_m=float(rng.uniform(60, 120)),
        bump_m=float(rng.uniform(0.02, 0.08)),
        marking_m=float(rng.choice([0.0, 0.12])),
        start_m=start_m,
        end_m=end_m,
        patches=np.array([*zones, *roads], dtype=np.float64).reshape(-1, 6),
    )
    return ground, crossings, zones

"""The ground of a street: its height, and a painted map that says what each place is.

Places on the map are given along the street and across it, to the left of its middle; where the
street bends, the map bends with it.

Shape letters: U cells along, V cells across, S coarse cells along, T across, Z patches.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from train.simulation.simulator.surfaces import Kind

ALONG_M: Final = 0.1
"""Length of a cell of the map along the street."""

ACROSS_M: Final = 0.05
"""Its width across."""

COARSE_M: Final = 1.0
"""Side of a cell of the map that says how freely terrain may swell."""

RAISED: Final = 128
"""Added to the kind in cells that lie at the height of the curb."""

_FREE_M: Final = 6.0
_CURBSTONE_M: Final = 0.15


class PackedGround(NamedTuple):
    """The numbers and maps of a `Ground` that compiled functions read."""

    half_road_m: float
    curb_m: float
    bend_m: float
    bend_length_m: float
    hill_m: float
    hill_length_m: float
    bump_m: float
    start_m: float
    reach_m: float
    cells: NDArray[np.uint8]
    swell: NDArray[np.float64]


@dataclass(frozen=True)
class Ground:
    """A street's cross-section and bends; a patch may put another surface anywhere.

    Attributes
    ----------
    half_road_m, parking_left_m, parking_right_m, sidewalk_left_m, sidewalk_right_m
        From the middle line to the edge of the carriageway; widths of the parking strips beside it,
        0 for none, and of the sidewalks beyond them, with the curbstone.
    curb_m
        How much higher sidewalks and terrain are than the road.
    bend_m, bend_length_m
        Sideways amplitude of the street's sine, and its length over 2 pi.
    hill_m, hill_length_m
        The same, up and down.
    bump_m
        Amplitude of the unevenness of terrain.
    start_m, end_m, reach_m
        How far the map goes along the street and to both sides; its edge goes on beyond.
    patches
        (Z, 6): start, end along the street, from, to across, kind, 1 if raised by the curb. Later
        patches cover earlier ones.
    """

    half_road_m: float = 3.5
    parking_left_m: float = 2.2
    parking_right_m: float = 0.0
    sidewalk_left_m: float = 2.5
    sidewalk_right_m: float = 2.5
    curb_m: float = 0.12
    bend_m: float = 0.0
    bend_length_m: float = 60.0
    hill_m: float = 0.0
    hill_length_m: float = 80.0
    bump_m: float = 0.05
    start_m: float = -110.0
    end_m: float = 150.0
    reach_m: float = 60.0
    patches: NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 6)))

    @cached_property
    def packed(self) -> "PackedGround":
        """What the ray caster reads."""
        numbers = [float(getattr(self, name)) for name in PackedGround._fields[:-2]]
        return PackedGround._make([*numbers, self.cells, self.swell])

    def to_world(self, along_m: float, across_m: float) -> tuple[float, float, float]:
        """Return x, y and the street's heading (radians) at a place given along and across it."""
        phase = along_m / self.bend_length_m
        heading = np.arctan(self.bend_m / self.bend_length_m * np.cos(phase))
        return along_m, across_m + self.bend_m * float(np.sin(phase)), float(heading)

    @cached_property
    def cells(self) -> NDArray[np.uint8]:
        """Return the map, (U, V): each cell's kind, plus `RAISED` where it lies on the curb."""
        shape = (round((self.end_m - self.start_m) / ALONG_M), round(2 * self.reach_m / ACROSS_M))
        cells = np.full(shape, int(Kind.TERRAIN) + RAISED, dtype=np.uint8)

        def paint(start: float, end: float, low: float, high: float, value: int) -> None:
            rows = slice(*_span((start, end), self.start_m, ALONG_M, shape[0]))
            cells[rows, slice(*_span((low, high), -self.reach_m, ACROSS_M, shape[1]))] = value

        sides = (
            (1.0, self.parking_left_m, self.sidewalk_left_m),
            (-1.0, self.parking_right_m, self.sidewalk_right_m),
        )
        for side, parking, sidewalk in sides:
            curb = self.half_road_m + parking
            for low, high, value in (
                (curb, curb + sidewalk, int(Kind.SIDEWALK) + RAISED),
                (curb, curb + min(_CURBSTONE_M, sidewalk), int(Kind.CURB) + RAISED),
                (self.half_road_m, curb, int(Kind.PARKING)),
                (0.0, self.half_road_m, int(Kind.ROAD)),
            ):
                left, right = sorted((side * low, side * high))
                paint(self.start_m, self.end_m, left, right, value)
        for start, end, low, high, kind, raised in self.patches:
            paint(start, end, low, high, int(kind) + RAISED * int(raised))
        return cells

    @cached_property
    def swell(self) -> NDArray[np.float64]:
        """Return how freely terrain may swell, (S, T): 0 beside anything else, 1 well away."""
        step = (round(COARSE_M / ALONG_M), round(COARSE_M / ACROSS_M))
        rows, columns = (size // width for size, width in zip(self.cells.shape, step, strict=True))
        blocks = self.cells[: rows * step[0], : columns * step[1]]
        blocks = blocks.reshape(rows, step[0], columns, step[1])
        free = (blocks == int(Kind.TERRAIN) + RAISED).all(axis=(1, 3))
        distance = np.zeros(free.shape)
        for _ in range(round(_FREE_M / COARSE_M)):
            padded = np.pad(free, 1, mode="edge")
            distance += free
            free = free & padded[2:, 1:-1] & padded[:-2, 1:-1]
            free &= padded[1:-1, 2:] & padded[1:-1, :-2]
        return distance * COARSE_M / _FREE_M


def _span(ends: tuple[float, float], origin: float, cell: float, count: int) -> tuple[int, int]:
    """Return the first cell and the one after the last whose middle lies between two places."""
    first, last = (int(np.ceil((end - origin) / cell - 0.5)) for end in ends)
    return min(max(first, 0), count), min(max(last, 0), count)

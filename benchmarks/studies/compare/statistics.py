"""Numbers that say what a frame is like: points by ring and range, classes, strength by class.

Shape letters: N points, C classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.data.frame import LidarFrame

RANGE_EDGES_M: Final = (0, 3, 5, 7, 10, 13, 16, 20, 25, 30, 40, 50, 65, 80)
"""Edges of the ranges that points are counted in."""

_QUARTERS: Final = (0.25, 0.5, 0.75)


@dataclass(frozen=True)
class FrameStatistics:
    """What a frame is like.

    Attributes
    ----------
    points
        How many there are.
    by_ring
        Points of each ring, in file order.
    elevation_deg
        Median elevation of each ring.
    by_range
        Points by `RANGE_EDGES_M`.
    by_class
        (C + 1,) points of each class, those without a class first.
    strength
        (C + 1, 3): quartiles of the strength of each class, NaN where there are no points.
    """

    points: int
    by_ring: NDArray[np.int64]
    elevation_deg: NDArray[np.float64]
    by_range: NDArray[np.int64]
    by_class: NDArray[np.int64]
    strength: NDArray[np.float64]


def rings(coord: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the ring of each point, (N,), of a frame that lists one turn after the other.

    A ring ends where the azimuth falls back by more than half a turn. That finds the rings of an
    HDL-64E's files, which hold no ring number.
    """
    azimuth = np.degrees(np.arctan2(coord[:, 1], coord[:, 0])) % 360.0
    return np.concatenate([[0], np.cumsum(np.diff(azimuth) < -180.0)]).astype(np.int64)


def statistics(frame: LidarFrame, num_classes: int) -> FrameStatistics:
    """Return what a labeled frame of an HDL-64E is like.

    Parameters
    ----------
    frame
        With labels.
    num_classes
        C.

    Raises
    ------
    ValueError
        If the frame has no labels.
    """
    if frame.segment is None:
        raise ValueError(f"statistics: frame {frame.name} has no labels; give one that has")
    coord = frame.coord.astype(np.float64)
    range_m = np.linalg.norm(coord, axis=1)
    elevation = np.degrees(np.arcsin(coord[:, 2] / np.maximum(range_m, 1e-9)))
    ring = rings(frame.coord)
    order = np.flatnonzero(np.diff(ring)) + 1
    medians = [float(np.median(part)) for part in np.split(elevation, order)]
    number = frame.segment + 1
    strength = np.full((num_classes + 1, 3), np.nan)
    for value in np.unique(number):
        strength[value] = np.quantile(frame.strength[number == value, 0], _QUARTERS)
    return FrameStatistics(
        points=len(coord),
        by_ring=np.bincount(ring),
        elevation_deg=np.array(medians),
        by_range=np.histogram(range_m, RANGE_EDGES_M)[0],
        by_class=np.bincount(number, minlength=num_classes + 1),
        strength=strength,
    )


def shares(found: Sequence[FrameStatistics]) -> NDArray[np.float64]:
    """Return each class's share of the points that have one, (frames, C)."""
    counts = np.array([one.by_class[1:] for one in found], dtype=np.float64)
    return np.asarray(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1.0))

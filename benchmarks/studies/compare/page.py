"""The page that compares simulated frames with a real one, in Markdown."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.studies.compare.statistics import RANGE_EDGES_M, FrameStatistics, shares
from train.core import blocks
from train.data.frame import LidarFrame
from train.data.semantickitti import CLASS_NAMES

PUBLISHED_SHARES: Final = {
    "car": 0.042608,
    "bicycle": 0.000166,
    "motorcycle": 0.000398,
    "truck": 0.002165,
    "other-vehicle": 0.001807,
    "person": 0.000338,
    "bicyclist": 0.000127,
    "motorcyclist": 0.000037,
    "road": 0.198796,
    "parking": 0.014717,
    "sidewalk": 0.143923,
    "other-ground": 0.003905,
    "building": 0.132686,
    "fence": 0.072359,
    "vegetation": 0.266815,
    "trunk": 0.006035,
    "terrain": 0.078142,
    "pole": 0.002855,
    "traffic-sign": 0.000616,
}
"""Share of all points of SemanticKITTI's labeled sequences (the official yaml's `content`)."""

_RINGS_SHOWN: Final = (0, 4, 8, 16, 24, 31, 32, 40, 48, 56, 60, 63)


def page(
    real: FrameStatistics,
    found: Sequence[FrameStatistics],
    shown: LidarFrame,
    picture: str,
    command: str,
    version: int,
) -> str:
    """Return the whole page.

    Parameters
    ----------
    real
        What the real frame is like.
    found
        What simulated ones are like.
    shown
        The simulated frame in the picture.
    picture
        Its file name.
    command
        How the page was made.
    version
        Of the simulator.
    """
    points = np.array([one.points for one in found])
    parts = [
        blocks.generated(command),
        "# Simulated frames beside a real one",
        f"{len(found)} simulated frames of an HDL-64E (simulator version {version}, four in each "
        f"of {-(-len(found) // 4)} scenes, written to disk and read back) beside one real frame "
        "of SemanticKITTI. One real frame is one place: where the last column of the class table, "
        "which covers all labeled sequences, lies elsewhere, that one is the aim. "
        "The points in the picture are simulated; of the real frame only counts and quartiles are "
        f"kept.\n\n    {command}",
        f"![simulated frame {shown.name}, and histograms]({picture})",
        f"A frame has {real.points:,} points in the real file, and {points.min():,} to "
        f"{points.max():,} in simulated ones, median {int(np.median(points)):,}. "
        + _differences(real, found),
        "## Classes\n\nShare of the points that have a class, in per cent; in brackets the least "
        "and the most of any simulated frame, then how many frames have the class at all. Rare "
        "classes are more frequent here than in the dataset, on purpose: a few hundred simulated "
        "frames must hold every class.\n\n" + _class_table(real, found),
        "## Strength\n\nMedian strength by class, in brackets the quartiles. Simulated: the "
        "median over frames of each.\n\n" + _strength_table(real, found),
        "## Range\n\nShare of all points, in per cent.\n\n" + _range_table(real, found),
        "## Rings\n\nPoints and median elevation of some rings, the uppermost first; simulated: "
        "medians over frames.\n\n" + _ring_table(real, found),
    ]
    return blocks.page(*parts)


def _per_cent(value: float) -> str:
    return f"{100 * value:.2f}" if value >= 0.0005 else f"{100 * value:.3f}"


def _mean_and_range(column: NDArray[np.float64]) -> str:
    mean, low, high = map(_per_cent, (column.mean(), column.min(), column.max()))
    return f"{mean} ({low}–{high})"


def _class_table(real: FrameStatistics, found: Sequence[FrameStatistics]) -> str:
    one, many = shares([real])[0], shares(found)
    rows = []
    for number, name in enumerate(CLASS_NAMES):
        column = many[:, number]
        spread = _mean_and_range(column)
        present = f"{int((column > 0).sum())} of {len(found)}"
        published = _per_cent(PUBLISHED_SHARES[name])
        rows.append([name, _per_cent(one[number]), spread, present, published])
    header = ["class", "real frame", "simulated", "frames with it", "whole dataset"]
    return blocks.table(header, rows)


def _strength_table(real: FrameStatistics, found: Sequence[FrameStatistics]) -> str:
    def show(quartiles: np.ndarray) -> str:
        if np.isnan(quartiles).all():
            return blocks.DASH
        low, middle, high = quartiles
        return f"{middle:.2f} ({low:.2f}–{high:.2f})"

    rows = []
    for number, name in enumerate(CLASS_NAMES, start=1):
        every = np.array([one.strength[number] for one in found if one.by_class[number] >= 20])
        typical = np.median(every, axis=0) if len(every) else np.full(3, np.nan)
        enough = real.by_class[number] >= 20
        rows.append([name, show(real.strength[number]) if enough else blocks.DASH, show(typical)])
    return blocks.table(["class", "real frame", "simulated"], rows)


def _range_table(real: FrameStatistics, found: Sequence[FrameStatistics]) -> str:
    many = np.array([one.by_range / one.points for one in found])
    rows = []
    for number, (low, high) in enumerate(pairwise(RANGE_EDGES_M)):
        spread = _mean_and_range(many[:, number])
        share = _per_cent(real.by_range[number] / real.points)
        rows.append([f"{low}–{high} m", share, spread])
    return blocks.table(["range", "real frame", "simulated"], rows)


def _ring_table(real: FrameStatistics, found: Sequence[FrameStatistics]) -> str:
    rows = []
    for ring in _RINGS_SHOWN:
        points = [one.by_ring[ring] for one in found if len(one.by_ring) > ring]
        elevation = [one.elevation_deg[ring] for one in found if len(one.by_ring) > ring]
        has = len(real.by_ring) > ring
        rows.append(
            [
                str(ring),
                f"{real.by_ring[ring]:,}" if has else blocks.DASH,
                f"{int(np.median(points)):,}" if points else blocks.DASH,
                f"{real.elevation_deg[ring]:.1f}" if has else blocks.DASH,
                f"{np.median(elevation):.1f}" if points else blocks.DASH,
            ]
        )
    header = ["ring", "points, real", "simulated", "elevation, real [degrees]", "simulated"]
    return blocks.table(header, rows)


def _differences(real: FrameStatistics, found: Sequence[FrameStatistics]) -> str:
    """Say in a sentence how far apart the distributions over range and ring are."""
    ranges = np.mean([one.by_range / one.points for one in found], axis=0)
    by_range = 0.5 * np.abs(ranges - real.by_range / real.points).sum()
    rings = max(len(one.by_ring) for one in (real, *found))
    of_rings = np.mean([_ring_shares(one, rings) for one in found], axis=0)
    by_ring = 0.5 * np.abs(of_rings - _ring_shares(real, rings)).sum()
    simulated = shares(found).mean(axis=0)
    by_class = 0.5 * np.abs(simulated - shares([real])[0]).sum()
    published = np.array([PUBLISHED_SHARES[name] for name in CLASS_NAMES])
    overall = 0.5 * np.abs(simulated - published / published.sum()).sum()
    return (
        f"As much as {100 * by_ring:.0f} % of the points would have to move to another ring to "
        f"make the mean simulated frame like the real one, {100 * by_range:.0f} % to another "
        f"range, {100 * by_class:.0f} % to another class; {100 * overall:.0f} % to another class "
        "to give the shares of the whole dataset."
    )


def _ring_shares(one: FrameStatistics, rings: int) -> NDArray[np.float64]:
    """Return each ring's share of the points, zero for rings that the frame does not have."""
    return np.asarray(np.pad(one.by_ring, (0, rings - len(one.by_ring))) / one.points)

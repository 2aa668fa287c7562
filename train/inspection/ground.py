"""Where the ground lies in a LiDAR frame: the height that most points near the sensor share.

Shape letters: N points.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

NEAR_M: Final = (3.0, 20.0)
"""Horizontal distances between which the ground is looked for: off the vehicle, and before slopes
and walls take over."""

_LAYER_M: Final = 0.2
_FEWEST: Final = 300
_SHARE: Final = 0.2


def ground_height_m(coord: NDArray[np.floating]) -> float | None:
    """Return the z of the ground; None where no layer stands out.

    Parameters
    ----------
    coord
        (N, 3) meters, z up or down.

    Notes
    -----
    The fullest of all layers 0.4 m thick, if it holds a fifth of the near points; of at most some
    20,000 points, evenly taken.
    """
    some = coord[:: max(1, len(coord) // 20_000)]
    range_m = np.hypot(some[:, 0], some[:, 1])
    z = some[(range_m > NEAR_M[0]) & (range_m < NEAR_M[1]), 2].astype(np.float64)
    if len(z) < _FEWEST:
        return None
    layer = np.floor(z / _LAYER_M).astype(np.int64)
    lowest = int(layer.min())
    counts = np.bincount(layer - lowest, minlength=2)
    # Two neighbors each, so that ground on the border of two layers is not cut in halves.
    pairs = counts[:-1] + counts[1:]
    fullest = int(np.argmax(pairs))
    if pairs[fullest] < _SHARE * len(z):
        return None
    bottom = (lowest + fullest) * _LAYER_M
    return float(np.median(z[(z >= bottom) & (z < bottom + 2 * _LAYER_M)]))

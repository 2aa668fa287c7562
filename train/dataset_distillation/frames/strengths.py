"""How strongly points of a class return the light: a table of quantiles, and draws from it.

A generator makes coordinates. A network that was trained without strengths cannot use those of real
frames, and one number for each class would tell it the class; so a generated point is given a
strength as points of its class have them.

Shape letters: C classes, Q quantiles, B frames, N points.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.dataset_distillation.clouds import PointClouds

QUANTILES: Final = 17


def strength_table(frames: PointClouds) -> NDArray[np.float32]:
    """Return (C, Q) quantiles of each class's strengths, evenly spread from least to greatest.

    Classes without points have zeros.
    """
    assert frames.strength is not None
    table = np.zeros((len(frames.part_names), QUANTILES), dtype=np.float32)
    shares = np.linspace(0.0, 1.0, QUANTILES)
    for number in np.flatnonzero(frames.part_counts()):
        table[number] = np.quantile(frames.strength[frames.parts == number], shares)
    return table


def draw_strengths(
    table: NDArray[np.float32], segment: NDArray[np.int64], *words: int
) -> NDArray[np.float32]:
    """Return (B, N) strengths as the points' classes have them; 0 for points of no class.

    Parameters
    ----------
    table
        (C, Q).
    segment
        (B, N) train ids, -1 for none.
    words
        What the draw depends on.
    """
    last = table.shape[1] - 1
    place = np.random.default_rng([*words]).random(segment.shape) * last
    below = np.minimum(place.astype(np.int64), last - 1)
    share = (place - below).astype(np.float32)
    rows = np.maximum(segment, 0)
    drawn = table[rows, below] * (1 - share) + table[rows, below + 1] * share
    return np.where(segment >= 0, drawn, 0).astype(np.float32)

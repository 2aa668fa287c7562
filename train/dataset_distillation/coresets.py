"""Real clouds that stand for their class: drawn, by herding, and by k-center.

Shape letters: B clouds, C channels, M clouds per class.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.dataset_distillation.clouds import PointClouds

Floats = NDArray[np.float64]
Choice = Callable[[Floats, int, np.random.Generator], NDArray[np.int64]]
"""From the features (B, C) of one class, M (at most B) and chance to M of its clouds."""


def draw(features: Floats, number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return clouds drawn without repeats."""
    return np.sort(rng.choice(len(features), size=number, replace=False)).astype(np.int64)


def herd(features: Floats, number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return clouds whose mean features follow the class's (Welling, ICML 2009).

    One after the other, each that brings the mean of the chosen nearest to the mean of all; the
    first of equals. Nothing is left to chance.
    """
    wanted = features.mean(axis=0)
    chosen: list[int] = []
    total = np.zeros_like(wanted)
    for count in range(1, number + 1):
        apart = np.linalg.norm((total + features) / count - wanted, axis=1)
        apart[chosen] = np.inf
        best = int(apart.argmin())
        chosen.append(best)
        total = total + features[best]
    return np.array(chosen, dtype=np.int64)


def k_center(features: Floats, number: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return clouds such that none is far from all of them (Sener and Savarese, ICLR 2018).

    Greedy: first the one nearest to the mean, then always the farthest from those chosen. Nothing
    is left to chance.
    """
    chosen = [int(np.linalg.norm(features - features.mean(axis=0), axis=1).argmin())]
    nearest = np.linalg.norm(features - features[chosen[0]], axis=1)
    while len(chosen) < number:
        nearest[chosen] = -1.0
        chosen.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, np.linalg.norm(features - features[chosen[-1]], axis=1))
    return np.array(chosen, dtype=np.int64)


CORESETS: Final[Mapping[str, Choice]] = {"random": draw, "herding": herd, "k-center": k_center}
"""Name -> how clouds of a class are chosen by their features."""


def coreset(
    name: str, clouds: PointClouds, features: Floats, clouds_per_class: int, seed: int
) -> NDArray[np.int64]:
    """Return which clouds are chosen, class by class, (classes x M,).

    By a name of `CORESETS` and the features (B, C) of all real clouds, which "random" does not look
    at. UserError if a class has fewer clouds.
    """
    clouds.require(clouds_per_class)
    chosen = []
    for label in range(len(clouds.classes)):
        rows = clouds.rows_of(label)
        rng = np.random.default_rng([seed, label])
        chosen.append(rows[CORESETS[name](features[rows], clouds_per_class, rng)])
    return np.concatenate(chosen)

"""One record for a LiDAR sweep of any dataset, and what a source of sweeps must offer.

Shape letters: N points.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

IGNORE = -1
"""The train id of a point that counts neither in the loss nor in the score."""


@dataclass(frozen=True)
class Sweep:
    """One turn of the sensor.

    Attributes
    ----------
    coord
        (N, 3) float32: x forward, y left, z up, metres, in the dataset's own frame.
    strength
        (N, 1) float32: the return's intensity, about 0 to 1.
    segment
        (N,) int64 train ids, `IGNORE` where the label does not count; None without labels.
    name
        What the sweep is called in logs and submissions, such as "00/000000".
    path
        The file that the points were read from.
    """

    coord: NDArray[np.float32]
    strength: NDArray[np.float32]
    segment: NDArray[np.int64] | None
    name: str
    path: Path


class SweepSource(Protocol):
    """A sequence of sweeps, read one at a time."""

    @property
    def names(self) -> Sequence[str]:
        """The sweeps' names, in index order."""

    @property
    def skipped_unlabelled(self) -> int:
        """How many sweeps were left out because they have no labels."""

    def __len__(self) -> int:
        """Return how many sweeps there are."""

    def __getitem__(self, index: int) -> Sweep:
        """Read one sweep."""

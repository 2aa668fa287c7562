"""What every kind of cloud file gives: columns by name, and itself again with a label per point.

Shape letters: N points.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError

STRENGTH_NAMES: Final = ("strength", "intensity", "remission", "reflectivity", "i")
"""Columns that hold the strength of a return; the first that is there is taken."""

NO_STRENGTH: Final = "none in the file, 0 for every point"


def strength_name(names: Iterable[str]) -> str | None:
    """Return which of some columns is the strength; None where none is."""
    there = set(names)
    return next((name for name in STRENGTH_NAMES if name in there), None)


@dataclass(frozen=True)
class CloudFile(ABC):
    """A file that was read.

    Attributes
    ----------
    path
        The file.
    columns
        (N,) numbers each, by lower-case name, in the file's own units.
    """

    path: Path
    columns: Mapping[str, NDArray[np.number]]

    kind: ClassVar[str]
    """What it is, for people."""
    rows_word: ClassVar[str] = "points"
    column_word: ClassVar[str] = "field"
    own_scale: ClassVar[float] = 1.0
    """What strengths are divided by if nobody says."""
    may_lack_returns: ClassVar[bool] = False
    """Whether rows with coordinates that are no numbers are rays without a return."""

    def values(self, scale: float | None = None) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return x, y, z and strength of every row, and which rows are points.

        Parameters
        ----------
        scale
            What strengths are divided by; None for what is usual for this kind of file.

        Returns
        -------
        values
            (N, 4) float64.
        there
            (N,) bool: False for a ray without a return.

        Raises
        ------
        UserError
            If a coordinate has no column.
        """
        missing = [axis for axis in "xyz" if axis not in self.columns]
        if missing:
            raise UserError(
                f"{self.path}: the {self.rows_word} have no {self.column_word} "
                f"{', '.join(missing)}; they have {', '.join(self.columns) or 'none'}"
            )
        values = np.zeros((len(self.columns["x"]), 4))
        for at, axis in enumerate("xyz"):
            values[:, at] = self.columns[axis]
        strength = strength_name(self.columns)
        if strength is not None:
            values[:, 3] = self.columns[strength] / np.float64(scale or self.own_scale)
        finite = np.asarray(np.isfinite(values[:, :3]).all(axis=1))
        return values, finite if self.may_lack_returns else np.ones_like(finite)

    def strength_from(self, scale: float | None = None) -> str:
        """Return where the strength comes from, for people."""
        name = strength_name(self.columns)
        if name is None:
            return NO_STRENGTH
        divisor = scale or self.own_scale
        return f"{self.column_word} {name}" + (f" / {divisor:g}" if divisor != 1.0 else "")

    @abstractmethod
    def labeled(self, labels: NDArray[np.int64]) -> bytes:
        """Return the file's contents with a label for each row, everything else as it is.

        Parameters
        ----------
        labels
            (N,) ids, in the order of the rows; -1 where a row has none.

        Raises
        ------
        UserError
            If the kind of file cannot hold these ids.
        """


def label_type(labels: NDArray[np.int64]) -> str:
    """Return the numpy type of a label column: unsigned, as everywhere, unless -1 is among them."""
    return "i4" if len(labels) and labels.min() < 0 else "u4"

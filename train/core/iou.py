"""Intersection over union: the one place where points, pixels and clouds of classes are counted.

Shape letters: N points, C classes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


def count_pairs(true: NDArray[Any], named: NDArray[Any], classes: int) -> NDArray[np.int64]:
    """Return the confusion matrix (C, C), truth by prediction, of ids 0 to C - 1, each (N,)."""
    pairs = true.astype(np.int64) * classes + named
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """What of each class is named rightly; adds up with ``+``.

    Attributes
    ----------
    right, true, found
        (C,) numbers: of those named rightly, those of the class, those named so.
    """

    right: NDArray[Any]
    true: NDArray[Any]
    found: NDArray[Any]

    @classmethod
    def of(cls, named: NDArray[np.int64], true: NDArray[np.int64], classes: int) -> "ClassCounts":
        """Return the counts of what is named one and is truly another, each (N,)."""
        return cls.of_matrix(count_pairs(true, named, classes))

    @classmethod
    def of_matrix(cls, matrix: NDArray[Any]) -> "ClassCounts":
        """Return the counts of a confusion matrix (C, C), truth by prediction."""
        return cls(np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0))

    def __add__(self, other: "ClassCounts") -> "ClassCounts":
        return ClassCounts(
            self.right + other.right, self.true + other.true, self.found + other.found
        )

    @property
    def union(self) -> NDArray[Any]:
        """What is of a class, or named so, (C,)."""
        union: NDArray[Any] = self.true + self.found - self.right
        return union

    def iou(self, known: NDArray[np.bool_] | None = None) -> list[float | None]:
        """Return intersection over union of the known classes, those that are there; else None."""
        there = self.true > 0 if known is None else known
        return [
            float(right / union) if is_known else None
            for right, union, is_known in zip(self.right, self.union, there, strict=True)
        ]

    def miou(self) -> float:
        """Return the mean IoU over the classes that are there: the same for every network."""
        values = [value for value in self.iou() if value is not None]
        return float(np.mean(values)) if values else 0.0

    def accuracy(self) -> float:
        """Return the share that is named rightly."""
        return float(self.right.sum() / max(int(self.true.sum()), 1))

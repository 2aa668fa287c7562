"""The record for a set of labeled clouds, and how a cloud is put into the unit sphere.

Objects are each in a unit of their own. LiDAR frames are in one unit that is known, keep the sensor
at the origin, have strengths, and are all of one class: the classes of their points are the parts.

Shape letters: B clouds, N points of each, P parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError

MIN_POINTS = 2
"""Points below which a cloud has no extent: PCA and instance normalization need more than one."""
_FARTHEST = 1e30  # as float32 has it; squares are float64
NO_PART = -1
"""The part of a point that has none."""


@dataclass(frozen=True, eq=False)
class PointClouds:
    """Labeled clouds, all of one size.

    Attributes
    ----------
    points
        (B, N, 3) float32.
    labels
        (B,) int64, indices of `classes`.
    classes
        Their names.
    parts
        (B, N) int64, indices of `part_names`, `NO_PART` for points without; None without parts.
    part_names
        Of all classes together; empty without parts.
    strength
        (B, N) float32, about 0 to 1, how strongly points return the light; None without.
    meters
        One unit of the coordinates, of all clouds; None where each has a unit of its own.
    names
        What the clouds are called; empty where they have no names.

    Raises
    ------
    UserError
        If shapes or labels do not fit each other, a cloud has fewer than two points, a
        coordinate is not finite, or all points of a cloud are equal.
    """

    points: NDArray[np.float32]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    parts: NDArray[np.int64] | None = None
    part_names: tuple[str, ...] = ()
    strength: NDArray[np.float32] | None = None
    meters: float | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check what the annotations cannot say."""
        shape = self.points.shape
        if len(shape) != 3 or shape[2] != 3:
            raise UserError(f"points have shape {shape}; give (clouds, points, 3)")
        if shape[1] < MIN_POINTS:
            raise UserError(f"clouds have {shape[1]} points; at least {MIN_POINTS} are needed")
        if self.labels.shape != (shape[0],):
            raise UserError(f"labels have shape {self.labels.shape}; give ({shape[0]},), one each")
        if not self.classes:
            raise UserError("there is no class; name at least one")
        _check_range("label", self.labels, 0, len(self.classes))
        if self.parts is not None:
            if self.parts.shape != shape[:2]:
                raise UserError(f"parts have shape {self.parts.shape}; give {shape[:2]}")
            _check_range("part", self.parts, NO_PART, len(self.part_names))
        if self.strength is not None and self.strength.shape != shape[:2]:
            raise UserError(f"strength has shape {self.strength.shape}; give {shape[:2]}")
        if self.names and len(self.names) != shape[0]:
            raise UserError(f"there are {len(self.names)} names of {shape[0]} clouds")
        for index, cloud in enumerate(self.points):
            check_cloud(cloud, f"cloud {index} ({self.classes[self.labels[index]]})")

    def __len__(self) -> int:
        """Return B."""
        return len(self.points)

    @property
    def num_points(self) -> int:
        """Return N."""
        return int(self.points.shape[1])

    @property
    def coord_m(self) -> NDArray[np.float32]:
        """Return (B, N, 3) coordinates in meters, of clouds whose unit is known."""
        assert self.meters is not None
        return self.points * np.float32(self.meters)

    def counts(self) -> NDArray[np.int64]:
        """Return how many clouds each class has, (classes,)."""
        return np.bincount(self.labels, minlength=len(self.classes)).astype(np.int64)

    def part_counts(self) -> NDArray[np.int64]:
        """Return how many points each part has, (P,)."""
        assert self.parts is not None
        labeled = self.parts[self.parts != NO_PART]
        return np.bincount(labeled, minlength=len(self.part_names)).astype(np.int64)

    def absent_parts(self) -> tuple[str, ...]:
        """Return the parts that no point has."""
        counts = self.part_counts()
        return tuple(name for name, count in zip(self.part_names, counts, strict=True) if not count)

    def part_shares(self) -> list[dict[int, float]]:
        """Return for each class its parts and their shares of the points that have one."""
        assert self.parts is not None
        found = []
        for label in range(len(self.classes)):
            parts = self.parts[self.rows_of(label)]
            numbers, counts = np.unique(parts[parts != NO_PART], return_counts=True)
            total = counts.sum()
            found.append({int(n): float(c / total) for n, c in zip(numbers, counts, strict=True)})
        return found

    def rows_of(self, label: int) -> NDArray[np.int64]:
        """Return where the clouds of a class are."""
        return np.flatnonzero(self.labels == label).astype(np.int64)

    def take(self, rows: Sequence[int] | NDArray[np.int64]) -> "PointClouds":
        """Return some of the clouds."""
        index = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            **self._of_points(index),
            labels=self.labels[index],
            names=tuple(self.names[row] for row in index.tolist()) if self.names else (),
        )

    def first_points(self, number: int) -> "PointClouds":
        """Return clouds of `number` points, the first ones of each; all where there are fewer.

        Points of a cloud are in no order: the first ones are a draw.
        """
        if self.num_points <= number:
            return self
        return replace(self, **self._of_points((slice(None), slice(number))))

    def _of_points(self, chosen: Any) -> dict[str, Any]:
        """Return what is known of each point, by name, of chosen clouds or points."""
        known = {"points": self.points, "parts": self.parts, "strength": self.strength}
        return {n: None if values is None else values[chosen] for n, values in known.items()}

    def with_points(self, points: NDArray[np.float32]) -> "PointClouds":
        """Return the same clouds with other coordinates, such as rotated ones."""
        return replace(self, points=np.ascontiguousarray(points, dtype=np.float32))

    def stretched(self, factor: float) -> "PointClouds":
        """Return the same clouds with all heights times a factor."""
        return self.with_points(self.points * np.array([1, 1, factor], dtype=np.float32))

    def require(self, clouds_per_class: int) -> None:
        """Refuse a set of which a class has fewer clouds than are asked for.

        Raises
        ------
        UserError
            Names the class of the fewest.
        """
        counts = self.counts()
        least = int(counts.argmin())
        if counts[least] < clouds_per_class:
            raise UserError(
                f"class {self.classes[least]} has {counts[least]} clouds, fewer than the "
                f"{clouds_per_class} asked for; ask for fewer per class, or give more data"
            )


def check_cloud(points: NDArray[np.floating], what: str) -> None:
    """Refuse a cloud (N, 3) that nothing can be learned from; `what` is its name in messages."""
    if len(points) < MIN_POINTS:
        number = "no points" if len(points) == 0 else "one point"
        raise UserError(f"{what}: has {number}; at least {MIN_POINTS} are needed, leave it out")
    finite = np.abs(points) < _FARTHEST
    if not finite.all():
        bad = int((~finite.all(axis=1)).argmax())
        raise UserError(f"{what}: point {bad} is not finite ({points[bad].tolist()}); leave it out")
    if (points == points[0]).all():
        raise UserError(f"{what}: all {len(points)} points are equal; leave it out")


def unit_sphere(points: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return a cloud (N, 3) with its mean at 0 and its farthest point at distance 1.

    Raises
    ------
    ValueError
        If all points are equal.
    """
    centered = points.astype(np.float64) - points.mean(axis=0, dtype=np.float64)
    reach = np.sqrt((centered**2).sum(axis=1)).max()
    if not reach > 0:
        raise ValueError("unit_sphere: all points are equal, there is no scale")
    return np.asarray(centered / reach, dtype=np.float32)


def resample(number: int, wanted: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return which of `number` points to take so that there are `wanted`.

    Without repeats where there are enough, else every point at least once.
    """
    if number >= wanted:
        return rng.choice(number, size=wanted, replace=False)
    more = rng.choice(number, size=wanted - number, replace=True)
    return np.concatenate([np.arange(number), more])


def _check_range(what: str, values: NDArray[np.int64], low: int, end: int) -> None:
    outside = (values < low) | (values >= end)
    if outside.any():
        found = int(values[outside][0])
        raise UserError(f"{what} {found} is outside {low} to {end - 1}; check the names")

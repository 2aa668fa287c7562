"""What every kind of cloud file gives: columns by name, and itself again with a label per point.

What no network should see of a cloud (values that are not finite, points too far out, other
columns) is refused here for all of them; `.npy` files, which need no parser, are read here too.

Shape letters: N points.
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from train.core.bounded import npy_array
from train.core.errors import UserError
from train.data.files import read_bytes

MAX_COORDINATE_M: Final = 1000.0
"""No return lies further out than this on any axis; what claims to is a damaged file."""

# How rows of another length are recognized; see `refuse_other_columns`.
_NEGATIVE_SHARE: Final = 0.05
_MOST_COLUMNS: Final = 8
_MOST_ROWS: Final = 20_000  # as good as all
_FEWEST_ROWS: Final = 30  # in fewer, which length of rows is likely is chance


def checked_points(
    path: Path, values: NDArray[np.number], *, not_finite: str, too_far: str
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return coordinates and strengths as networks take them, or refuse the file.

    Parameters
    ----------
    path
        Where they come from.
    values
        (N, 4) numbers: x, y, z in meters and strength.
    not_finite, too_far
        What to do about values that are not finite, and about points beyond `MAX_COORDINATE_M`.

    Returns
    -------
    coord, strength
        (N, 3) and (N, 1) float32.

    Raises
    ------
    UserError
        If there is no point, a value is not finite as float32, or a coordinate is too large.
    """
    if len(values) == 0:
        raise UserError(f"{path}: the cloud is empty (0 points); remove it or copy it again")
    # What is too large for float32 is infinite there, and the network takes float32.
    with np.errstate(over="ignore", invalid="ignore"):
        points = values.astype(np.float32, copy=False)
    # Which points are wrong is asked only of damaged files: to look at each row takes far longer.
    if not np.isfinite(points).all():
        finite = np.isfinite(points).all(axis=1)
        first = int(np.argmin(finite))
        raise UserError(
            f"{path}: {int((~finite).sum())} of {len(points)} points have NaN or infinite values "
            f"(first: point {first}, x y z strength = {_show(points[first])}); {not_finite}"
        )
    if np.abs(points[:, :3]).max() > MAX_COORDINATE_M:
        far = np.abs(points[:, :3]).max(axis=1) > MAX_COORDINATE_M
        first = int(np.argmax(far))
        raise UserError(
            f"{path}: {int(far.sum())} of {len(points)} points lie more than "
            f"{MAX_COORDINATE_M:g} m out (first: point {first} at {_show(points[first, :3])}); "
            f"{too_far}"
        )
    return np.ascontiguousarray(points[:, :3]), np.ascontiguousarray(points[:, 3:])


def refuse_other_columns(path: Path, points: NDArray[np.float32]) -> None:
    """Refuse a bare file of float32 whose rows have another number of columns than they were read.

    Parameters
    ----------
    path
        Of the file.
    points
        (N, 4) x, y, z and strength, as read. Rows of another length put coordinates in the place of
        the strength, which no strength is like: it is negative, or far above 1.

    Raises
    ------
    UserError
        If values a row apart are nearer to each other for another length of rows. For equally
        distributed rows that cannot be for the true length: the mean distance between two variables
        is at least the mean of the distances within each (Székely and Rizzo's energy distance).
    """
    strength = points[:, 3]
    negative = float(np.mean(strength < 0))
    if len(points) < _FEWEST_ROWS or (negative <= _NEGATIVE_SHARE and strength.max() <= 1.0):
        return
    changes = _changes(points.reshape(-1))
    # Two rows are as far apart as one, where rows come in no order: the shortest that is as near.
    likely = next(c for c, change in changes.items() if change <= 1.03 * min(changes.values()))
    # Coordinates may all be positive. Then only a clear answer counts: strengths of 0 to 255 are
    # no other columns.
    least = 1.03 if negative > _NEGATIVE_SHARE else 2.0
    if likely == 4 or changes[4] <= least * changes[likely]:
        return
    named = {3: "x y z", 5: "x y z intensity ring"}.get(likely, "more than x y z remission")
    raise UserError(
        f"{path}: looks like {likely} columns of float32 ({named}), not the 4 of a .bin file "
        f"(x y z remission): read so, remissions run from {strength.min():.4g} to "
        f"{strength.max():.4g}; write four columns, remission 0 to 1, or 0 where there is none, or "
        "say which there are: --data.point-columns of --dataset kitti-layout"
    )


def _changes(values: NDArray[np.float32]) -> dict[int, float]:
    """Return the mean change from a value to that a row later, by the number of columns."""
    some = values[: 4 * _MOST_ROWS].astype(np.float64)
    return {
        columns: float(np.abs(some[columns:] - some[:-columns]).mean())
        for columns in range(3, _MOST_COLUMNS + 1)
        if len(some) > columns
    }


def _show(values: NDArray[np.float32]) -> str:
    """Return a point's values on one line."""
    return " ".join(f"{float(value):.6g}" for value in values)


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
        strength = strength_name(self.columns)
        # What is no number, or too large, is refused with the file: see `checked_points`.
        with np.errstate(all="ignore"):
            for at, axis in enumerate("xyz"):
                values[:, at] = self.columns[axis]
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


@dataclass(frozen=True)
class NpyFile(CloudFile):
    """An array of points. Its labels are an array of their own: there is no column for them."""

    kind: ClassVar[str] = "numpy array"

    def strength_from(self, scale: float | None = None) -> str:
        """Return where the strength comes from, for people."""
        said = super().strength_from(scale)
        return said.replace("field strength", "fourth column")

    def labeled(self, labels: NDArray[np.int64]) -> bytes:
        """Return an array of the labels."""
        stream = io.BytesIO()
        np.save(stream, labels)
        return stream.getvalue()


def load_npy(path: Path) -> NDArray[Any]:
    """Return the array of a `.npy` file; no pickled code runs.

    Raises
    ------
    UserError
        If the file cannot be read.
    """
    try:
        return npy_array(read_bytes(path))
    except ValueError as error:
        raise UserError(
            f"{path}: cannot be read as a numpy array of numbers ({error}); "
            "write it with numpy.save"
        ) from error


def read_npy(path: Path) -> NpyFile:
    """Read an array of numbers, (N, 3) or (N, 4).

    Raises
    ------
    UserError
        If the file cannot be read, or holds anything else.
    """
    points = load_npy(path)
    if points.dtype.kind not in "fiu":
        raise UserError(f"{path}: holds no array of numbers; write one of shape (N, 3) or (N, 4)")
    if points.ndim != 2 or points.shape[1] not in (3, 4):
        raise UserError(
            f"{path}: the array has shape {points.shape}; it must be (N, 3), x y z in meters, or "
            "(N, 4) with the strength"
        )
    return NpyFile(path, dict(zip(("x", "y", "z", "strength"), points.T, strict=False)))

"""What every kind of cloud file gives: columns by name, and itself again with a label per point.

What no network should see of a cloud is refused by `bare_points` for all of them; `.npy` files,
which need no parser, are read here too.

Shape letters: N points.
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from train.core.bounded import npy_array
from train.core.errors import UserError
from train.data.files import read_bytes
from train.data.readers import bare_points
from train.data.readers.bare_points import strength_name


@contextmanager
def points_of_users() -> Iterator[None]:
    """Turn what is wrong with points into what a command shows in one line."""
    try:
        yield
    except bare_points.PointsError as error:
        raise UserError(str(error)) from error


checked_points = points_of_users()(bare_points.checked_points)
"""As in `bare_points`; raises what a command shows in one line."""

NO_STRENGTH: Final = "none in the file, 0 for every point"


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
    may_lack_returns: ClassVar[bool] = True
    """Whether rows with coordinates that are no numbers are rays without a return."""

    def values(
        self, scale: float | None = None, origin_m: bare_points.Origin | None = None
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Return x, y, z and strength of every row, and which rows are points.

        Parameters
        ----------
        scale
            What strengths are divided by; None for what is usual for this kind of file.
        origin_m
            Subtracted from x, y and z; None for nothing.

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
        if origin_m is not None:
            values[:, :3] -= origin_m
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
    return npy_cloud(load_npy(path), path)


def npy_cloud(points: NDArray[Any], path: Path) -> NpyFile:
    """Return an array of numbers, (N, 3) or (N, 4), as its file would be read.

    Raises
    ------
    UserError
        If it holds anything else; the message names the path.
    """
    if points.dtype.kind not in "fiu":
        raise UserError(f"{path}: holds no array of numbers; write one of shape (N, 3) or (N, 4)")
    if points.ndim != 2 or points.shape[1] not in (3, 4):
        raise UserError(
            f"{path}: the array has shape {points.shape}; it must be (N, 3), x y z in meters, or "
            "(N, 4) with the strength"
        )
    return NpyFile(path, dict(zip(("x", "y", "z", "strength"), points.T, strict=False)))

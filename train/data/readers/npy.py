"""Read a cloud from a numpy array: (N, 3) or (N, 4), x y z and strength.

Shape letters: N points.
"""

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.readers.cloud_file import CloudFile


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


def load_npy(path: Path) -> Any:
    """Return what a `.npy` file holds, whatever that is; no pickled code runs.

    Raises
    ------
    UserError
        If the file cannot be read.
    """
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError, MemoryError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"{path}: cannot be read as a numpy array of numbers ({reason}); "
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
    if not isinstance(points, np.ndarray) or points.dtype.kind not in "fiu":
        raise UserError(f"{path}: holds no array of numbers; write one of shape (N, 3) or (N, 4)")
    if points.ndim != 2 or points.shape[1] not in (3, 4):
        raise UserError(
            f"{path}: the array has shape {points.shape}; it must be (N, 3), x y z in meters, or "
            "(N, 4) with the strength"
        )
    return NpyFile(path, dict(zip(("x", "y", "z", "strength"), points.T, strict=False)))

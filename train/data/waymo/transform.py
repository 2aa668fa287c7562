"""Rigid transforms as the files have them, and the error of a frame whose parts do not fit."""

import numpy as np
from numpy.typing import NDArray


class FrameError(ValueError):
    """A frame's parts do not fit together; the reader says in which file."""


def checked_transform(values: NDArray[np.float64], what: str) -> NDArray[np.float64]:
    """Return 16 numbers as a rigid transform (4, 4).

    Raises
    ------
    FrameError
        If there are not 16, one is not finite, or it is not a rotation with a translation.
    """
    if len(values) != 16:
        raise FrameError(f"{what} has {len(values)} numbers, expected 16 (a 4 x 4 matrix)")
    matrix = values.reshape(4, 4)
    rotation = matrix[:3, :3]
    # Real ones are exact to 1e-7; a mirrored or zero matrix must not pass, rounding must.
    rigid = bool(np.isfinite(matrix).all()) and bool(
        (np.abs(matrix) < 1e7).all()
        and np.allclose(rotation @ rotation.T, np.eye(3), rtol=0, atol=1e-3)
        and np.linalg.det(rotation) > 0
        and (matrix[3] == (0, 0, 0, 1)).all()
    )
    if not rigid:
        raise FrameError(f"{what} is no rotation with a translation")
    return matrix

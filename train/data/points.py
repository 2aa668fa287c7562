"""What no network should see of a cloud: values that are not finite, points that are too far out.

Shape letters: N points.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError

MAX_COORDINATE_M: Final = 1000.0
"""No return lies further out than this on any axis; what claims to is a damaged file."""


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
    with np.errstate(over="ignore"):
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


def _show(values: NDArray[np.float32]) -> str:
    """Return a point's values on one line."""
    return " ".join(f"{float(value):.6g}" for value in values)

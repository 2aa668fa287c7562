"""Rows of points as they lie in bare files, and what no network should see of them.

Needs numpy and nothing of torch, as all that `open_cloud` needs: `topodistill export` copies these
files beside a network, so that what is read and refused there is what is read and refused here.

Shape letters: N points.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray


class PointsError(Exception):
    """Says in one line what is wrong with points and what to do about it."""


Columns = Sequence[tuple[str, str]]
"""Of a bare file: name and little-endian numpy type of each, ("x", "<f4"), ..."""

Origin = tuple[float, float, float]
"""x, y, z in meters: the sensor's place in the coordinates of a map."""

KITTI_COLUMNS: Final = (("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("remission", "<f4"))
"""SemanticKITTI's."""

STRENGTH_NAMES: Final = ("strength", "intensity", "remission", "reflectivity", "i")
"""Columns that hold the strength of a return; the first that is there is taken."""


def strength_name(names: Iterable[str]) -> str | None:
    """Return which of some columns is the strength; None where none is."""
    there = set(names)
    return next((name for name in STRENGTH_NAMES if name in there), None)


def row_type(columns: Columns) -> np.dtype[np.void]:
    """Return the type of a row, a number for each column: unused ones may share a name."""
    return np.dtype([(f"{at}", kind) for at, (_, kind) in enumerate(columns)])


def bare_points(
    data: bytes, columns: Columns, scale: float | None, origin_m: Origin | None = None
) -> NDArray[np.float32]:
    """Return x, y, z and strength of a bare file's whole rows.

    Parameters
    ----------
    data
        Of the file: a multiple of the row's bytes.
    columns
        x, y and z once each; the strength is the first of `STRENGTH_NAMES`, 0 without one.
    scale
        What strengths are divided by; None for 1.
    origin_m
        Subtracted from x, y and z before they become float32; None for nothing.

    Returns
    -------
    values
        (N, 4) float32.
    """
    names = [name for name, _ in columns]
    if tuple(columns) == KITTI_COLUMNS and origin_m is None:
        values = np.frombuffer(data, dtype="<f4").astype(np.float32).reshape(-1, 4)
    else:
        table = np.frombuffer(data, dtype=row_type(columns))
        values = np.zeros((len(table), 4), dtype=np.float32)
        for at, name in enumerate((*"xyz", strength_name(names))):
            if name is not None:
                column = table[f"{names.index(name)}"]
                shift = 0.0 if origin_m is None or name not in "xyz" else origin_m[at]
                values[:, at] = column - np.float64(shift) if shift else column
    if scale is not None:
        values[:, 3] /= scale
    return values


MAX_COORDINATE_M: Final = 1000.0
"""No return lies further out than this on any axis; what claims to is a damaged file."""

# How rows of another length are recognized; see `refuse_other_columns`.
_NEGATIVE_SHARE: Final = 0.05
_MOST_COLUMNS: Final = 8
_MOST_ROWS: Final = 20_000  # as good as all
_FEWEST_ROWS: Final = 30  # in fewer, which length of rows is likely is chance


def checked_points(
    path: Path,
    values: NDArray[np.number],
    *,
    not_finite: str,
    too_far: str,
    columns: str = "x y z strength",
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return coordinates and strengths as networks take them, or refuse the file.

    Parameters
    ----------
    path
        Where they come from.
    values
        (N, C) numbers: x, y, z in meters, strength, and what else only has to be finite.
    not_finite, too_far
        What to do about values that are not finite, and about points beyond `MAX_COORDINATE_M`.
    columns
        What the values are called.

    Returns
    -------
    coord, strength
        (N, 3) and (N, 1) float32.

    Raises
    ------
    PointsError
        If there is no point, a value is not finite as float32, or a coordinate is too large.
    """
    if len(values) == 0:
        raise PointsError(f"{path}: the cloud is empty (0 points); remove it or copy it again")
    # What is too large for float32 is infinite there, and the network takes float32.
    with np.errstate(over="ignore", invalid="ignore"):
        points = values.astype(np.float32, copy=False)
    # Which points are wrong is asked only of damaged files: to look at each row takes far longer.
    if not np.isfinite(points).all():
        wrong = np.asarray(~np.isfinite(points).all(axis=1))
        raise wrong_points(path, points, wrong, "have NaN or infinite values", not_finite, columns)
    coord = np.ascontiguousarray(points[:, :3])
    if max(coord.max(), -coord.min()) > MAX_COORDINATE_M:
        wrong = np.asarray(np.abs(points[:, :3]).max(axis=1) > MAX_COORDINATE_M)
        reason = f"lie more than {MAX_COORDINATE_M:g} m out"
        raise wrong_points(path, points, wrong, reason, too_far, columns)
    return coord, np.ascontiguousarray(points[:, 3:4])


def wrong_points(
    path: Path,
    points: NDArray[np.float32],
    wrong: NDArray[np.bool_],
    reason: str,
    hint: str,
    columns: str,
) -> PointsError:
    """Return the complaint about some points (N, C) of a file, those that are `wrong` (N,)."""
    first = int(np.argmax(wrong))
    shown = " ".join(f"{float(value):.6g}" for value in points[first])
    return PointsError(
        f"{path}: {int(wrong.sum())} of {len(points)} points {reason} (first: point {first}, "
        f"{columns} = {shown}); {hint}"
    )


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
    PointsError
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
    raise PointsError(
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

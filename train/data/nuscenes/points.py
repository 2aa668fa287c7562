"""Files of nuScenes' points (`.pcd.bin`) and labels (`_lidarseg.bin`): a record a point, no header.

Shape letters: N points.
"""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.files import read_bytes
from train.data.readers.bare_points import MAX_COORDINATE_M

POINT_BYTES: Final = 20
MAX_POINTS: Final = 10_000_000
"""A frame has some 35,000; no file that claims to hold more than this is read."""

FULL_INTENSITY: Final = 255.0
UNKNOWN: Final = -2
"""What a lookup has where a number in a label file stands for no category."""

_VALUES = 5  # x, y, z, intensity, ring
# How files of the Point Cloud Library begin; as float32 these bytes would be numbers like others.
_PCD_BEGINNINGS = (b"# .PCD", b"VERSION", b"FIELDS")


def read_points(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the coordinates and intensities of a `.pcd.bin` file.

    Parameters
    ----------
    path
        A file of float32 (x, y, z, intensity, ring): meters in the sensor's own frame, x to the
        right, y forward, z up; 0..255; a number that is not looked at.

    Returns
    -------
    coord, strength
        (N, 3) and (N, 1) float32, N at least 1; strength is intensity / 255.

    Raises
    ------
    UserError
        If the file cannot be read, is empty, has a header, a size that is no multiple of 20 bytes
        or more than `MAX_POINTS` have, or holds a NaN, an infinity, a coordinate beyond
        `MAX_COORDINATE_M`, or an intensity outside 0..255.
    """
    most = MAX_POINTS * POINT_BYTES
    data = read_bytes(path, lambda num_bytes: _check_not_more(path, num_bytes, most))
    if data.startswith(_PCD_BEGINNINGS):
        raise UserError(
            f"{path}: begins with a PCD header; nuScenes' .pcd.bin files are bare float32 "
            "(x, y, z, intensity, ring), copy the original file"
        )
    check_point_bytes(path, len(data))
    points = np.frombuffer(data, dtype="<f4").reshape(-1, _VALUES)
    # The whole array at once, as nearly every frame is sound; which points only where one is not.
    if not np.isfinite(points).all():
        wrong = ~np.isfinite(points).all(axis=1)
        raise _refused(path, points, wrong, "have NaN or infinite values")
    coord = points[:, :3].astype(np.float32, order="C")
    if max(coord.max(), -coord.min()) > MAX_COORDINATE_M:
        wrong = np.abs(points[:, :3]).max(axis=1) > MAX_COORDINATE_M
        raise _refused(path, points, wrong, f"lie more than {MAX_COORDINATE_M:g} m out")
    intensity = points[:, 3:4]
    if intensity.min() < 0 or intensity.max() > FULL_INTENSITY:
        wrong = ((intensity < 0) | (intensity > FULL_INTENSITY))[:, 0]
        raise _refused(path, points, wrong, f"have an intensity outside 0..{FULL_INTENSITY:g}")
    return coord, (intensity / np.float32(FULL_INTENSITY)).astype(np.float32, copy=False)


def read_segment(path: Path, num_points: int, lookup: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the train ids in a `_lidarseg.bin` file.

    Parameters
    ----------
    path
        A file of uint8 category numbers.
    num_points
        How many points the frame has.
    lookup
        (256,) int64: the train id of each number, `UNKNOWN` for those that stand for nothing.

    Returns
    -------
    segment
        (N,) int64 in 0..15, or `IGNORE_INDEX`.

    Raises
    ------
    UserError
        If the file cannot be read, does not hold exactly one label for each point, or holds a
        number that no category has.
    """
    data = read_bytes(path, lambda num_bytes: _check_not_more(path, num_bytes, MAX_POINTS))
    check_label_bytes(path, len(data), num_points)
    raw = np.frombuffer(data, dtype=np.uint8)
    segment = lookup[raw]
    unknown = segment == UNKNOWN
    if unknown.any():
        numbers = np.unique(raw[unknown]).tolist()
        shown = ", ".join(map(str, numbers[:8])) + (", ..." if len(numbers) > 8 else "")
        raise UserError(
            f"{path}: {int(unknown.sum())} labels have numbers that no category in category.json "
            f"has ({shown}; first at point {int(np.argmax(unknown))}); copy the original label "
            "file and category.json again"
        )
    return segment


def check_point_bytes(path: Path, num_bytes: int) -> None:
    """Refuse a frame's size that no whole number of points, or no frame, can have."""
    _check_not_more(path, num_bytes, MAX_POINTS * POINT_BYTES)
    if num_bytes == 0:
        raise UserError(f"{path}: the file is empty (0 bytes); copy it again or remove the frame")
    if num_bytes % POINT_BYTES:
        raise UserError(
            f"{path}: {num_bytes} bytes is no multiple of {POINT_BYTES} ({_VALUES} float32 a "
            "point); the file is cut short or no nuScenes frame, copy it again"
        )


def check_label_bytes(path: Path, num_bytes: int, num_points: int) -> None:
    """Refuse a label file that does not hold exactly one label for each point."""
    if num_bytes != num_points:
        raise UserError(
            f"{path}: {num_bytes} bytes, but the frame has {num_points} points and needs "
            f"{num_points} (one uint8 each); copy the label file that belongs to it"
        )


def _check_not_more(path: Path, num_bytes: int, most: int) -> None:
    """Refuse a file that would fill the memory."""
    if num_bytes > most:
        raise UserError(
            f"{path}: {num_bytes} bytes is more than a frame of {MAX_POINTS:,} points has; "
            "it is no nuScenes frame, copy the original file"
        )


def _refused(
    path: Path, points: NDArray[np.float32], wrong: NDArray[np.bool_], reason: str
) -> UserError:
    """Return the complaint about some points of a file."""
    first = int(np.argmax(wrong))
    shown = " ".join(f"{float(value):.6g}" for value in points[first])
    return UserError(
        f"{path}: {int(wrong.sum())} of {len(points)} points {reason} (first: point {first}, "
        f"x y z intensity ring = {shown}); the file is damaged or no nuScenes frame, "
        "copy it again or remove the frame"
    )

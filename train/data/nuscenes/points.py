"""nuScenes' files of points (`.pcd.bin`) and labels (`_lidarseg.bin`): a record a point, no header.

Shape letters: N points.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.class_map import ClassMap
from train.data.files import check_size, read_bytes
from train.data.nuscenes.classes import CATEGORY_TO_TRAIN, CLASS_NAMES
from train.data.readers.bare_points import checked_points, wrong_points
from train.data.readers.cloud_file import points_of_users
from train.data.readers.frame_files import FrameFiles

MAX_POINTS: Final = 10_000_000
"""A frame has some 35,000; no file that claims to hold more than this is read."""

FULL_INTENSITY: Final = 255.0

POINT_BYTES: Final = 20

_COLUMNS: Final = "x y z intensity ring"
# How files of the Point Cloud Library begin; as float32 these bytes would be numbers like others.
_PCD_BEGINNINGS: Final = (b"# .PCD", b"VERSION", b"FIELDS")


def label_files(category_of: Mapping[int, str]) -> FrameFiles:
    """Return how labels lie in their files: a uint8 each.

    Parameters
    ----------
    category_of
        What each number in a label file means, by `category.json`.
    """
    return FrameFiles(
        class_map=ClassMap(
            source="category.json",
            class_names=CLASS_NAMES,
            raw_names=category_of,
            raw_to_train={raw: CATEGORY_TO_TRAIN[name] for raw, name in category_of.items()},
            train_to_raw=(),
            ignored_raw=None,
            unknown_hint="copy the original label file and category.json again",
        ),
        label_type="uint8",
    )


@points_of_users()
def read_points(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the coordinates and intensities of a `.pcd.bin` file.

    Parameters
    ----------
    path
        A file of float32 (x, y, z, intensity, ring): meters in the sensor's own frame, x to the
        right, y forward, z up; 0..255; a number that only has to be finite.

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
    data = read_bytes(path, lambda size: _check_not_more(path, size))
    if data.startswith(_PCD_BEGINNINGS):
        raise UserError(
            f"{path}: begins with a PCD header; nuScenes' .pcd.bin files are bare float32 "
            "(x, y, z, intensity, ring), copy the original file"
        )
    check_point_bytes(path, len(data))
    points = np.frombuffer(data, dtype="<f4").reshape(-1, 5)
    hint = "the file is damaged or no nuScenes frame, copy it again or remove the frame"
    coord, intensity = checked_points(path, points, not_finite=hint, too_far=hint, columns=_COLUMNS)
    if intensity.min() < 0 or intensity.max() > FULL_INTENSITY:
        wrong = ((intensity < 0) | (intensity > FULL_INTENSITY))[:, 0]
        reason = f"have an intensity outside 0..{FULL_INTENSITY:g}"
        raise wrong_points(path, points, wrong, reason, hint, _COLUMNS)
    # The coordinates of a single point are still the file's own bytes.
    return np.require(coord, requirements="W"), intensity / np.float32(FULL_INTENSITY)


def check_point_bytes(path: Path, num_bytes: int) -> None:
    """Refuse a frame's size that no whole number of points, or no frame, can have."""
    _check_not_more(path, num_bytes)
    if num_bytes == 0:
        raise UserError(f"{path}: the file is empty (0 bytes); copy it again or remove the frame")
    if num_bytes % POINT_BYTES:
        raise UserError(
            f"{path}: {num_bytes} bytes is no multiple of {POINT_BYTES} (5 float32 a point); the "
            "file is cut short or no nuScenes frame, copy it again"
        )


def _check_not_more(path: Path, num_bytes: int) -> None:
    frame, hint = f"a frame of {MAX_POINTS:,} points", "it is no nuScenes frame, copy the original"
    check_size(path, num_bytes, MAX_POINTS * POINT_BYTES, frame, hint)

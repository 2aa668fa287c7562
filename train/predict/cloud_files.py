"""Read one cloud from a file and write its labels; a file name's ending says of which kind.

Shape letters: R rows of a file, N points.
"""

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from train.core.atomic_write import atomic_write
from train.core.errors import UserError
from train.data import nuscenes
from train.data.class_map import ClassMap
from train.data.frame import IGNORE_INDEX, LidarFrame
from train.data.readers import CLOUD_ENDINGS, CloudFile, open_cloud
from train.data.readers.bare_points import KITTI_COLUMNS, strength_name
from train.data.readers.cloud_file import NO_STRENGTH, checked_points, npy_cloud
from train.data.readers.frame_files import MAP_HINT, FrameFiles
from train.data.semantickitti.classes import CLASS_MAP
from train.predict.waymo_frame import ENDINGS as WAYMO_ENDINGS
from train.predict.waymo_frame import read_frame

LABEL_ENDINGS: Final = (".label", ".npy")
"""Endings of files of labels alone."""

LABELED_ENDINGS: Final = (".las", ".laz", ".pcd", ".ply")
"""Endings of clouds that can be written again with a label for each point."""

KITTI_FILES: Final = FrameFiles(class_map=CLASS_MAP)
"""`.bin` files as SemanticKITTI has them."""

INPUT_ENDINGS: Final = (".bin", *CLOUD_ENDINGS)
"""Endings of files that are one cloud each."""

LabelIds = Literal["raw", "train"]


@dataclass(frozen=True)
class Cloud:
    """A cloud without labels and what is to be told about its file.

    Attributes
    ----------
    frame
        At least one point, all finite and within `MAX_COORDINATE_M`.
    kind
        The file's kind, for people.
    strength_from
        Where the strength came from, for people.
    there
        (R,) bool: which rows of the file are the points; None for all. The others are rays without
        a return.
    file
        What writes the file again with labels; None if its kind holds none.
    """

    frame: LidarFrame
    kind: str
    strength_from: str
    there: NDArray[np.bool_] | None = None
    file: CloudFile | None = None

    @property
    def lost_rays(self) -> int:
        """How many rows are no points."""
        return 0 if self.there is None else int((~self.there).sum())

    def of_rows(self, labels: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return (R,) labels of rows for (N,) of points; `IGNORE_INDEX` where there is no point."""
        if self.there is None:
            return labels
        rows = np.full(len(self.there), IGNORE_INDEX, dtype=np.int64)
        rows[self.there] = labels
        return rows


def read_cloud(
    path: Path,
    frame: int | None = None,
    *,
    files: FrameFiles = KITTI_FILES,
) -> Cloud:
    """Read a cloud from a file.

    Parameters
    ----------
    path
        `.bin`: in the columns of `files`; SemanticKITTI's float32 (x, y, z, remission) if nobody
        says. `.pcd.bin`: nuScenes, float32 (x, y, z, intensity 0..255, ring), unless `files` has
        other columns; the strength is intensity / 255. `.tfrecord`, `.parquet`: Waymo, see
        `read_frame`; the strength is tanh of the intensity. `.npy`: numbers (N, 3) or (N, 4).
        `.ply`, `.pcd`: properties or fields x, y, z, and a strength (see `STRENGTH_NAMES`), taken
        as it is. `.las`, `.laz`: the strength is intensity / 65535. Coordinates are meters; the
        strength is 0 where the file has none.
    frame
        The time of a Waymo frame, microseconds; None if its file holds one, and for other files.
    files
        The columns of `.bin`, what strengths are divided by, and the sensor's place where
        coordinates are those of a map.

    Raises
    ------
    UserError
        If the ending is not known, the file cannot be read, is damaged, empty, or holds a value
        that is not finite or a point beyond `MAX_COORDINATE_M`.
    """
    ending = path.suffix.lower()
    if ending in WAYMO_ENDINGS:
        return Cloud(read_frame(path, frame), "Waymo frame", "tanh of the intensity")
    if frame is not None:
        raise UserError(
            f"{path}: --frame chooses a frame of a Waymo file ({', '.join(WAYMO_ENDINGS)}); this "
            "file holds a single cloud"
        )
    if ending in CLOUD_ENDINGS:
        return _of_columns(path, open_cloud(path), files)
    if path.name.lower().endswith(".pcd.bin") and files.columns == KITTI_COLUMNS:
        coord, strength = nuscenes.read_points(path)
        return Cloud(_frame(path, coord, strength), "nuScenes frame", "intensity / 255")
    if ending == ".bin":
        return _read_bin(path, files)
    raise UserError(
        f"{path}: clouds are read from files that end in "
        f"{', '.join(['.pcd.bin', *INPUT_ENDINGS, *WAYMO_ENDINGS])}; rename or convert the file"
    )


def _read_bin(path: Path, files: FrameFiles) -> Cloud:
    coord, strength, _ = files.read_points(path)
    names = [name for name, _ in files.columns]
    strength_from = strength_name(names) or NO_STRENGTH
    if files.strength_scale is not None and strength_from != NO_STRENGTH:
        strength_from += f" / {files.strength_scale:g}"
    known = files.columns == KITTI_COLUMNS
    kind = "SemanticKITTI frame" if known else f"columns {', '.join(names)}"
    return Cloud(_frame(path, coord, strength), kind, strength_from)


def cloud_of_array(points: NDArray[Any], files: FrameFiles) -> Cloud:
    """Return the cloud of an array, (R, 3) or (R, 4), as that of a ``.npy`` file of it.

    Raises
    ------
    UserError
        As `read_cloud`.
    """
    path = Path("points")
    return _of_columns(path, npy_cloud(points, path), files)


def _of_columns(path: Path, cloud: CloudFile, files: FrameFiles) -> Cloud:
    scale = files.strength_scale
    values, there = cloud.values(scale, files.origin_m)
    coord, strength = checked_points(
        path,
        values[there],
        not_finite="remove them or copy the file again",
        too_far=MAP_HINT,
    )
    return Cloud(
        _frame(path, coord, strength),
        cloud.kind,
        cloud.strength_from(scale),
        None if there.all() else there,
        cloud if path.suffix.lower() in LABELED_ENDINGS else None,
    )


def _frame(path: Path, coord: NDArray[np.float32], strength: NDArray[np.float32]) -> LidarFrame:
    return LidarFrame(coord, strength, None, path.name, path)


@dataclass(frozen=True)
class LabelWriter:
    """Turns train ids into the contents of a file.

    Attributes
    ----------
    files
        The width of `.label` files.
    class_map
        The ids that are written; None if only train ids are known.
    ids
        "raw" writes ids of the class map, "train" train ids; None: train ids to `.npy`, elsewhere
        ids of the class map if there is one.
    """

    files: FrameFiles
    class_map: ClassMap | None
    ids: LabelIds | None = None

    def contents(self, path: Path, cloud: Cloud, labels: NDArray[np.int64]) -> bytes:
        """Return what a file of labels holds.

        Parameters
        ----------
        path
            Where it will be; its ending says what is written. `.label`: numbers alone, as the
            dataset has them. `.npy`: int64. Otherwise the cloud itself with a label in each row,
            `IGNORE_INDEX` or the class map's ignored id where there is no point.
        cloud
            What was predicted.
        labels
            (N,) train ids of its points.

        Raises
        ------
        UserError
            If the file cannot hold the ids.
        """
        rows = cloud.of_rows(labels)
        ending = path.suffix.lower()
        ids = self.ids or ("train" if ending == ".npy" or self.class_map is None else "raw")
        if ids == "raw":
            assert self.class_map is not None
            rows = self.class_map.raw_ids(rows).astype(np.int64)
        if ending == ".npy":
            return _npy(rows)
        if ending == ".label":
            return self._numbers(path, rows)
        assert cloud.file is not None
        return cloud.file.labeled(rows)

    def _numbers(self, path: Path, rows: NDArray[np.int64]) -> bytes:
        kind = np.dtype(self.files.label_type).newbyteorder("<")
        largest = np.iinfo(kind).max
        if rows.min() < 0 or rows.max() > largest:
            wrong = int(rows.max() if rows.max() > largest else rows.min())
            raise UserError(
                f"{path}: {self.files.label_type} holds 0 to {largest}, and a label is {wrong}; "
                "give another --data.label-type"
            )
        return rows.astype(kind).tobytes()


def write_prediction(
    labels_path: Path,
    contents: bytes,
    probabilities_path: Path | None = None,
    probabilities: NDArray[np.float32] | None = None,
) -> None:
    """Write labels, and probabilities if a path is given: all files or none.

    Parameters
    ----------
    labels_path, contents
        The file of labels, from `LabelWriter`.
    probabilities_path
        An `.npy` file.
    probabilities
        (N, classes).

    Raises
    ------
    UserError
        If a file cannot be written.
    """
    # Whichever of the two cannot be written, the other is not left alone: neither replaces anything
    # before both are whole.
    with contextlib.ExitStack() as stack:
        unfinished = stack.enter_context(atomic_write(labels_path))
        unfinished.write_bytes(contents)
        if probabilities_path is not None:
            assert probabilities is not None
            unfinished = stack.enter_context(atomic_write(probabilities_path))
            with unfinished.open("wb") as stream:
                np.save(stream, probabilities)


def _npy(rows: NDArray[np.int64]) -> bytes:
    stream = io.BytesIO()
    np.save(stream, rows)
    return stream.getvalue()

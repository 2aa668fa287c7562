"""Frames in folders: the files of points, and of one label for each point, of some drives.

Shape letters: N points.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.class_map import ClassMap
from train.data.dataset_spec import OpenOptions
from train.data.files import read_bytes, reading
from train.data.frame import LidarFrame, NoLabelsError
from train.data.readers import CLOUD_ENDINGS, open_cloud, strength_name
from train.data.readers.bare_points import (
    KITTI_COLUMNS,
    Origin,
    bare_points,
    refuse_other_columns,
    row_type,
)
from train.data.readers.cloud_file import checked_points, load_npy, points_of_users

MAP_HINT: Final = (
    "coordinates are meters from the sensor: give its place in them (--data.origin X Y Z), or "
    "remove those points"
)
LabelType = Literal["uint8", "uint16", "uint32"]

_COLUMN_TYPES: Final = ("f4", "f8", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8")


def parse_columns(text: str) -> tuple[tuple[str, str], ...]:
    """Return the columns that a text such as ``"x,y,z,intensity,ring:u2"`` names.

    Parameters
    ----------
    text
        Names in the order of the file, with a type where it is not float32 (`f4`). Columns that are
        not used may have any name, several the same one.

    Returns
    -------
    tuple
        Name and little-endian numpy type of each column.

    Raises
    ------
    UserError
        If x, y or z is missing, one of them or the strength is there twice, or a type is not known.
    """
    columns = []
    for word in text.split(","):
        name, _, kind = word.strip().partition(":")
        if not name or (kind and kind not in _COLUMN_TYPES):
            raise UserError(
                f"--data.point-columns {text}: {word.strip()!r} is no column; write names with "
                f"commas between, and a type after a colon where it is not f4 "
                f"({', '.join(_COLUMN_TYPES)}), such as x,y,z,intensity,ring:u2"
            )
        columns.append((name.lower(), f"<{kind or 'f4'}"))
    names = [name for name, _ in columns]
    wrong = [axis for axis in "xyz" if names.count(axis) != 1]
    strength = strength_name(names)
    if strength is not None and names.count(strength) > 1:
        wrong.append(strength)
    if wrong:
        raise UserError(
            f"--data.point-columns {text}: must have x, y, z and the strength once each, and has "
            f"{', '.join(f'{axis} {names.count(axis)} times' for axis in wrong)}"
        )
    return tuple(columns)


@dataclass(frozen=True, kw_only=True)
class FrameFiles:
    """How a dataset's points and labels lie in their files.

    Attributes
    ----------
    class_map
        What labels mean.
    columns
        Of a `.bin` file: name and little-endian numpy type of each. The strength is the first of
        strength, intensity, remission, reflectivity and i; 0 for every point without one.
    strength_scale
        Strengths are divided by it; None: by 1, by 65535 for `.las` and `.laz`.
    origin_m
        The sensor's place in the files' coordinates, subtracted before these become float32; None:
        they are those of the sensor.
    label_type
        Of a `.label` file. In uint32 the upper 16 bits are the instance.
    not_ours
        What else a file can be whose size or contents do not fit.
    add_labels
        How to come by label files.
    type_is_said
        Whether the user says the label type, and is told the flag for it where another one fits.
    """

    class_map: ClassMap
    columns: tuple[tuple[str, str], ...] = KITTI_COLUMNS
    strength_scale: float | None = None
    origin_m: Origin | None = None
    label_type: LabelType = "uint32"
    not_ours: str = "no SemanticKITTI frame"
    add_labels: str = "add the labels (data_odometry_labels.zip)"
    type_is_said: bool = False

    @cached_property
    def _row_bytes(self) -> int:
        """Of one point; asked for each file that is listed."""
        return row_type(self.columns).itemsize

    def check_point_bytes(self, path: Path, num_bytes: int) -> None:
        """Refuse a file's size that no whole number of points can have."""
        if num_bytes == 0:
            raise UserError(
                f"{path}: the file is empty (0 bytes); copy it again or remove the frame"
            )
        size = self._row_bytes
        if not _names_columns(path) and num_bytes % size:
            kinds = {kind for _, kind in self.columns}
            what = f"{len(self.columns)} {'float32' if kinds == {'<f4'} else 'columns'}"
            raise UserError(
                f"{path}: {num_bytes} bytes is no multiple of {size} ({what} a point); "
                f"the file is cut short or {self.not_ours}, copy it again"
            )

    def num_points(self, path: Path, num_bytes: int) -> int | None:
        """Return how many points a file of a size has; None for files that must be read for it."""
        return None if _names_columns(path) else num_bytes // self._row_bytes

    def check_label_bytes(self, path: Path, num_bytes: int, num_points: int) -> None:
        """Refuse a `.label` file that does not hold exactly one label for each point."""
        size = np.dtype(self.label_type).itemsize
        if path.suffix == ".npy" or num_bytes == num_points * size:
            return
        other = {1: "uint8", 2: "uint16", 4: "uint32"}
        fits = other.get(num_bytes // num_points if num_bytes % num_points == 0 else 0)
        hint = (
            f"its labels seem to be {fits}: give --data.label-type {fits}"
            if fits is not None and self.type_is_said
            else "copy the label file that belongs to it"
        )
        raise UserError(
            f"{path}: {num_bytes} bytes, but the frame has {num_points} points and needs "
            f"{num_points * size} (one {self.label_type} each); {hint}"
        )

    def read_points(
        self, path: Path
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_] | None]:
        """Return the coordinates and strengths of a file of points.

        Parameters
        ----------
        path
            `.bin`, in the columns of this dataset; or one of `CLOUD_ENDINGS`, which name theirs.

        Returns
        -------
        coord, strength
            (N, 3) and (N, 1) float32, N at least 1.
        there
            Which rows of the file these are; None for all. Files that name their columns may have
            rows without a return, whose coordinates are no numbers.

        Raises
        ------
        UserError
            If the file cannot be read, is empty or cut short, or holds a NaN, an infinity, or a
            coordinate beyond `MAX_COORDINATE_M`.
        """
        there: NDArray[np.bool_] | None = None
        values: NDArray[np.floating]
        if _names_columns(path):
            values, there = open_cloud(path).values(self.strength_scale, self.origin_m)
            if there.all():
                there = None
            else:
                values = values[there]
        else:
            data = read_bytes(path)
            self.check_point_bytes(path, len(data))
            values = bare_points(data, self.columns, self.strength_scale, self.origin_m)
        coord, strength = checked_points(
            path,
            values,
            not_finite="the file is damaged, copy it again or remove the frame",
            too_far=MAP_HINT
            if self.type_is_said
            else f"the file is damaged or {self.not_ours}, copy it again or remove it",
        )
        if not _names_columns(path) and self.columns == KITTI_COLUMNS:
            with points_of_users():
                refuse_other_columns(path, np.concatenate([coord, strength], axis=1))
        return coord, strength, there

    def read_segment(self, path: Path, num_points: int) -> NDArray[np.int64]:
        """Return the train ids in a file of labels.

        Parameters
        ----------
        path
            `.label`, of this dataset's type; or `.npy`, whole numbers (N,) or (N, 1).
        num_points
            How many points the frame has.

        Returns
        -------
        segment
            (N,) int64 in 0 to C - 1, or `IGNORE_INDEX`.

        Raises
        ------
        UserError
            If the file cannot be read, does not hold exactly one label for each point, or holds an
            id that the class map does not have.
        """
        if path.suffix == ".npy":
            return self.class_map.train_ids(_labels_of_npy(path, num_points), path)
        data = read_bytes(path, lambda size: self.check_label_bytes(path, size, num_points))
        self.check_label_bytes(path, len(data), num_points)
        raw = np.frombuffer(data, dtype=np.dtype(self.label_type).newbyteorder("<"))
        if self.label_type == "uint32":
            raw = (raw & 0xFFFF).astype(np.uint16)
        return self.class_map.train_ids(raw, path)


def _names_columns(path: Path) -> bool:
    """Return whether a file says itself which columns it has; all others have those of `.bin`."""
    return path.suffix.lower() in CLOUD_ENDINGS


def _labels_of_npy(path: Path, num_points: int) -> NDArray[np.integer]:
    labels = load_npy(path)
    if labels.dtype.kind not in "iu":
        raise UserError(f"{path}: holds no array of whole numbers; labels are the ids of classes")
    if labels.shape not in ((num_points,), (num_points, 1)):
        raise UserError(
            f"{path}: the array has shape {labels.shape}, but the frame has {num_points} points; "
            "copy the label file that belongs to it"
        )
    flat: NDArray[np.integer] = labels.reshape(-1)
    return flat


@dataclass(frozen=True)
class Drive:
    """A sequence on disk.

    Attributes
    ----------
    name
        What it is called.
    points, labels
        The folders of its files; that of labels need not be there.
    sensor_suffix
        Whether names of files end in a word behind an underscore that says what they hold, so that
        files belong together whose names are equal up to there (GOOSE). Otherwise equal names do.
    """

    name: str
    points: Path
    labels: Path
    sensor_suffix: bool = False

    def key(self, stem: str) -> str:
        """Return by what a file of points finds its file of labels."""
        return stem.rpartition("_")[0] if self.sensor_suffix else stem


class FrameFolders:
    """The frames of some drives, in their order and by name, read one at a time.

    Opening looks at names and sizes of all files, so that a damaged download is found before
    training and not hours later; what only the contents show is found when a frame is read.

    Parameters
    ----------
    drives
        At least one.
    files
        How points and labels lie in their files.
    point_endings, label_endings
        Of the files that are frames and labels; others are not looked at.
    options
        `require_labels` and `strict` are looked at.
    root
        The folder that holds the drives, for people.

    Raises
    ------
    UserError
        If a drive has no frames, a file is empty or of an impossible size, labels have no frame, or
        no frame is left.
    """

    def __init__(
        self,
        drives: Sequence[Drive],
        files: FrameFiles,
        *,
        point_endings: tuple[str, ...],
        label_endings: tuple[str, ...],
        options: OpenOptions,
        root: Path,
    ) -> None:
        self.class_names = files.class_map.class_names
        self.sequences = tuple(drive.name for drive in drives)
        self.skipped_unlabeled = 0
        self.unreadable: dict[str, str] = {}
        self._files = files
        self._endings = point_endings, label_endings
        self._names: list[str] = []
        self._point_paths: list[Path] = []
        self._label_paths: list[Path | None] = []
        for drive in drives:
            self._add(drive, options.require_labels, options.strict)
        if not self._names and self.unreadable:
            raise UserError(next(iter(self.unreadable.values())))
        if not self._names:
            expected = " or ".join(f"SS/labels/NNNNNN{ending}" for ending in label_endings)
            raise NoLabelsError(
                f"{root}: none of the {self.skipped_unlabeled} frames in sequences "
                f"{', '.join(self.sequences)} has a label file (expected {expected}); "
                f"{files.add_labels} or choose other sequences"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The frames' names, "SEQUENCE/FILE", in index order."""
        return tuple(self._names)

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self._names)

    def __getitem__(self, index: int) -> LidarFrame:
        """Read one frame.

        Raises
        ------
        UserError
            If a file cannot be read or its contents are damaged, see `FrameFiles`.
        """
        path, label_path = self._point_paths[index], self._label_paths[index]
        coord, strength, there = self._files.read_points(path)
        num_rows = len(coord) if there is None else len(there)
        segment = None
        if label_path is not None:
            segment = self._files.read_segment(label_path, num_rows)
            segment = segment if there is None else segment[there]
        name, left_out = self._names[index], num_rows - len(coord)
        return LidarFrame(coord, strength, segment, name, path, rays_without_return=left_out)

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the file of points of a frame, and that of its labels if there is one."""
        label_path = self._label_paths[index]
        point_path = self._point_paths[index]
        return (point_path,) if label_path is None else (point_path, label_path)

    def _add(self, drive: Drive, require_labels: bool, strict: bool) -> None:
        """List one drive's frames and check every file's size."""
        point_endings, label_endings = self._endings
        points = _listed_files(drive.points, point_endings, drive)
        if not points:
            raise UserError(
                f"{drive.points}: no frames found, expected files "
                f"{', '.join(f'NNNNNN{ending}' for ending in point_endings)}; "
                f"copy the sequence's {drive.points.name} folder there"
            )
        labels = _listed_files(drive.labels, label_endings, drive)
        for key in sorted(points):
            path, num_bytes = points[key]
            label_path, label_bytes = labels.pop(key, (None, 0))
            if label_path is None and require_labels:
                self.skipped_unlabeled += 1
                continue
            name = f"{drive.name}/{path.stem}"
            try:
                self._files.check_point_bytes(path, num_bytes)
                num_points = self._files.num_points(path, num_bytes)
                if label_path is not None and num_points is not None:
                    self._files.check_label_bytes(label_path, label_bytes, num_points)
            except UserError as error:
                if strict:
                    raise
                self.unreadable[name] = str(error)
                continue
            self._names.append(name)
            self._point_paths.append(path)
            self._label_paths.append(label_path)
        for key, (path, _) in sorted(labels.items()):
            message = (
                f"{path}: is a label file without its frame (no {key}{point_endings[0]} in "
                f"{drive.points}); copy the frame there, or remove the label file"
            )
            if strict:
                raise UserError(message)
            self.unreadable[f"{drive.name}/{path.stem}"] = message


def _listed_files(
    folder: Path, endings: tuple[str, ...], drive: Drive
) -> dict[str, tuple[Path, int]]:
    """Return the files with one of the endings, by their key, and their sizes in bytes."""
    found: dict[str, tuple[Path, int]] = {}
    with reading(folder, "check the link or rights"):
        if not folder.is_dir():
            return {}
        with os.scandir(folder) as entries:
            for entry in entries:
                stem, ending = os.path.splitext(entry.name)  # noqa: PTH122 (many names, in a loop)
                if ending not in endings or entry.name.startswith("."):
                    continue
                key = drive.key(stem)
                if key in found:
                    other = found[key][0].name
                    raise UserError(
                        f"{folder}: {min(other, entry.name)} and {max(other, entry.name)} are two "
                        "files for one frame; remove one of them"
                    )
                found[key] = Path(entry.path), entry.stat().st_size
    return found

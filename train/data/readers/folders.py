"""Frames in folders: the files of points and labels of some drives, read one at a time."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from train.core.errors import UserError
from train.data.files import reading
from train.data.frame import LidarFrame, NoLabelsError
from train.data.open_options import OpenOptions
from train.data.readers.frame_files import FrameFiles


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
                f"{root}: none of the {self.skipped_unlabeled} sweeps in sequences "
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
        segment = None
        if label_path is not None:
            num_rows = len(coord) if there is None else len(there)
            segment = self._files.read_segment(label_path, num_rows)
            segment = segment if there is None else segment[there]
        return LidarFrame(coord, strength, segment, self._names[index], path)

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
                f"{drive.points}: no sweeps found, expected files "
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
                f"{path}: is a label file without its sweep (no {key}{point_endings[0]} in "
                f"{drive.points}); copy the sweep there, or remove the label file"
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
                        "files for one sweep; remove one of them"
                    )
                found[key] = Path(entry.path), entry.stat().st_size
    return found

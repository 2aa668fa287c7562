"""SemanticKITTI as it lies on disk: `sequences/SS/velodyne/NNNNNN.bin` and `labels/NNNNNN.label`.

Points are little-endian float32 (x, y, z, remission), labels little-endian uint32 with the class in
the lower and the instance in the upper 16 bits.

Shape letters: N points.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.files import RootLayout, read_bytes, reading
from train.data.frame import SPLITS, LidarFrame
from train.data.frame_checks import refuse_other_columns
from train.data.semantickitti.classes import CLASS_NAMES, RAW_TO_TRAIN

TRAIN_SEQUENCES: Final = ("00", "01", "02", "03", "04", "05", "06", "07", "09", "10")
VALIDATION_SEQUENCES: Final = ("08",)
TEST_SEQUENCES: Final = tuple(f"{number:02d}" for number in range(11, 22))
_OFFICIAL: Final = dict(
    zip(SPLITS, (TRAIN_SEQUENCES, VALIDATION_SEQUENCES, TEST_SEQUENCES), strict=True)
)

MAX_COORDINATE_M: Final = 1000.0
"""No return lies further out than this on any axis; what claims to is a damaged file."""

_LAYOUT: Final = RootLayout(
    "SemanticKITTI",
    "the folder that holds sequences/SS/velodyne/NNNNNN.bin (or dataset/sequences/...)",
    "it holds sequences/",
)

_POINT_BYTES = 16
_LABEL_BYTES = 4
_UNKNOWN = -2
# One entry for each 16-bit class id: any label file can be looked up without a bounds check.
_LOOKUP = np.full(1 << 16, _UNKNOWN, dtype=np.int64)
for _raw, _train in RAW_TO_TRAIN.items():
    _LOOKUP[_raw] = _train


def read_points(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the coordinates and remissions of a `.bin` file.

    Parameters
    ----------
    path
        A file of float32 (x, y, z, remission), meters and 0..1.

    Returns
    -------
    coord, strength
        (N, 3) and (N, 1) float32, N at least 1.

    Raises
    ------
    UserError
        If the file cannot be read, is empty, has a size that is no multiple of 16 bytes, holds a
        NaN, an infinity, or a coordinate beyond `MAX_COORDINATE_M`, or is made of other columns.
    """
    data = read_bytes(path)
    _check_point_bytes(path, len(data))
    points = np.frombuffer(data, dtype="<f4").astype(np.float32).reshape(-1, 4)
    # Which points are wrong is asked only of damaged files: to look at each row takes far longer.
    if not np.isfinite(points).all():
        finite = np.isfinite(points).all(axis=1)
        first = int(np.argmin(finite))
        raise UserError(
            f"{path}: {int((~finite).sum())} of {len(points)} points have NaN or infinite values "
            f"(first: point {first}, x y z remission = {_show(points[first])}); "
            "the file is damaged, copy it again or remove the sweep"
        )
    if np.abs(points[:, :3]).max() > MAX_COORDINATE_M:
        far = np.abs(points[:, :3]).max(axis=1) > MAX_COORDINATE_M
        first = int(np.argmax(far))
        raise UserError(
            f"{path}: {int(far.sum())} of {len(points)} points lie more than "
            f"{MAX_COORDINATE_M:g} m out (first: point {first}, x y z remission = "
            f"{_show(points[first])}); the file is damaged or no SemanticKITTI sweep, "
            "copy it again or remove it"
        )
    refuse_other_columns(path, points)
    return np.ascontiguousarray(points[:, :3]), np.ascontiguousarray(points[:, 3:])


def read_segment(path: Path, num_points: int) -> NDArray[np.int64]:
    """Return the train ids in a `.label` file.

    Parameters
    ----------
    path
        A file of uint32 labels, the class in the lower 16 bits.
    num_points
        How many points the sweep has.

    Returns
    -------
    segment
        (N,) int64 in 0..18, or `IGNORE_INDEX`.

    Raises
    ------
    UserError
        If the file cannot be read, does not hold exactly one label for each point, or holds a class
        id that SemanticKITTI does not have.
    """
    data = read_bytes(path)
    _check_label_bytes(path, len(data), num_points)
    raw = (np.frombuffer(data, dtype="<u4") & 0xFFFF).astype(np.uint16)
    segment = _LOOKUP[raw]
    unknown = segment == _UNKNOWN
    if unknown.any():
        ids = np.unique(raw[unknown]).tolist()
        shown = ", ".join(map(str, ids[:8])) + (", ..." if len(ids) > 8 else "")
        raise UserError(
            f"{path}: {int(unknown.sum())} labels have ids that SemanticKITTI does not have "
            f"({shown}; first at point {int(np.argmax(unknown))}); give the original label files "
            "with raw ids (0, 1, 10, 11, ... 259)"
        )
    return segment


class SemanticKitti:
    """The sweeps of some sequences, in order of sequence and number, read one at a time.

    Opening looks at names and sizes of all files, so that a damaged download is found before
    training and not hours later; what only the contents show is found when a sweep is read.

    Parameters
    ----------
    root
        The folder that holds `sequences/` or `dataset/sequences/`.
    split
        "training", "validation" or "test": the official sequences.
    sequences
        Two-digit names of the wanted sequences, whatever their split; none: all of the split.
    require_labels
        Leave out (and count) sweeps without a label file. Otherwise these have `segment=None`.
    cache_dir
        Not used, there is no index: folders are listed each time.
    strict
        Refuse a sweep that opening shows to be damaged; otherwise leave it out, see `unreadable`.

    Raises
    ------
    UserError
        If the folder or a sequence is missing or laid out otherwise, a file is empty or of an
        impossible size, or no sweep is left.
    """

    class_names = CLASS_NAMES

    def __init__(
        self,
        root: Path | str,
        split: str = "training",
        *,
        sequences: Sequence[str] = (),
        require_labels: bool = True,
        cache_dir: Path | None = None,
        strict: bool = True,
    ) -> None:
        del cache_dir
        if split not in _OFFICIAL:
            raise UserError(f"SemanticKitti: split must be one of {', '.join(SPLITS)}, not {split}")
        if isinstance(sequences, str):
            raise UserError(
                f"SemanticKitti: sequences must be a list of two-digit names such as '00', "
                f"not {sequences!r}"
            )
        sequences = sequences or _OFFICIAL[split]
        if len(set(sequences)) != len(sequences):
            raise UserError(f"SemanticKitti: a sequence is named twice in {list(sequences)}")
        self.root = Path(root)
        self.sequences = tuple(sequences)
        self.skipped_unlabeled = 0
        self.unreadable: dict[str, str] = {}
        self.warnings: list[str] = []
        folder = find_sequences(self.root)
        _check_present(folder, self.sequences)
        self._names: list[str] = []
        self._point_paths: list[Path] = []
        self._label_paths: list[Path | None] = []
        for sequence in self.sequences:
            self._add_sequence(folder / sequence, require_labels, strict)
        if not self._names and self.unreadable:
            raise UserError(next(iter(self.unreadable.values())))
        if not self._names:
            raise UserError(
                f"{folder}: none of the {self.skipped_unlabeled} sweeps in sequences "
                f"{', '.join(self.sequences)} has a label file (expected SS/labels/NNNNNN.label); "
                "add the labels (data_odometry_labels.zip) or choose other sequences"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The sweeps' names, "SS/NNNNNN", in index order."""
        return tuple(self._names)

    def __len__(self) -> int:
        """Return how many sweeps there are."""
        return len(self._names)

    def __getitem__(self, index: int) -> LidarFrame:
        """Read one sweep.

        Raises
        ------
        UserError
            If a file cannot be read or its contents are damaged, see `read_points`, `read_segment`.
        """
        path, label_path = self._point_paths[index], self._label_paths[index]
        coord, strength = read_points(path)
        segment = None if label_path is None else read_segment(label_path, len(coord))
        return LidarFrame(coord, strength, segment, self._names[index], path)

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the `.bin` file of a sweep, and its `.label` file if there is one."""
        label_path = self._label_paths[index]
        point_path = self._point_paths[index]
        return (point_path,) if label_path is None else (point_path, label_path)

    def _add_sequence(self, folder: Path, require_labels: bool, strict: bool) -> None:
        """List one sequence's sweeps and check every file's size."""
        point_sizes = _sizes(folder / "velodyne", ".bin")
        if not point_sizes:
            raise UserError(
                f"{folder / 'velodyne'}: no sweeps found, expected files NNNNNN.bin; "
                "copy the sequence's velodyne folder there"
            )
        label_sizes = _sizes(folder / "labels", ".label")
        alone = sorted(label_sizes.keys() - point_sizes.keys())
        if alone:
            more = f" and {len(alone) - 1} more" if len(alone) > 1 else ""
            self.warnings.append(
                f"{folder / 'labels' / alone[0]}.label{more}: no sweep beside it (expected "
                f"velodyne/{alone[0]}.bin); copy the missing sweeps, or remove their labels"
            )
        for stem in sorted(point_sizes):
            path = folder / "velodyne" / f"{stem}.bin"
            label_path = folder / "labels" / f"{stem}.label" if stem in label_sizes else None
            if label_path is None and require_labels:
                self.skipped_unlabeled += 1
                continue
            try:
                _check_point_bytes(path, point_sizes[stem])
                if label_path is not None:
                    num_points = point_sizes[stem] // _POINT_BYTES
                    _check_label_bytes(label_path, label_sizes[stem], num_points)
            except UserError as error:
                if strict:
                    raise
                self.unreadable[f"{folder.name}/{stem}"] = str(error)
                continue
            self._names.append(f"{folder.name}/{stem}")
            self._point_paths.append(path)
            self._label_paths.append(label_path)


def find_sequences(root: Path) -> Path:
    """Return the folder `sequences` under the data root, or say what is there instead.

    Raises
    ------
    UserError
        If the root is missing, a file, empty, a level too high or too low, or something else.
    """
    _LAYOUT.check(root)
    with reading(root):
        for folder in (root / "sequences", root / "dataset" / "sequences"):
            if folder.is_dir():
                return folder
        raise _LAYOUT.refusal(root, _better_level)


def list_sequences(root: Path) -> tuple[str, ...]:
    """Return the names of the sequences that have a `velodyne` folder.

    Raises
    ------
    UserError
        If the root is laid out otherwise, or there is none.
    """
    folder = find_sequences(root)
    present = _present(folder)
    if not present:
        raise UserError(f"{folder}: no sequences found, expected SS/velodyne/NNNNNN.bin")
    return present


def _better_level(root: Path, names: Sequence[str]) -> Path | None:
    """Return the folder that was probably meant when a level too high or too low was given."""
    absolute = root.resolve()
    for parent in list(absolute.parents)[:3]:
        if absolute == parent / "sequences" or (parent / "sequences") in absolute.parents:
            return parent
    for name in names:
        for below in (root / name, root / name / "dataset"):
            if (below / "sequences").is_dir():
                return below
    return None


def _check_present(folder: Path, sequences: Sequence[str]) -> None:
    """Refuse sequences that are not on disk, naming those that are."""
    with reading(folder):
        missing = [name for name in sequences if not (folder / name / "velodyne").is_dir()]
    if missing:
        raise UserError(
            f"{folder}: missing {', '.join(f'{name}/velodyne' for name in missing)}; present: "
            f"{', '.join(_present(folder)) or 'none'}; copy them there or choose other sequences"
        )


def _present(folder: Path) -> tuple[str, ...]:
    """Return the sequences that have a `velodyne` folder."""
    with reading(folder):
        return tuple(
            sorted(entry.name for entry in folder.iterdir() if (entry / "velodyne").is_dir())
        )


def _sizes(folder: Path, suffix: str) -> dict[str, int]:
    """Return the size in bytes of each file with the suffix, by stem; nothing if no such folder."""
    sizes = {}
    with reading(folder, "check the link or rights"):
        if not folder.is_dir():
            return {}
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(suffix) and not entry.name.startswith("."):
                    sizes[entry.name[: -len(suffix)]] = entry.stat().st_size
    return sizes


def _check_point_bytes(path: Path, num_bytes: int) -> None:
    """Refuse a sweep's size that no whole number of points can have."""
    if num_bytes == 0:
        raise UserError(f"{path}: the file is empty (0 bytes); copy it again or remove the sweep")
    if num_bytes % _POINT_BYTES:
        raise UserError(
            f"{path}: {num_bytes} bytes is no multiple of {_POINT_BYTES} (4 float32 a point); "
            "the file is cut short or no SemanticKITTI sweep, copy it again"
        )


def _check_label_bytes(path: Path, num_bytes: int, num_points: int) -> None:
    """Refuse a label file that does not hold exactly one label for each point."""
    if num_bytes != num_points * _LABEL_BYTES:
        raise UserError(
            f"{path}: {num_bytes} bytes, but the sweep has {num_points} points and needs "
            f"{num_points * _LABEL_BYTES} (one uint32 each); copy the label file that belongs to it"
        )


def _show(values: NDArray[np.float32]) -> str:
    """Return a point's values on one line."""
    return " ".join(f"{float(value):.6g}" for value in values)

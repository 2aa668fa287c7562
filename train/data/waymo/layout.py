"""Which files of a data root hold Waymo's frames, in which format, and what to say if none do."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from train.core.bounded import whole_number
from train.core.errors import UserError
from train.data.files import RootLayout, reading
from train.data.waymo import schema

OFFICIAL_TEST_FRAMES: Final = "3d_semseg_test_set_frames.txt"
"""What the dataset's own repository calls the list for the server; users put it into the root."""


def read_frame_list(path: Path) -> set[str]:
    """Return the names of the frames in a file of lines `context,timestamp_micros`.

    Raises
    ------
    UserError
        If it cannot be read, a line is something else, or there is none.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as text ({error}); give another list") from error
    names = set()
    for number, line in enumerate(lines, start=1):
        context, comma, timestamp = line.strip().partition(",")
        if not line.strip():
            continue
        if not (context and comma and whole_number(timestamp) is not None):
            raise UserError(
                f"{path}: line {number} is {line[:80]!r}, expected context,timestamp_micros"
            )
        names.add(f"{context}/{int(timestamp)}")
    if not names:
        raise UserError(f"{path}: names no frame; expected lines context,timestamp_micros")
    return names


Format = Literal["v1", "v2"]

FOLDERS: Final = {
    "training": ("training",),
    "validation": ("validation",),
    # Older downloads split the test segments in two.
    "test": ("testing", "testing_location"),
}
"""The folders of each split."""

_SPLIT_FOLDERS: Final = tuple(name for names in FOLDERS.values() for name in names)
_TAGS: Final = tuple(table.tag for table in schema.TABLES)
_LAYOUT: Final = RootLayout(
    "Waymo Open",
    "the folder that holds training/lidar/CONTEXT.parquet (v2) or training/*.tfrecord (v1)",
)


@dataclass(frozen=True)
class Segment:
    """The files of one drive.

    Attributes
    ----------
    name
        The context's name, from the file's name; of a v1 file that is called otherwise than
        the official ones, the name without the ending.
    folder
        Of its split.
    files
        The record file (v1), or the tables by tag (v2; that of labels may be missing).
    """

    name: str
    folder: Path
    files: dict[str, Path]


RECORDS: Final = "records"
"""The key of a v1 file in `Segment.files`."""


def frame_row(place: "np.dtype[np.void]") -> "np.dtype[np.void]":
    """Return the type of a row of the table of frames.

    Parameters
    ----------
    place
        The type of where a frame lies in its segment's files; each format has its own.
    """
    return np.dtype(
        [
            ("segment", np.int32),
            ("context", np.int32),
            ("timestamp", np.int64),
            ("labeled", np.bool_),
            ("lidar", np.bool_),
            ("place", place),
        ]
    )


def find_format(root: Path) -> Format:
    """Return the format of a data root.

    Raises
    ------
    UserError
        If the root is missing, holds neither or both, or is a level too high or too low.
    """
    _LAYOUT.check(root)
    with reading(root):
        tables = [name for name in _SPLIT_FOLDERS if _has_tables(root / name)]
        records = [name for name in _SPLIT_FOLDERS if any(_records(root / name))]
        if not tables and not records:
            raise _LAYOUT.refusal(root, _is_root)
    if tables and records:
        raise UserError(
            f"{root}: holds both parquet tables ({', '.join(tables)}) and record files "
            f"({', '.join(records)}); move one of the formats into a folder of its own, so that no "
            "frame comes twice"
        )
    return "v2" if tables else "v1"


def split_folders(root: Path, splits: Sequence[str]) -> list[Path]:
    """Return the folders of some splits that are there.

    Raises
    ------
    UserError
        If there is none.
    """
    wanted = [name for split in splits for name in FOLDERS[split]]
    with reading(root):
        there = [name for name in _SPLIT_FOLDERS if (root / name).is_dir()]
    present = [root / name for name in wanted if name in there]
    if not present:
        raise UserError(
            f"{root / wanted[0]}: no such folder; present: {', '.join(there) or 'none'}; "
            "copy it there or choose sequences of another split"
        )
    return present


def find_segments(folder: Path, data_format: Format) -> list[Segment]:
    """Return the segments of a split's folder, by name.

    Raises
    ------
    UserError
        If there are none, or (v2) a needed table of one is missing.
    """
    with reading(folder):
        if data_format == "v1":
            found = [
                Segment(context_of(path.stem), folder, {RECORDS: path})
                for path in sorted(_records(folder))
            ]
        else:
            found = _segments_of_tables(folder)
    if not found:
        what = "*.tfrecord files" if data_format == "v1" else "lidar/*.parquet files"
        raise UserError(f"{folder}: no {what} found; copy them there")
    return sorted(found, key=lambda segment: segment.name)


def choose_segments(
    segments: list[Segment], wanted: Sequence[str], data_format: Format
) -> list[Segment]:
    """Return the segments that may hold the wanted contexts; all if none is named.

    Of v1 files that are not called as the official ones only their frames say the context: these
    are taken too as long as a wanted context is missing.
    """
    chosen = [segment for segment in segments if not wanted or segment.name in wanted]
    if data_format == "v1" and set(wanted) - {segment.name for segment in chosen}:
        chosen += [
            segment
            for segment in segments
            if segment not in chosen and not is_official(segment.files[RECORDS].stem)
        ]
    return chosen


def context_of(stem: str) -> str:
    """Return a context's name: an official file name without what is around it."""
    return stem.removeprefix("segment-").removesuffix("_with_camera_labels")


def is_official(stem: str) -> bool:
    """Return whether a v1 file's name is an official one, which contains the context."""
    return stem.startswith("segment-")


def _segments_of_tables(folder: Path) -> list[Segment]:
    """Return the v2 segments whose lidar table is there."""
    for table in schema.NEEDED:
        if not (folder / table.tag).is_dir():
            raise UserError(
                f"{folder / table.tag}: no such folder; the tables {', '.join(_TAGS)} are needed, "
                "download it too"
            )
    present = {
        tag: {path.name for path in (folder / tag).iterdir() if path.suffix == ".parquet"}
        for tag in _TAGS
        if (folder / tag).is_dir()
    }
    segments = []
    for name in present[schema.LIDAR.tag]:
        for table in schema.NEEDED:
            if name not in present[table.tag]:
                raise UserError(
                    f"{folder / table.tag / name}: no such file, but {schema.LIDAR.tag}/{name} is "
                    "there; download it too"
                )
        files = {tag: folder / tag / name for tag in present if name in present[tag]}
        segments.append(Segment(name.removesuffix(".parquet"), folder, files))
    return segments


def _has_tables(folder: Path) -> bool:
    """Return whether a split's folder holds v2 tables."""
    return any((folder / tag).is_dir() for tag in _TAGS)


def _records(folder: Path) -> Iterator[Path]:
    """Yield the v1 files of a split's folder, also those in folders of their own."""
    if folder.is_dir():
        for path in folder.iterdir():
            if path.name.startswith("."):
                continue
            if path.suffix == ".tfrecord":
                yield path
            # A folder of v2 tables may hold thousands of files, none of them records.
            elif path.is_dir() and not any(path.glob("*.parquet")):
                yield from _records(path)


def _is_root(folder: Path) -> bool:
    """Return whether a folder holds those of splits, and these frames."""
    return any(_has_tables(folder / n) or any(_records(folder / n)) for n in _SPLIT_FOLDERS)

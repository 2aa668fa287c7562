"""Waymo Open as it lies on disk, v1 or v2: the frames of a split, read one at a time."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.dataset_spec import OpenOptions
from train.data.files import reading
from train.data.frame import SPLITS, CameraImage, LidarFrame, NoLabelsError
from train.data.index import Index, cached_index
from train.data.waymo.camera import camera_images
from train.data.waymo.classes import CLASS_NAMES
from train.data.waymo.frame import Frame, FrameError
from train.data.waymo.layout import (
    OFFICIAL_TEST_FRAMES,
    Segment,
    choose_segments,
    find_format,
    find_segments,
    frame_row,
    read_frame_list,
    split_folders,
)
from train.data.waymo.range_image import Points, points
from train.data.waymo.records import SegmentRecords, index_records
from train.data.waymo.table_frames import SegmentTables, index_tables

_INDEX_VERSION: Final = 3

_INDEXERS: Final = {"v1": index_records, "v2": index_tables}
_READERS: Final[dict[str, type[SegmentRecords] | type[SegmentTables]]] = {
    "v1": SegmentRecords,
    "v2": SegmentTables,
}


class Waymo:
    """The LiDAR frames of some segments, in order of segment and time, read one at a time.

    Points are those of all five lidars and both returns, in the vehicle's frame at the frame's
    pose; strength is tanh of the intensity. Only points of TOP have labels, the others have
    `IGNORE_INDEX`.

    The first time a split is opened an index of its frames is built, by reading a few kilobytes a
    frame (v1) or the keys of the tables (v2). It is rebuilt when a file changes.

    A frame of v2 is decoded from the start of its row group, up to 50 frames before it; frames that
    are read in the order of the file are decoded once. To read many, use `read_in_file_order`, or
    a `DecodedCache`, which does.

    Parameters
    ----------
    root
        The folder that holds `training/`, `validation/` or `testing/`, and in these either tables
        `lidar/CONTEXT.parquet`, `lidar_pose/`, `lidar_calibration/`, `lidar_segmentation/`,
        `vehicle_pose/` (v2), or record files `*.tfrecord`, also in folders of their own (v1).
    options
        `sequences` are context names. Images are those of the record (v1), or of the tables
        `camera_image/` and `camera_calibration/` (v2). Of the test split only the frames of
        the official list are taken if it lies in the root under its own name,
        `3d_semseg_test_set_frames.txt`.

    Attributes
    ----------
    skipped_unlabeled, skipped_without_lidar
        How many frames were left out because they have no labels, or no range images at all.

    Raises
    ------
    UserError
        If the folder is missing or laid out otherwise, a file is missing, empty or damaged, a
        segment or frame is not there or comes twice, or no frame is left.
    """

    class_names = CLASS_NAMES

    def __init__(self, root: Path, options: OpenOptions) -> None:
        self.root = root
        self.format = find_format(self.root)
        self._segments: list[Segment] = []
        self._contexts: list[str] = []
        self._open: tuple[int, int, SegmentRecords | SegmentTables] | None = None
        self._cameras = options.cameras
        self._numbers: dict[str, int] | None = None
        self.unreadable: dict[str, str] = {}
        found = self._all_frames(options)
        official = root / OFFICIAL_TEST_FRAMES
        if options.split == "test" and not options.sequences:
            with reading(official):
                there = official.is_file()
            if there:
                found = found[self._listed(official, found)]
        self.skipped_without_lidar = int((~found["lidar"]).sum())
        found = found[found["lidar"]]
        wanted = found["labeled"] | (not options.require_labels)
        self.skipped_unlabeled = int((~wanted).sum())
        self._table = found[wanted]
        if not len(self._table):
            raise (NoLabelsError if self.skipped_unlabeled else UserError)(
                f"{self._segments[0].folder}: no frame is left: {self.skipped_unlabeled} have no "
                f"labels, {self.skipped_without_lidar} no range images; download segments that "
                "have them (v2: the folder lidar_segmentation too), or choose others"
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The frames' names, "CONTEXT/TIMESTAMP_MICROS", in index order."""
        return self._names_of(self._table)

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self._table)

    def __getitem__(self, index: int) -> LidarFrame:
        """Read one frame.

        Raises
        ------
        UserError
            If a file cannot be read or the frame is damaged.
        """
        frame = self._frame(index)
        return self._lidar_frame(index, frame, self._points(index, frame))

    def read_in_file_order(
        self, indices: Sequence[int]
    ) -> Iterator[tuple[int, LidarFrame | UserError]]:
        """Yield frames in the order in which the files have them, each with its index.

        One that cannot be read comes as the error that `self[index]` would raise. Of v2 no row is
        decoded twice.
        """
        segments = self._table["segment"][list(indices)]
        for segment in np.unique(segments).tolist():
            chosen = [i for i, other in zip(indices, segments, strict=True) if other == segment]
            for index, found in self._frames_of(segment, chosen):
                if isinstance(found, Frame):
                    try:
                        yield index, self._lidar_frame(index, found, self._points(index, found))
                    except UserError as error:
                        yield index, error
                else:
                    yield index, found

    def files(self, index: int) -> tuple[Path, ...]:
        """Return the record file of a frame (v1), or the tables of its segment, lidar first."""
        return tuple(self._segments[self._table["segment"][index]].files.values())

    def points_of(self, name: str) -> Points:
        """Return a frame's points, and where they lie in TOP's images; this reads the frame.

        Raises
        ------
        UserError
            If there is no such frame or it is damaged.
        """
        if self._numbers is None:
            self._numbers = {name: number for number, name in enumerate(self.names)}
        if name not in self._numbers:
            raise UserError(f"{self.root}: has no frame {name} among those that were opened")
        index = self._numbers[name]
        return self._points(index, self._frame(index))

    def __getstate__(self) -> dict[str, Any]:
        """Leave out open files and what can be computed again."""
        return self.__dict__ | {"_open": None, "_numbers": None}

    def _frame(self, index: int) -> Frame:
        """Return a frame's range images and poses."""
        row = self._table[index]
        return self._reader(int(row["segment"])).frame(int(row["timestamp"]), row["place"])

    def _frames_of(
        self, segment: int, indices: list[int]
    ) -> Iterator[tuple[int, Frame | UserError]]:
        """Yield frames of one segment as its files have them, or why they cannot be read."""
        try:
            reader = self._reader(segment)
        except UserError as error:
            yield from ((index, error) for index in indices)
            return
        rows = self._table[indices]
        for number, found in reader.frames(rows["timestamp"], rows["place"]):
            yield indices[number], found

    def _points(self, index: int, frame: Frame) -> Points:
        """Return a frame's points."""
        row = self._table[index]
        path = self.files(index)[0]
        if frame.name != f"{self._contexts[row['context']]}/{row['timestamp']}":
            raise UserError(f"{path}: has changed since it was opened; start again")
        try:
            return points(frame)
        except FrameError as error:
            raise UserError(
                f"{path}: frame {frame.timestamp_micros}: {error}; copy the segment's files again "
                "or remove the segment"
            ) from error

    def _lidar_frame(self, index: int, frame: Frame, found: Points) -> LidarFrame:
        """Return a frame and its points as what a source gives."""
        path = self.files(index)[0]
        images = self._images(index, frame)
        return LidarFrame(
            found.coord, found.strength, found.segment, frame.name, path, frame.pose, images
        )

    def images(self, index: int) -> tuple[CameraImage, ...]:
        """Return the images of one frame, not decoded; none if opened without cameras.

        Raises
        ------
        UserError
            If a file cannot be read, there are no images, or a calibration cannot be used.
        """
        if not self._cameras:
            return ()
        row = self._table[index]
        reader = self._reader(int(row["segment"]))
        return self._images(index, reader.shots(int(row["timestamp"]), row["place"]))

    def _images(self, index: int, frame: Frame) -> tuple[CameraImage, ...]:
        """Return a frame's images."""
        if not self._cameras:
            return ()
        path = self._reader(int(self._table["segment"][index])).image_path
        return camera_images(frame.shots, frame.pose, frame.timestamp_micros, path)

    def _reader(self, number: int) -> SegmentRecords | SegmentTables:
        """Return what reads a segment's frames; that of the last one stays open."""
        # A forked worker inherits its parent's open files, and must not share them.
        process = os.getpid()
        if self._open is None or self._open[:2] != (process, number):
            self._open = None
            reader = _READERS[self.format](self._segments[number], cameras=self._cameras)
            self._open = (process, number, reader)
        return self._open[2]

    def _all_frames(self, options: OpenOptions) -> NDArray[np.void]:
        """Return a row for each frame of the wanted segments, in order of segment and time."""
        sequences, cache_dir = tuple(options.sequences), options.cache_dir
        parts = []
        for folder in split_folders(self.root, SPLITS if sequences else (options.split,)):
            segments = find_segments(folder, self.format)
            chosen = choose_segments(segments, sequences, self.format)
            if chosen:
                try:
                    index = self._index(folder, chosen, chosen == segments, cache_dir)
                except UserError:
                    if options.strict:
                        raise
                    chosen = self._readable(chosen)
                    index = self._index(folder, chosen, False, cache_dir)
                parts.append(_rows(index, len(self._segments), len(self._contexts)))
                self._segments += chosen
                self._contexts += index["contexts"].tolist()
        rows = np.concatenate(parts) if parts else np.zeros(0, dtype=frame_row(np.dtype([])))
        rank = self._ranks(sequences, rows)
        rows, rank = rows[rank >= 0], rank[rank >= 0]
        order = np.lexsort((rows["timestamp"], rows["context"], rank))
        rows = rows[order]
        names = self._names_of(rows)
        first: dict[str, int] = {}
        for number, name in enumerate(names):
            if first.setdefault(name, number) != number:
                other, this = (self._segments[rows["segment"][i]] for i in (first[name], number))
                raise UserError(
                    f"{next(iter(this.files.values()))}: frame {name} is in "
                    f"{next(iter(other.files.values()))} too; remove one of them"
                )
        return rows

    def _index(
        self, folder: Path, segments: list[Segment], whole: bool, cache_dir: Path | None
    ) -> Index:
        """Return the index of some segments, from disk if it was built before."""
        build = _INDEXERS[self.format]
        key = f"waymo-{self.format}-{folder.name}"
        if not whole:
            # A few segments of many have an index of their own, beside that of the whole folder.
            names = "\n".join(segment.name for segment in segments)
            key += f"-{hashlib.sha256(names.encode()).hexdigest()[:16]}"
        files = [path for segment in segments for path in segment.files.values()]
        return cached_index(
            self.root, key, files, lambda: build(segments), cache_dir, version=_INDEX_VERSION
        )

    def _readable(self, segments: list[Segment]) -> list[Segment]:
        """Return the segments that can be indexed, and take note of the others."""
        build = _INDEXERS[self.format]
        readable = []
        for segment in segments:
            try:
                build([segment])
            except UserError as error:
                self.unreadable[segment.name] = str(error)
            else:
                readable.append(segment)
        if not readable:
            raise UserError(next(iter(self.unreadable.values())))
        return readable

    def _ranks(self, sequences: tuple[str, ...], rows: NDArray[np.void]) -> NDArray[np.int64]:
        """Return the place in the order of segments of each frame; -1 if it is not wanted."""
        if not sequences:
            rank_of = {name: rank for rank, name in enumerate(sorted(set(self._contexts)))}
            in_order = np.array([rank_of[name] for name in self._contexts], dtype=np.int64)
            ordered: NDArray[np.int64] = in_order[rows["context"]]
            return ordered
        wanted = {name: rank for rank, name in enumerate(sequences)}
        by_file = np.array([wanted.get(s.name, -1) for s in self._segments], dtype=np.int64)
        by_name = np.array([wanted.get(name, -1) for name in self._contexts], dtype=np.int64)
        ranks: NDArray[np.int64] = np.maximum(by_file[rows["segment"]], by_name[rows["context"]])
        left_out = {wanted[name] for name in self.unreadable if name in wanted}
        missing = sorted(set(range(len(sequences))) - set(ranks.tolist()) - left_out)
        if missing:
            raise UserError(
                f"{self.root}: has no segment {', '.join(sequences[i] for i in missing[:5])}"
                f"{', ...' if len(missing) > 5 else ''}; copy it there or choose others"
            )
        return ranks

    def _listed(self, path: Path, rows: NDArray[np.void]) -> NDArray[np.bool_]:
        """Return which frames a file of `context,timestamp` lines names; refuse missing ones."""
        listed = read_frame_list(path)
        names = self._names_of(rows)
        missing = sorted(listed - set(names))
        if missing:
            raise UserError(
                f"{path}: names {len(listed)} frames, of which {len(missing)} are not in "
                f"{self.root} ({missing[0]} for example); download their segments, or give a list "
                "of those that are there"
            )
        return np.array([name in listed for name in names], dtype=bool)

    def _names_of(self, rows: NDArray[np.void]) -> tuple[str, ...]:
        """Return the names of frames."""
        contexts, timestamps = rows["context"].tolist(), rows["timestamp"].tolist()
        pairs = zip(contexts, timestamps, strict=True)
        return tuple(f"{self._contexts[context]}/{timestamp}" for context, timestamp in pairs)


def list_sequences(root: Path) -> tuple[str, ...]:
    """Return the names of the segments that are there, of all splits.

    Raises
    ------
    UserError
        If the root is laid out otherwise.
    """
    root = Path(root)
    data_format = find_format(root)
    found = [find_segments(folder, data_format) for folder in split_folders(root, SPLITS)]
    return tuple(sorted({segment.name for segments in found for segment in segments}))


def _rows(index: Index, first_segment: int, first_context: int) -> NDArray[np.void]:
    """Return an index as a table, its segments and contexts numbered on."""
    rows = np.zeros(len(index["timestamp"]), dtype=frame_row(index["place"].dtype))
    for name in ("timestamp", "labeled", "lidar", "place"):
        rows[name] = index[name]
    rows["segment"] = index["segment"] + first_segment
    rows["context"] = index["context"] + first_context
    return rows

"""v2 frames: in which rows of which tables each lies, and one frame put together from them.

Shape letters: F frames.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.index import Index
from train.data.waymo import schema
from train.data.waymo.camera_tables import CameraTables
from train.data.waymo.frame import (
    LABEL_CHANNELS,
    POSE_CHANNELS,
    RANGE_CHANNELS,
    Calibration,
    Frame,
    FrameError,
    Laser,
    LaserName,
    checked_calibration,
    checked_image,
    checked_transform,
)
from train.data.waymo.layout import Segment, frame_row
from train.data.waymo.tables import Rows, number_of, numbers_of, reading_parquet

NO_ROW: Final = -1

_INDEXED: Final = (schema.LIDAR, schema.LIDAR_POSE, schema.SEGMENTATION, schema.VEHICLE_POSE)
"""Tables that have rows of frames."""

_PLACE: Final = np.dtype([(table.tag, np.int32, (len(LaserName),)) for table in _INDEXED])
"""Where a frame lies: by table, the row of each lidar in the order of their numbers. What a table
has once a frame, or for TOP alone, is in TOP's place; `NO_ROW` where there is nothing."""

_MAX_FRAMES_A_PASS: Final = 64
"""Bounds what `SegmentTables.frames` holds at once, 25 MB a frame, when rows are in no order; more
than the labeled frames of a segment."""


def index_tables(segments: list[Segment]) -> Index:
    """Return in which rows the frames of v2 tables are; only keys and shapes are read.

    Parameters
    ----------
    segments
        With their tables.

    Returns
    -------
    Index
        As `index_records`, but `place` has rows by table and lidar.

    Raises
    ------
    UserError
        If a table cannot be read, lacks a column, or holds a row twice or of another segment.
    """
    parts = [_index_segment(segment) for segment in segments]
    table = np.concatenate([np.zeros(0, dtype=frame_row(_PLACE)), *parts])
    number = np.repeat(np.arange(len(segments)), [len(part) for part in parts])
    place = table["place"]
    labeled = (place[schema.SEGMENTATION.tag] != NO_ROW).any(axis=1)
    return {
        "contexts": np.array([segment.name for segment in segments], dtype=np.str_),
        "segment": number,
        "context": number,
        "timestamp": table["timestamp"],
        "labeled": labeled,
        # Labels without ranges are damage, reported when the frame is read.
        "lidar": labeled | (place[schema.LIDAR.tag] != NO_ROW).any(axis=1),
        "place": place,
    }


def _index_segment(segment: Segment) -> NDArray[np.void]:
    """Return the timestamps of a segment's frames in order, and their places."""
    row_of: dict[tuple[int, str, int], int] = {}
    for table in _INDEXED:
        if table.tag not in segment.files:
            continue
        rows = Rows(segment.files[table.tag], table)
        for row, (timestamp, laser) in enumerate(zip(*_keys(rows, segment.name), strict=True)):
            # Only TOP has pixel poses and labels; rows without an image say nothing.
            if not laser or (table is not schema.LIDAR and laser != LaserName.TOP):
                continue
            key = (timestamp, table.tag, laser)
            if key in row_of:
                raise UserError(
                    f"{rows.path}: frame {timestamp} has two rows for lidar {laser}; copy the file "
                    "again"
                )
            row_of[key] = row
    timestamps = np.unique(np.array([key[0] for key in row_of], dtype=np.int64))
    frames = np.zeros(len(timestamps), dtype=frame_row(_PLACE))
    frames["timestamp"] = timestamps
    for table in _INDEXED:
        frames["place"][table.tag] = NO_ROW
    for (timestamp, tag, laser), row in row_of.items():
        frames["place"][tag][np.searchsorted(timestamps, timestamp), laser - 1] = row
    return frames


def _keys(rows: Rows, context: str) -> tuple[list[int], list[int]]:
    """Return each row's timestamp and lidar; 0 for a row whose images are all missing."""
    shapes = [name for name in rows.table.values if name.endswith(schema.SHAPE)]
    table = rows.columns([*rows.table.keys, *shapes])
    with reading_parquet(rows.path):
        contexts = set(table.column(schema.CONTEXT).unique().to_pylist())
        timestamps = table.column(schema.TIMESTAMP).to_pylist()
        if schema.LASER in rows.table.keys:
            lasers = table.column(schema.LASER).to_pylist()
        else:
            lasers = [int(LaserName.TOP)] * len(timestamps)
        empty = [table.column(name).is_null().to_pylist() for name in shapes]
    if contexts - {context}:
        raise _of_another(rows, contexts - {context})
    if None in timestamps or not set(lasers) <= set(LaserName):
        raise UserError(
            f"{rows.path}: a row has no timestamp or a lidar number other than 1 to 5; copy it "
            "again"
        )
    if empty:
        lasers = [
            0 if all(nothing) else laser
            for laser, nothing in zip(lasers, zip(*empty, strict=True), strict=True)
        ]
    return timestamps, lasers


def _of_another(rows: Rows, contexts: set[str | None]) -> UserError:
    """Return what to say about rows that are not the segment's."""
    found = ", ".join(f"{name!a:.80}" for name in list(contexts)[:3])
    return UserError(
        f"{rows.path}: holds rows of segment {found}; the file has the wrong name or contents, "
        "copy it again"
    )


class SegmentTables:
    """The open tables of one segment.

    Parameters
    ----------
    segment
        Which.
    cameras
        Whether frames have what the cameras saw.

    Raises
    ------
    UserError
        If a table is missing, cannot be read or lacks a column.
    """

    def __init__(self, segment: Segment, *, cameras: bool = False) -> None:
        self.segment = segment
        self._tables = {
            table.tag: Rows(segment.files[table.tag], table)
            for table in schema.TABLES
            if table.tag in segment.files
        }
        table = self._tables[schema.CALIBRATION.tag]
        self._calibrations = table.calibrations(self._calibration)
        self._cameras = CameraTables(segment) if cameras else None
        self.image_path = segment.folder if self._cameras is None else self._cameras.path

    def frame(self, timestamp: int, place: np.void) -> Frame:
        """Return the frame in some rows.

        Raises
        ------
        UserError
            If a row of it is missing or damaged.
        """
        return self._frame(self._tables, timestamp, place)

    def shots(self, timestamp: int, place: np.void) -> Frame:
        """Return the frame without what the lidars saw; raises as `frame`."""
        return self._without_lasers(self._tables, timestamp, place)

    def frames(
        self, timestamps: NDArray[np.int64], places: NDArray[np.void]
    ) -> Iterator[tuple[int, Frame | UserError]]:
        """Yield frames in the order in which the tables have them; no row is decoded twice.

        More than `_MAX_FRAMES_A_PASS` frames whose rows are in no order take several passes.

        Parameters
        ----------
        timestamps, places
            (F,) of the wanted frames, as the index has them.

        Yields
        ------
        int, Frame or UserError
            Which of the F it is, and what `frame` returns or raises for it.
        """
        order = np.argsort(places[schema.LIDAR.tag].max(axis=1), kind="stable")
        for start in range(0, len(order), _MAX_FRAMES_A_PASS):
            wanted = order[start : start + _MAX_FRAMES_A_PASS]
            tables = {
                table.tag: _RowsOnce(self._tables[table.tag], places[table.tag][wanted])
                for table in _INDEXED
                if table.tag in self._tables
            }
            for number in wanted.tolist():
                try:
                    yield number, self._frame(tables, int(timestamps[number]), places[number])
                except UserError as error:
                    yield number, error

    def _frame(
        self, tables: "Mapping[str, Rows | _RowsOnce]", timestamp: int, place: np.void
    ) -> Frame:
        """Return a frame of some rows of some tables."""
        frame = self._without_lasers(tables, timestamp, place)
        rows = place[schema.LIDAR.tag]
        labeled = place[schema.SEGMENTATION.tag][0] != NO_ROW
        # In the order of rows, so that the stream of rows goes forward.
        lasers = tuple(
            self._laser(tables, timestamp, LaserName(number + 1), place)
            for number in np.argsort(rows, kind="stable").tolist()
            if rows[number] != NO_ROW or (number == 0 and labeled)
        )
        return dataclasses.replace(frame, lasers=lasers)

    def _without_lasers(
        self, tables: "Mapping[str, Rows | _RowsOnce]", timestamp: int, place: np.void
    ) -> Frame:
        """Return the vehicle's pose at a frame and what its cameras saw."""
        with self._cells(tables, schema.VEHICLE_POSE, timestamp, None, place) as cells:
            numbers = numbers_of(cells[schema.VEHICLE_TRANSFORM], np.float64)
            pose = checked_transform(numbers, "the vehicle's pose")
        shots = () if self._cameras is None else self._cameras.shots(timestamp)
        return Frame(self.segment.name, timestamp, pose, (), shots)

    def _laser(
        self,
        tables: "Mapping[str, Rows | _RowsOnce]",
        timestamp: int,
        name: LaserName,
        place: np.void,
    ) -> Laser:
        """Return what a lidar saw."""
        with self._cells(tables, schema.LIDAR, timestamp, name, place) as cells:
            first, second = (_float_image(cells, schema.LIDAR, i, RANGE_CHANNELS) for i in range(2))
        if name not in self._calibrations:
            raise UserError(
                f"{self._tables[schema.CALIBRATION.tag].path}: has no row for lidar {name} "
                f"({name.name}); copy it again"
            )
        poses = None
        labels: tuple[NDArray[np.int32] | None, NDArray[np.int32] | None] = (None, None)
        if name == LaserName.TOP:
            with self._cells(tables, schema.LIDAR_POSE, timestamp, name, place) as cells:
                poses = _float_image(cells, schema.LIDAR_POSE, 0, POSE_CHANNELS)
            if place[schema.SEGMENTATION.tag][0] != NO_ROW:
                with self._cells(tables, schema.SEGMENTATION, timestamp, name, place) as cells:
                    labels = (_label_image(cells, 0), _label_image(cells, 1))
        return Laser(name, self._calibrations[name], (first, second), poses, labels)

    def _calibration(self, cells: dict[str, Any]) -> tuple[LaserName, Calibration] | None:
        """Return the calibration in a row, and whose it is; None for a lidar of no number."""
        if cells[schema.CONTEXT] != self.segment.name:
            raise _of_another(self._tables[schema.CALIBRATION.tag], {cells[schema.CONTEXT]})
        if cells[schema.LASER] not in set(LaserName):
            return None
        name = LaserName(cells[schema.LASER])
        return name, checked_calibration(
            numbers_of(cells[schema.EXTRINSIC], np.float64),
            numbers_of(cells[schema.INCLINATIONS], np.float64),
            number_of(cells[schema.INCLINATION_MIN]),
            number_of(cells[schema.INCLINATION_MAX]),
            name.name,
        )

    @contextmanager
    def _cells(
        self,
        tables: "Mapping[str, Rows | _RowsOnce]",
        table: schema.Table,
        timestamp: int,
        laser: LaserName | None,
        place: np.void,
    ) -> Iterator[dict[str, Any]]:
        """Give the cells of a frame's row; say in which file and row what is found is damaged."""
        path = self._tables[table.tag].path
        try:
            row = int(place[table.tag][(laser or LaserName.TOP) - 1])
            if row == NO_ROW:
                raise FrameError("there is no such row")
            cells = tables[table.tag].row(row)
            if (cells[schema.TIMESTAMP], cells.get(schema.LASER)) != (timestamp, laser):
                raise UserError(f"{path}: has changed since it was opened; start again")
            yield cells
        except FrameError as error:
            where = f"frame {timestamp}" + ("" if laser is None else f", lidar {laser:d}")
            raise UserError(f"{path}: {where}: {error}; copy the file again") from error


class _RowsOnce:
    """Some rows of a table, each given once, decoded in the order of the file.

    Frames need rows of several tables, and each table has its own order. Where a row is asked for,
    those before it are decoded on the way, as a row group allows no other, and kept until they are
    asked for themselves.
    """

    def __init__(self, rows: Rows, wanted: NDArray[np.int32]) -> None:
        self._rows = rows
        self._wanted = iter(np.unique(wanted[wanted != NO_ROW]).tolist())
        self._kept: dict[int, dict[str, Any] | Exception] = {}

    def row(self, number: int) -> dict[str, Any]:
        """Return what `Rows.row` does, or raise it."""
        while number not in self._kept:
            before = next(self._wanted)
            try:
                self._kept[before] = self._rows.row(before)
            except (UserError, FrameError) as error:
                self._kept[before] = error  # of that row's frame, not of the one that asks
        found = self._kept.pop(number)
        if isinstance(found, Exception):
            raise found
        return found


def _float_image(
    cells: dict[str, Any], table: schema.Table, index: int, channels: int
) -> NDArray[np.float32] | None:
    """Return an image of a row; None if it has none."""
    values, shape = schema.image_columns(table, index)
    if cells[values] is None:
        return None
    numbers = numbers_of(cells[values], np.float32)
    return checked_image(numbers, _dims(cells[shape]), channels, f"return {index + 1}")


def _label_image(cells: dict[str, Any], index: int) -> NDArray[np.int32] | None:
    """Return a return's labels; None if it has none."""
    values, shape = schema.image_columns(schema.SEGMENTATION, index)
    numbers = cells[values]
    if numbers is None:
        return None
    if len(numbers) and not -(1 << 31) <= numbers.min() <= numbers.max() < 1 << 31:
        raise FrameError("labels have values of more than 32 bits")
    labels = numbers.astype(np.int32, copy=False)
    return checked_image(labels, _dims(cells[shape]), LABEL_CHANNELS, f"return {index + 1}")


def _dims(cell: NDArray[Any] | None) -> tuple[int, ...]:
    """Return a shape."""
    return () if cell is None else tuple(cell.tolist())

"""v2 frames: in which rows of which tables each lies, and one frame put together from them.

Shape letters: F frames.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.index import Index
from train.data.waymo import schema
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
from train.data.waymo.layout import Segment
from train.data.waymo.tables import Rows, reading_parquet

NO_ROW: Final = -1

# Columns of `place` in the index: a row of lidar for each lidar, then one row of each other table.
_POSES, _LABELS, _VEHICLE, _PLACES = 5, 6, 7, 8

_COLUMNS: Final = {
    schema.LIDAR.tag: list(range(_POSES)),
    schema.LIDAR_POSE.tag: [_POSES],
    schema.SEGMENTATION.tag: [_LABELS],
    schema.VEHICLE_POSE.tag: [_VEHICLE],
}
"""Which columns of `place` are rows of which table."""

_MAX_FRAMES_A_PASS: Final = 64
"""Bounds what `SegmentTables.frames` holds at once, 25 MB a frame, when rows are in no order; more
than the labeled frames of a segment."""

_MAX_CALIBRATIONS: Final = 64
"""There are five lidars; a longer table is damaged, and not read to its end."""

_Float = TypeVar("_Float", np.float32, np.float64)


def index_tables(segments: list[Segment]) -> Index:
    """Return in which rows the frames of v2 tables are; only keys and shapes are read.

    Parameters
    ----------
    segments
        With their tables.

    Returns
    -------
    Index
        As `index_records`, but `place` is (F, 8): the rows of TOP to REAR in lidar, of TOP in
        lidar_pose and lidar_segmentation, and of the frame in vehicle_pose; `NO_ROW` if not there.

    Raises
    ------
    UserError
        If a table cannot be read, lacks a column, or holds a row twice or of another segment.
    """
    parts = [_index_segment(segment) for segment in segments]
    counts = [len(timestamps) for timestamps, _ in parts]
    place = np.concatenate([np.zeros((0, _PLACES), dtype=np.int64), *(p for _, p in parts)])
    timestamps = np.concatenate([np.zeros(0, dtype=np.int64), *(t for t, _ in parts)])
    number = np.repeat(np.arange(len(segments)), counts)
    return {
        "contexts": np.array([segment.name for segment in segments], dtype=np.str_),
        "segment": number,
        "context": number,
        "timestamp": timestamps,
        "labeled": place[:, _LABELS] != NO_ROW,
        # Labels without ranges are damage, reported when the frame is read.
        "lidar": (place[:, [*range(_POSES), _LABELS]] != NO_ROW).any(axis=1),
        "place": place,
    }


def _index_segment(segment: Segment) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the timestamps of a segment's frames in order, and their places."""
    cells: list[tuple[int, int, int]] = []
    for table, only_top, column in (
        (schema.LIDAR, False, 0),
        (schema.LIDAR_POSE, True, _POSES),
        (schema.SEGMENTATION, True, _LABELS),
        (schema.VEHICLE_POSE, True, _VEHICLE),
    ):
        if table.tag not in segment.files:
            continue
        rows = Rows(segment.files[table.tag], table)
        seen = set()
        for row, key in enumerate(zip(*_keys(rows, segment.name), strict=True)):
            timestamp, laser = key
            # Only TOP has pixel poses and labels; rows without an image say nothing.
            if not laser or (only_top and laser != LaserName.TOP):
                continue
            if key in seen:
                raise UserError(
                    f"{rows.path}: frame {timestamp} has two rows for lidar {laser}; copy the file "
                    "again"
                )
            seen.add(key)
            cells.append((timestamp, column if only_top else column + laser - 1, row))
    order = np.unique(np.array([cell[0] for cell in cells], dtype=np.int64))
    place = np.full((len(order), _PLACES), NO_ROW, dtype=np.int64)
    for timestamp, column, row in cells:
        place[np.searchsorted(order, timestamp), column] = row
    return order, place


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

    Raises
    ------
    UserError
        If a table cannot be read or lacks a column.
    """

    def __init__(self, segment: Segment) -> None:
        self.segment = segment
        self._tables = {
            table.tag: Rows(segment.files[table.tag], table)
            for table in schema.TABLES
            if table.tag in segment.files
        }
        self._calibrations = self._read_calibrations()

    def frame(self, timestamp: int, place: NDArray[np.int64]) -> Frame:
        """Return the frame in some rows.

        Raises
        ------
        UserError
            If a row of it is missing or damaged.
        """
        return self._frame(self._tables, timestamp, place)

    def pose(self, timestamp: int, place: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return where the vehicle was at a frame, (4, 4) to the world.

        Raises
        ------
        UserError
            If the row is missing or damaged.
        """
        return self._pose(self._tables, timestamp, place)

    def frames(
        self, timestamps: NDArray[np.int64], places: NDArray[np.int64]
    ) -> Iterator[tuple[int, Frame | UserError]]:
        """Yield frames in the order in which the tables have them; no row is decoded twice.

        More than `_MAX_FRAMES_A_PASS` frames whose rows are in no order take several passes.

        Parameters
        ----------
        timestamps
            (F,) of the wanted frames.
        places
            (F, 8) their places in the index.

        Yields
        ------
        int, Frame or UserError
            Which of the F it is, and what `frame` returns or raises for it.
        """
        order = np.argsort(places[:, :_POSES].max(axis=1), kind="stable")
        for start in range(0, len(order), _MAX_FRAMES_A_PASS):
            wanted = order[start : start + _MAX_FRAMES_A_PASS]
            tables = {
                tag: _RowsAhead(self._tables[tag], places[wanted][:, columns])
                for tag, columns in _COLUMNS.items()
                if tag in self._tables
            }
            for number in wanted.tolist():
                try:
                    frame = self._frame(tables, int(timestamps[number]), places[number])
                except UserError as error:
                    yield number, error
                else:
                    yield number, frame

    def _frame(
        self, tables: "Mapping[str, Rows | _RowsAhead]", timestamp: int, place: NDArray[np.int64]
    ) -> Frame:
        """Return a frame of some rows of some tables."""
        pose = self._pose(tables, timestamp, place)
        lasers = []
        # In the order of rows, so that the stream of rows goes forward.
        for number in np.argsort(place[:_POSES], kind="stable").tolist():
            if place[number] != NO_ROW or (number == 0 and place[_LABELS] != NO_ROW):
                lasers.append(self._laser(tables, timestamp, LaserName(number + 1), place))
        return Frame(self.segment.name, timestamp, pose, tuple(lasers))

    def _pose(
        self, tables: "Mapping[str, Rows | _RowsAhead]", timestamp: int, place: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Return the vehicle's pose at a frame."""
        at = (timestamp, None)
        with self._naming(schema.VEHICLE_POSE, at):
            cells = _cells(tables, schema.VEHICLE_POSE, at, int(place[_VEHICLE]))
            numbers = _floats(cells[schema.VEHICLE_TRANSFORM], np.float64)
            return checked_transform(numbers, "the vehicle's pose")

    def _laser(
        self,
        tables: "Mapping[str, Rows | _RowsAhead]",
        timestamp: int,
        name: LaserName,
        place: NDArray[np.int64],
    ) -> Laser:
        """Return what a lidar saw."""
        at = (timestamp, name)
        with self._naming(schema.LIDAR, at):
            cells = _cells(tables, schema.LIDAR, at, int(place[name - 1]))
            first, second = (_float_image(cells, schema.LIDAR, i, RANGE_CHANNELS) for i in range(2))
        if name not in self._calibrations:
            raise UserError(
                f"{self._tables[schema.CALIBRATION.tag].path}: has no row for lidar {name} "
                f"({name.name}); copy it again"
            )
        poses = None
        labels: list[NDArray[np.int32] | None] = [None, None]
        if name == LaserName.TOP:
            with self._naming(schema.LIDAR_POSE, at):
                cells = _cells(tables, schema.LIDAR_POSE, at, int(place[_POSES]))
                poses = _float_image(cells, schema.LIDAR_POSE, 0, POSE_CHANNELS)
            if place[_LABELS] != NO_ROW:
                with self._naming(schema.SEGMENTATION, at):
                    cells = _cells(tables, schema.SEGMENTATION, at, int(place[_LABELS]))
                    labels = [_label_image(cells, index) for index in range(2)]
        return Laser(name, self._calibrations[name], (first, second), poses, (labels[0], labels[1]))

    def _read_calibrations(self) -> dict[LaserName, Calibration]:
        """Return the calibration of each lidar."""
        table = self._tables[schema.CALIBRATION.tag]
        found = {}
        for number in range(min(len(table), _MAX_CALIBRATIONS)):
            try:
                cells = table.row(number)
                if cells[schema.CONTEXT] != self.segment.name:
                    raise _of_another(table, {cells[schema.CONTEXT]})
                name = cells[schema.LASER]
                if name in set(LaserName):
                    found[LaserName(name)] = checked_calibration(
                        _floats(cells[schema.EXTRINSIC], np.float64),
                        _floats(cells[schema.INCLINATIONS], np.float64),
                        _number(cells[schema.INCLINATION_MIN]),
                        _number(cells[schema.INCLINATION_MAX]),
                        LaserName(name).name,
                    )
            except FrameError as error:
                raise UserError(f"{table.path}: {error}; copy it again") from error
        return found

    @contextmanager
    def _naming(self, table: schema.Table, at: tuple[int, LaserName | None]) -> Iterator[None]:
        """Say in which file and row a frame is damaged."""
        timestamp, laser = at
        row = f"frame {timestamp}" + ("" if laser is None else f", lidar {laser:d}")
        try:
            yield
        except FrameError as error:
            path = self._tables[table.tag].path
            raise UserError(f"{path}: {row}: {error}; copy the file again") from error


class _RowsAhead:
    """Some rows of a table, each given once, decoded in the order of the file.

    Where rows are asked for in another order, those that lie before an asked one are kept until
    they are asked for themselves.
    """

    def __init__(self, rows: Rows, wanted: NDArray[np.int64]) -> None:
        self.path = rows.path
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


def _cells(
    tables: "Mapping[str, Rows | _RowsAhead]",
    table: schema.Table,
    at: tuple[int, LaserName | None],
    row: int,
) -> dict[str, Any]:
    """Return the cells of a row after checking that it is the one that is meant."""
    if row == NO_ROW:
        raise FrameError("there is no such row")
    rows = tables[table.tag]
    cells = rows.row(row)
    if (cells[schema.TIMESTAMP], cells.get(schema.LASER)) != at:
        raise UserError(f"{rows.path}: has changed since it was opened; start again")
    return cells


def _float_image(
    cells: dict[str, Any], table: schema.Table, index: int, channels: int
) -> NDArray[np.float32] | None:
    """Return an image of a row; None if it has none."""
    values, shape = schema.image_columns(table, index)
    if cells[values] is None:
        return None
    numbers = _floats(cells[values], np.float32)
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


def _floats(cell: NDArray[Any] | None, dtype: type[_Float]) -> NDArray[_Float]:
    """Return a list's numbers; none for a missing list."""
    if cell is None:
        return np.zeros(0, dtype=dtype)
    # A number that float32 cannot hold becomes infinite, and is refused where it is used.
    with np.errstate(over="ignore"):
        return cell.astype(dtype, copy=False)


def _number(cell: float | None) -> float:
    """Return a number; NaN for a missing one."""
    return float("nan") if cell is None else float(cell)

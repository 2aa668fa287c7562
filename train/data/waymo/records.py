"""v1 files: which frames are where, found without reading images, and one frame read by its place.

Shape letters: F frames.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.files import reading
from train.data.index import Index
from train.data.waymo import frame_proto as proto
from train.data.waymo.frame import Frame, FrameError, LaserName
from train.data.waymo.layout import RECORDS, Segment, frame_row, is_official
from train.data.waymo.protobuf import (
    BYTES,
    VARINT,
    WireError,
    decode_text,
    field_at,
    varint_at,
)
from train.data.waymo.tfrecord import read_record, walk

_PLACE: Final = np.dtype([("start", np.int64), ("length", np.int64)])

_HEAD_BYTES: Final = 32
"""At least what a field's head and a varint take."""

_MAX_NAME_BYTES: Final = 1024


@dataclass
class _Summary:
    """What the index needs to know of a frame."""

    context: str = ""
    timestamp: int | None = None
    lidars: set[int] = field(default_factory=set)
    labeled: bool = False


def index_records(segments: list[Segment]) -> Index:
    """Return where the frames of v1 files are.

    Only heads of records and fields are read, a few kilobytes a frame.

    Parameters
    ----------
    segments
        One file each.

    Returns
    -------
    Index
        `contexts` names; and for each of F frames `segment` (row in `segments`), `context` (row in
        `contexts`), `timestamp` microseconds, `labeled`, `lidar` (whether a lidar saw anything)
        and `place`: first byte (`start`) and `length` of the payload.

    Raises
    ------
    UserError
        If a file cannot be read, is damaged, or holds anything but frames of its segment.
    """
    rows: list[tuple[int, int, int, bool, bool, tuple[int, int]]] = []
    contexts: dict[str, int] = {}
    for number, segment in enumerate(segments):
        for summary, start, length in _summaries(segment):
            context = contexts.setdefault(summary.context, len(contexts))
            timestamp = summary.timestamp or 0
            # Labels without ranges are damage, reported when the frame is read.
            lidar = bool(summary.lidars) or summary.labeled
            rows.append((number, context, timestamp, summary.labeled, lidar, (start, length)))
    table = np.array(rows, dtype=frame_row(_PLACE))
    return {
        "contexts": np.array(list(contexts), dtype=np.str_),
        **{name: table[name] for name in table.dtype.names or ()},
    }


class SegmentRecords:
    """The frames of one segment's record file; `train.data.waymo.table_frames` has v2's.

    Parameters
    ----------
    segment
        Which.
    cameras
        Whether frames have what the cameras saw.
    """

    def __init__(self, segment: Segment, *, cameras: bool = False) -> None:
        self.image_path = self._path = segment.files[RECORDS]
        self._cameras = cameras

    def frame(self, timestamp: int, place: np.void) -> Frame:
        """Return the frame at a place that the index gave.

        Raises
        ------
        UserError
            If the file cannot be read or the frame is damaged.
        """
        return self._read(place, lasers=True)

    def frames(
        self, timestamps: NDArray[np.int64], places: NDArray[np.void]
    ) -> Iterator[tuple[int, Frame | UserError]]:
        """Yield frames in the order of the file: which, and what `frame` returns or raises."""
        for number in np.argsort(places["start"]).tolist():
            try:
                yield number, self._read(places[number], lasers=True)
            except UserError as error:
                yield number, error

    def shots(self, timestamp: int, place: np.void) -> Frame:
        """Return the frame without what the lidars saw; raises as `frame`."""
        return self._read(place, lasers=False)

    def _read(self, place: np.void, *, lasers: bool) -> Frame:
        path, start = self._path, int(place["start"])
        try:
            with reading(path, "check its rights"), path.open("rb", buffering=0) as file:
                payload = read_record(path, file, start, int(place["length"]))
            return proto.read_frame(payload, lasers=lasers, cameras=self._cameras)
        except (WireError, FrameError) as error:
            raise UserError(
                f"{path}: the frame at byte {start} is damaged: {error}; copy the file again"
            ) from error


def _summaries(segment: Segment) -> Iterator[tuple[_Summary, int, int]]:
    """Yield each frame's summary and where its payload is."""
    path = segment.files[RECORDS]
    at = 0
    try:
        # Small buffers: between two heads lies an image that is not needed.
        with reading(path, "check its rights"), path.open("rb", buffering=1024) as file:
            for at, length in walk(path, file, path.stat().st_size):
                summary = _summarize(file, at, at + length)
                if not summary.context or summary.timestamp is None:
                    raise WireError("there is no context name or no timestamp")
                if is_official(path.stem) and summary.context != segment.name:
                    raise UserError(
                        f"{path}: the frame at byte {at} is of segment {summary.context}; the file "
                        "has the wrong name or contents, copy it again"
                    )
                yield summary, at, length
    except WireError as error:
        raise UserError(
            f"{path}: the record at byte {at} is no Waymo Open frame: {error}; give the Perception "
            "dataset's files, or copy the file again"
        ) from error


def _summarize(file: BinaryIO, start: int, end: int) -> _Summary:
    """Return a frame's summary; stop as soon as nothing can change it."""
    summary = _Summary()
    for number, wire, at, stop in _fields(file, start, end):
        if number == proto.FRAME_CONTEXT:
            _expect(number, wire, BYTES)
            summary.context = _context_name(file, at, stop)
        elif number == proto.FRAME_TIMESTAMP:
            _expect(number, wire, VARINT)
            summary.timestamp = _integer(file, at, stop)
        elif number == proto.FRAME_LASERS:
            _expect(number, wire, BYTES)
            name, seen, labeled = _laser(file, at, stop)
            if seen:
                summary.lidars.add(name)
            summary.labeled |= labeled and name == LaserName.TOP
        if summary.context and summary.timestamp is not None and LaserName.TOP in summary.lidars:
            break
    return summary


def _context_name(file: BinaryIO, start: int, end: int) -> str:
    """Return the name in a context."""
    for number, wire, at, stop in _fields(file, start, end):
        if number == proto.CONTEXT_NAME:
            _expect(number, wire, BYTES)
            if stop - at > _MAX_NAME_BYTES:
                raise WireError(f"the context's name has {stop - at} bytes")
            file.seek(at)
            return decode_text(memoryview(file.read(stop - at)))
    return ""


def _laser(file: BinaryIO, start: int, end: int) -> tuple[int, bool, bool]:
    """Return a lidar's number, whether it has range images, and whether it has labels."""
    name, seen, labeled = 0, False, False
    for number, wire, at, stop in _fields(file, start, end):
        if number == proto.LASER_NAME:
            _expect(number, wire, VARINT)
            name = _integer(file, at, stop)
        elif number in proto.LASER_RETURNS:
            _expect(number, wire, BYTES)
            for inner, inner_wire, inner_at, inner_stop in _fields(file, at, stop):
                if inner in (proto.IMAGE_RANGES, proto.IMAGE_LABELS):
                    _expect(inner, inner_wire, BYTES)
                    seen |= inner == proto.IMAGE_RANGES and inner_stop > inner_at
                    labeled |= inner == proto.IMAGE_LABELS and inner_stop > inner_at
    return name, seen, labeled


def _fields(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Yield number, wire type, first byte and end of each field's value of a message in a file."""
    at = start
    while at < end:
        file.seek(at)
        head = memoryview(file.read(min(_HEAD_BYTES, end - at)))
        number, wire, value_at, length = field_at(head, 0)
        if wire == VARINT:
            _, after = varint_at(head, value_at)
            length = after - value_at
        value_start = at + value_at
        if length > end - value_start:
            raise WireError(f"field {number} claims {length} bytes, {end - value_start} are left")
        at = value_start + length
        yield number, wire, value_start, at


def _integer(file: BinaryIO, at: int, stop: int) -> int:
    """Return a varint in a file as a signed number."""
    file.seek(at)
    value, _ = varint_at(memoryview(file.read(stop - at)), 0)
    return value - (1 << 64) if value >> 63 else value


def _expect(number: int, wire: int, wanted: int) -> None:
    """Refuse a field of another kind than expected."""
    if wire != wanted:
        raise WireError(f"field {number} has wire type {wire}, expected {wanted}")

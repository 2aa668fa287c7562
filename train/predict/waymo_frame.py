"""Read one frame of a Waymo file as a cloud: a file holds a whole drive, so a time chooses it."""

from pathlib import Path
from typing import Final

import numpy as np

from train.core.errors import UserError
from train.data.frame import LidarFrame
from train.data.waymo.frame import FrameError
from train.data.waymo.layout import RECORDS, Segment, context_of, find_segments
from train.data.waymo.range_image import points
from train.data.waymo.records import SegmentRecords, index_records
from train.data.waymo.table_frames import SegmentTables, index_tables

ENDINGS: Final = (".tfrecord", ".parquet")
_SHOWN = 3


def read_frame(path: Path, timestamp: int | None) -> LidarFrame:
    """Read a frame without its labels.

    Parameters
    ----------
    path
        A record file `*.tfrecord` (v1), or the lidar table `.../lidar/CONTEXT.parquet` of a segment
        (v2), whose other tables lie in the folders beside `lidar`.
    timestamp
        Microseconds, as in the frame's name; None if the file holds a single frame.

    Returns
    -------
    LidarFrame
        All points of all five lidars and both returns, in the vehicle's frame; strength is tanh of
        the intensity. Its name is CONTEXT/TIMESTAMP.

    Raises
    ------
    UserError
        If the file or a table beside it is missing or damaged, or not one frame has the time.
    """
    if not path.is_file():
        raise UserError(f"{path}: cannot be read (no such file); check the name")
    is_table = path.suffix == ".parquet"
    segment = _segment_of_table(path) if is_table else _segment_of_records(path)
    index = index_tables([segment]) if is_table else index_records([segment])
    number = _chosen(path, index["timestamp"], timestamp)
    if not index["lidar"][number]:
        raise UserError(f"{path}: the frame has no range images; choose another --frame")
    place, time = index["place"][number], int(index["timestamp"][number])
    frame = (SegmentTables if is_table else SegmentRecords)(segment).frame(time, place)
    try:
        found = points(frame)
    except FrameError as error:
        raise UserError(f"{path}: frame {time}: {error}; copy the file again") from error
    return LidarFrame(found.coord, found.strength, None, frame.name, path, frame.pose)


def _segment_of_records(path: Path) -> Segment:
    return Segment(context_of(path.stem), path.parent, {RECORDS: path})


def _segment_of_table(path: Path) -> Segment:
    """Find the other tables of a segment from its lidar table."""
    if path.parent.name != "lidar":
        raise UserError(
            f"{path}: is in no folder `lidar`; give the table lidar/CONTEXT.parquet of a segment, "
            "with the folders of the other tables beside it"
        )
    for segment in find_segments(path.parents[1], "v2"):
        if segment.name == path.stem:
            return segment
    raise UserError(f"{path}: is no table of a segment; check the name")


def _chosen(path: Path, timestamps: np.ndarray, wanted: int | None) -> int:
    """Return the row of the wanted frame."""
    known = timestamps.tolist()
    some = ", ".join(str(time) for time in sorted(known)[:_SHOWN])
    listed = some if len(known) <= _SHOWN else f"{some}, ... ({len(known)} frames)"
    if wanted is None:
        if len(known) != 1:
            raise UserError(f"{path}: choose a frame with --frame TIMESTAMP_MICROS: {listed}")
        return 0
    if known.count(wanted) != 1:
        what = "several frames" if wanted in known else "no frame"
        raise UserError(f"{path}: has {what} of time {wanted}; its times are {listed}")
    return int(known.index(wanted))

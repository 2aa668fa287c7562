"""Frames written as v2 stores them, parquet tables of one segment, and as v1 does, records."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.core.atomic_write import atomic_write
from train.data.waymo import schema
from train.data.waymo.frame import (
    Calibration,
    CameraCalibration,
    CameraName,
    Frame,
    Laser,
    LaserName,
)
from train.data.waymo.frame_proto import write_frame
from train.data.waymo.tfrecord import write_records

Rows = list[dict[str, Any]]


def write_segment_v2(
    split_folder: Path,
    context: str,
    frames: Iterable[Frame],
    *,
    frames_per_group: int = 1,
    cameras: bool = False,
) -> None:
    """Write the frames of one segment as the tables that the reader needs.

    Parameters
    ----------
    split_folder
        `<root>/training`, `validation` or `testing`; created if it is not there.
    context
        The segment's name.
    frames
        Any number; taken one after the other, so that they need not be in memory together. Those
        that have labels get rows in the table of labels.
    frames_per_group
        How many frames share a row group. Reading one frame may cost as much as its row group.
    cameras
        Whether to write the two tables of images, too.

    Raises
    ------
    ValueError
        If a frame belongs to another segment or there is none.
    """
    import pyarrow.parquet as pq

    calibrations: dict[LaserName, Calibration] = {}
    seeing: dict[CameraName, CameraCalibration] = {}
    tables = (*schema.TABLES, *(schema.CAMERAS if cameras else ()))
    with ExitStack() as stack:
        writers = {}
        for table in tables:
            folder = split_folder / table.tag
            folder.mkdir(parents=True, exist_ok=True)
            unfinished = stack.enter_context(atomic_write(folder / f"{context}.parquet"))
            writers[table.tag] = stack.enter_context(
                pq.ParquetWriter(
                    unfinished, arrow_schema(table), compression="zstd", write_page_checksum=True
                )
            )

        def flush(rows: dict[str, Rows]) -> None:
            for table in tables:
                if rows[table.tag]:
                    writers[table.tag].write_table(_table(table, rows[table.tag]))
                    rows[table.tag] = []

        rows: dict[str, Rows] = {table.tag: [] for table in tables}
        count = 0
        for frame in frames:
            if frame.context != context:
                raise ValueError(
                    f"write_segment_v2: frame {frame.name} is not of segment {context}"
                )
            for tag, added in _frame_rows(frame).items():
                rows[tag] += added
            if cameras:
                rows[schema.CAMERA_IMAGE.tag] += _image_rows(frame)
                seeing |= {
                    shot.name: shot.calibration
                    for shot in frame.shots
                    if shot.calibration is not None
                }
            calibrations |= {laser.name: laser.calibration for laser in frame.lasers}
            count += 1
            if count % frames_per_group == 0:
                flush(rows)
        if not count:
            raise ValueError(f"write_segment_v2: no frames for segment {context}")
        rows[schema.CALIBRATION.tag] = [
            _calibration_row(context, name, found) for name, found in calibrations.items()
        ]
        if cameras:
            rows[schema.CAMERA_CALIBRATION.tag] = [
                _camera_row(context, name, found) for name, found in seeing.items()
            ]
        flush(rows)


def write_segment_v1(path: Path, frames: Iterable[Frame]) -> None:
    """Write frames as one v1 file, whole or not at all; they need not be in memory together."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_records(path, map(write_frame, frames))


def arrow_schema(table: schema.Table) -> Any:
    """Return a table's official arrow schema."""
    import pyarrow as pa

    fields = []
    for name, column in table.columns.items():
        arrow = getattr(pa, column.arrow)()
        if column.length:
            arrow = pa.list_(arrow, column.length)
        elif column.is_list:
            arrow = pa.list_(arrow)
        fields.append((name, arrow))
    return pa.schema(fields)


def _table(table: schema.Table, rows: Rows) -> Any:
    """Return rows as an arrow table."""
    import pyarrow as pa

    return pa.Table.from_pylist(rows, schema=arrow_schema(table))


def _frame_rows(frame: Frame) -> dict[str, Rows]:
    """Return the rows of each table that one frame has."""
    key: dict[str, Any] = {schema.CONTEXT: frame.context, schema.TIMESTAMP: frame.timestamp_micros}
    rows: dict[str, Rows] = {
        schema.VEHICLE_POSE.tag: [key | {schema.VEHICLE_TRANSFORM: frame.pose.reshape(-1)}],
        schema.LIDAR.tag: [],
        schema.LIDAR_POSE.tag: [],
        schema.SEGMENTATION.tag: [],
    }
    for laser in frame.lasers:
        of_laser = key | {schema.LASER: int(laser.name)}
        for table, images in _images(laser):
            if any(image is not None for image in images):
                row = dict(of_laser)
                for index, image in enumerate(images):
                    row |= _image_row(table, index, image)
                rows[table.tag].append(row)
    return rows


def _image_rows(frame: Frame) -> Rows:
    """Return the rows of a frame's images."""
    return [
        {
            schema.CONTEXT: frame.context,
            schema.TIMESTAMP: frame.timestamp_micros,
            schema.CAMERA: int(shot.name),
            schema.IMAGE: shot.jpeg,
            schema.IMAGE_POSE: shot.pose.reshape(-1),
            schema.IMAGE_TIME: shot.pose_timestamp_s,
        }
        for shot in frame.shots
    ]


def _camera_row(context: str, name: CameraName, camera: CameraCalibration) -> dict[str, Any]:
    """Return a camera's row in the table of calibrations."""
    return {
        schema.CONTEXT: context,
        schema.CAMERA: int(name),
        **dict(zip(schema.CAMERA_INTRINSICS, camera.intrinsics.tolist(), strict=True)),
        schema.CAMERA_EXTRINSIC: camera.extrinsic.reshape(-1),
        schema.CAMERA_WIDTH: camera.width,
        schema.CAMERA_HEIGHT: camera.height,
    }


def _images(laser: Laser) -> list[tuple[schema.Table, tuple[NDArray[Any] | None, ...]]]:
    """Return which images of a lidar go into which table."""
    return [
        (schema.LIDAR, laser.returns),
        (schema.LIDAR_POSE, (laser.pixel_pose,)),
        (schema.SEGMENTATION, laser.labels),
    ]


def _image_row(table: schema.Table, index: int, image: NDArray[Any] | None) -> dict[str, Any]:
    """Return the two cells of an image."""
    values, shape = schema.image_columns(table, index)
    if image is None:
        return {values: None, shape: None}
    return {values: np.ascontiguousarray(image).reshape(-1), shape: list(image.shape)}


def _calibration_row(context: str, name: LaserName, calibration: Calibration) -> dict[str, Any]:
    """Return a lidar's row in the table of calibrations."""
    return {
        schema.CONTEXT: context,
        schema.LASER: int(name),
        schema.EXTRINSIC: calibration.extrinsic.reshape(-1),
        schema.INCLINATION_MIN: calibration.inclination_min,
        schema.INCLINATION_MAX: calibration.inclination_max,
        schema.INCLINATIONS: calibration.inclinations,
    }

"""v2 images: the tables of one segment's cameras, opened where images are asked for."""

from pathlib import Path
from typing import Any

import numpy as np

from train.core.errors import UserError
from train.data.files import reading
from train.data.waymo import schema
from train.data.waymo.frame import (
    CameraCalibration,
    CameraName,
    FrameError,
    Shot,
    checked_camera_calibration,
    checked_transform,
)
from train.data.waymo.layout import Segment
from train.data.waymo.tables import Rows, number_of, numbers_of


def _camera_files(segment: Segment) -> dict[str, Path]:
    """Return where a v2 segment's tables of cameras lie; refuse one that is not there."""
    name = f"{segment.name}.parquet"
    files = {table.tag: segment.folder / table.tag / name for table in schema.CAMERAS}
    for path in files.values():
        with reading(path):
            if not path.is_file():
                raise UserError(
                    f"{path}: no such file; download the camera tables "
                    f"({', '.join(files)}) too, or choose a method that needs no images"
                )
    return files


class CameraTables:
    """The images of one segment.

    Parameters
    ----------
    segment
        Which.

    Raises
    ------
    UserError
        If a table is missing, cannot be read, or lacks a column.
    """

    def __init__(self, segment: Segment) -> None:
        files = _camera_files(segment)
        self._images = Rows(files[schema.CAMERA_IMAGE.tag], schema.CAMERA_IMAGE)
        self.path = self._images.path
        self._context = segment.name
        calibrations = Rows(files[schema.CAMERA_CALIBRATION.tag], schema.CAMERA_CALIBRATION)
        self._calibrations = calibrations.calibrations(self._calibration)
        keys = self._images.columns([schema.TIMESTAMP, schema.CAMERA])
        self._rows: dict[int, list[int]] = {}
        for row, timestamp in enumerate(keys.column(schema.TIMESTAMP).to_pylist()):
            self._rows.setdefault(timestamp, []).append(row)

    def shots(self, timestamp: int) -> tuple[Shot, ...]:
        """Return the images of a frame; none if there are none.

        Raises
        ------
        UserError
            If a row is damaged.
        """
        return tuple(self._shot(row, timestamp) for row in self._rows.get(timestamp, ()))

    def _shot(self, number: int, timestamp: int) -> Shot:
        path = self.path
        try:
            cells = self._images.row(number)
            if (cells[schema.CONTEXT], cells[schema.TIMESTAMP]) != (self._context, timestamp):
                raise UserError(
                    f"{path}: row {number} is of another segment or has changed; copy it again"
                )
            camera = cells[schema.CAMERA]
            if camera not in list(CameraName):
                raise FrameError(f"there is no camera number {camera}")
            name = CameraName(camera)
            pose = checked_transform(
                numbers_of(cells[schema.IMAGE_POSE], np.float64), f"the pose of camera {name.name}"
            )
            return Shot(
                name,
                self._calibrations.get(name),
                cells[schema.IMAGE] or b"",
                pose,
                number_of(cells[schema.IMAGE_TIME]),
            )
        except FrameError as error:
            raise UserError(f"{path}: frame {timestamp}: {error}; copy the file again") from error

    def _calibration(self, cells: dict[str, Any]) -> tuple[CameraName, CameraCalibration]:
        if cells[schema.CONTEXT] != self._context or cells[schema.CAMERA] not in set(CameraName):
            raise FrameError("a row is of another segment or camera")
        name = CameraName(cells[schema.CAMERA])
        values = [cells[column] for column in schema.CAMERA_INTRINSICS]
        size = (cells[schema.CAMERA_WIDTH], cells[schema.CAMERA_HEIGHT])
        if None in values or None in size:
            raise FrameError(f"camera {name.name} has missing intrinsics")
        return name, checked_camera_calibration(
            np.array(values, dtype=np.float64),
            numbers_of(cells[schema.CAMERA_EXTRINSIC], np.float64),
            *size,
            f"camera {name.name}",
        )

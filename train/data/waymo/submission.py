"""Predictions as Waymo's server takes them: a protocol buffer of label images of TOP.

The messages are SemanticSegmentationSubmission, in it SegmentationFrameList, in it one
SegmentationFrame a frame. The numbers of their fields stand in this file alone.
"""

import shutil
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.atomic_write import atomic_write
from train.core.errors import UserError
from train.data.frame import LidarFrame
from train.data.submission import checked_prediction
from train.data.waymo.classes import CLASS_NAMES
from train.data.waymo.frame import LABEL_CHANNELS, LaserName
from train.data.waymo.frame_proto import (
    IMAGE_LABELS,
    LASER_NAME,
    LASER_RETURNS,
    write_integers,
)
from train.data.waymo.protobuf import (
    BYTES,
    varint,
    write_content,
    write_integer,
    write_text,
)
from train.data.waymo.range_image import NO_PIXEL
from train.data.waymo.source import Waymo

ACCOUNT_NAME: Final = 1
METHOD_NAME: Final = 2
SENSOR_TYPE: Final = 7
PAST_FRAMES: Final = 8
FUTURE_FRAMES: Final = 9
RESULTS: Final = 10
LIST_FRAMES: Final = 1
FRAME_LASER: Final = 1
FRAME_CONTEXT: Final = 2
FRAME_TIMESTAMP: Final = 3

LIDAR_ALL: Final = 1
"""The sensor type: all lidars, no camera."""


class WaymoSubmission:
    """Writes one serialized SemanticSegmentationSubmission, the `.bin` file to upload.

    Only points of TOP are in it, both returns; what was predicted for other lidars is left out.

    Parameters
    ----------
    output
        The file to write; it must not exist.
    source
        The frames that are to be predicted, all of them.
    account_name, method_name
        The e-mail address that is registered with the server, and what the leaderboard shows; the
        server refuses a file without them.

    Raises
    ------
    UserError
        If the file exists or cannot be written.
    """

    def __init__(
        self, output: Path, source: Waymo, *, account_name: str = "", method_name: str = ""
    ) -> None:
        self.output, self._source = output, source
        self._missing = set(source.names)
        self._head = b"".join(
            (
                write_text(ACCOUNT_NAME, account_name) if account_name else b"",
                write_text(METHOD_NAME, method_name) if method_name else b"",
                write_integer(SENSOR_TYPE, LIDAR_ALL),
                write_integer(PAST_FRAMES, 0),
                write_integer(FUTURE_FRAMES, 0),
            )
        )
        if output.exists():
            raise UserError(f"{output}: exists already; remove it or choose another folder")
        # The frames' length comes before the frames: they wait in a file of their own.
        self._waiting = output.with_name(output.name + ".frames")
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            self._waiting.write_bytes(b"")
        except OSError as error:
            raise UserError(f"{output}: cannot be written ({error.strerror})") from error

    def add(self, lidar_frame: LidarFrame, prediction: NDArray[np.int64]) -> None:
        """Take one frame's train ids, (N,) int64, one for each of its points in their order."""
        where = self._source.top_pixels(lidar_frame.name)
        if len(where.pixel) != len(lidar_frame.coord):
            raise UserError(
                f"{lidar_frame.path}: the frame {lidar_frame.name} has {len(where.pixel)} points "
                f"on disk, the "
                f"frame {len(lidar_frame.coord)}; predict every point of the frame as it was read"
            )
        checked_prediction(lidar_frame, prediction, len(CLASS_NAMES), self._missing)
        height, width = where.shape
        images = np.zeros((2, height, width, LABEL_CHANNELS), dtype=np.int32)
        of_top = where.pixel != NO_PIXEL
        images[..., 1].reshape(-1)[where.pixel[of_top]] = prediction[of_top] + 1
        laser = write_integer(LASER_NAME, LaserName.TOP)
        for number, image in zip(LASER_RETURNS, images, strict=True):
            laser += write_content(number, write_content(IMAGE_LABELS, write_integers(image)))
        context, timestamp = lidar_frame.name.rsplit("/", 1)
        frame = b"".join(
            (
                write_content(FRAME_LASER, laser),
                write_text(FRAME_CONTEXT, context),
                write_integer(FRAME_TIMESTAMP, int(timestamp)),
            )
        )
        try:
            with self._waiting.open("ab") as frames:
                frames.write(write_content(LIST_FRAMES, frame))
        except OSError as error:
            raise UserError(f"{self.output}: cannot be written ({error.strerror})") from error

    def finish(self) -> Path:
        """Write the file and return it; refuse one that lacks a frame."""
        try:
            if self._missing:
                raise UserError(
                    f"{self.output}: {len(self._missing)} frames have no prediction, "
                    f"{min(self._missing)} for example; the server refuses an incomplete "
                    "submission: predict all"
                )
            length = self._waiting.stat().st_size
            with (
                atomic_write(self.output) as unfinished,
                unfinished.open("wb") as file,
                self._waiting.open("rb") as frames,
            ):
                file.write(self._head + varint(RESULTS << 3 | BYTES) + varint(length))
                shutil.copyfileobj(frames, file)
        except OSError as error:
            raise UserError(f"{self.output}: cannot be written ({error.strerror})") from error
        finally:
            self._waiting.unlink(missing_ok=True)
        return self.output

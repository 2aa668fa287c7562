"""Predictions as Waymo's server takes them: a protocol buffer of label images of TOP.

The messages are SemanticSegmentationSubmission, in it SegmentationFrameList, in it one
SegmentationFrame a frame. The numbers of their fields stand in this file alone.
"""

import shutil
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from train.core.atomic_write import atomic_write
from train.core.errors import UserError
from train.data.frame import LidarFrame
from train.data.submission import Submission
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


class WaymoSubmission(Submission):
    """Writes one serialized SemanticSegmentationSubmission, the `.bin` file to upload.

    Only points of TOP are in it, both returns; what was predicted for other lidars is left out.

    Parameters
    ----------
    output, source
        As for `Submission`.
    account_name, method_name
        The e-mail address that is registered with the server, and what the leaderboard shows; the
        server refuses a file without them.
    """

    num_classes: ClassVar[int] = len(CLASS_NAMES)
    # The frames' length comes before the frames: they wait in a file of their own.
    unfinished_ending: ClassVar[str] = ".frames"

    def __init__(
        self, output: Path, source: Waymo, *, account_name: str = "", method_name: str = ""
    ) -> None:
        super().__init__(output, source)
        self._source = source
        self._head = b"".join(
            (
                write_text(ACCOUNT_NAME, account_name) if account_name else b"",
                write_text(METHOD_NAME, method_name) if method_name else b"",
                write_integer(SENSOR_TYPE, LIDAR_ALL),
                write_integer(PAST_FRAMES, 0),
                write_integer(FUTURE_FRAMES, 0),
            )
        )

    def _add(self, frame: LidarFrame, prediction: NDArray[np.int64]) -> None:
        where = self._source.points_of(frame.name)
        if len(where.coord) != len(frame.coord):
            raise UserError(
                f"{frame.path}: the frame {frame.name} has {len(where.coord)} points on disk, the "
                f"frame {len(frame.coord)}; predict every point of the frame as it was read"
            )
        images = np.zeros((2, *where.top_shape, LABEL_CHANNELS), dtype=np.int32)
        of_top = where.top_pixel != NO_PIXEL
        images[..., 1].reshape(-1)[where.top_pixel[of_top]] = prediction[of_top] + 1
        laser = write_integer(LASER_NAME, LaserName.TOP)
        for number, image in zip(LASER_RETURNS, images, strict=True):
            laser += write_content(number, write_content(IMAGE_LABELS, write_integers(image)))
        context, timestamp = frame.name.rsplit("/", 1)
        content = b"".join(
            (
                write_content(FRAME_LASER, laser),
                write_text(FRAME_CONTEXT, context),
                write_integer(FRAME_TIMESTAMP, int(timestamp)),
            )
        )
        with self._unfinished.open("ab") as frames:
            frames.write(write_content(LIST_FRAMES, content))

    def _publish(self) -> None:
        length = self._unfinished.stat().st_size
        with (
            atomic_write(self.output) as unfinished,
            unfinished.open("wb") as file,
            self._unfinished.open("rb") as frames,
        ):
            file.write(self._head + varint(RESULTS << 3 | BYTES) + varint(length))
            shutil.copyfileobj(frames, file)

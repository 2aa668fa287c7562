"""What a writer of predictions for a benchmark's server offers, and what all of them share."""

import zipfile
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.frame import LidarFrame


class Submission(Protocol):
    """Predictions for a whole split, collected frame by frame, written as the server wants them."""

    def add(self, frame: LidarFrame, prediction: NDArray[np.int64]) -> None:
        """Take one frame's train ids, (N,) int64, one for each of its points in their order.

        Raises
        ------
        UserError
            If the length or an id does not fit, or the frame was added before.
        """

    def finish(self) -> Path:
        """Write everything, whole or not at all, and return what is to be uploaded.

        Raises
        ------
        UserError
            If a frame of the split is missing, or the place cannot be written.
        """


def checked_prediction(
    frame: LidarFrame, prediction: NDArray[np.int64], num_classes: int, missing: set[str]
) -> None:
    """Take the frame off the `missing` ones, or refuse its prediction.

    Raises
    ------
    UserError
        If there is not one class in 0..`num_classes` - 1 for each point, or the frame is not, or
        no longer, missing.
    """
    if prediction.shape != (len(frame.coord),):
        raise UserError(
            f"{frame.path}: the prediction has shape {prediction.shape}, the frame {frame.name} "
            f"has {len(frame.coord)} points; predict one class for every point"
        )
    if len(prediction) and not (prediction.min() >= 0 and prediction.max() < num_classes):
        raise UserError(
            f"{frame.path}: the prediction of {frame.name} has ids from {prediction.min()} to "
            f"{prediction.max()}, outside 0 to {num_classes - 1}"
        )
    if frame.name not in missing:
        raise UserError(
            f"{frame.path}: the frame {frame.name} was added before, or is not of this split"
        )
    missing.remove(frame.name)


class WholeZip:
    """A zip that appears under its name when it is finished and not before.

    Entries carry no time, so that the same predictions give the same bytes.
    """

    def __init__(self, output: Path) -> None:
        self.output = output
        self._unfinished = output.with_name(output.name + ".unfinished")
        if output.exists():
            raise UserError(f"{output}: exists already; remove it or choose another folder")
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            self._archive = zipfile.ZipFile(self._unfinished, "w", zipfile.ZIP_DEFLATED)
        except OSError as error:
            raise UserError(f"{output}: cannot be written ({error.strerror})") from error

    def write(self, name: str, content: bytes | NDArray[np.generic]) -> None:
        """Add an entry."""
        entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o644 << 16
        try:
            self._archive.writestr(
                entry, content if isinstance(content, bytes) else content.tobytes()
            )
        except OSError as error:
            raise UserError(f"{self.output}: cannot be written ({error.strerror})") from error

    def finish(self, missing: set[str]) -> Path:
        """Put the zip under its name, unless frames are missing.

        Raises
        ------
        UserError
            If they are; the unfinished file is removed.
        """
        self._archive.close()
        if missing:
            self._unfinished.unlink()
            raise UserError(
                f"{self.output}: {len(missing)} frames have no prediction, {min(missing)} for "
                "example; the server refuses an incomplete submission: predict all"
            )
        self._unfinished.replace(self.output)
        return self.output

"""Predictions for a benchmark's server: what the writers of all datasets share."""

import zipfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.frame import FrameSource, LidarFrame


class Submission(ABC):
    """Predictions for a whole split, collected frame by frame, written as the server wants them.

    Parameters
    ----------
    output
        The file to write; it must not exist. It appears when it is finished and not before.
    source
        The frames that are to be predicted, all of them.

    Raises
    ------
    UserError
        If the file exists or cannot be written.
    """

    num_classes: ClassVar[int]
    unfinished_ending: ClassVar[str] = ".unfinished"

    def __init__(self, output: Path, source: FrameSource) -> None:
        self.output, self._missing = output, set(source.names)
        self._unfinished = output.with_name(output.name + self.unfinished_ending)
        if output.exists():
            raise UserError(f"{output}: exists already; remove it or choose another folder")
        with self._writing():
            output.parent.mkdir(parents=True, exist_ok=True)
            self._unfinished.write_bytes(b"")

    def add(self, frame: LidarFrame, prediction: NDArray[np.int64]) -> None:
        """Take one frame's train ids, (N,) int64, one for each of its points in their order.

        Raises
        ------
        UserError
            If the length or an id does not fit, or the frame was added before.
        """
        if prediction.shape != (len(frame.coord),):
            raise UserError(
                f"{frame.path}: the prediction has shape {prediction.shape}, the frame "
                f"{frame.name} has {len(frame.coord)} points; predict one class for every point"
            )
        most = self.num_classes - 1
        if len(prediction) and not (prediction.min() >= 0 and prediction.max() <= most):
            raise UserError(
                f"{frame.path}: the prediction of {frame.name} has ids from {prediction.min()} to "
                f"{prediction.max()}, outside 0 to {most}"
            )
        if frame.name not in self._missing:
            raise UserError(
                f"{frame.path}: the frame {frame.name} was added before, or is not of this split"
            )
        with self._writing():
            self._add(frame, prediction)
        self._missing.remove(frame.name)

    def finish(self) -> Path:
        """Write everything, whole or not at all, and return what is to be uploaded.

        Raises
        ------
        UserError
            If a frame of the split is missing, or the place cannot be written.
        """
        try:
            with self._writing():
                if self._missing:
                    raise UserError(
                        f"{self.output}: {len(self._missing)} frames have no prediction, "
                        f"{min(self._missing)} for example; the server refuses an incomplete "
                        "submission: predict all"
                    )
                self._publish()
        finally:
            self._unfinished.unlink(missing_ok=True)
        return self.output

    @abstractmethod
    def _add(self, frame: LidarFrame, prediction: NDArray[np.int64]) -> None:
        """Keep a prediction that fits its frame."""

    def _publish(self) -> None:
        """Put the whole file under its name."""
        self._unfinished.replace(self.output)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Say which file it was that could not be written."""
        try:
            yield
        except OSError as error:
            raise UserError(f"{self.output}: cannot be written ({error.strerror})") from error


class ZipSubmission(Submission):
    """A submission that is a zip.

    Entries carry no time, so that the same predictions give the same bytes.
    """

    def __init__(self, output: Path, source: FrameSource) -> None:
        super().__init__(output, source)
        with self._writing():
            self._archive = zipfile.ZipFile(self._unfinished, "w", zipfile.ZIP_DEFLATED)

    def _write(self, name: str, content: bytes) -> None:
        """Add an entry."""
        entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
        entry.compress_type = zipfile.ZIP_DEFLATED
        entry.external_attr = 0o644 << 16
        self._archive.writestr(entry, content)

    def _publish(self) -> None:
        self._archive.close()
        super()._publish()

"""Predictions as SemanticKITTI's server takes them: a zip of raw ids, one file a frame."""

from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.data.frame import FrameSource, LidarFrame
from train.data.semantickitti.classes import CLASS_NAMES, TRAIN_TO_RAW
from train.data.submission import WholeZip, checked_prediction

_RAW: Final = np.array([TRAIN_TO_RAW[train] for train in range(len(CLASS_NAMES))], dtype="<u4")


class SemanticKittiSubmission:
    """Writes `sequences/SS/predictions/NNNNNN.label` (uint32 raw ids) into one zip.

    Parameters
    ----------
    output
        The zip to write; it must not exist.
    source
        The frames that are to be predicted, all of them.

    Raises
    ------
    UserError
        If the file exists or cannot be written.
    """

    def __init__(self, output: Path, source: FrameSource) -> None:
        self._missing = set(source.names)
        self._zip = WholeZip(output)

    def add(self, frame: LidarFrame, prediction: NDArray[np.int64]) -> None:
        """Take one frame's train ids, (N,) int64, one for each of its points in their order."""
        checked_prediction(frame, prediction, len(CLASS_NAMES), self._missing)
        sequence, number = frame.name.split("/")
        self._zip.write(f"sequences/{sequence}/predictions/{number}.label", _RAW[prediction])

    def finish(self) -> Path:
        """Close the zip and return it; refuse one that lacks a frame."""
        return self._zip.finish(self._missing)

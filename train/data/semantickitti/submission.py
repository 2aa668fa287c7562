"""Predictions as SemanticKITTI's server takes them: a zip of raw ids, one file a frame."""

from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from train.data.frame import LidarFrame
from train.data.semantickitti.classes import CLASS_NAMES, TRAIN_TO_RAW
from train.data.submission import ZipSubmission

_RAW: Final = np.array([TRAIN_TO_RAW[train] for train in range(len(CLASS_NAMES))], dtype="<u4")


class SemanticKittiSubmission(ZipSubmission):
    """Writes `sequences/SS/predictions/NNNNNN.label` (uint32 raw ids) into one zip."""

    num_classes: ClassVar[int] = len(CLASS_NAMES)

    def _add(self, frame: LidarFrame, prediction: NDArray[np.int64]) -> None:
        sequence, number = frame.name.split("/")
        name = f"sequences/{sequence}/predictions/{number}.label"
        self._write(name, _RAW[prediction].tobytes())

"""Predictions as nuScenes' server takes them: a zip of challenge ids, one file a keyframe."""

import json
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from train.data.frame import FrameSource, LidarFrame
from train.data.nuscenes.classes import CLASS_NAMES
from train.data.nuscenes.source import NuScenes
from train.data.submission import ZipSubmission

META: Final = {
    "use_camera": False,
    "use_lidar": True,
    "use_radar": False,
    "use_map": False,
    "use_external": False,
}
"""Which sensors the predictions use, as the server asks: the LiDAR and nothing else."""


class NuScenesSubmission(ZipSubmission):
    """Writes `lidarseg/SET/TOKEN_lidarseg.bin` and `SET/submission.json` into one zip.

    SET is what the benchmark's own tools call the split: "test", "val", "train", or "mini_val" and
    "mini_train" for v1.0-mini. Labels are uint8, train id + 1: 1 to 16 and never 0.

    Raises
    ------
    TypeError
        If the source is another dataset's.
    """

    num_classes: ClassVar[int] = len(CLASS_NAMES)

    def __init__(self, output: Path, source: FrameSource) -> None:
        if not isinstance(source, NuScenes):
            raise TypeError(
                f"NuScenesSubmission: source must be a NuScenes, not a {type(source).__name__}"
            )
        super().__init__(output, source)
        self._set = source.evaluation_set
        with self._writing():
            self._write(f"{self._set}/submission.json", json.dumps({"meta": META}).encode())

    def _add(self, frame: LidarFrame, prediction: NDArray[np.int64]) -> None:
        labels = (prediction + 1).astype(np.uint8)
        self._write(f"lidarseg/{self._set}/{frame.name}_lidarseg.bin", labels.tobytes())

"""Predictions as nuScenes' server takes them: a zip of challenge ids, one file a keyframe."""

import json
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.data.frame import FrameSource, LidarFrame
from train.data.nuscenes.classes import CLASS_NAMES
from train.data.nuscenes.source import NuScenes
from train.data.submission import WholeZip, checked_prediction

META: Final = {
    "use_camera": False,
    "use_lidar": True,
    "use_radar": False,
    "use_map": False,
    "use_external": False,
}
"""Which sensors the predictions use, as the server asks: the LiDAR and nothing else."""

_ENDING = "_lidarseg.bin"


class NuScenesSubmission:
    """Writes `lidarseg/SET/TOKEN_lidarseg.bin` and `SET/submission.json` into one zip.

    SET is what the benchmark's own tools call the split: "test", "val", "train", or "mini_val" and
    "mini_train" for v1.0-mini. Labels are uint8, train id + 1: 1 to 16 and never 0.

    Parameters
    ----------
    output
        The zip to write; it must not exist.
    source
        The keyframes that are to be predicted, all of them.

    Raises
    ------
    UserError
        If the file exists or cannot be written.
    TypeError
        If the source is another dataset's.
    """

    def __init__(self, output: Path, source: FrameSource) -> None:
        if not isinstance(source, NuScenes):
            raise TypeError(
                f"NuScenesSubmission: source must be a NuScenes, not a {type(source).__name__}"
            )
        self._set = source.evaluation_set
        self._missing = set(source.names)
        self._zip = WholeZip(output)
        self._zip.write(f"{self._set}/submission.json", json.dumps({"meta": META}).encode())

    def add(self, frame: LidarFrame, prediction: NDArray[np.int64]) -> None:
        """Take one frame's train ids, (N,) int64, one for each of its points in their order."""
        checked_prediction(frame, prediction, len(CLASS_NAMES), self._missing)
        labels = (prediction + 1).astype(np.uint8)
        self._zip.write(f"lidarseg/{self._set}/{frame.name}{_ENDING}", labels)

    def finish(self) -> Path:
        """Close the zip and return it; refuse one that lacks a frame."""
        return self._zip.finish(self._missing)

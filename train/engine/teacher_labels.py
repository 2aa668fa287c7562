"""Validation frames that nobody labeled: a teacher's predictions in the place of labels."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from train.config import RunConfig
from train.core.console import Progress
from train.data.frame import FrameSource, LidarFrame
from train.networks.protocol import Network
from train.predict.cloud import predict_frame


class TeacherLabeled:
    """Frames with the classes that a teacher predicts: scores on them are agreement with it.

    All frames are predicted at once, and kept as a byte a point: those who read them later may be
    processes without the teacher's device.

    Parameters
    ----------
    source
        The frames.
    teacher
        In evaluation mode, on its device; at most 256 classes.
    config
        The run's, for voxels, box and precision.
    """

    def __init__(self, source: FrameSource, teacher: Network, config: RunConfig) -> None:
        self.source = source
        self._classes: list[NDArray[np.uint8]] = []
        progress = Progress("the teacher's predictions", len(source), done=0)
        for index in range(len(source)):
            found, _ = predict_frame(
                teacher,
                source[index],
                config.data.grid_size_m,
                clip_range_m=config.data.clip_range_m,
                precision=config.precision,
            )
            self._classes.append(found.astype(np.uint8))
            progress.advance({})
        progress.close()

    @property
    def names(self) -> Sequence[str]:
        """The frames' names, in index order."""
        return self.source.names

    @property
    def skipped_unlabeled(self) -> int:
        """0: what has no labels gets some."""
        return 0

    @property
    def unreadable(self) -> Mapping[str, str]:
        """What the source left out because it is damaged."""
        return self.source.unreadable

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self.source)

    def __getitem__(self, index: int) -> LidarFrame:
        """Read one frame, with the teacher's classes as its labels."""
        classes = self._classes[index].astype(np.int64)
        return dataclasses.replace(self.source[index], segment=classes)

    def files(self, index: int) -> tuple[Path, ...]:
        """Name the files that hold one frame's points."""
        return self.source.files(index)

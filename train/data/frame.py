"""One record for a LiDAR sweep of any dataset, and what a source of sweeps must offer.

Shape letters: N points.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.camera_image import CameraImage, Views

IGNORE_INDEX = -1
"""The train id of a point that counts neither in the loss nor in the score."""

IN_CHANNELS: Final = 4
"""Channels of a network's input: x, y, z in meters and strength."""

Split = Literal["training", "validation", "test"]
SPLITS: Final = get_args(Split)
"""The parts of every dataset; which sequences each holds is the dataset's."""


@dataclass(frozen=True)
class LidarFrame:
    """One turn of the sensor.

    Attributes
    ----------
    coord
        (N, 3) float32: meters, z up, in the frame in which the dataset gives its points.
    strength
        (N, 1) float32: the return's intensity, about 0 to 1.
    segment
        (N,) int64 train ids, `IGNORE_INDEX` where the label does not count; None without labels.
    name
        What the sweep is called in logs and submissions, such as "00/000000".
    path
        The file that the points were read from.
    pose
        (4, 4) float64 from the points' frame to one that stays with the ground; None if not given.
    images
        The cameras' images, not decoded; none unless the source was opened with cameras.
    views
        What the cameras see at a batch's working size; None unless a batch needs it. Its points
        are those of `coord`, whatever augmentation did to them.
    """

    coord: NDArray[np.float32]
    strength: NDArray[np.float32]
    segment: NDArray[np.int64] | None
    name: str
    path: Path
    pose: NDArray[np.float64] | None = None
    images: tuple[CameraImage, ...] = ()
    views: Views | None = None


class NoLabelsError(UserError):
    """Frames that were asked for with labels, and of which none has any."""


class FrameSource(Protocol):
    """A sequence of sweeps, read one at a time."""

    @property
    def names(self) -> Sequence[str]:
        """The sweeps' names, in index order."""

    @property
    def skipped_unlabeled(self) -> int:
        """How many sweeps were left out because they have no labels."""

    @property
    def unreadable(self) -> Mapping[str, str]:
        """What was left out because it is damaged, sweeps or whole sequences, and why."""

    def __len__(self) -> int:
        """Return how many sweeps there are."""

    def __getitem__(self, index: int) -> LidarFrame:
        """Read one sweep."""

    def files(self, index: int) -> tuple[Path, ...]:
        """Name the files that hold one sweep's points: while none changes, neither do they."""


@runtime_checkable
class HasWarnings(Protocol):
    """A source whose opening shows what looks wrong and still can be used."""

    @property
    def warnings(self) -> Sequence[str]:
        """What looks wrong, a line each."""


@runtime_checkable
class HasCameras(Protocol):
    """A source that may have been opened with cameras."""

    def images(self, index: int) -> tuple[CameraImage, ...]:
        """Return the images of one frame, without its points; none if opened without cameras."""


@runtime_checkable
class ReadsInFileOrder(Protocol):
    """A source whose frames share files, so that many are best read in the order of the files."""

    def read_in_file_order(
        self, indices: Sequence[int]
    ) -> Iterator[tuple[int, LidarFrame | UserError]]:
        """Yield each of the frames once, with its index, or why it cannot be read."""

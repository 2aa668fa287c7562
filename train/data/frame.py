"""One record for a LiDAR frame of any dataset and its images; what a source of frames must offer.

Shape letters: N points, P pairs, V views, H and W pixels of the working size.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.files import check_size, read_bytes
from train.data.image_files import MAX_PIXELS, decode_image

MAX_TIME_OFFSET_S: Final = 0.25
"""An image that was taken longer before or after the frame does not belong to it."""

SKIP_HINT: Final = "or leave such frames out with --on-bad-frame skip"
"""What else can be done about an image that cannot be used."""


def is_rigid(matrix: NDArray[np.float64]) -> bool:
    """Return whether a matrix is (4, 4), a rotation with a translation.

    Real ones are exact to 1e-7; a mirrored or zero matrix must not pass, rounding must.
    """
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        return False
    rotation = matrix[:3, :3]
    return bool(
        np.allclose(rotation @ rotation.T, np.eye(3), rtol=0, atol=1e-3)
        and np.linalg.det(rotation) > 0
        and (matrix[3] == (0, 0, 0, 1)).all()
    )


@dataclass(frozen=True)
class CameraImage:
    """A calibrated image, not decoded before it is asked for.

    Attributes
    ----------
    name
        The camera's, "CAM_FRONT" for example.
    intrinsic
        (3, 3) float64, pixels: (x, y, 1) in front of the camera to (u, v, 1).
    camera_from_points
        (4, 4) float64 from the frame of `LidarFrame.coord` at the frame's time to the camera's
        optical frame (x right, y down, z forward, meters) at the image's own time.
    width, height
        Of the whole image, pixels.
    time_offset_s
        The image's time minus the frame's.
    encoded
        The JPEG or PNG: its file, or its bytes.
    place
        Where it is from, for errors; the file if that is not said.
    distortion
        k1, k2, p1, p2, k3 of the lens (Brown's model, as OpenCV has it); empty for none.

    Raises
    ------
    UserError
        If the intrinsics have no inverse, the transform is no rotation with a translation, the
        size is impossible, or the image belongs to another moment.
    """

    name: str
    intrinsic: NDArray[np.float64]
    camera_from_points: NDArray[np.float64]
    width: int
    height: int
    time_offset_s: float
    encoded: Path | bytes
    place: str = ""
    distortion: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        problem = self._problem()
        if problem:
            raise UserError(f"{self._where}: {problem}, {SKIP_HINT}")

    @property
    def _where(self) -> str:
        place = self.place or (str(self.encoded) if isinstance(self.encoded, Path) else "")
        return f"{place}: camera {self.name}" if place else f"camera {self.name}"

    def _problem(self) -> str:
        """Return what cannot be used; "" if all can."""
        matrix, moved = self.intrinsic, self.camera_from_points
        if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
            return "the image has no calibration (3 x 3 finite numbers); copy the calibration again"
        if min(matrix[0, 0], matrix[1, 1]) <= 0 or (matrix[2] != (0, 0, 1)).any() or matrix[1, 0]:
            return (
                "its intrinsics have no inverse: focal lengths "
                f"{matrix[0, 0]:g} and {matrix[1, 1]:g} pixels, last row {matrix[2].tolist()}; "
                "copy the calibration again"
            )
        if not is_rigid(moved):
            return (
                "its transform from the points is no rotation with a translation; copy the "
                "calibration again"
            )
        if min(self.width, self.height) < 1 or self.width * self.height > MAX_PIXELS:
            return f"its size is {self.width} x {self.height} pixels; copy the calibration again"
        if not abs(self.time_offset_s) <= MAX_TIME_OFFSET_S:
            return (
                f"its image was taken {self.time_offset_s:+.3f} s from the frame, more than "
                f"{MAX_TIME_OFFSET_S} s: it belongs to another one; copy the tables again"
            )
        if len(self.distortion) not in (0, 5) or not np.isfinite(self.distortion).all():
            return f"its lens has {len(self.distortion)} numbers, not 5; copy the calibration again"
        return ""

    def read(self) -> NDArray[np.uint8]:
        """Decode the image and return it, (height, width, 3).

        Raises
        ------
        UserError
            If it is missing, damaged, cut short, or of another size than the calibration says, or
            Pillow is not installed.
        """
        return decode_image(self._bytes(), self._where, (self.width, self.height))

    def resized(self, image_size: tuple[int, int]) -> NDArray[np.uint8]:
        """Decode the image at a size (H, W) and return it, (H, W, 3); raises as `read`."""
        return decode_image(self._bytes(), self._where, (self.width, self.height), image_size)

    def _bytes(self) -> bytes:
        if isinstance(self.encoded, Path):
            path = self.encoded
            return read_bytes(path, lambda size: check_size(path, size, 4 * MAX_PIXELS, "an image"))
        return self.encoded


@dataclass(frozen=True)
class Views:
    """What a frame's cameras see, at the working size.

    Attributes
    ----------
    num_views
        V.
    images
        (V, 3, H, W) uint8; None if nobody asked for them.
    point_pixel
        (P, 4) int64: view, row, column, point, in the order of views and points; None if nobody
        asked for them. A point has a row for each view that sees it.
    """

    num_views: int
    images: NDArray[np.uint8] | None = None
    point_pixel: NDArray[np.int64] | None = None

    def renumbered(self, new_index: NDArray[np.int64]) -> "Views":
        """Return the views with other numbers for the points; -1 for one that is gone."""
        if self.point_pixel is None:
            return self
        rows = self.point_pixel.copy()
        rows[:, 3] = new_index[rows[:, 3]]
        return dataclasses.replace(self, point_pixel=rows[rows[:, 3] >= 0])


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
        What the frame is called in logs and submissions, such as "00/000000".
    path
        The file that the points were read from.
    pose
        (4, 4) float64 from the points' frame to one that stays with the ground; None if not given.
    images
        The cameras' images, not decoded; none unless the source was opened with cameras.
    views
        What the cameras see at a batch's working size; None unless a batch needs it. Its points
        are those of `coord`, whatever augmentation did to them.
    rays_without_return
        How many rows of the file are no points, since their coordinates are no numbers (NaN).
    """

    coord: NDArray[np.float32]
    strength: NDArray[np.float32]
    segment: NDArray[np.int64] | None
    name: str
    path: Path
    pose: NDArray[np.float64] | None = None
    images: tuple[CameraImage, ...] = ()
    views: Views | None = None
    rays_without_return: int = 0


class NoLabelsError(UserError):
    """Frames that were asked for with labels, and of which none has any."""


class FrameSource(Protocol):
    """A sequence of frames, read one at a time."""

    @property
    def names(self) -> Sequence[str]:
        """The frames' names, in index order."""

    @property
    def skipped_unlabeled(self) -> int:
        """How many frames were left out because they have no labels."""

    @property
    def unreadable(self) -> Mapping[str, str]:
        """What was left out because it is damaged, frames or whole sequences, and why."""

    def __len__(self) -> int:
        """Return how many frames there are."""

    def __getitem__(self, index: int) -> LidarFrame:
        """Read one frame."""

    def files(self, index: int) -> tuple[Path, ...]:
        """Name the files that hold one frame's points: while none changes, neither do they."""


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


class SomeFrames:
    """Some frames of a source.

    Parameters
    ----------
    source
        All frames.
    places
        Which, in the order that they have here.
    """

    def __init__(self, source: FrameSource, places: Sequence[int]) -> None:
        self.source, self.places = source, places
        names = source.names
        self.names = [names[place] for place in places]

    @property
    def skipped_unlabeled(self) -> int:
        """How many frames the source left out because they have no labels."""
        return self.source.skipped_unlabeled

    @property
    def unreadable(self) -> Mapping[str, str]:
        """What the source left out because it is damaged."""
        return self.source.unreadable

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self.places)

    def __getitem__(self, index: int) -> LidarFrame:
        """Read one frame."""
        return self.source[self.places[index]]

    def files(self, index: int) -> tuple[Path, ...]:
        """Name the files that hold one frame."""
        return self.source.files(self.places[index])

"""Images that the cameras of a simulated vehicle take beside a frame, and their label images.

A label image holds the train id of each pixel, 255 where nothing is to be learned. It is truth that
only a simulation has: for training a 2-D network on other streets and for the leak test. No batch
of a method ever holds it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.files import read_bytes
from train.data.frame import CameraImage, FrameSource, HasCameras
from train.data.image_files import decode_labels, encode_jpeg, encode_png
from train.simulation.simulator.appearance import Appearance
from train.simulation.simulator.camera import NOTHING, PinholeCamera, render, share_of_turn
from train.simulation.simulator.scene import Scene
from train.simulation.simulator.sensor import Motion, SpinningLidar
from train.simulation.simulator.surfaces import Kind

IGNORED: Final = 255
"""A label image's number where nothing is to be learned: the sky, and classes that are ignored."""

LABEL_SUFFIX: Final = ".labels.png"
"""Beside ``NAME.jpg`` lies ``NAME.labels.png``."""

PAIR_FOLDER: Final = "camera_images"
"""Below the data root; images of a dataset that keeps them inside other files lie here again."""

_LOOKS, _IMAGES = 5, 6  # words of the streams of chance; the frames' are 0 to 2


@dataclass(frozen=True)
class TakenImage:
    """One image of a simulated camera.

    Attributes
    ----------
    share, world_from_vehicle
        When, as a share of the lidar's turn, and the pose (4, 4) then, in the street's coordinates.
    pixels, labels
        (H, W, 3) uint8, and the label image as a file has it.
    """

    camera: PinholeCamera
    share: float
    world_from_vehicle: NDArray[np.float64]
    pixels: NDArray[np.uint8]
    labels: bytes

    @cached_property
    def jpeg(self) -> bytes:
        """The image, as a file has it."""
        return encode_jpeg(self.pixels)


def street_looks(seed: Sequence[int]) -> Appearance:
    """Return what a street looks like; the same for the same seed, whatever else is drawn."""
    return Appearance.drawn(np.random.default_rng([_LOOKS, *seed]))


def take_images(
    cameras: Sequence[PinholeCamera],
    lidar: SpinningLidar,
    scene: Scene,
    motion: Motion,
    looks: Appearance,
    train_id_of: Callable[[Kind], int],
    seed: Sequence[int],
) -> Iterator[TakenImage]:
    """Yield the images that cameras take while a lidar turns once, in the cameras' order.

    Parameters
    ----------
    cameras, lidar
        Of the vehicle. Each camera takes its image when the lidar looks where it does.
    scene, motion
        The world, and the vehicle's way during the turn.
    looks
        From `street_looks`.
    train_id_of
        The number of a kind in label images; below 0 is ignored.
    seed
        Of the frame. The frame's own chance is not touched: its points are the same without images.
    """
    # A label image's number of each kind, and last that of `NOTHING`, -1.
    train_ids = [*(train_id_of(kind) for kind in Kind), NOTHING]
    lookup = np.array([IGNORED if each < 0 else each for each in train_ids], dtype=np.uint8)
    for number, camera in enumerate(cameras):
        share = share_of_turn(lidar, camera.yaw_deg)
        pose = motion.poses(np.array([share]))[0]
        rng = np.random.default_rng([_IMAGES, *seed, number])
        taken = render(camera, scene, pose, looks, rng)
        yield TakenImage(camera, share, pose, taken.pixels, encode_png(lookup[taken.kind]))


def labels_beside(image: Path) -> Path:
    """Return where the label image of an image file lies."""
    return image.with_suffix(LABEL_SUFFIX)


def pair_path(root: Path, frame: str, camera: str) -> Path:
    """Return where a frame's image lies as a file where its dataset has none of its own."""
    return root / PAIR_FOLDER / frame / f"{camera}.jpg"


def write_pair(path: Path, image: TakenImage) -> None:
    """Write an image, a JPEG or a PNG by its name, and its label image beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encode_png(image.pixels) if path.suffix == ".png" else image.jpeg)
    labels_beside(path).write_bytes(image.labels)


def labeled_images(
    source: FrameSource, root: Path
) -> Iterator[tuple[str, CameraImage, NDArray[np.uint8]]]:
    """Yield the frame's name, the image and its label image (H, W), frame by frame.

    Parameters
    ----------
    source
        Simulated frames, opened with cameras.
    root
        Their data root.

    Raises
    ------
    UserError
        If the source has no cameras, or a label image is missing, damaged or of another size.
    """
    if not isinstance(source, HasCameras):
        raise UserError(f"{root}: its frames have no cameras; simulate them with cameras")
    for index, name in enumerate(source.names):
        for image in source.images(index):
            file = image.encoded
            if not isinstance(file, Path):
                file = pair_path(root, name, image.name)
            path = labels_beside(file)
            labels = decode_labels(read_bytes(path), str(path))
            if labels.shape != (image.height, image.width):
                raise UserError(
                    f"{path}: has {labels.shape[1]} x {labels.shape[0]} pixels, its image "
                    f"{image.width} x {image.height}; remove {root} and simulate again"
                )
            yield name, image, labels

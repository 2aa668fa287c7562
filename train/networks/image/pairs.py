"""Images with label images beside them, from a folder: what an image network is trained on.

Shape letters: H x W pixels.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from train.core.errors import UserError
from train.networks.image.network import IMAGE_SIZE

IMAGE_SUFFIXES: Final = (".jpg", ".jpeg", ".png")
LABEL_SUFFIX: Final = ".labels.png"
"""Beside ``NAME.jpg`` lies ``NAME.labels.png``."""
IGNORED: Final = 255
"""The label of a pixel that does not count."""


class ImagePairs:
    """The pairs below a folder, read when they are asked for, at one size.

    Parameters
    ----------
    folder
        Every image below it that has a label image beside it is one of the pairs, in the order of
        their paths.
    num_classes
        Labels are 0..num_classes - 1, or `IGNORED`.
    image_size
        H, W; images of other sizes are resized, labels by the nearest pixel.

    Raises
    ------
    UserError
        If there is no folder, or no pair below it.
    """

    def __init__(
        self, folder: Path, num_classes: int, image_size: tuple[int, int] = IMAGE_SIZE
    ) -> None:
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; give one with images and label images")
        labels = sorted(folder.rglob(f"*{LABEL_SUFFIX}"))
        pairs = [(_image_of(path), path) for path in labels]
        self.paths = [(image, label) for image, label in pairs if image is not None]
        if not self.paths:
            raise UserError(
                f"{folder}: has no image with a label image beside it (NAME.jpg or .png, and "
                f"NAME{LABEL_SUFFIX} with train ids, {IGNORED} for none)"
            )
        self.num_classes, self.image_size = num_classes, image_size

    def __len__(self) -> int:
        """Return how many pairs there are."""
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Return an image [3, H, W] uint8 and its labels [H, W] uint8.

        Raises
        ------
        UserError
            If a file cannot be read, the two differ in size, or a label is no class.
        """
        image_path, label_path = self.paths[index]
        image, labels = _opened(image_path, "RGB"), _opened(label_path, None)
        if image.size != labels.size:
            raise UserError(
                f"{label_path}: is {labels.size[0]} x {labels.size[1]} pixels, its image "
                f"{image.size[0]} x {image.size[1]}; write them at one size"
            )
        from PIL.Image import Resampling

        size = (self.image_size[1], self.image_size[0])
        if image.size != size:
            image = image.resize(size, Resampling.BOX if image.size > size else Resampling.BILINEAR)
            labels = labels.resize(size, Resampling.NEAREST)
        ids = np.asarray(labels)
        if ids.ndim != 2 or ids.dtype != np.uint8:
            raise UserError(f"{label_path}: is no gray image of 8 bits; write train ids")
        wrong = ids[(ids >= self.num_classes) & (ids != IGNORED)]
        if len(wrong):
            raise UserError(
                f"{label_path}: has the label {int(wrong[0])}, the classes are 0 to "
                f"{self.num_classes - 1}, and {IGNORED} for none"
            )
        pixels = torch.from_numpy(np.array(image).transpose(2, 0, 1).copy())
        return pixels, torch.from_numpy(ids.copy())

    def load(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Return several pairs, [K, 3, H, W] and [K, H, W] uint8."""
        found = [self[index] for index in indices]
        return torch.stack([image for image, _ in found]), torch.stack([ids for _, ids in found])


def _image_of(label: Path) -> Path | None:
    """Return the image that a label image is of, if it is there."""
    stem = label.name.removesuffix(LABEL_SUFFIX)
    places = [label.with_name(f"{stem}{suffix}") for suffix in IMAGE_SUFFIXES]
    return next((place for place in places if place.is_file()), None)


def _opened(path: Path, mode: str | None) -> Any:
    """Return a decoded image."""
    try:
        from PIL import Image
    except ImportError as error:
        raise UserError(
            f"{path}: needs the package Pillow; pip install 'topodistill[cameras]'"
        ) from error
    try:
        with Image.open(path) as image:
            image.load()
            return image.copy() if mode is None else image.convert(mode)
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{path}: cannot be read as an image ({error}); copy it again") from error

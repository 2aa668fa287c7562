"""What a 2-D network sees on the images on which the classifiers by color are scored.

Shape letters: H x W pixels, C classes.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from train.core.errors import UserError
from train.data.dataset_spec import DatasetSpec
from train.networks.image import load_image_network, refuse_other_classes
from train.networks.image.fit import image_confusion


class SeenByNetwork:
    """What an image network says of images, counted: `matrix` (C, C), truth by prediction.

    Parameters
    ----------
    path
        Its file.
    spec
        The dataset whose classes it must know.

    Raises
    ------
    UserError
        If the file is none, or its classes are others.
    """

    def __init__(self, path: Path, spec: DatasetSpec) -> None:
        self.network, card = load_image_network(path)
        refuse_other_classes(path, card, spec.class_names)
        self.size = card.image_size
        self.what = f"{card.backbone}, trained on {card.trained_on}"
        self.matrix = np.zeros((len(spec.class_names),) * 2)

    def add(self, pixels: NDArray[np.uint8], labels: NDArray[np.uint8]) -> None:
        """Count an image (H, W, 3) and its label image (H, W).

        Raises
        ------
        UserError
            If the image has another size than those that the network was trained on.
        """
        if pixels.shape[:2] != tuple(self.size):
            (h, w), (rows, columns) = self.size, pixels.shape[:2]
            raise UserError(
                f"--image-network: was trained on images of {h} x {w} pixels, these have {rows} x "
                f"{columns}; train one with --size {rows} {columns}"
            )
        image, ids = torch.from_numpy(pixels).permute(2, 0, 1), torch.from_numpy(labels)
        self.matrix += image_confusion(self.network, image[None], ids[None]).numpy()

"""Feature maps of a frozen image network, computed once for each image and kept in memory.

Runs see the same few images again and again, and half of a step would be spent on them.
"""

import hashlib

import torch
from torch import Tensor

from train.networks.image import ImageNetwork


class KeptMaps:
    """The maps of the images that were seen so far, by their pixels.

    Networks that share it must have the same weights, which stay as they are.
    """

    def __init__(self) -> None:
        self._maps: dict[bytes, tuple[Tensor, ...]] = {}

    def serve(self, network: ImageNetwork) -> None:
        """Let a network's `maps` look here first; new images are computed one by one."""
        compute = network.maps

        def maps(images: Tensor) -> tuple[Tensor, ...]:
            found = []
            for image in images:
                key = hashlib.sha256(image.cpu().numpy().tobytes()).digest()
                if key not in self._maps:
                    with torch.no_grad():
                        self._maps[key] = compute(image[None])
                found.append(self._maps[key])
            return tuple(torch.cat(each) for each in zip(*found, strict=True))

        network.maps = maps  # type: ignore[method-assign]

    def __len__(self) -> int:
        """Return how many images were seen."""
        return len(self._maps)

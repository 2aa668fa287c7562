"""What needs no training: the most frequent class, a 2-D network's on points, its maps kept.

Shape letters: N points, K classes.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from train.data.frame import IGNORE_INDEX, FrameSource
from train.methods.cross_modal.pixels import seen_pixels
from train.networks.image import ImageNetwork
from train.networks.protocol import NetworkOutput


def majority_class(frames: FrameSource, num_classes: int) -> int:
    """Return the train id that most points have."""
    counts = torch.zeros(num_classes, dtype=torch.int64)
    for index in range(len(frames)):
        segment = frames[index].segment
        if segment is not None:
            ids = torch.from_numpy(segment[segment != IGNORE_INDEX])
            counts += torch.bincount(ids, minlength=num_classes)
    return int(counts.argmax())


class Projection(nn.Module):
    """Says of each point what an image network says of the pixels that see it.

    Parameters
    ----------
    network
        Frozen; None says `elsewhere` of every point.
    num_classes
        K.
    elsewhere
        The class of points that no view sees.
    """

    def __init__(self, network: ImageNetwork | None, num_classes: int, elsewhere: int) -> None:
        super().__init__()
        self.network, self.num_classes, self.elsewhere = network, num_classes, elsewhere

    def forward(self, batch: Mapping[str, Any]) -> NetworkOutput:
        """Return probabilities in the logits' place, (N, K)."""
        found = batch["feat"].new_zeros(len(batch["feat"]), self.num_classes)
        found[:, self.elsewhere] = 1
        if self.network is not None:
            seen = seen_pixels(self.network, batch).mean_per_point()
            found[seen.point] = seen.probabilities
        return NetworkOutput(found, {}, {})


class KeptMaps:
    """The maps of the images that were seen so far, by their pixels, each computed once.

    Runs see the same few images again and again: half of a step would be spent on them. Networks
    that share it must have the same weights, which stay as they are.
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

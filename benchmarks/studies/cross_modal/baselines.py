"""What needs no training on points: the most frequent class, and the 2-D network's, projected.

Shape letters: N points, K classes.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

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

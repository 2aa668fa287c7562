"""What the visible points of a batch see: features and class logits of their pixels.

Shape letters: V views, N points (voxels) of the batch, P pairs of a point and a pixel, M points
that are seen, C channels, K classes, B clouds.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from train.core.errors import UserError
from train.networks.image.network import ImageNetwork


@dataclass(frozen=True)
class SeenPixels:
    """Pairs of a point and a pixel, and what a frozen image network says of the pixels.

    Attributes
    ----------
    point
        [P] int64 rows of the batch; a point that two views see is there twice.
    features, logits
        [P, C] and [P, K] float32, without gradient.
    """

    point: Tensor
    features: Tensor
    logits: Tensor

    def mean_per_point(self) -> "SeenPoints":
        """Return the mean over the views of each point that is seen."""
        points, place = torch.unique(self.point, return_inverse=True)
        share = 1.0 / torch.bincount(place, minlength=len(points)).to(self.features.dtype)
        features, probabilities = (
            values.new_zeros(len(points), values.shape[1]).index_add(
                0, place, values * share[place, None]
            )
            for values in (self.features, self.logits.softmax(dim=1))
        )
        return SeenPoints(points, features, probabilities)


@dataclass(frozen=True)
class SeenPoints:
    """Points that a view sees, each once.

    Attributes
    ----------
    point
        [M] int64 rows of the batch, ascending.
    features, probabilities
        [M, C] and [M, K] float32: means over the views.
    """

    point: Tensor
    features: Tensor
    probabilities: Tensor


def seen_pixels(
    network: ImageNetwork, batch: Mapping[str, Any], *, of_other_clouds: bool = False
) -> SeenPixels:
    """Return what the points of a batch see.

    Parameters
    ----------
    network
        Frozen, in evaluation mode.
    batch
        With `images` [V, 3, H, W] uint8, `view_cloud` [V] int64, `point_pixel` [P, 4] int64 (view,
        row, column, point), and `offset` [B]. V and P may be 0.
    of_other_clouds
        Look at the same pixels of another cloud's images instead, a placebo.

    Raises
    ------
    UserError
        If there is no other cloud with images.
    ValueError
        If the batch has no images at all, not even none.
    """
    missing = [name for name in ("images", "view_cloud", "point_pixel") if name not in batch]
    if missing:
        raise ValueError(
            f"seen_pixels: the batch has no {', '.join(missing)}; open it with cameras"
        )
    images, pairs = batch["images"], batch["point_pixel"]
    view, row, column, point = pairs.unbind(dim=1)
    if of_other_clouds and len(images):
        view = views_of_other_clouds(batch["view_cloud"])[view]
    with torch.no_grad():
        features, logits = network.at_pixels(images, view, row, column)
    return SeenPixels(point, features.float(), logits.float())


def views_of_other_clouds(view_cloud: Tensor) -> Tensor:
    """Return a view of the next cloud for each view: the same camera where it has as many.

    Parameters
    ----------
    view_cloud
        [V] int64: the cloud of each view, ascending.

    Returns
    -------
    Tensor
        [V] int64 rows of the views.

    Raises
    ------
    UserError
        If all views are of one cloud.
    """
    clouds, place = torch.unique(view_cloud, return_inverse=True)
    if len(clouds) < 2:
        raise UserError(
            "--method.images other takes the images of another cloud, and the batch has one with "
            "images alone; choose a --data.batch-size of 2 or more that leaves no single frame over"
        )
    counts = torch.bincount(place)
    starts = counts.cumsum(0) - counts
    number = torch.arange(len(view_cloud), device=view_cloud.device) - starts[place]
    other = (place + 1) % len(clouds)
    return starts[other] + number % counts[other]

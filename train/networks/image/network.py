"""A network on images: feature maps of a backbone, and a linear head; both can be read at pixels.

Shape letters: V views, H x W pixels of an image, h x w cells of a feature map, C channels, P pixels
that are asked for.
"""

from typing import Any, Final, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

IMAGE_SIZE: Final = (160, 320)
"""H, W of images in a batch, unless a caller says otherwise."""

MEAN: Final = (0.485, 0.456, 0.406)
DEVIATION: Final = (0.229, 0.224, 0.225)
"""Of the channels red, green and blue between 0 and 1, as published backbones were trained."""


class Backbone(Protocol):
    """What an `ImageNetwork` needs of a backbone, a module.

    Attributes
    ----------
    channels
        Widths of the maps that it returns.
    """

    channels: tuple[int, ...]

    def __call__(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return maps [V, C, h, w], one per width, of normalized images [V, 3, H, W]."""


class ImageNetwork(nn.Module):
    """Class logits of every pixel, and the features that they are read from.

    The features of a pixel are those of all maps at its center, interpolated bilinearly, one after
    the other; the logits are linear in them.

    Parameters
    ----------
    backbone
        Gives the maps.
    num_classes
        Width of the logits.
    frozen_backbone
        Train the head alone; the backbone stays in evaluation mode.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self, backbone: nn.Module, num_classes: int, *, frozen_backbone: bool = False
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.map_channels: tuple[int, ...] = tuple(backbone.channels)  # type: ignore[arg-type]
        self.num_classes, self.frozen_backbone = num_classes, frozen_backbone
        self.head = nn.Linear(self.channels, num_classes)
        mean, deviation = (torch.tensor(each)[:, None, None] for each in (MEAN, DEVIATION))
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("deviation", deviation, persistent=False)
        if frozen_backbone:
            backbone.requires_grad_(False)
            backbone.eval()

    @property
    def channels(self) -> int:
        """C: the width of a pixel's features."""
        return sum(self.map_channels)

    def train(self, mode: bool = True) -> "ImageNetwork":
        """Set the mode; a frozen backbone keeps to evaluation."""
        super().train(mode)
        if self.frozen_backbone:
            self.backbone.eval()
        return self

    def maps(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the feature maps of images.

        Parameters
        ----------
        images
            [V, 3, H, W] uint8, red, green, blue; V at least 1.
        """
        if images.ndim != 4 or images.shape[1] != 3 or images.dtype != torch.uint8:
            raise ValueError(
                f"ImageNetwork: images are {images.dtype} {tuple(images.shape)}; pass uint8 "
                "[V, 3, H, W]"
            )
        scaled = (images.to(self.head.weight.dtype) / 255 - self.mean) / self.deviation
        found: tuple[Tensor, ...] = self.backbone(scaled)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits [V, classes, H, W] of images [V, 3, H, W] uint8."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen_backbone):
            maps = self.maps(images)
        size, logits = images.shape[-2:], self.head.bias[:, None, None]
        # The head is linear: it can come before the interpolation, where there are fewer pixels.
        for weight, each in zip(self._weights(), maps, strict=True):
            found = functional.conv2d(each, weight[:, :, None, None])
            logits = logits + functional.interpolate(
                found, size=size, mode="bilinear", align_corners=False
            )
        return logits

    def at_pixels(
        self, images: Tensor, view: Tensor, row: Tensor, column: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return features and logits at pixels: what `forward` has there, without all the others.

        Parameters
        ----------
        images
            [V, 3, H, W] uint8.
        view, row, column
            [P] int64: 0..V-1, 0..H-1 and 0..W-1.

        Returns
        -------
        features, logits : Tensor
            [P, C] and [P, classes]; without a pixel the images are not looked at.
        """
        if not len(view):
            features = self.head.weight.new_zeros(0, self.channels)
            return features, self.head(features)
        size = (int(images.shape[-2]), int(images.shape[-1]))
        found = [read_pixels(each, view, row, column, size) for each in self.maps(images)]
        features = torch.cat(found, dim=1)
        return features, self.head(features)

    def _weights(self) -> tuple[Tensor, ...]:
        return torch.split(self.head.weight, list(self.map_channels), dim=1)


def read_pixels(
    feature_map: Tensor, view: Tensor, row: Tensor, column: Tensor, image_size: tuple[int, int]
) -> Tensor:
    """Return a map's values at the centers of an image's pixels, interpolated bilinearly.

    Parameters
    ----------
    feature_map
        [V, C, h, w]; it covers the image, whatever its size.
    view, row, column
        [P] int64, pixels of images of `image_size`.
    image_size
        H, W.

    Returns
    -------
    Tensor
        [P, C]: what `torch.nn.functional.interpolate` to H x W, not aligned at corners, has there.
    """
    _, channels, height, width = feature_map.shape
    flat = feature_map.permute(0, 2, 3, 1).reshape(-1, channels)
    corners: list[tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]] = []
    for place, cells, pixels in ((row, height, image_size[0]), (column, width, image_size[1])):
        at = ((place.to(feature_map.dtype) + 0.5) * (cells / pixels) - 0.5).clamp(0, cells - 1)
        low = at.floor()
        share = at - low
        first = low.long()
        corners.append(((first, 1 - share), ((first + 1).clamp(max=cells - 1), share)))
    total: Any = 0
    for y, y_share in corners[0]:
        for x, x_share in corners[1]:
            index = (view * height + y) * width + x
            total = total + flat.index_select(0, index) * (y_share * x_share)[:, None]
    found: Tensor = total
    return found

"""A small U-Net for rendered scenes: 0.44 million parameters at its usual width.

Shape letters: V views, H x W pixels, C channels.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

WIDTH: Final = 24
"""Channels at half the image's resolution; coarser ones have two, three and four times as many."""


class UNet(nn.Module):
    """Four resolutions down to a sixteenth of the image, and back to a half.

    The finest map is half the image's size: pixels between are interpolated, which costs a quarter
    of what a map of full size does.

    Parameters
    ----------
    width
        Channels at half resolution, at least 1.

    Notes
    -----
    Ronneberger, Fischer and Brox, "U-Net", MICCAI 2015, with strides in place of pooling, and batch
    normalization.
    """

    def __init__(self, width: int = WIDTH) -> None:
        super().__init__()
        if width < 1:
            raise ValueError(f"UNet: width is {width}; pass at least 1")
        self.width = width
        widths = [width * factor for factor in (1, 2, 3, 4)]
        self.channels = (width * 4 // 3,)
        self.down = nn.ModuleList(
            [_two(before, after, 2) for before, after in zip([3, *widths], widths, strict=False)]
        )
        outputs = [self.channels[0], *widths[1:3]]
        inputs = [*outputs[1:], widths[3]]
        self.up = nn.ModuleList(
            [
                _one(coarse + skip, after, 1)
                for coarse, skip, after in zip(inputs, widths[:3], outputs, strict=True)
            ]
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return one map [V, C, H / 2, W / 2] (rounded up) of images [V, 3, H, W]."""
        skips: list[Tensor] = []
        found = images
        for block in self.down:
            found = block(found)
            skips.append(found)
        for level in reversed(range(3)):
            coarse = functional.interpolate(found, size=skips[level].shape[-2:], mode="nearest")
            found = self.up[level](torch.cat([coarse, skips[level]], dim=1))
        return (found,)


def _one(before: int, after: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True))


def _two(before: int, after: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_one(before, after, stride), _one(after, after, 1))

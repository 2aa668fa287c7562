"""ResNet-18 and ResNet-50 under torchvision's names, so that its checkpoints fit key by key.

Shape letters: V views, H x W pixels, C channels.
"""

from typing import Final

from torch import Tensor, nn

BLOCKS: Final = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
"""Blocks of the four layers, by depth."""

Sides = tuple[int, ...]
"""Sides of a block's kernels."""


class ResNet(nn.Module):
    """The convolutions of a ResNet without its classifier; the maps of all four layers.

    Parameters
    ----------
    depth
        18 (two 3x3 convolutions a block) or 50 (bottlenecks, with the stride in the 3x3).

    Notes
    -----
    He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, as torchvision names and
    sizes it.
    """

    def __init__(self, depth: int) -> None:
        super().__init__()
        sides: Sides = (3, 3) if depth == 18 else (1, 3, 1)
        expansion = 1 if depth == 18 else 4
        self.depth = depth
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        before, made = 64, []
        for level, count in enumerate(BLOCKS[depth]):
            width, stride = 64 << level, 1 if level == 0 else 2
            blocks = []
            for place in range(count):
                after = width * expansion
                blocks.append(_Block(before, width, after, sides, 1 if place else stride))
                before = after
            made.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = made
        self.channels = tuple((64 << level) * expansion for level in range(4))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return maps at 1/4, 1/8, 1/16 and 1/32 of images [V, 3, H, W]."""
        found = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            found = layer(found)
            maps.append(found)
        return tuple(maps)


class _Block(nn.Module):
    """Convolutions of the given sides, the first 3x3 with the stride, around a residual sum."""

    def __init__(self, before: int, width: int, after: int, sides: Sides, stride: int) -> None:
        super().__init__()
        self.count = len(sides)
        widths = (before, *[width] * (self.count - 1), after)
        for place, side in enumerate(sides):
            convolution = nn.Conv2d(
                widths[place],
                widths[place + 1],
                side,
                stride=stride if place == sides.index(3) else 1,
                padding=side // 2,
                bias=False,
            )
            self.add_module(f"conv{place + 1}", convolution)
            self.add_module(f"bn{place + 1}", nn.BatchNorm2d(widths[place + 1]))
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(before, after, stride)

    def forward(self, x: Tensor) -> Tensor:
        found = x
        for place in range(1, self.count + 1):
            convolution, norm = (self.get_submodule(f"{kind}{place}") for kind in ("conv", "bn"))
            found = norm(convolution(found))
            if place < self.count:
                found = self.relu(found)
        beside: Tensor = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(found + beside)
        return out


def _shortcut(before: int, after: int, stride: int) -> nn.Sequential | None:
    """Return what brings a block's input to its output's shape; None where they are equal."""
    if stride == 1 and before == after:
        return None
    return nn.Sequential(
        nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after)
    )

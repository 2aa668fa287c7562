"""ResNet-18 and ResNet-50 under torchvision's names, so that its checkpoints fit key by key.

Shape letters: V views, H x W pixels, C channels.
"""

from typing import Final

from torch import Tensor, nn

BLOCKS: Final = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}
"""Blocks of the four layers, by depth."""


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
        block: type[_Basic | _Bottleneck] = _Basic if depth == 18 else _Bottleneck
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
                blocks.append(block(before, width, stride if place == 0 else 1))
                before = width * block.expansion
            made.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = made
        self.channels = tuple((64 << level) * block.expansion for level in range(4))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return maps at 1/4, 1/8, 1/16 and 1/32 of images [V, 3, H, W]."""
        found = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        maps = []
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            found = layer(found)
            maps.append(found)
        return tuple(maps)


class _Basic(nn.Module):
    expansion = 1

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(before, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        found = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        beside: Tensor = x if self.downsample is None else self.downsample(x)
        out: Tensor = self.relu(found + beside)
        return out


class _Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(before, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        found = self.relu(self.bn1(self.conv1(x)))
        found = self.relu(self.bn2(self.conv2(found)))
        found = self.bn3(self.conv3(found))
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

"""Between the stages: the stem, pooling to a coarser grid, and the way back up.

Shape letters: N voxels of the finer stage, M of the coarser, C channels.
"""

import torch
from torch import Tensor, nn

from fast.rows import select_rows
from train.networks.ptv3.conv_backends import ConvBackend, Neighbors, make_convolution


def batch_norm(channels: int) -> nn.BatchNorm1d:
    """Return PTv3's batch norm, eps 1e-3; the network sets the momentum of all of them."""
    return nn.BatchNorm1d(channels, eps=1e-3)


class Stem(nn.Module):
    """5 x 5 x 5 convolution without bias, batch norm, GELU."""

    def __init__(self, in_channels: int, channels: int, convolution: ConvBackend) -> None:
        super().__init__()
        self.conv = make_convolution(convolution, in_channels, channels, 5, bias=False)
        self.norm = batch_norm(channels)
        self.act = nn.GELU()

    def forward(self, feat: Tensor, neighbors: Neighbors) -> Tensor:
        """Embed [N, in_channels] input features."""
        out: Tensor = self.act(self.norm(self.conv(feat, neighbors)))
        return out


class Pooling(nn.Module):
    """Linear map, channel-wise maximum over each coarse voxel, batch norm, GELU."""

    def __init__(self, in_channels: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Linear(in_channels, channels)
        self.norm = nn.Sequential(batch_norm(channels))
        self.act = nn.GELU()

    def forward(self, feat: Tensor, cluster: Tensor, num_coarse: int) -> Tensor:
        """Pool [N, in_channels] to [M, C]; `cluster` [N] names the coarse row of each voxel."""
        projected = self.proj(feat)
        index = cluster.unsqueeze(1).expand_as(projected)
        empty = projected.new_zeros(num_coarse, projected.shape[1])
        largest = torch.scatter_reduce(empty, 0, index, projected, "amax", include_self=False)
        out: Tensor = self.act(self.norm(largest))
        return out


class Unpooling(nn.Module):
    """Project the coarse features and the encoder's, and add the former to their finer voxels."""

    def __init__(self, coarse_channels: int, skip_channels: int, channels: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(
            nn.Linear(coarse_channels, channels), batch_norm(channels), nn.GELU()
        )
        self.proj_skip = nn.Sequential(
            nn.Linear(skip_channels, channels), batch_norm(channels), nn.GELU()
        )

    def forward(self, coarse: Tensor, skip: Tensor, cluster: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum [N, C] and the projected skip features alone.

        The official code does not write the sum back to its sparse tensor, so the first position
        encoding of the stage reads the second value.
        """
        up = self.proj(coarse)
        skipped = self.proj_skip(skip)
        # In 32 bits: the gradient of a coarse voxel is a sum over its finer ones.
        wide = torch.promote_types(up.dtype, torch.float32)
        return skipped + select_rows(up.to(wide), cluster).to(up.dtype), skipped

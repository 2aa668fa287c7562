"""Self-calibrated convolution on voxels: a coarser grid says which channels count where.

Shape letters: N voxels, B clouds, C channels, M coarse cells.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from train.networks.ptv3.convolution import SubmanifoldConv3d
from train.networks.ptv3.neighbors import NeighborTable, neighbor_table

KERNEL = 3
"""Side of every kernel here."""


@dataclass(frozen=True)
class CalibrationGrid:
    """What the convolutions need of a batch's geometry.

    Attributes
    ----------
    fine, coarse
        Neighbors of the N voxels and of the M coarse cells.
    cell
        [N] int64: the coarse cell of each voxel.
    """

    fine: NeighborTable
    coarse: NeighborTable
    cell: Tensor


def calibration_grid(grid_coord: Tensor, offset: Tensor, pooling: int) -> CalibrationGrid:
    """Return the grid of a batch.

    Parameters
    ----------
    grid_coord
        [N, 3] int64, not negative.
    offset
        [B] int64: where each cloud ends.
    pooling
        Voxels along an edge of a coarse cell.
    """
    sizes = torch.diff(offset, prepend=offset.new_zeros(1))
    cloud = torch.repeat_interleave(torch.arange(len(offset), device=offset.device), sizes)
    keys = torch.cat([cloud[:, None], grid_coord // pooling], dim=1)
    cells, cell = torch.unique(keys, dim=0, return_inverse=True)
    fine = neighbor_table(grid_coord, cloud, KERNEL)
    coarse = neighbor_table(cells[:, 1:].contiguous(), cells[:, 0].contiguous(), KERNEL)
    return CalibrationGrid(fine, coarse, cell)


class SelfCalibratedConv(nn.Module):
    """``K4( K3(x) * sigmoid( x + up( K2( mean of x over coarse cells ) ) ) )`` on voxels.

    Each K is a submanifold convolution of side 3 and a normalization; `up` gives every voxel what
    its coarse cell has. The mean is over the voxels that are there.

    Parameters
    ----------
    channels
        C, of input and output.

    Notes
    -----
    Liu et al., "Improving Convolutional Networks with Self-Calibrated Convolutions", CVPR 2020, Eq.
    1-4, there on images. That UDAKD's module on point clouds is this formula on sparse voxels is
    our reading. Normalization is by layer, voxel by voxel: a batch may have few voxels, and several
    processes then need no exchange.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.k2, self.k3, self.k4 = (NormedConv(channels) for _ in range(3))

    def forward(self, features: Tensor, grid: CalibrationGrid) -> Tensor:
        """Return [N, C] of features [N, C]."""
        coarse = self.k2(mean_of_cells(features, grid), grid.coarse)
        gate = torch.sigmoid(features + coarse.index_select(0, grid.cell))
        found: Tensor = self.k4(self.k3(features, grid.fine) * gate, grid.fine)
        return found


class NormedConv(nn.Module):
    """A submanifold convolution of side 3, and a normalization of each voxel's channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = SubmanifoldConv3d(channels, channels, KERNEL, bias=False)
        self.norm = nn.LayerNorm(channels)

    def forward(self, features: Tensor, table: NeighborTable) -> Tensor:
        """Return [N, C] of features [N, C]."""
        found: Tensor = self.norm(self.conv(features, table))
        return found


def mean_of_cells(features: Tensor, grid: CalibrationGrid) -> Tensor:
    """Return the mean [M, C] over the voxels of each coarse cell of features [N, C]."""
    count = grid.coarse.num_rows
    summed = features.new_zeros(count, features.shape[1]).index_add(0, grid.cell, features)
    sizes = torch.bincount(grid.cell, minlength=count)
    return summed / sizes.to(features.dtype)[:, None]


class AdaptationModule(nn.Module):
    """A student's features in another space, seen with their neighborhood.

    Half of the channels go through a self-calibrated convolution, half through a plain one, as in
    the bottleneck of its paper; what they find is added to a linear map of the features.

    Parameters
    ----------
    in_channels
        The student's.
    width
        Of the space, even.
    pooling
        Voxels along an edge of a coarse cell.
    self_calibrated
        Without it an MLP on each voxel takes the convolutions' place.
    """

    def __init__(
        self, in_channels: int, width: int, *, pooling: int = 4, self_calibrated: bool = True
    ) -> None:
        super().__init__()
        self.pooling = pooling
        self.to_width = nn.Linear(in_channels, width)
        self.norm = nn.LayerNorm(width)
        self.calibrated = SelfCalibratedConv(width // 2) if self_calibrated else None
        self.plain = NormedConv(width // 2) if self_calibrated else None
        self.join = nn.Linear(width, width)

    def forward(self, features: Tensor, grid_coord: Tensor, offset: Tensor) -> Tensor:
        """Return [N, width] of features [N, in_channels] at voxels, clouds one after the other."""
        mapped = self.to_width(features)
        found = torch.relu(self.norm(mapped))
        if self.calibrated is not None and self.plain is not None:
            grid = calibration_grid(grid_coord, offset, self.pooling)
            left, right = found.chunk(2, dim=1)
            parts = [
                self.calibrated(left.contiguous(), grid),
                self.plain(right.contiguous(), grid.fine),
            ]
            found = torch.relu(torch.cat(parts, dim=1))
        out: Tensor = mapped + self.join(found)
        return out

"""Drop path: residual branches left out at random voxels in training, and the rates of a network.

Shape letters: N voxels, C channels.
"""

import torch
from torch import Tensor, nn


class PointDropPath(nn.Module):
    """Drop a residual branch at random voxels in training and scale the others to make up for it.

    Parameters
    ----------
    rate
        Chance of a voxel (not of a cloud) to lose the branch, in [0, 1).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"PointDropPath: rate is {rate}, must be in [0, 1)")
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """Return [N, C] with rows zeroed or scaled by 1 / (1 - rate); unchanged in evaluation."""
        if self.rate == 0.0 or not self.training:
            return branch
        kept = torch.rand(branch.shape[0], 1, device=branch.device) >= self.rate
        return branch * (kept.to(branch.dtype) / (1.0 - self.rate))

    def extra_repr(self) -> str:
        """Return the rate, for printing."""
        return f"rate={self.rate:.3f}"


def drop_path_rates(largest: float, depths: tuple[int, ...]) -> list[list[float]]:
    """Return the rate of every block by stage: linear from 0 to `largest` over all blocks.

    Parameters
    ----------
    largest
        Rate of the last block.
    depths
        Blocks of each stage.
    """
    num_blocks = sum(depths)
    rates = iter([largest * index / max(num_blocks - 1, 1) for index in range(num_blocks)])
    return [[next(rates) for _ in range(depth)] for depth in depths]

"""Rotary position embedding of voxels: queries and keys turned by their indices on the three axes.

Shape letters: N voxels, H heads, D channels a head, n = D / 6 frequencies.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

AXES: Final = 3


@dataclass(frozen=True)
class PointRotation:
    """The rotations of a stage's voxels, for all of its blocks and heads.

    Attributes
    ----------
    cos, sin
        [N, 1, 3, n] of the angle of each axis and frequency; float32, or float64 for float64
        features.
    """

    cos: Tensor
    sin: Tensor

    def __call__(self, heads: Tensor) -> Tensor:
        """Return [N, H, D] turned: same shape, computed in the angles' dtype, of the same dtype.

        A head has one block of 2 n channels per axis, x, y, z; inside a block channel j and channel
        n + j are turned together.
        """
        blocks = heads.view(*heads.shape[:2], AXES, 2, -1).to(self.cos.dtype)
        first, second = blocks.unbind(3)  # each [N, H, 3, n]
        turned = torch.stack(
            [first * self.cos - second * self.sin, second * self.cos + first * self.sin], dim=3
        )
        return turned.flatten(2).to(heads.dtype)


def point_rotation(
    grid_coord: Tensor, head_width: int, base: float, dtype: torch.dtype
) -> PointRotation:
    """Return the rotations of voxels.

    Parameters
    ----------
    grid_coord
        [N, 3] whole numbers: the voxels' indices at their own stage.
    head_width
        D, a multiple of 6.
    base
        Frequency j of n is base^(-j / n), in radians per voxel.
    dtype
        Of the features; angles are float32 at least, for 16 bits cannot hold an index of 300.

    Raises
    ------
    ValueError
        If the head width does not divide.

    Notes
    -----
    Y. Yue et al., "LitePT: Lighter Yet Stronger Point Transformer", CVPR 2026, PointROPE; after J.
    Su et al., "RoFormer", 2021.
    """
    if head_width % (2 * AXES):
        raise ValueError(
            f"point_rotation: head_width is {head_width}, must be a multiple of {2 * AXES}"
        )
    wide = torch.promote_types(dtype, torch.float32)
    count = head_width // (2 * AXES)
    powers = torch.arange(count, device=grid_coord.device, dtype=wide) / count
    angles = grid_coord.to(wide)[:, None, :, None] * base**-powers  # [N, 1, 3, n]
    return PointRotation(angles.cos(), angles.sin())

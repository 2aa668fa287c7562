"""Space-filling curves: one integer a voxel, so that sorting brings neighbors together.

Shape letters: N voxels, B clouds, R curves. A curve code of depth d has 3 d bits.
"""

from typing import Literal

import torch
from torch import Tensor

DepthRule = Literal["main", "v1.5.1"]

ORDERS = ("z", "z-trans", "hilbert", "hilbert-trans")
MAX_DEPTH = 16

# Masks that spread the low 16 bits of a number so that bit i lands on bit 3 i.
_SPREAD_STEPS = (
    (32, 0x1F00000000FFFF),
    (16, 0x1F0000FF0000FF),
    (8, 0x100F00F00F00F00F),
    (4, 0x10C30C30C30C30C3),
    (2, 0x1249249249249249),
)


def curve_depth(max_grid_coord: int, rule: DepthRule = "main") -> int:
    """Return the bits an axis needs; a Hilbert curve depends on it, a z curve does not.

    Parameters
    ----------
    max_grid_coord
        Largest voxel index of the batch over all axes, at least 0.
    rule
        ``"main"``: bits of max + 1 (Pointcept since v1.6.0); ``"v1.5.1"``: bits of max. They
        differ when max + 1 is a power of two.
    """
    if rule == "main":
        return (max_grid_coord + 1).bit_length()
    if rule == "v1.5.1":
        return max_grid_coord.bit_length()
    raise ValueError(f"curve_depth: rule is {rule!r}, must be 'main' or 'v1.5.1'")


def z_code(grid_coord: Tensor) -> Tensor:
    """Return the Morton code of each voxel, x most significant.

    Parameters
    ----------
    grid_coord
        [N, 3] int64 in [0, 2^16): bit i of x, y, z goes to bit 3 i + 2, 3 i + 1, 3 i.
    """
    spread = grid_coord
    for shift, mask in _SPREAD_STEPS:
        spread = (spread | (spread << shift)) & mask
    return (spread[:, 0] << 2) | (spread[:, 1] << 1) | spread[:, 2]


def hilbert_code(grid_coord: Tensor, depth: int) -> Tensor:
    """Return the place of each voxel along the Hilbert curve of the cube of side 2^depth.

    Parameters
    ----------
    grid_coord
        [N, 3] int64 in [0, 2^depth).
    depth
        Bits an axis, at most 16.

    Notes
    -----
    J. Skilling, "Programming the Hilbert curve", AIP Conf. Proc. 707 (2004): axes to transposed
    form, then the interleaved word is a Gray code, axis 0 most significant.
    """
    axes = [grid_coord[:, k] for k in range(3)]
    for bit in range(depth - 1, -1, -1):
        low = (1 << bit) - 1
        for k in range(3):
            # All ones where the bit is set: invert the low bits of axis 0; elsewhere exchange the
            # low bits of axis 0 and axis k.
            is_set = -((axes[k] >> bit) & 1)
            swap = (axes[0] ^ axes[k]) & low & ~is_set
            axes[0] = axes[0] ^ (low & is_set) ^ swap
            if k > 0:
                axes[k] = axes[k] ^ swap
    code = z_code(torch.stack(axes, dim=1))
    shift = 1
    while shift < 3 * depth:
        code = code ^ (code >> shift)
        shift *= 2
    return code


def serialize(grid_coord: Tensor, batch: Tensor, depth: int, orders: tuple[str, ...]) -> Tensor:
    """Return the packed code of each voxel on each curve, [R, N] int64.

    Parameters
    ----------
    grid_coord
        [N, 3] int64 in [0, 2^depth).
    batch
        [N] int64, the cloud of each voxel; it fills the bits above the curve code, so clouds never
        mix when codes are sorted.
    depth
        Bits an axis.
    orders
        Names from `ORDERS`, one a row of the result. ``-trans`` exchanges x and y first.

    Raises
    ------
    ValueError
        If `orders` is empty or has an unknown name.
    """
    unknown = [name for name in orders if name not in ORDERS]
    if unknown or not orders:
        raise ValueError(f"serialize: orders is {orders}, must be names from {ORDERS}")
    rows = []
    for name in orders:
        axes = grid_coord[:, [1, 0, 2]] if name.endswith("-trans") else grid_coord
        rows.append(z_code(axes) if name.startswith("z") else hilbert_code(axes, depth))
    return torch.stack(rows) | (batch << (3 * depth))

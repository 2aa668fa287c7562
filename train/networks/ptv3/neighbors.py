"""Which voxels touch which: one table for all convolutions of a resolution.

Shape letters: N voxels, K taps of a kernel (27 or 125).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from train.networks.ptv3.neighbors_cpu import fill_table


@dataclass(frozen=True)
class NeighborTable:
    """The neighbor of every voxel at every tap of a kernel.

    Tap k of a kernel of side s = 2 r + 1 stands for the offset (k // s^2 - r, k // s % s - r,
    k % s - r); tap K - 1 - k stands for the opposite one.

    Attributes
    ----------
    kernel_size
        s, odd.
    rows
        [K, N] int32 row of the voxel at each voxel's offset; N where there is none. Being a
        neighbor is mutual: ``rows[k, p] == q`` exactly if ``rows[K - 1 - k, q] == p``.
    """

    kernel_size: int
    rows: Tensor

    @property
    def num_rows(self) -> int:
        """N."""
        return int(self.rows.shape[1])

    @property
    def num_pairs(self) -> int:
        """Pairs of different voxels, both directions counted; copies a number to the host."""
        return int((self.rows < self.num_rows).sum()) - self.num_rows

    def inner(self, kernel_size: int) -> "NeighborTable":
        """Return the table of a smaller kernel: a selection, nothing is searched again."""
        margin = (self.kernel_size - kernel_size) // 2
        inside = slice(margin, self.kernel_size - margin)
        cube = self.rows.view(*(self.kernel_size,) * 3, -1)
        return NeighborTable(kernel_size, cube[inside, inside, inside].flatten(0, 2))


def neighbor_table(grid_coord: Tensor, batch: Tensor, kernel_size: int) -> NeighborTable:
    """Find the neighbors of every voxel within a cube of side `kernel_size`.

    Parameters
    ----------
    grid_coord
        [N, 3] int64, not negative.
    batch
        [N] int64; voxels of different clouds are never neighbors.
    kernel_size
        Odd side of the cube.

    Returns
    -------
    NeighborTable
        Of several points in one voxel the first stands for it, as one that receives and as one that
        gives; the others see themselves alone. Every point is its own neighbor at the center tap.

    Notes
    -----
    Voxels are sorted by a key in which z runs fastest, with room for `radius` empty cells around
    each axis. The cells (dx, dy, -radius .. radius) of a voxel are then consecutive keys: on a CPU
    a walk along the sorted keys finds them, on a GPU a binary search for the first and stepping for
    the rest. Half of the taps are searched, the others are their mirror image. No size depends on
    what is found, so a GPU copies nothing to the host. O(N (kernel_size^2 log N + K)).
    """
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"neighbor_table: kernel_size is {kernel_size}, must be odd")
    radius, num_rows = kernel_size // 2, grid_coord.shape[0]
    room = grid_coord.amax(0) + 1 + 2 * radius
    step_x, step_y = room[1] * room[2], room[2]
    key = (batch * room[0] + grid_coord[:, 0]) * step_x + grid_coord[:, 1] * step_y
    key, row = torch.sort(key + grid_coord[:, 2], stable=True)
    num_taps = kernel_size**3
    if _runs_compiled(key):
        rows = torch.full((num_taps, num_rows), num_rows, dtype=torch.int32)
        rows[num_taps // 2] = torch.arange(num_rows, dtype=torch.int32)
        fill_table(rows, key, row, (int(step_x), int(step_y)), kernel_size)
        return NeighborTable(kernel_size, rows)
    return NeighborTable(kernel_size, _searched(key, row, (step_x, step_y), kernel_size))


def _runs_compiled(tensor: Tensor) -> bool:
    """Say whether the compiled loop takes a tensor: it is for CPUs."""
    return tensor.device.type == "cpu"


def _searched(key: Tensor, row: Tensor, steps: tuple[Tensor, Tensor], kernel_size: int) -> Tensor:
    """Return the table's rows by searches of the whole array at once, for a GPU."""
    radius, num_taps, num_rows = kernel_size // 2, kernel_size**3, key.shape[0]
    is_first = torch.ones_like(key, dtype=torch.bool)
    is_first[1:] = key[1:] != key[:-1]
    next_voxel = torch.searchsorted(key, key, right=True)
    # One column more than voxels: what is not there is written to it, and read from nowhere.
    rows = torch.full((num_taps, num_rows + 1), num_rows, dtype=torch.int32, device=key.device)
    rows[num_taps // 2, :num_rows] = torch.arange(num_rows, dtype=torch.int32, device=key.device)
    tap = 0
    for dx in range(-radius, 1):
        for dy in range(-radius, radius + 1):
            if (dx, dy) > (0, 0):
                break
            lowest = key + dx * steps[0] + dy * steps[1] - radius
            # All cells asked for come before the voxel itself, so the search ends inside the array.
            at = torch.searchsorted(key, lowest)
            for dz in range(kernel_size if (dx, dy) < (0, 0) else radius):
                is_there = key[at] == lowest + dz
                there = torch.where(is_there & is_first, row[at], num_rows)
                rows[tap].scatter_(0, row, there.int())
                rows[num_taps - 1 - tap].scatter_(0, there, row.int())
                at = torch.where(is_there, next_voxel[at], at)
                tap += 1
    return rows[:, :num_rows].contiguous()

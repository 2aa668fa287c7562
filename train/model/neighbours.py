"""Which voxels touch which: the pair lists that all convolutions of a resolution share.

Shape letters: N voxels, P pairs, K taps of a kernel (27 or 125).
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

# Output rows that a convolution finishes before it starts on the next: few enough for their
# gathered neighbours to stay in a CPU's caches. On a GPU all rows are one block.
ROWS_AT_ONCE = 2048


@dataclass(frozen=True)
class PairBlock:
    """The pairs of some consecutive output rows, tap after tap.

    Attributes
    ----------
    start, stop
        The output rows.
    here, there
        [P] rows that receive and rows that give, the centre tap's pairs of a row with itself
        among them.
    tap_sizes
        Pairs of each tap, K numbers.
    slots, slot_starts
        For each output row the places in `here` that name it: [P], and where each row's begin.
    """

    start: int
    stop: int
    here: Tensor
    there: Tensor
    tap_sizes: tuple[int, ...]
    slots: Tensor
    slot_starts: Tensor


@dataclass(frozen=True)
class NeighbourPairs:
    """Pairs of neighbouring voxels by kernel tap; the taps after the centre are the mirror image.

    Tap k of a kernel of side s = 2 r + 1 stands for the offset (k // s^2 - r, k // s % s - r,
    k % s - r). If voxel q lies at p + offset then p lies at q - offset, so half of the taps say
    everything and the centre tap pairs each point with itself.

    Attributes
    ----------
    kernel_size
        Side of the kernel, odd.
    num_rows
        N.
    here, there
        One tensor a tap before the centre: rows p and rows q of its pairs.
    device
        Where the rows are.
    """

    kernel_size: int
    num_rows: int
    here: tuple[Tensor, ...]
    there: tuple[Tensor, ...]
    device: torch.device

    @property
    def centre(self) -> int:
        """Index of the centre tap, which is also the number of taps before it."""
        return self.kernel_size**3 // 2

    @property
    def num_pairs(self) -> int:
        """Pairs of different voxels, both directions counted."""
        return 2 * sum(rows.shape[0] for rows in self.here)

    def inner(self, kernel_size: int) -> "NeighbourPairs":
        """Return the pairs of a smaller kernel: a selection, nothing is searched again."""
        margin = (self.kernel_size - kernel_size) // 2
        side = self.kernel_size
        kept = [
            tap
            for tap in range(self.centre)
            if all(
                margin <= position < side - margin
                for position in (tap // side**2, tap // side % side, tap % side)
            )
        ]
        return NeighbourPairs(
            kernel_size,
            self.num_rows,
            tuple(self.here[tap] for tap in kept),
            tuple(self.there[tap] for tap in kept),
            self.device,
        )

    @cached_property
    def blocks(self) -> tuple[PairBlock, ...]:
        """All K taps of all pairs, sorted by block of output rows and then by tap."""
        itself = torch.arange(self.num_rows, device=self.device)
        here = torch.cat([*self.here, itself, *reversed(self.there)])
        there = torch.cat([*self.there, itself, *reversed(self.here)])
        sizes = [rows.shape[0] for rows in self.here]
        sizes = [*sizes, self.num_rows, *reversed(sizes)]
        num_taps = len(sizes)
        tap = torch.repeat_interleave(torch.arange(num_taps), torch.tensor(sizes)).to(self.device)
        rows_at_once = self.num_rows if here.is_cuda else ROWS_AT_ONCE
        num_blocks = -(-self.num_rows // rows_at_once)

        block_and_tap = here // rows_at_once * num_taps + tap
        order = torch.argsort(block_and_tap, stable=True)
        here, there = here[order], there[order]
        slots = torch.argsort(here, stable=True)
        of_row = torch.bincount(here, minlength=self.num_rows)
        slot_starts = torch.cumsum(of_row, 0) - of_row
        tap_sizes = torch.bincount(block_and_tap, minlength=num_blocks * num_taps)
        blocks, first = [], 0
        for block, counts in enumerate(tap_sizes.view(num_blocks, num_taps).tolist()):
            start = block * rows_at_once
            stop = min(start + rows_at_once, self.num_rows)
            end = first + sum(counts)
            blocks.append(
                PairBlock(
                    start,
                    stop,
                    here[first:end],
                    there[first:end],
                    tuple(counts),
                    slots[first:end] - first,
                    slot_starts[start:stop] - first,
                )
            )
            first = end
        return tuple(blocks)


def neighbour_pairs(grid_coord: Tensor, batch: Tensor, kernel_size: int) -> NeighbourPairs:
    """Find the neighbours of every voxel within a cube of side `kernel_size`.

    Parameters
    ----------
    grid_coord
        [N, 3] int64, not negative.
    batch
        [N] int64; voxels of different clouds are never neighbours.
    kernel_size
        Odd side of the cube.

    Returns
    -------
    NeighbourPairs
        Row indices. Two points of one voxel are not neighbours of each other; as a neighbour of
        others such a voxel is represented by the first of its points.

    Notes
    -----
    Voxels are sorted by a key in which z runs fastest, with room for `radius` empty cells around
    each axis. The cells (dx, dy, -radius .. radius) of a voxel are then consecutive keys: one
    binary search finds the first and stepping finds the rest. O(N (kernel_size^2 log N + K)).
    """
    if kernel_size < 1 or kernel_size % 2 == 0:
        raise ValueError(f"neighbour_pairs: kernel_size is {kernel_size}, must be odd")
    radius = kernel_size // 2
    room = grid_coord.amax(0) + 1 + 2 * radius
    step_x, step_y = room[1] * room[2], room[2]
    key = (batch * room[0] + grid_coord[:, 0]) * step_x + grid_coord[:, 1] * step_y
    key, row = torch.sort(key + grid_coord[:, 2], stable=True)
    starts_voxel = torch.ones_like(key, dtype=torch.bool)
    starts_voxel[1:] = key[1:] != key[:-1]
    voxel_key, voxel_row = key[starts_voxel], row[starts_voxel]

    found, place = [], []
    for dx in range(-radius, 1):
        for dy in range(-radius, radius + 1):
            if (dx, dy) > (0, 0):
                break
            lowest = key + dx * step_x + dy * step_y - radius
            # All cells asked for come before the voxel itself, so the search ends inside the array.
            at = torch.searchsorted(voxel_key, lowest)
            for dz in range(kernel_size if (dx, dy) < (0, 0) else radius):
                is_there = voxel_key[at] == lowest + dz
                found.append(is_there)
                place.append(at)
                at = at + is_there
    if not found:
        return NeighbourPairs(kernel_size, row.shape[0], (), (), row.device)
    taps = torch.stack(found)
    tap, here = taps.nonzero(as_tuple=True)
    sizes = torch.bincount(tap, minlength=len(found)).tolist()
    there = torch.stack(place)[taps]
    return NeighbourPairs(
        kernel_size,
        row.shape[0],
        tuple(torch.split(row[here], sizes)),
        tuple(torch.split(voxel_row[there], sizes)),
        row.device,
    )

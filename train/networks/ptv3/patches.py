"""Cutting a curve into patches of equal length for attention, with the borrowing rule at its end.

Shape letters: N voxels, S slots (N and the borrowed copies), K patch size, B clouds.
"""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor


@dataclass(frozen=True)
class PatchRows:
    """Where attention reads its rows and where each row finds its result.

    Attributes
    ----------
    slots
        [S] row of the voxel in each slot: first the `num_full` patches of `patch_size` slots, then
        one patch for each cloud smaller than that.
    slot_of_row
        [N] the slot whose result is the voxel's own. Borrowed copies have none.
    patch_size
        K, slots of a full patch.
    num_full
        Full patches over all clouds.
    short_sizes
        Slots of each short patch.
    """

    slots: Tensor
    slot_of_row: Tensor
    patch_size: int
    num_full: int
    short_sizes: tuple[int, ...]

    @cached_property
    def bounds(self) -> Tensor:
        """Where each patch begins, and where the last one ends: [P + 1] int32, for flash-attn."""
        sizes = torch.tensor([0, *[self.patch_size] * self.num_full, *self.short_sizes])
        return sizes.cumsum(0).int().to(self.slots.device)


def patch_rows(
    order: Tensor, inverse: Tensor, counts: tuple[int, ...], patch_size: int
) -> PatchRows:
    """Cut each cloud of a curve into patches.

    Parameters
    ----------
    order
        [N] row of the voxel at each place of the curve, cloud after cloud.
    inverse
        [N] place of each row.
    counts
        Voxels of each cloud.
    patch_size
        K, at least 1.

    Returns
    -------
    PatchRows
        A cloud of n <= K voxels is one short patch (or one full patch if n = K). A larger cloud
        whose last patch has r < K voxels fills it up with copies of the last K - r voxels of the
        patch before (Wu et al., "Point Transformer V3", CVPR 2024, and its code).
    """
    if patch_size < 1:
        raise ValueError(f"patch_rows: patch_size is {patch_size}, must be at least 1")
    full_places, short_places = [], []
    full_kept, short_kept = [], []
    short_sizes: list[int] = []
    start = num_slots = 0
    for count in counts:
        place = torch.arange(count)
        if count < patch_size:
            short_places.append(place + start)
            short_kept.append(place + sum(short_sizes))
            short_sizes.append(count)
        else:
            slot = torch.arange(-(-count // patch_size) * patch_size)
            full_places.append(torch.where(slot < count, slot, slot - patch_size) + start)
            full_kept.append(place + num_slots)
            num_slots += slot.shape[0]
        start += count
    is_full = [count >= patch_size for count in counts]
    full, short = iter(full_kept), iter(short_kept)
    kept = [next(full) if at_least else next(short) + num_slots for at_least in is_full]
    places = torch.cat(full_places + short_places).to(order.device)
    return PatchRows(
        slots=order[places],
        slot_of_row=torch.cat(kept).to(order.device)[inverse],
        patch_size=patch_size,
        num_full=num_slots // patch_size,
        short_sizes=tuple(short_sizes),
    )

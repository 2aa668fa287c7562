"""Which sweeps make up each step: so many at most, and so many voxels at most.

Memory in a step follows the batch's voxels, and sweeps differ in size, so a bound on sweeps alone
is no bound on memory. How large a sample will be is planned from counts that are measured once
(`train.data.voxel_counts`), since the batches of all epochs must be known before the first: the
learning rate follows the number of steps. What comes out larger than planned is cut when the batch
is read (`crop_together`), so that the bound holds always.

Shape letters: S samples of an epoch.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from train.core.errors import UserError
from train.data.transforms import VoxelFrame, crop

# Different uses of one seed must not draw the same numbers: each has its own word in the key.
ORDER_STREAM = 2


class VoxelBudgetBatchSampler(Sampler[list[int]]):
    """An epoch's batches: a function of (seed, epoch, sizes), with a place to go on from.

    Sweeps come in random order, and a batch ends where the next one would exceed a bound. Filling
    batches better by looking ahead would save few steps and bring large sweeps together.

    Parameters
    ----------
    num_samples
        The dataset's length.
    batch_size
        Samples in a batch at most.
    seed
        At least 0.
    planned_voxels
        (S,) int64, how many voxels to expect of each sample; needed for the next.
    max_batch_voxels
        Planned voxels in a batch at most; a sample that alone exceeds it is a batch of its own.
        None for no bound: all batches but the last have `batch_size` samples.

    Raises
    ------
    UserError
        If a bound or the seed is out of range.
    ValueError
        If there are no samples, or not one plan for each.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        *,
        seed: int = 0,
        planned_voxels: NDArray[np.int64] | None = None,
        max_batch_voxels: int | None = None,
    ) -> None:
        if num_samples < 1:
            raise ValueError(
                f"VoxelBudgetBatchSampler: num_samples must be at least 1, not {num_samples}"
            )
        if batch_size < 1:
            raise UserError(
                f"VoxelBudgetBatchSampler: batch_size must be at least 1, not {batch_size}"
            )
        if seed < 0:
            raise UserError(f"VoxelBudgetBatchSampler: seed must be at least 0, not {seed}")
        if max_batch_voxels is not None:
            if max_batch_voxels < 1:
                raise UserError(
                    "VoxelBudgetBatchSampler: max_batch_voxels must be at least 1, not "
                    f"{max_batch_voxels}"
                )
            if planned_voxels is None or planned_voxels.shape != (num_samples,):
                raise ValueError(
                    "VoxelBudgetBatchSampler: max_batch_voxels needs planned_voxels of each of the "
                    f"{num_samples} samples"
                )
            if planned_voxels.min() < 1:
                raise ValueError(
                    "VoxelBudgetBatchSampler: planned_voxels has a sample without voxels"
                )
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.seed = seed
        self.planned_voxels = planned_voxels
        self.max_batch_voxels = max_batch_voxels
        self._epoch = 0
        self._start = 0

    def batches(self, epoch: int) -> list[list[int]]:
        """Return the samples of each batch of an epoch."""
        rng = np.random.default_rng([ORDER_STREAM, self.seed, epoch])
        order = rng.permutation(self.num_samples)
        if self.max_batch_voxels is None or self.planned_voxels is None:
            starts = list(range(0, self.num_samples, self.batch_size))
        else:
            voxels = self.planned_voxels[order].tolist()
            starts = _starts(voxels, self.batch_size, self.max_batch_voxels)
        return [part.tolist() for part in np.split(order, starts[1:])]

    def ends(self, epochs: int) -> list[int]:
        """Return how many batches there are up to the end of each epoch."""
        return list(itertools.accumulate(len(self.batches(epoch)) for epoch in range(epochs)))

    def set_epoch(self, epoch: int, *, start: int = 0) -> None:
        """Choose the epoch, and how many of its batches are already done."""
        if epoch < 0:
            raise ValueError(
                f"VoxelBudgetBatchSampler.set_epoch: epoch must be at least 0, not {epoch}"
            )
        if not 0 <= start <= len(self.batches(epoch)):
            raise ValueError(
                "VoxelBudgetBatchSampler.set_epoch: start must be in "
                f"0..{len(self.batches(epoch))}, not {start}"
            )
        self._epoch, self._start = epoch, start

    def __len__(self) -> int:
        """Return how many batches of the epoch are still to come."""
        return len(self.batches(self._epoch)) - self._start

    def __iter__(self) -> Iterator[list[int]]:
        """Yield the batches still to come."""
        yield from self.batches(self._epoch)[self._start :]


def _starts(voxels: Sequence[int], batch_size: int, max_batch_voxels: int) -> list[int]:
    """Return where batches start in a sequence of samples of these sizes."""
    starts, total = [0], 0
    for place, size in enumerate(voxels):
        full = place - starts[-1] == batch_size or total + size > max_batch_voxels
        if full and place > starts[-1]:
            starts.append(place)
            total = 0
        total += size
    return starts


@dataclass(frozen=True)
class CroppedVoxels:
    """How many voxels of a batch were cropped to keep it within its bound."""

    count: int


def crop_together(
    sweeps: Sequence[VoxelFrame], max_batch_voxels: int, rng: np.random.Generator
) -> list[VoxelFrame]:
    """Return a batch's sweeps with so many voxels in all at most: the largest are cropped, alike.

    Parameters
    ----------
    sweeps
        Left as they are.
    max_batch_voxels
        How many voxels may stay.
    rng
        Picks the centers of the crops.

    Raises
    ------
    ValueError
        If there are more sweeps than voxels may stay.
    """
    sizes = [len(sweep.coord) for sweep in sweeps]
    if sum(sizes) <= max_batch_voxels:
        return list(sweeps)
    if len(sizes) > max_batch_voxels:
        raise ValueError(
            f"crop_together: {len(sizes)} sweeps cannot share {max_batch_voxels} voxels"
        )
    largest = _even_bound(sizes, max_batch_voxels)
    return [crop(sweep, largest, rng) for sweep in sweeps]


def _even_bound(sizes: Sequence[int], total: int) -> int:
    """Return the largest bound on each size for which all sizes fit into the total."""
    left = total
    for done, size in enumerate(sorted(sizes)):
        share = left // (len(sizes) - done)
        if size > share:
            return share
        left -= size
    return max(sizes)

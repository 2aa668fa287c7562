"""Which sweeps make up each step, and which process takes which of them.

Memory in a step follows the batch's voxels, and sweeps differ in size, so a bound on sweeps alone
is no bound on memory. How large a sample will be is planned from counts that are measured once
(`train.data.voxel_counts`), since the batches of all epochs must be known before the first: the
learning rate follows the number of steps. What comes out larger than planned is cut when the batch
is read (`crop_together`), so that the bound holds always.

With several processes a step is one joint batch. `batch_size` counts the samples of the joint
batch, so that a run takes the same steps on any number of processes; `max_batch_voxels` bounds what
each process holds of it, because it is there for the memory of one device.

Shape letters: S samples of an epoch.
"""

import heapq
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

from train.core.distributed import World
from train.core.errors import UserError
from train.core.streams import Stream
from train.data.transforms import VoxelFrame, crop

ONE_PROCESS: Final = World()


class VoxelBudgetBatchSampler(Sampler[list[int]]):
    """An epoch's batches: a function of (seed, epoch, sizes), with a place to go on from.

    Sweeps come in random order, and a joint batch ends where the next one would exceed a bound.
    Filling batches better by looking ahead would save few steps and bring large sweeps together.
    A joint batch is dealt to the processes so that their planned voxels are about the same; every
    process has the same number of batches.

    Parameters
    ----------
    num_samples
        The dataset's length.
    batch_size
        Samples in a joint batch at most: of all processes together.
    seed
        At least 0.
    planned_voxels
        (S,) int64, how many voxels to expect of each sample; needed for the next.
    max_batch_voxels
        Planned voxels of one process in a batch at most; a sample that alone exceeds it is one
        process's batch by itself. None for no bound: all joint batches but the last have
        `batch_size` samples, and are the same for any number of processes.
    world
        Whose batches to yield; the only process's by default.

    Raises
    ------
    UserError
        If a bound or the seed is out of range, or there are more processes than samples in a batch
        or in an epoch.
    ValueError
        If there are no samples, or not one plan for each.

    Notes
    -----
    The last joint batch of an epoch may have fewer samples than there are processes. It is a step
    like the others, with the same samples as on one process: the processes that get none yield an
    empty batch.
    """

    def __init__(
        self,
        num_samples: int,
        batch_size: int,
        *,
        seed: int = 0,
        planned_voxels: NDArray[np.int64] | None = None,
        max_batch_voxels: int | None = None,
        world: World = ONE_PROCESS,
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
        for name, count in (("batch_size", batch_size), ("num_samples", num_samples)):
            if count < world.size:
                what = "samples in a joint batch" if name == "batch_size" else "training samples"
                cure = f"raise --data.batch-size to at least {world.size}, or start"
                raise UserError(
                    f"{name} {count}: fewer {what} than the {world.size} processes; "
                    f"{cure if name == 'batch_size' else 'start'} at most {count} processes"
                )
        self.num_samples = num_samples
        self.batch_size = batch_size
        self.seed = seed
        self.planned_voxels = planned_voxels
        self.max_batch_voxels = max_batch_voxels
        self.world = world
        self._epoch = 0
        self._start = 0
        # The plan of an epoch is asked for several times, and takes tenths of a second to make.
        self._planned: tuple[int, list[list[list[int]]]] | None = None

    def joint_batches(self, epoch: int) -> list[list[list[int]]]:
        """Return the samples of each process in each joint batch of an epoch."""
        if self._planned is None or self._planned[0] != epoch:
            self._planned = (epoch, self._plan(epoch))
        return self._planned[1]

    def _plan(self, epoch: int) -> list[list[list[int]]]:
        rng = np.random.default_rng([Stream.ORDER, self.seed, epoch])
        order = rng.permutation(self.num_samples)
        processes = self.world.size
        if self.planned_voxels is None:
            sizes = np.ones(self.num_samples, dtype=np.int64)
        else:
            sizes = self.planned_voxels[order]
        if self.max_batch_voxels is None:
            starts = list(range(0, self.num_samples, self.batch_size))
        else:
            # More than the bound is cropped to it when it is read.
            sizes = np.minimum(sizes, self.max_batch_voxels)
            starts = _starts(sizes.tolist(), self.batch_size, self.max_batch_voxels, processes)
        batches = []
        for samples, voxels in zip(
            np.split(order, starts[1:]), np.split(sizes, starts[1:]), strict=True
        ):
            dealt = deal(voxels.tolist(), processes)
            batches.append([samples[places].tolist() for places in dealt])
        return batches

    def batches(self, epoch: int) -> list[list[int]]:
        """Return this process's samples of each batch of an epoch; a list may be empty."""
        return [parts[self.world.rank] for parts in self.joint_batches(epoch)]

    def ends(self, epochs: int) -> list[int]:
        """Return how many batches there are up to the end of each epoch."""
        return list(itertools.accumulate(len(self.joint_batches(epoch)) for epoch in range(epochs)))

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


def deal(voxels: Sequence[int], num_processes: int) -> list[list[int]]:
    """Return which places of a batch each process takes, balanced by voxels.

    Parameters
    ----------
    voxels
        Size of the sample at each place.
    num_processes
        At least 1.

    Returns
    -------
    list of list of int
        Places of each process, in increasing order; as many lists as processes.

    Notes
    -----
    The largest sample first, each to the process with the fewest voxels so far: samples of equal
    size go round. No process is left without a sample while another has two.
    """
    if num_processes == 1:
        return [list(range(len(voxels)))]
    loads = [(0, rank) for rank in range(num_processes)]
    dealt: list[list[int]] = [[] for _ in range(num_processes)]
    for place in sorted(range(len(voxels)), key=lambda place: -voxels[place]):
        load, rank = loads[0]
        dealt[rank].append(place)
        heapq.heapreplace(loads, (load + voxels[place], rank))
    return [sorted(places) for places in dealt]


def shard_indices(num_samples: int, world: World) -> range:
    """Return which of a dataset's samples a process takes: each sample goes to one, none twice.

    Processes differ by one sample at most; with fewer samples than processes some have none.
    """
    return range(world.rank, num_samples, world.size)


def _starts(
    voxels: Sequence[int], batch_size: int, max_batch_voxels: int, num_processes: int
) -> list[int]:
    """Return where joint batches start in a sequence of samples of these sizes.

    A joint batch is full where one more sample could not be dealt to the processes within the
    bound; no sample is larger than the bound.
    """
    starts, total, largest = [0], 0, 0
    for place, size in enumerate(voxels):
        total += size
        largest = max(largest, size)
        full = place - starts[-1] == batch_size or total > num_processes * max_batch_voxels
        # The largest load is at most the mean load and this share of the largest sample.
        if not full and total + (num_processes - 1) * largest > num_processes * max_batch_voxels:
            batch = voxels[starts[-1] : place + 1]
            loads = [sum(batch[at] for at in part) for part in deal(batch, num_processes)]
            full = max(loads) > max_batch_voxels
        if full:
            starts.append(place)
            total = largest = size
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

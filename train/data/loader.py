"""Sweeps as torch datasets: augmented and seeded for training, untouched for evaluation.

What a training sample is depends on (seed, epoch, index) alone: not on the number of workers, not
on which samples came before. A run that stops and goes on sees what it would have seen.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from train.data.sweep import SweepSource
from train.data.transforms import (
    PAPER_AUGMENTATION,
    Augmentation,
    VoxelSweep,
    augment,
    clip,
    crop,
    voxelise,
)
from train.errors import UserError

ClipRange = tuple[float, float, float, float, float, float]

# Different uses of one seed must not draw the same numbers: each has its own word in the key.
_SAMPLE_STREAM, _ORDER_STREAM = 1, 2


class TrainingSweeps(Dataset[VoxelSweep]):
    """A source's sweeps, augmented, voxelised with random picks, cropped.

    Parameters
    ----------
    source
        Where sweeps come from.
    grid_size_m
        The voxels' edge.
    augmentation
        None for no augmentation at all.
    max_voxels
        Crop to the nearest so many voxels around a random one; None for the whole sweep.
    clip_range_m
        Move points beyond this box (lower corner, upper corner) onto its faces after augmentation
        and before voxelising; None for no box.
    repeats
        How often one epoch goes through the source, each time augmented anew.
    seed
        At least 0.
    """

    def __init__(
        self,
        source: SweepSource,
        *,
        grid_size_m: float = 0.05,
        augmentation: Augmentation | None = PAPER_AUGMENTATION,
        max_voxels: int | None = None,
        clip_range_m: ClipRange | None = None,
        repeats: int = 1,
        seed: int = 0,
    ) -> None:
        if repeats < 1:
            raise UserError(f"TrainingSweeps: repeats must be at least 1, not {repeats}")
        if seed < 0:
            raise UserError(f"TrainingSweeps: seed must be at least 0, not {seed}")
        if max_voxels is not None and max_voxels < 1:
            raise UserError(f"TrainingSweeps: max_voxels must be at least 1, not {max_voxels}")
        self.source = source
        self.grid_size_m = grid_size_m
        self.augmentation = augmentation
        self.max_voxels = max_voxels
        self.clip_range_m = clip_range_m
        self.repeats = repeats
        self.seed = seed
        # Shared memory: workers that outlive an epoch hold a copy of this object, and must see the
        # epoch change all the same.
        self._epoch = torch.zeros((), dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]

    @property
    def epoch(self) -> int:
        """The epoch whose samples are served."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch; call it before an iteration over the loader starts."""
        if epoch < 0:
            raise ValueError(f"TrainingSweeps.set_epoch: epoch must be at least 0, not {epoch}")
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """Return how many samples an epoch has."""
        return len(self.source) * self.repeats

    def __getitem__(self, index: int) -> VoxelSweep:
        """Return one sample of the current epoch."""
        if not 0 <= index < len(self):
            raise IndexError(f"TrainingSweeps: index {index} is not in 0..{len(self) - 1}")
        rng = np.random.default_rng([_SAMPLE_STREAM, self.seed, self.epoch, index])
        sweep = self.source[index % len(self.source)]
        if self.augmentation is not None:
            sweep = augment(sweep, rng, self.augmentation)
        if self.clip_range_m is not None:
            sweep = clip(sweep, self.clip_range_m)
        voxels = voxelise(sweep, self.grid_size_m, rng=rng)
        return voxels if self.max_voxels is None else crop(voxels, self.max_voxels, rng)


class EvaluationSweeps(Dataset[VoxelSweep]):
    """A source's sweeps as they are: whole, nothing random, every point reachable by `inverse`.

    Parameters
    ----------
    source
        Where sweeps come from.
    grid_size_m
        The voxels' edge.
    clip_range_m
        The box that training used, or None.
    """

    def __init__(
        self,
        source: SweepSource,
        grid_size_m: float = 0.05,
        *,
        clip_range_m: ClipRange | None = None,
    ) -> None:
        self.source = source
        self.grid_size_m = grid_size_m
        self.clip_range_m = clip_range_m

    def __len__(self) -> int:
        """Return how many sweeps there are."""
        return len(self.source)

    def __getitem__(self, index: int) -> VoxelSweep:
        """Return one sweep."""
        sweep = self.source[index]
        if self.clip_range_m is not None:
            sweep = clip(sweep, self.clip_range_m)
        return voxelise(sweep, self.grid_size_m)


class EpochOrder(Sampler[int]):
    """The order of an epoch's samples: a function of (seed, epoch), with a place to go on from.

    Parameters
    ----------
    num_samples
        The dataset's length.
    seed
        At least 0.
    """

    def __init__(self, num_samples: int, *, seed: int = 0) -> None:
        if num_samples < 1:
            raise ValueError(f"EpochOrder: num_samples must be at least 1, not {num_samples}")
        if seed < 0:
            raise UserError(f"EpochOrder: seed must be at least 0, not {seed}")
        self.num_samples = num_samples
        self.seed = seed
        self._epoch = 0
        self._start = 0

    def set_epoch(self, epoch: int, *, start: int = 0) -> None:
        """Choose the epoch, and how many of its samples are already done."""
        if epoch < 0:
            raise ValueError(f"EpochOrder.set_epoch: epoch must be at least 0, not {epoch}")
        if not 0 <= start <= self.num_samples:
            raise ValueError(
                f"EpochOrder.set_epoch: start must be in 0..{self.num_samples}, not {start}"
            )
        self._epoch, self._start = epoch, start

    def __len__(self) -> int:
        """Return how many samples of the epoch are still to come."""
        return self.num_samples - self._start

    def __iter__(self) -> Iterator[int]:
        """Yield the samples still to come."""
        rng = np.random.default_rng([_ORDER_STREAM, self.seed, self._epoch])
        yield from rng.permutation(self.num_samples)[self._start :].tolist()

"""The batches of a stage: which samples make up each step, read in the order of the steps."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader

from train.config import RunConfig
from train.core.device import to_device
from train.core.distributed import (
    agree,
    current_world,
    gather_objects,
)
from train.core.errors import UserError
from train.core.interrupts import reader_ignores_stop
from train.data.batching import VoxelBudgetBatchSampler
from train.data.collate import collate
from train.data.frame import FrameSource
from train.data.loader import EvaluationFrames, TrainingFrames
from train.data.skipping import SkippedFrames
from train.engine.training_state import (
    uses_cuda,
)


def batch_sampler(frames: TrainingFrames, config: RunConfig) -> VoxelBudgetBatchSampler:
    """Return which samples make up each step of a run, and which of them are this process's."""
    return VoxelBudgetBatchSampler(
        len(frames),
        config.data.batch_size,
        seed=config.seed,
        planned_voxels=frames.planned_voxels(),
        max_batch_voxels=frames.max_batch_voxels,
        world=current_world(),
    )


def batches_from(
    frames: TrainingFrames,
    order: VoxelBudgetBatchSampler,
    epoch_ends: Sequence[int],
    done: int,
    config: RunConfig,
) -> Iterator[dict[str, Any]]:
    """Yield the collated batches of all epochs that come after the first `done` ones.

    Parameters
    ----------
    frames, order
        The samples, and which of them make a batch.
    epoch_ends
        How many batches there are up to the end of each epoch.
    done
        How many batches not to yield.
    config
        Says how many workers read.
    """
    workers = config.data.num_workers
    loader = DataLoader(
        frames,
        batch_sampler=order,
        collate_fn=collate,
        num_workers=workers,
        # Workers live on from epoch to epoch: starting them costs as much as many a frame. The
        # epoch reaches them through shared memory.
        persistent_workers=workers > 0,
        pin_memory=uses_cuda(),
        worker_init_fn=reader_ignores_stop,
        # Its own generator: the loader must not draw from the one that networks draw from, or
        # the number of workers and a resumed epoch would change the run.
        generator=torch.Generator().manual_seed(config.seed),
    )
    for epoch, (begin, end) in enumerate(itertools.pairwise([0, *epoch_ends])):
        if done >= end:
            continue
        frames.set_epoch(epoch)
        order.set_epoch(epoch, start=max(0, done - begin))
        yield from loader


class BatchSource(ABC):
    """Where a stage's batches come from.

    Attributes
    ----------
    max_batch_voxels
        The bound that batches are cropped to; None for none.
    """

    max_batch_voxels: int | None = None

    @abstractmethod
    def ends(self, epochs: int) -> list[int]:
        """Return how many steps there are up to the end of each epoch."""

    @abstractmethod
    def batches(self, epoch_ends: Sequence[int], done: int) -> Iterator[dict[str, Any]]:
        """Yield the collated batches of all epochs that come after the first `done` ones."""

    def refuse_empty_parts(self, epochs: int) -> None:
        """Refuse steps in which a process has no cloud."""
        del epochs


class FrameBatches(BatchSource):
    """Batches of training frames, made as they are needed.

    Parameters
    ----------
    frames
        If they have a bound on a batch's voxels, batches are made to fit it.
    config
        The run.
    """

    def __init__(self, frames: TrainingFrames, config: RunConfig) -> None:
        self.frames, self.config = frames, config
        self.order = batch_sampler(frames, config)
        self.max_batch_voxels = frames.max_batch_voxels

    def ends(self, epochs: int) -> list[int]:
        """Return how many steps there are up to the end of each epoch."""
        return self.order.ends(epochs)

    def batches(self, epoch_ends: Sequence[int], done: int) -> Iterator[dict[str, Any]]:
        """Yield the batches after the first `done` ones."""
        return batches_from(self.frames, self.order, epoch_ends, done, self.config)

    def refuse_empty_parts(self, epochs: int) -> None:
        """Refuse steps in which a process has no cloud, and so nothing to join statistics with."""
        for epoch in range(epochs):
            for parts in self.order.joint_batches(epoch):
                if all(parts):
                    continue
                raise UserError(
                    f"--sync-batch-norm: a step of epoch {epoch + 1} has {sum(map(len, parts))} "
                    f"sweeps for {len(parts)} processes; choose --data.batch-size so that the last "
                    f"batch of the {self.order.num_samples} sweeps has at least {len(parts)}, or "
                    "leave out --sync-batch-norm"
                )


def plain_batches(
    source: FrameSource,
    config: RunConfig,
    device: torch.device,
    skipped: SkippedFrames,
    fields: Collection[str] = (),
) -> Iterator[dict[str, Any]]:
    """Yield frames on a device, whole and not augmented, one by one: what methods prepare from.

    Parameters
    ----------
    source
        The frames; read when they are asked for.
    config
        Of the run; its voxels, box and number of workers.
    device
        Where batches go.
    skipped
        Counts frames that are left out.
    fields
        Entries that need cameras, which the source must have been opened with.
    """
    data = config.data
    frames = EvaluationFrames(
        source,
        data.grid_size_m,
        clip_range_m=data.clip_range_m,
        on_bad_sweep=config.on_bad_sweep,
        fields=fields,
    )
    loader = DataLoader(frames, batch_size=1, collate_fn=collate, num_workers=data.num_workers)
    for batch in skipped.watch(loader):
        if batch["names"]:
            yield to_device(batch, device)


def read_batches(
    batches: Iterator[dict[str, Any]], skipped: SkippedFrames
) -> Iterator[dict[str, Any]]:
    """Yield the batches; an error in reading one ends all processes at the same step."""
    watched = iter(skipped.watch(batches))
    while True:
        error: UserError | None = None
        batch: dict[str, Any] | None = None
        try:
            batch = next(watched, None)
        except UserError as raised:
            error = raised
        agree(error)
        if batch is None:
            return
        yield batch


def joint_batch(batch: dict[str, Any]) -> tuple[list[str], int]:
    """Return the names of the joint batch's sweeps, and how many of its voxels were cropped."""
    parts = gather_objects((batch["names"], batch["cropped_voxels"]))
    return [name for names, _ in parts for name in names], sum(count for _, count in parts)

"""The training loop of a stage: its batches, its steps, a record of each, and checkpoints."""

import ctypes
import itertools
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from train.config import RunConfig
from train.core.console import Progress, logger
from train.core.distributed import (
    agree,
    agreed,
    current_world,
    gather_objects,
    is_first_process,
    seed_for_process,
    sum_over_processes,
)
from train.core.errors import UserError
from train.core.interrupts import Interrupted, StopRequest, reader_ignores_stop
from train.data.batch import Batch, SkippedFrames, VoxelBudgetBatchSampler, collate
from train.data.frame import FrameSource
from train.data.loader import EvaluationFrames, TrainingFrames
from train.engine.optimizer import go_on, make_optimizer
from train.engine.run_log import RunLog, left_out
from train.engine.train_step import Stepper, TrainTask
from train.engine.training_state import (
    TrainingState,
    own_state,
    restore_own_state,
    save_state,
    uses_cuda,
)

EpochEnd = Callable[[int, float | None], float | None]
"""Called with the number of epochs done and the best score so far; returns the best score now."""


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
    def batches(self, epoch_ends: Sequence[int], done: int) -> Iterator[Batch]:
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

    Attributes
    ----------
    order
        Which samples make up each step, and which of them are this process's.
    """

    def __init__(self, frames: TrainingFrames, config: RunConfig) -> None:
        self.frames, self.config = frames, config
        self.max_batch_voxels = frames.max_batch_voxels
        self.order = VoxelBudgetBatchSampler(
            len(frames),
            config.data.batch_size,
            seed=config.seed,
            planned_voxels=frames.planned_voxels(),
            max_batch_voxels=frames.max_batch_voxels,
            world=current_world(),
        )

    def ends(self, epochs: int) -> list[int]:
        """Return how many steps there are up to the end of each epoch."""
        return self.order.ends(epochs)

    def batches(self, epoch_ends: Sequence[int], done: int) -> Iterator[Batch]:
        """Yield the batches after the first `done` ones."""
        workers = self.config.data.num_workers
        loader = DataLoader(
            self.frames,
            batch_sampler=self.order,
            collate_fn=collate,
            num_workers=workers,
            # Workers live on from epoch to epoch: starting them costs as much as many a frame. The
            # epoch reaches them through shared memory.
            persistent_workers=workers > 0,
            pin_memory=uses_cuda(),
            worker_init_fn=reader_ignores_stop,
            # Its own generator: the loader must not draw from the one that networks draw from, or
            # the number of workers and a resumed epoch would change the run.
            generator=torch.Generator().manual_seed(self.config.seed),
        )
        for epoch, (begin, end) in enumerate(itertools.pairwise([0, *epoch_ends])):
            if done < end:
                self.frames.set_epoch(epoch)
                self.order.set_epoch(epoch, start=max(0, done - begin))
                yield from loader

    def refuse_empty_parts(self, epochs: int) -> None:
        """Refuse steps in which a process has no cloud, and so nothing to join statistics with."""
        for epoch in range(epochs):
            for parts in self.order.joint_batches(epoch):
                if all(parts):
                    continue
                raise UserError(
                    f"--sync-batch-norm: a step of epoch {epoch + 1} has {sum(map(len, parts))} "
                    f"frames for {len(parts)} processes; choose --data.batch-size so that the last "
                    f"batch of the {self.order.num_samples} frames has at least {len(parts)}, or "
                    "leave out --sync-batch-norm"
                )


def plain_batches(
    source: FrameSource,
    config: RunConfig,
    device: torch.device,
    skipped: SkippedFrames,
    fields: Collection[str] = (),
) -> Iterator[Batch]:
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
        on_bad_frame=config.on_bad_frame,
        fields=fields,
    )
    loader = DataLoader(frames, batch_size=1, collate_fn=collate, num_workers=data.num_workers)
    for batch in skipped.watch(loader):
        if batch.names:
            yield batch.to(device)


def _read_together(batches: Iterator[Batch], skipped: SkippedFrames) -> Iterator[Batch]:
    """Yield the batches; an error in reading one ends all processes at the same step."""
    watched = iter(skipped.watch(batches))
    while True:
        with agreed():
            batch = next(watched, None)
        if batch is None:
            return
        yield batch


def fit(
    task: TrainTask,
    source: BatchSource,
    config: RunConfig,
    device: torch.device,
    log: RunLog | None,
    state_path: Path,
    state: TrainingState | None = None,
    *,
    skipped: SkippedFrames | None = None,
    at_epoch_end: EpochEnd | None = None,
    at_end: Callable[[], None] | None = None,
) -> None:
    """Train a network to its last epoch, with a checkpoint every epoch and every few minutes.

    Parameters
    ----------
    task
        What to train; its network is changed in place.
    source
        Gives the batches.
    config
        The run.
    device
        Where the batches go; the network is there already.
    log
        Gets a record for every step; None on all processes but the first.
    state_path
        Where the first process writes checkpoints.
    state
        A checkpoint of this stage to go on from. A run that goes on takes the same steps as one
        that was never stopped.
    skipped
        Collects the frames that could not be read.
    at_epoch_end
        Called after each epoch, to score the network as it is.
    at_end
        Called after the last epoch, to write what is trained; only then a checkpoint says that the
        stage is finished.

    Raises
    ------
    UserError
        If a term of the loss or the gradient is not finite (names term, step and frames), or a
        frame cannot be read; on all processes.
    Interrupted
        If the run was asked to stop; the checkpoint is written by then.
    """
    epoch_ends = source.ends(task.epochs)
    if config.sync_batch_norm:
        source.refuse_empty_parts(task.epochs)
    stage = _Stage(task, config, device, log, state_path, epoch_ends, state, at_epoch_end)
    skipped = SkippedFrames() if skipped is None else skipped
    with StopRequest() as stop, closing(stage.progress):
        # A run that was stopped at the end of an epoch wrote its checkpoint without a score.
        stage.score()
        for batch in _read_together(source.batches(epoch_ends, stage.done), skipped):
            stage.step(batch)
            if stage.done < epoch_ends[-1]:
                stage.keep_if_due(agree(stop=stop.signal))
        signal = agree(stop=stop.signal)
        if not signal:
            stage.score()
            if at_end is not None:
                at_end()
        stage.checkpoint(finished=not signal)
        stage.leave_if_asked(agree(stop=stop.signal))
    stage.say_what_was_odd(source.max_batch_voxels)


class _Stage:
    """A network while it is trained: how far it is, and what is written of it."""

    def __init__(
        self,
        task: TrainTask,
        config: RunConfig,
        device: torch.device,
        log: RunLog | None,
        state_path: Path,
        epoch_ends: Sequence[int],
        state: TrainingState | None,
        at_epoch_end: EpochEnd | None,
    ) -> None:
        self.task, self.config, self.log, self.state_path = task, config, log, state_path
        self.epoch_ends, self.at_epoch_end = epoch_ends, at_epoch_end
        self.done, self.scored = 0, 0
        self.best: float | None = None
        self.optimizer, self.scheduler = make_optimizer(
            task.network, task.method, config.optim, epoch_ends[-1]
        )
        if current_world().size > 1:
            torch.manual_seed(seed_for_process(2 * config.seed + (task.name != "teacher")))
        if state is not None:
            task.network.load_state_dict(state.network)
            task.method.load_state_dict(state.method)
        self.stepper = Stepper(task, config, device, self.optimizer, self.scheduler)
        if state is not None:
            self.done, self.scored, self.best = state.step, state.scored_step, state.best
            go_on(self.optimizer, self.scheduler, state.optimizer, self.done)
            # After the processes are joined, which gives all of them the first one's statistics.
            restore_own_state(state, task.network)
        self.progress = Progress(f"{task.name} training", epoch_ends[-1], done=self.done)
        self.cropped_batches = self.unlabeled_steps = 0
        self.rays_without_return: dict[str, int] = {}
        self.kept_at = self.ended = time.monotonic()

    def score(self) -> None:
        """Score the network if an epoch is over and it was not scored since."""
        if (
            self.at_epoch_end is None
            or self.done not in self.epoch_ends
            or self.scored >= self.done
        ):
            return
        began = time.monotonic()
        self.best = self.at_epoch_end(self.epoch_ends.index(self.done) + 1, self.best)
        self.scored = self.done
        self.ended += time.monotonic() - began  # no part of the next step's time

    def step(self, batch: Batch) -> None:
        """Take a step and record it."""
        # Of the joint batch.
        parts = gather_objects((batch.names, batch.cropped_voxels, batch.rays_without_return))
        names = [name for names, _, _ in parts for name in names]
        cropped_voxels = sum(cropped for _, cropped, _ in parts)
        rays = {name: count for _, _, counts in parts for name, count in counts.items()}
        numbers, any_labeled = self.stepper.step(batch, self.done + 1, names)
        self.done += 1
        now = time.monotonic()
        numbers |= {"lr": float(self.scheduler.get_last_lr()[0]), "seconds": now - self.ended}
        self.ended = now
        notes: dict[str, Any] = {}
        if cropped_voxels:
            notes["cropped_voxels"] = cropped_voxels
            self.cropped_batches += 1
        if rays:
            notes["rays_without_return"] = rays
            self.rays_without_return |= rays
        wants_labels = self.task.method.needs_labels and self.config.data.labels == "all"
        if wants_labels and not any_labeled:
            notes["unlabeled"] = True
            self.unlabeled_steps += 1
            if self.unlabeled_steps == 1:
                logger.warning(
                    f"{self._after()}: no voxel of the step has a label ({', '.join(names)}); its "
                    "loss against the labels is 0"
                )
        if self.log is not None:
            self.log.step(self.task.name, self.done, {**numbers, **notes, "frames": names})
        self.progress.advance({n: v for n, v in numbers.items() if n in self.stepper.shown})

    def keep_if_due(self, signal: int) -> None:
        """Write a checkpoint at the end of an epoch, after some minutes, and before a stop."""
        late = self.ended - self.kept_at > 60 * self.config.checkpoint_minutes
        due = _first_process_says(late)
        if self.done in self.epoch_ends or due or signal:
            if not signal:
                self.score()
            self.checkpoint()
        self.leave_if_asked(signal)

    def checkpoint(self, *, finished: bool = False) -> None:
        """Write what the stage can go on from; the first process does, an error ends all."""
        processes = gather_objects(own_state(self.task.network))
        with agreed():
            if is_first_process():
                content = TrainingState(
                    stage=self.task.name,
                    step=self.done,
                    best=self.best,
                    network=self.task.network.state_dict(),
                    method=self.task.method.state_dict(),
                    optimizer=self.optimizer.state_dict(),
                    processes=processes,
                    scored_step=self.scored,
                    finished_epochs=self.task.epochs if finished else None,
                )
                save_state(content, self.state_path)
        _return_freed_memory()
        self.kept_at = time.monotonic()

    def leave_if_asked(self, signal: int) -> None:
        """Leave after a signal; the checkpoint is written."""
        if signal:
            raise Interrupted(signal, after=self._after(), checkpoint=self.state_path)

    def say_what_was_odd(self, max_batch_voxels: int | None) -> None:
        """Say in the end which batches were cropped, had no label, or lost rows of their files."""
        title = f"{self.task.name} training"
        if self.cropped_batches:
            logger.info(
                f"{title}: {self.cropped_batches} batches were cropped to {max_batch_voxels} "
                "voxels; log.jsonl says which, and by how many (cropped_voxels)"
            )
        if rays := self.rays_without_return:
            logger.info(f"{title}: {left_out(rays)}; log.jsonl says which (rays_without_return)")
        if self.unlabeled_steps:
            logger.warning(f"{title}: {self.unlabeled_steps} steps had no labeled voxel")

    def _after(self) -> str:
        return f"{self.task.name} training, step {self.done}"


def _first_process_says(condition: bool) -> bool:
    """Return whether a condition that depends on time holds on the first process."""
    said = torch.tensor(float(condition and is_first_process()))
    return bool(sum_over_processes(said) > 0)


def _return_freed_memory() -> None:
    """Give freed blocks back to the system: crops of many sizes leave gigabytes of holes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)

"""The training loop of a stage: steps, a record of each, checkpoints that it can go on from."""

import contextlib
import ctypes
import inspect
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from train.config import RunConfig
from train.core.console import Progress, logger
from train.core.device import to_device
from train.core.distributed import (
    PeerLost,
    agree,
    current_world,
    gather_objects,
    is_first_process,
    seed_for_process,
    sum_over_processes,
)
from train.core.errors import UserError
from train.core.interrupts import Interrupted, StopRequest, reader_ignores_stop
from train.data.batching import VoxelBudgetBatchSampler
from train.data.collate import collate, split_batch
from train.data.loader import TrainingFrames
from train.data.skipping import SkippedFrames
from train.engine.optimizer import go_on, make_optimizer
from train.engine.run_log import RunLog
from train.engine.train_step import TrainStep, first_not_finite, shares, to_host
from train.engine.training_state import (
    TrainingState,
    gather_own_states,
    restore_own_state,
    save_state,
    uses_cuda,
)
from train.methods.losses import NonFiniteLoss
from train.methods.protocol import DistillationMethod
from train.networks.protocol import Network


@dataclass(frozen=True)
class TrainTask:
    """One network to train: its name in the records, by which method, and how long.

    Attributes
    ----------
    name
        "teacher" or "student".
    network
        Trained in place, on the device of the batches.
    method
        Its adapters are trained with the network.
    teacher
        Frozen, or None.
    epochs
        Passes over the frames.
    """

    name: str
    network: Network
    method: DistillationMethod
    teacher: Network | None
    epochs: int


EpochEnd = Callable[[int, float | None], float | None]
"""Called with the number of epochs done and the best score so far; returns the best score now."""


def fit(
    task: TrainTask,
    frames: TrainingFrames,
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
    frames
        The training frames; if they have a bound on a batch's voxels, batches are made to fit it.
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
    order = batch_sampler(frames, config)
    epoch_ends = order.ends(task.epochs)
    if config.sync_batch_norm:
        _refuse_empty_parts(order, task.epochs)
    done, scored, best, finished = 0, 0, None, False
    optimizer, scheduler = make_optimizer(task.network, task.method, config.optim, epoch_ends[-1])
    if current_world().size > 1:
        torch.manual_seed(seed_for_process(2 * config.seed + (task.name == "student")))
    if state is not None:
        task.network.load_state_dict(state.network)
        task.method.load_state_dict(state.method)
    loop = _Loop(task, config, device, optimizer, scheduler)
    if state is not None:
        done, scored, best = state.step, state.scored_step, state.best
        go_on(optimizer, scheduler, state.optimizer, done)
        # After the processes are joined, which gives all of them the first one's statistics.
        restore_own_state(state, task.network)
    skipped = SkippedFrames() if skipped is None else skipped

    def checkpoint() -> None:
        processes = gather_own_states(task.network)
        error: UserError | None = None
        if is_first_process():
            content = TrainingState(
                stage=task.name,
                step=done,
                best=best,
                network=task.network.state_dict(),
                method=task.method.state_dict(),
                optimizer=optimizer.state_dict(),
                processes=processes,
                scored_step=scored,
                finished_epochs=task.epochs if finished else None,
            )
            try:
                save_state(content, state_path)
            except UserError as raised:
                error = raised
        agree(error)

    last_checkpoint = ended = time.monotonic()

    def score() -> None:
        nonlocal best, scored, ended
        if at_epoch_end is not None and done in epoch_ends and scored < done:
            began = time.monotonic()
            best, scored = at_epoch_end(epoch_ends.index(done) + 1, best), done
            ended += time.monotonic() - began  # no part of the next step's time

    def after() -> str:
        return f"{task.name} training, step {done}"

    progress = Progress(f"{task.name} training", epoch_ends[-1], done=done)
    cropped_batches = unlabeled_steps = 0
    with StopRequest() as stop:
        try:
            # A run that was stopped at the end of an epoch wrote its checkpoint without a score.
            score()
            for batch in _read(batches_from(frames, order, epoch_ends, done, config), skipped):
                names, cropped_voxels = _joint_batch(batch)
                numbers, any_labeled = loop.step(batch, done + 1, names)
                done += 1
                now = time.monotonic()
                numbers |= {"lr": float(scheduler.get_last_lr()[0]), "seconds": now - ended}
                ended = now
                notes = {}
                if cropped_voxels:
                    notes["cropped_voxels"] = cropped_voxels
                    cropped_batches += 1
                if task.method.needs_labels and not any_labeled:
                    notes["unlabeled"] = True
                    unlabeled_steps += 1
                    if unlabeled_steps == 1:
                        logger.warning(
                            f"{task.name} training, step {done}: no voxel of the step has a label "
                            f"({', '.join(names)}); its loss against the labels is 0"
                        )
                if log is not None:
                    log.step(task.name, done, {**numbers, **notes, "sweeps": names})
                progress.advance({n: v for n, v in numbers.items() if n in loop.shown})
                if done == epoch_ends[-1]:
                    continue
                signal = agree(stop=stop.signal)
                due = _first_process_says(now - last_checkpoint > 60 * config.checkpoint_minutes)
                if done in epoch_ends or due or signal:
                    if not signal:
                        score()
                    checkpoint()
                    _return_freed_memory()
                    last_checkpoint = time.monotonic()
                if signal:
                    raise Interrupted(signal, after=after(), checkpoint=state_path)
            if not agree(stop=stop.signal):
                score()
                if at_end is not None:
                    at_end()
                finished = True
            checkpoint()
            _return_freed_memory()
            if signal := agree(stop=stop.signal):
                raise Interrupted(signal, after=after(), checkpoint=state_path)
        finally:
            progress.close()
    if cropped_batches:
        logger.info(
            f"{task.name} training: {cropped_batches} batches were cropped to "
            f"{frames.max_batch_voxels} voxels; log.jsonl says which, and by how many "
            "(cropped_voxels)"
        )
    if unlabeled_steps:
        logger.warning(f"{task.name} training: {unlabeled_steps} steps had no labeled voxel")


class _Loop:
    """The forward and backward pass of a step, and the update."""

    def __init__(
        self,
        task: TrainTask,
        config: RunConfig,
        device: torch.device,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
    ) -> None:
        self.task, self.config, self.device = task, config, device
        self.optimizer, self.scheduler = optimizer, scheduler
        self.shown: set[str] = set()
        train_step = TrainStep(task.network, task.method, task.teacher)
        task.network.train()
        task.method.train()
        self.parameters = list(train_step.parameters())
        self.module: nn.Module = train_step
        if current_world().size > 1:
            # Statistics are a process's own, and averaged before a network is saved. The option has
            # another name from torch 2.13 on, where the old one warns.
            names = inspect.signature(DistributedDataParallel).parameters
            sync = (
                "forward_sync_buffers" if "forward_sync_buffers" in names else "broadcast_buffers"
            )
            options: dict[str, Any] = {sync: False}
            self.module = DistributedDataParallel(
                train_step,
                device_ids=[device] if device.type == "cuda" else None,
                **options,
            )

    def step(
        self, batch: dict[str, Any], number: int, names: Sequence[str]
    ) -> tuple[dict[str, Any], bool]:
        """Take a step on this process's batch; return the numbers of the joint batch.

        `names` are the sweeps of the joint batch, for an error.
        """
        config = self.config
        every = config.log_gradient_norms_every
        try:
            numbers, any_labeled = self._accumulate(batch, bool(every) and number % every == 0)
            norm = _clip(self.parameters, config.optim.max_grad_norm)
            # The same on every process; the numbers are sums over processes.
            numbers["gradient_norm"] = norm / current_world().size
            found = to_host(numbers)
            broken = first_not_finite(found)
            if broken is not None:
                raise NonFiniteLoss(*broken)
        except PeerLost:
            raise
        except UserError as error:
            # All processes are here: `agree` raises on all what one of them met.
            own = str(error) if isinstance(error, NonFiniteLoss) else None
            found_by = [each for each in gather_objects(own) if each is not None]
            if not found_by:
                raise
            raise UserError(
                f"{self.task.name} training stopped at step {number}: {found_by[0]}; sweeps of the "
                f"step: {', '.join(names)}. Look at these sweeps, or go on from the last "
                f"checkpoint with a lower rate: --resume --optim.lr {config.optim.lr / 4:g} "
                f"--optim.block-lr {config.optim.block_lr / 4:g}"
            ) from error
        self.optimizer.step()
        self.scheduler.step()
        self.shown = {name for name, value in found.items() if isinstance(value, float)}
        return found, any_labeled

    def _accumulate(
        self, batch: dict[str, Any], with_gradient_norms: bool
    ) -> tuple[dict[str, torch.Tensor], bool]:
        """Add up the gradient of the step's parts; return the numbers to log, on the device."""
        own_parts = max(1, min(self.config.optim.accumulate, len(batch["names"])))
        num_parts = own_parts
        if self.config.optim.accumulate > 1:
            num_parts = min(gather_objects(own_parts))
        parts = split_batch(batch, num_parts)
        share_of_parts, any_labeled = shares(parts)
        self.optimizer.zero_grad(set_to_none=True)
        numbers: dict[str, torch.Tensor] = {}
        for place, (part, share) in enumerate(zip(parts, share_of_parts, strict=True)):
            last = place == num_parts - 1
            wait = (
                contextlib.nullcontext()
                if last or not isinstance(self.module, DistributedDataParallel)
                else self.module.no_sync()
            )
            with wait:
                with torch.autocast(
                    self.device.type, torch.bfloat16, enabled=self.config.precision == "bf16"
                ):
                    output = self.module(to_device(part, self.device), share, with_gradient_norms)
                output.total.backward()
            for name, value in output.numbers.items():
                numbers[name] = numbers[name] + value if name in numbers else value
        return numbers, any_labeled


def _read(batches: Iterator[dict[str, Any]], skipped: SkippedFrames) -> Iterator[dict[str, Any]]:
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


def _refuse_empty_parts(order: VoxelBudgetBatchSampler, epochs: int) -> None:
    """Refuse steps in which a process has no cloud, and so nothing to join the statistics with."""
    for epoch in range(epochs):
        for parts in order.joint_batches(epoch):
            if not all(parts):
                raise UserError(
                    f"--sync-batch-norm: a step of epoch {epoch + 1} has {sum(map(len, parts))} "
                    f"sweeps for {len(parts)} processes; choose --data.batch-size so that the last "
                    f"batch of the {order.num_samples} sweeps has at least {len(parts)}, or leave "
                    "out --sync-batch-norm"
                )


def _joint_batch(batch: dict[str, Any]) -> tuple[list[str], int]:
    """Return the names of the joint batch's sweeps, and how many of its voxels were cropped."""
    parts = gather_objects((batch["names"], batch["cropped_voxels"]))
    return [name for names, _ in parts for name in names], sum(count for _, count in parts)


def _first_process_says(condition: bool) -> bool:
    """Return whether a condition that depends on time holds on the first process."""
    said = torch.tensor(float(condition and is_first_process()))
    return bool(sum_over_processes(said) > 0)


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


def _clip(parameters: Sequence[nn.Parameter], max_norm: float) -> torch.Tensor:
    """Return the gradient's norm, after clipping it to `max_norm` if that is above 0."""
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if max_norm > 0:
        torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm


def _return_freed_memory() -> None:
    """Give freed blocks back to the system: crops of many sizes leave gigabytes of holes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)

"""The training loop of a stage: steps, a record of each, checkpoints that it can go on from."""

import ctypes
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from train.config import RunConfig
from train.core.console import Progress, logger
from train.core.distributed import (
    agree,
    current_world,
    is_first_process,
    seed_for_process,
    sum_over_processes,
)
from train.core.errors import UserError
from train.core.interrupts import Interrupted, StopRequest
from train.data.skipping import SkippedFrames
from train.engine.batches import (
    BatchSource,
    joint_batch,
    read_batches,
)
from train.engine.optimizer import go_on, make_optimizer
from train.engine.run_log import RunLog
from train.engine.stepper import Stepper, TrainTask
from train.engine.training_state import (
    TrainingState,
    gather_own_states,
    restore_own_state,
    save_state,
)

EpochEnd = Callable[[int, float | None], float | None]
"""Called with the number of epochs done and the best score so far; returns the best score now."""


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
    done, scored, best, finished = 0, 0, None, False
    optimizer, scheduler = make_optimizer(task.network, task.method, config.optim, epoch_ends[-1])
    if current_world().size > 1:
        torch.manual_seed(seed_for_process(2 * config.seed + (task.name != "teacher")))
    if state is not None:
        task.network.load_state_dict(state.network)
        task.method.load_state_dict(state.method)
    stepper = Stepper(task, config, device, optimizer, scheduler)
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
            for batch in read_batches(source.batches(epoch_ends, done), skipped):
                names, cropped_voxels = joint_batch(batch)
                numbers, any_labeled = stepper.step(batch, done + 1, names)
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
                progress.advance({n: v for n, v in numbers.items() if n in stepper.shown})
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
            f"{source.max_batch_voxels} voxels; log.jsonl says which, and by how many "
            "(cropped_voxels)"
        )
    if unlabeled_steps:
        logger.warning(f"{task.name} training: {unlabeled_steps} steps had no labeled voxel")


def _first_process_says(condition: bool) -> bool:
    """Return whether a condition that depends on time holds on the first process."""
    said = torch.tensor(float(condition and is_first_process()))
    return bool(sum_over_processes(said) > 0)


def _return_freed_memory() -> None:
    """Give freed blocks back to the system: crops of many sizes leave gigabytes of holes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)

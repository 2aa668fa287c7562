"""The training loop of a stage: steps, a record of each, checkpoints that it can go on from."""

import ctypes
import itertools
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from train.config import OptimConfig, RunConfig
from train.core.console import Progress, logger
from train.core.device import to_device
from train.core.errors import UserError
from train.data.batching import VoxelBudgetBatchSampler
from train.data.collate import collate
from train.data.loader import TrainingFrames
from train.data.skipping import SkippedFrames
from train.engine.run_log import RunLog
from train.engine.training_state import save_state
from train.methods.losses import NonFiniteLoss
from train.networks.ptv3 import Segmentor

Step = Callable[[dict[str, Any]], tuple[Tensor, dict[str, Any]]]
"""What a stage does with a batch: returns the loss to minimize and the numbers to record."""


@dataclass(frozen=True)
class Stage:
    """One network to train: its name in the records, how long, and what a step computes."""

    name: str
    model: Segmentor
    epochs: int
    step: Step


def make_optimizer(
    model: Segmentor, config: OptimConfig, total_steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.OneCycleLR]:
    """Return AdamW and OneCycle with PTv3's two groups: transformer blocks, and the rest.

    Notes
    -----
    A rise over `warmup_fraction` of the steps from a tenth of the peak, then a cosine fall to a
    thousandth of the peak; the momentum cycles between 0.95 and 0.85, torch's default.
    """
    named = list(model.named_parameters())
    groups = [
        {"params": [p for name, p in named if ".block" not in name], "lr": config.lr},
        {"params": [p for name, p in named if ".block" in name], "lr": config.block_lr},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=[config.lr, config.block_lr],
        total_steps=max(total_steps, 2),
        pct_start=config.warmup_fraction,
        div_factor=10.0,
        final_div_factor=100.0,
    )
    return optimizer, scheduler


def fit(
    stage: Stage,
    sweeps: TrainingFrames,
    config: RunConfig,
    device: torch.device,
    log: RunLog,
    state_path: Path,
    state: Mapping[str, Any] | None = None,
    *,
    skipped: SkippedFrames | None = None,
) -> None:
    """Train a stage to its last epoch, with a checkpoint every epoch and every few minutes.

    Parameters
    ----------
    stage
        What to train; its model is changed in place.
    sweeps
        The training sweeps; if they have a bound on a batch's voxels, batches are made to fit it.
    config
        The run.
    device
        Where the batches go; the model is there already.
    log
        Gets a record for every step.
    state_path
        Where the checkpoint is written.
    state
        A checkpoint of this stage to go on from. A run that goes on takes the same steps as one
        that was never stopped.
    skipped
        Is told of the sweeps that could not be read.

    Raises
    ------
    UserError
        If a part of the loss or the gradient is no finite number: names part, step and sweeps.
    """
    order = batch_order(sweeps, config)
    epoch_ends = order.ends(stage.epochs)
    total_steps = epoch_ends[-1]
    skipped = SkippedFrames() if skipped is None else skipped
    cut_batches = 0
    optimizer, scheduler = make_optimizer(stage.model, config.optim, total_steps)
    done = 0
    if state is not None:
        stage.model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        scheduler.load_state_dict(state["scheduler"])
        _set_random_state(state["random"])
        done = int(state["step"])

    def checkpoint() -> None:
        content = {
            "stage": stage.name,
            "step": done,
            "model": stage.model.state_dict(),
            "optimizer": optimizer.state_dict(),
            "scheduler": scheduler.state_dict(),
            "random": _random_state(),
        }
        save_state(content, state_path)

    stage.model.train()
    progress = Progress(f"{stage.name} training", total_steps, done=done)
    last_checkpoint = ended = time.monotonic()
    try:
        for batch in skipped.watch(batches_from(sweeps, order, epoch_ends, done, config)):
            try:
                loss, record = stage.step(to_device(batch, device))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                norm = _clip(stage.model, config.optim.max_grad_norm)
            except NonFiniteLoss as error:
                raise UserError(
                    f"{stage.name} training stopped at step {done + 1}: {error}; sweeps of the "
                    f"step: {', '.join(batch['names'])}. Look at these sweeps, or lower "
                    "--optim.lr, then go on with --resume"
                ) from error
            optimizer.step()
            scheduler.step()
            done += 1
            now = time.monotonic()
            numbers = {
                **record,
                "gradient_norm": norm,
                "lr": float(scheduler.get_last_lr()[0]),
                "seconds": now - ended,
            }
            ended = now
            notes = {"cropped_voxels": batch["cropped_voxels"]} if batch["cropped_voxels"] else {}
            cut_batches += len(notes)
            log.step(stage.name, done, {**numbers, **notes, "sweeps": batch["names"]})
            progress.advance({n: numbers[n] for n in record if isinstance(numbers[n], float)})
            due = now - last_checkpoint > 60 * config.checkpoint_minutes
            if done in epoch_ends or due:
                checkpoint()
                _return_freed_memory()
                last_checkpoint = now
    finally:
        progress.close()
    if cut_batches:
        logger.info(
            f"{stage.name} training: {cut_batches} batches were cut to {sweeps.max_batch_voxels} "
            "voxels; log.jsonl says which, and by how many (cropped_voxels)"
        )


def batch_order(sweeps: TrainingFrames, config: RunConfig) -> VoxelBudgetBatchSampler:
    """Return which samples make up each step of a run."""
    return VoxelBudgetBatchSampler(
        len(sweeps),
        config.data.batch_size,
        seed=config.seed,
        planned_voxels=sweeps.planned_voxels(),
        max_batch_voxels=sweeps.max_batch_voxels,
    )


def batches_from(
    sweeps: TrainingFrames,
    order: VoxelBudgetBatchSampler,
    epoch_ends: Sequence[int],
    done: int,
    config: RunConfig,
) -> Iterator[dict[str, Any]]:
    """Yield the collated batches of all epochs that come after the first `done` ones.

    Parameters
    ----------
    sweeps, order
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
        sweeps,
        batch_sampler=order,
        collate_fn=collate,
        num_workers=workers,
        # Workers live on from epoch to epoch: starting them costs as much as many a sweep. The
        # epoch reaches them through shared memory.
        persistent_workers=workers > 0,
        pin_memory=_uses_cuda(),
        # Its own generator: the loader must not draw from the one that networks draw from, or
        # the number of workers and a resumed epoch would change the run.
        generator=torch.Generator().manual_seed(config.seed),
    )
    for epoch, (begin, end) in enumerate(itertools.pairwise([0, *epoch_ends])):
        if done >= end:
            continue
        sweeps.set_epoch(epoch)
        order.set_epoch(epoch, start=max(0, done - begin))
        yield from loader


def _clip(model: Segmentor, max_norm: float) -> float:
    """Return the gradient's norm, after clipping it to `max_norm` if that is above 0."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    norm = float(torch.nn.utils.get_total_norm(gradients))
    if not torch.isfinite(torch.tensor(norm)):
        raise NonFiniteLoss("gradient of the total", norm)
    if max_norm > 0:
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), max_norm, torch.tensor(norm))
    return norm


def _return_freed_memory() -> None:
    """Give freed blocks back to the system: crops of many sizes leave gigabytes of holes."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
    if trim is not None:
        trim(0)


def _uses_cuda() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def _random_state() -> dict[str, Any]:
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if _uses_cuda() else [],
    }


def _set_random_state(state: Mapping[str, Any]) -> None:
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and _uses_cuda():
        torch.cuda.set_rng_state_all(state["cuda"])

"""The forward and backward pass of a step on all its processes and parts, and the update."""

import contextlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from train.config import RunConfig
from train.core.device import to_device
from train.core.distributed import (
    PeerLost,
    current_world,
    gather_objects,
)
from train.core.errors import UserError
from train.data.collate import split_batch
from train.engine.train_step import TrainStep, first_not_finite, shares, to_host
from train.methods.losses import NonFiniteLoss
from train.methods.protocol import DistillationMethod
from train.networks.protocol import Network


@dataclass(frozen=True)
class TrainTask:
    """One network to train: its name in the records, by which method, and how long.

    Attributes
    ----------
    name
        "teacher", "student" or "baseline".
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


class Stepper:
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


def _clip(parameters: Sequence[nn.Parameter], max_norm: float) -> torch.Tensor:
    """Return the gradient's norm, after clipping it to `max_norm` if that is above 0."""
    norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
    if max_norm > 0:
        torch.nn.utils.clip_grads_with_norm_(parameters, max_norm, norm)
    return norm

"""One training step: a method's terms as one loss, on any number of processes, and the update.

Shape letters: S means of a term.
"""

import contextlib
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from train.config import RunConfig
from train.core.distributed import (
    PeerLost,
    agreed,
    current_world,
    gather_objects,
    sum_over_processes,
)
from train.core.errors import UserError
from train.data.batch import Batch, split_batch
from train.data.frame import IGNORE_INDEX
from train.methods.losses import NonFiniteLoss
from train.methods.protocol import DistillationMethod
from train.methods.terms import LossTerm, Unit
from train.networks.protocol import Network


@dataclass(frozen=True)
class BatchShare:
    """Which share of a step's units one process has in one part of the step.

    Attributes
    ----------
    labeled, points, clouds
        This process's units in this part, over those of the whole step: all processes, all parts.
    part
        The voxels of all processes in this part, over those of the whole step.
    some_empty
        Whether a process has no cloud in this part: a last joint batch can have fewer clouds than
        there are processes.
    """

    labeled: float = 1.0
    points: float = 1.0
    clouds: float = 1.0
    part: float = 1.0
    some_empty: bool = False

    def of(self, unit: Unit) -> float:
        """Return the share of a unit."""
        return {"labeled": self.labeled, "points": self.points, "clouds": self.clouds}[unit]


def shares(parts: Sequence[Batch]) -> tuple[list[BatchShare], bool]:
    """Count the units of a step and return this process's share of them, part by part.

    Parameters
    ----------
    parts
        This process's batches of the step, on the CPU; as many on every process.

    Returns
    -------
    shares : list of BatchShare
        One per part. On one process, with one part, all are exactly 1.
    any_labeled : bool
        Whether the step has a labeled voxel at all.
    """
    counts = torch.tensor([_counts(part) for part in parts], dtype=torch.float64)
    joint = sum_over_processes(counts)
    total = joint.sum(dim=0)
    own = (counts / total.clamp(min=1)).tolist()
    of_parts = (joint[:, 1] / total[1]).tolist()
    made = [
        BatchShare(labeled, points, clouds, part, some_empty=bool(empty))
        for (labeled, points, clouds, _), part, empty in zip(
            own, of_parts, joint[:, 3].tolist(), strict=True
        )
    ]
    return made, bool(total[0] > 0)


def _counts(batch: Batch) -> list[float]:
    """Labeled voxels, voxels, clouds, and 1 for a batch without a cloud."""
    if not batch.num_clouds:
        return [0.0, 0.0, 0.0, 1.0]
    segment = batch.get("segment")
    labeled = 0 if segment is None else int((segment != IGNORE_INDEX).sum())
    return [float(labeled), float(len(batch["feat"])), float(batch.num_clouds), 0.0]


@dataclass(frozen=True)
class StepOutput:
    """What a step's forward pass returns.

    Attributes
    ----------
    total
        () where the backward pass starts.
    numbers
        For the log, on the device and without gradient: each term (), "total" () and the terms'
        statistics as "TERM_stats/NAME". This process's shares: their sum over all processes and
        parts is the joint batch's.
    """

    total: Tensor
    numbers: dict[str, Tensor]


class TrainStep(nn.Module):
    """What DistributedDataParallel wraps: the student and the method, not the frozen teacher.

    Parameters
    ----------
    student
        In training mode.
    method
        Its adapters are trained with the student.
    teacher
        Frozen, in evaluation mode; None for a method that needs none.
    """

    def __init__(
        self, student: Network, method: DistillationMethod, teacher: Network | None
    ) -> None:
        super().__init__()
        self.student = student
        self.method = method
        self._teacher = (teacher,)  # in a tuple, so that it is no submodule

    def forward(
        self, batch: Mapping[str, Tensor], share: BatchShare, with_gradient_norms: bool = False
    ) -> StepOutput:
        """Return the total of a batch, and the numbers to log.

        Parameters
        ----------
        batch
            On the device.
        share
            Of the step's units; see `shares`.
        with_gradient_norms
            Also return the norm of each weighted term's gradient at the student's parameters, as
            "gradient_norms/TERM".

        Raises
        ------
        UserError
            On every process, if one of them has one.
        """
        terms: dict[str, LossTerm] = {}
        with agreed():
            part = replace(Batch.of(batch), labeled_share=share.labeled)
            if part.num_clouds:
                terms = self.method(self.student, self._teacher[0], part)
        self.method.synchronize()
        if share.some_empty:
            terms = self._with_empty_batches(terms)

        numbers: dict[str, Tensor] = {}
        total: Tensor | None = None
        for name, term in terms.items():
            value = _share_of(term, share)
            weighted = term.weight * value
            total = weighted if total is None else total + weighted
            numbers[name] = value.detach()
            for stat, number in term.stats.items():
                numbers[f"{name}_stats/{stat}"] = number.detach() * share.of(term.unit)
            if with_gradient_norms:
                numbers[f"gradient_norms/{name}"] = self._gradient_norm(weighted)
        if total is None:
            raise ValueError(f"{type(self.method).__name__}.forward returned no term")
        numbers["total"] = total.detach()
        # DistributedDataParallel takes the mean over processes of what are shares of a sum.
        world_size = current_world().size
        return StepOutput(total if world_size == 1 else total * world_size, numbers)

    def _with_empty_batches(self, terms: dict[str, LossTerm]) -> dict[str, LossTerm]:
        """Return a process's terms; one without a cloud gets terms like the others', all 0.

        They reach every parameter, for DistributedDataParallel waits for each one's gradient.
        """
        layouts = gather_objects(
            {
                name: (
                    term.weight,
                    len(term.value) if term.value.ndim else None,
                    term.unit,
                    {stat: tuple(number.shape) for stat, number in term.stats.items()},
                )
                for name, term in terms.items()
            }
        )
        if terms:
            return terms
        nothing = torch.stack([0.0 * parameter.sum() for parameter in self.parameters()]).sum()
        layout = next(each for each in layouts if each)
        return {
            name: LossTerm(
                nothing if means is None else nothing.expand(means),
                weight,
                unit,
                count=None if means is None else torch.zeros_like(nothing).expand(means),
                stats={stat: nothing.detach().new_zeros(shape) for stat, shape in stats.items()},
            )
            for name, (weight, means, unit, stats) in layout.items()
        }

    def _gradient_norm(self, value: Tensor) -> Tensor:
        """Return the norm of the joint gradient; this process's share of it, to be summed."""
        parameters = [p for p in self.student.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        flat = [
            torch.zeros_like(p).flatten() if g is None else g.flatten()
            for p, g in zip(parameters, gradients, strict=True)
        ]
        norm: Tensor = torch.linalg.vector_norm(sum_over_processes(torch.cat(flat)))
        return norm / current_world().size


def _share_of(term: LossTerm, share: BatchShare) -> Tensor:
    """Return this process's share of a term's mean over the joint batch."""
    value = term.value
    if term.count is None or current_world().size == 1:
        summed = value.sum() if value.ndim else value
        factor = share.of(term.unit) if term.count is None else share.part
        return summed if factor == 1.0 else summed * factor
    # A step may have none of a term's units, such as points that a camera sees.
    joint = sum_over_processes(term.count).clamp(min=1)
    return (value * (term.count / joint)).sum() * share.part


def to_host(numbers: Mapping[str, Tensor]) -> dict[str, Any]:
    """Return numbers of a step summed over all processes, in one copy from the device.

    Returns
    -------
    dict
        A float for each tensor (), a list of floats for others; "A/B" becomes B in the dict "A".
    """
    if not numbers:
        return {}
    flat = torch.cat([tensor.detach().double().flatten() for tensor in numbers.values()])
    values = iter(sum_over_processes(flat).tolist())
    found: dict[str, Any] = {}
    for name, tensor in numbers.items():
        read = [next(values) for _ in range(tensor.numel())]
        group, _, inner = name.rpartition("/")
        target = found.setdefault(group, {}) if group else found
        target[inner] = read if tensor.ndim else read[0]
    return found


def first_not_finite(numbers: Mapping[str, Any]) -> tuple[str, float] | None:
    """Return name and value of the first number that is NaN or infinite, if there is one."""
    for name, value in numbers.items():
        inner = value.items() if isinstance(value, dict) else [("", value)]
        for key, each in inner:
            for number in each if isinstance(each, list) else [each]:
                if not abs(number) < float("inf"):
                    return (f"{name} {key}".strip(), number)
    return None


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

    def step(self, batch: Batch, number: int, names: Sequence[str]) -> tuple[dict[str, Any], bool]:
        """Take a step on this process's batch; return the numbers of the joint batch.

        `names` are the frames of the joint batch, for an error.
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
                f"{self.task.name} training stopped at step {number}: {found_by[0]}; frames of the "
                f"step: {', '.join(names)}. Look at these frames, or go on from the last "
                f"checkpoint with a lower rate: --resume --optim.lr {config.optim.lr / 4:g} "
                f"--optim.block-lr {config.optim.block_lr / 4:g}"
            ) from error
        self.optimizer.step()
        self.scheduler.step()
        self.shown = {name for name, value in found.items() if isinstance(value, float)}
        return found, any_labeled

    def _accumulate(
        self, batch: Batch, with_gradient_norms: bool
    ) -> tuple[dict[str, torch.Tensor], bool]:
        """Add up the gradient of the step's parts; return the numbers to log, on the device."""
        own_parts = max(1, min(self.config.optim.accumulate, batch.num_clouds))
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
                    output = self.module(part.to(self.device), share, with_gradient_norms)
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

"""Training states: what a run goes on from after it was stopped."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from train.core.console import logger
from train.core.distributed import current_world, is_first_process
from train.core.tensor_file import read_tensors, write_tensors

STATE_FORMAT = "topodistill-training-state-3"


@dataclass(frozen=True)
class TrainingState:
    """A stage of a run after some steps.

    Attributes
    ----------
    stage
        "teacher", "student" or "baseline".
    step
        How many steps are done.
    best
        The best validation score so far; None where none was taken.
    network, method, optimizer
        State dicts; the method's holds its adapters.
    processes
        For each process, its random state and its running statistics.
    scored_step
        The last step after which the network was scored, if it was an epoch's last.
    finished_epochs
        After how many epochs the stage was finished; None while it is not.
    """

    stage: str
    step: int
    best: float | None
    network: dict[str, Any]
    method: dict[str, Any]
    optimizer: dict[str, Any]
    processes: list[dict[str, Any]]
    scored_step: int = 0
    finished_epochs: int | None = None


def save_state(state: TrainingState, path: Path) -> None:
    """Write a training state; it holds tensors and plain values only.

    Raises
    ------
    UserError
        If it cannot be written; an earlier state at `path` is then untouched.
    """
    write_tensors({"format": STATE_FORMAT, **vars(state)}, path)


def load_state(path: Path) -> TrainingState:
    """Read a training state that `save_state` wrote.

    Raises
    ------
    UserError
        If the file is missing, damaged or of another kind.
    """
    content = read_tensors(path, STATE_FORMAT, "training state")
    return TrainingState(**{name: content[name] for name in TrainingState.__dataclass_fields__})


def own_state(network: torch.nn.Module) -> dict[str, Any]:
    """Return what differs between processes: random state, and running statistics."""
    return {
        "cpu": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state() if uses_cuda() else None,
        "buffers": {name: buffer.detach().cpu() for name, buffer in network.named_buffers()},
    }


def restore_own_state(state: TrainingState, network: torch.nn.Module) -> None:
    """Set what differs between processes.

    With another number of processes than before, the random states do not fit: drop path and the
    order of curves then draw other numbers than they would have, and running statistics are the
    means over the processes that were.
    """
    world = current_world()
    own: Mapping[str, Any]
    if len(state.processes) == world.size:
        own = state.processes[world.rank]
        torch.set_rng_state(own["cpu"])
        if own["cuda"] is not None and uses_cuda():
            torch.cuda.set_rng_state(own["cuda"])
        buffers = own["buffers"]
    else:
        if is_first_process():
            before = len(state.processes)
            began = "1 process began" if before == 1 else f"{before} processes began"
            go_on = "1 goes on" if world.size == 1 else f"{world.size} go on"
            logger.info(
                f"{began} this stage, {go_on}: drop path and the order of curves draw other "
                "numbers from here on"
            )
        each = [process["buffers"] for process in state.processes]
        buffers = {
            name: torch.stack([buffers[name].double() for buffers in each]).mean(dim=0)
            for name in each[0]
        }
    for name, buffer in network.named_buffers():
        buffer.copy_(buffers[name])


def uses_cuda() -> bool:
    """Return whether this process computes on a GPU."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]

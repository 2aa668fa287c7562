"""Training states: what a run goes on from after it was stopped."""

from pathlib import Path
from typing import Any

import torch

from train.core.atomic_write import atomic_write
from train.core.tensor_file import read_tensors

STATE_FORMAT = "topodistill-training-state-1"


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a training state; `state` holds tensors and plain values only."""
    with atomic_write(path) as unfinished:
        torch.save({"format": STATE_FORMAT, **state}, unfinished)


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state that `save_state` wrote.

    Raises
    ------
    UserError
        If the file is missing, damaged or of another kind.
    """
    return read_tensors(path, STATE_FORMAT, "training state")

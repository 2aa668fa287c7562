"""Which device a command computes on, and how batches get there."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from train.core.errors import UserError


def resolve_device(name: str) -> torch.device:
    """Return the device that `name` asks for, and make a GPU named by its number the current one.

    What torch does for "the GPU", such as pinning batches, would open GPU 0 besides.

    Parameters
    ----------
    name
        "cpu", "cuda", "cuda:N", or "auto" for a GPU where there is one.

    Raises
    ------
    UserError
        If the name is no device, or the GPU is not there.
    """
    gpus = torch.cuda.device_count()
    if name == "auto":
        return torch.device("cuda" if gpus else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UserError(f"--device {name!r} is no device: use auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"--device {name!r} is not supported: use auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= gpus:
        raise UserError(
            f"--device {name} is not there: torch {torch.__version__} sees {gpus} GPUs; "
            "use --device cpu, or install a CUDA build of torch"
        )
    if device.index is not None and device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def describe_device(device: torch.device) -> str:
    """Return a device's name for people: the GPU's, or the CPU with its threads."""
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    return f"cpu ({torch.get_num_threads()} threads)"


def to_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """Return the batch with its tensors on `device`."""
    return {
        name: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for name, value in batch.items()
    }

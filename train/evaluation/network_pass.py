"""What of a batch a network is given, and in which arithmetic it runs."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Final, Literal, get_args

import torch
from torch import Tensor

Precision = Literal["fp32", "bf16"]
PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)

_ON_THE_HOST: Final = frozenset({"inverse", "raw_offset", "segment", "raw_segment"})
"""What scoring needs of a batch and the network does not: a number or two for each raw point."""


def network_input(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a batch without those that stay on the host."""
    return {name: value for name, value in batch.items() if name not in _ON_THE_HOST}


def arithmetic(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Return the autocast in which a network runs on `device`.

    Parameters
    ----------
    device
        The network's.
    precision
        "fp32": every product in float32, as torch's own settings say (TensorFloat-32 is off unless
        the caller turned it on). "bf16": products in bfloat16, summed in float32.

    Raises
    ------
    ValueError
        If the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"arithmetic: precision is {precision!r}; pass one of {PRECISIONS}")
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")

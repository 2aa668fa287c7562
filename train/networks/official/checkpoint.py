"""Third-party checkpoints, read as data and never as code: tensors by their official names.

Pointcept's trainer and LitePT's repository write a dictionary with `state_dict`, whose keys may
carry a ``module.`` prefix; a bare dictionary of tensors and a safetensors file are read as well.
"""

import pickle
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from torch import Tensor

from train.core.bounded import whole_number
from train.core.errors import UserError
from train.core.tensor_file import is_safetensors, read_any_safetensors, read_torch_file

Form = Literal["main", "v1.5.1"]
FORMS: Final[tuple[Form, ...]] = ("main", "v1.5.1")
"""Pointcept's code before and since its commit 74c4fc1 (2024-03-26): equal keys, other results."""

WRAPPER: Final = "module."
"""What DistributedDataParallel puts before every key."""

HEAD: Final = "seg_head.weight"
STEM: Final = "backbone.embedding.stem.conv.weight"


@dataclass(frozen=True)
class OfficialFile:
    """What a file of others holds.

    Attributes
    ----------
    path
        The file.
    state
        Tensors by the official names, without a wrapper's prefix.
    epoch, best_metric
        As stored, None where absent.
    """

    path: Path
    state: dict[str, Tensor]
    epoch: int | None = None
    best_metric: float | None = None


def is_ours(content: Mapping[str, Any]) -> bool:
    """Return whether the content of a file is of this package, which names its format."""
    return "format" in content


def read_content(path: Path) -> Mapping[str, Any]:
    """Return what a file holds, unpickled without running anything that it names.

    torch's restricted reader builds tensors, containers and plain values and calls nothing else;
    numpy scalars (Pointcept's stored metric) are allowed besides. Of a safetensors file, "format"
    and other texts of its header stand beside "state_dict".

    Raises
    ------
    UserError
        If the file is absent, damaged, or holds anything but tensors and plain values.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a model checkpoint")
    if is_safetensors(path):
        tensors, header = read_any_safetensors(path, "model checkpoint")
        # "pt" is what other people's writers put there: the framework, not a format.
        return {k: v for k, v in header.items() if v != "pt"} | {"state_dict": tensors}
    scalar = np.float64(0.0).__reduce__()[0]  # the function that numpy's pickles name
    names = [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]  # numpy 1 and 2
    dtypes = [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8")]
    allowed: list[Any] = [*((scalar, name) for name in names), np.dtype, *dtypes]
    try:
        content = read_torch_file(path, allowed)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f" (it names {named[1]})" if named else ""
        raise UserError(
            f"{path}: not readable as a model checkpoint: damaged, or holds more than tensors and "
            f"plain values{what}; a checkpoint is data and never code, and nothing of it was run"
        ) from error
    except ValueError as error:
        raise UserError(
            f"{path}: not readable as a model checkpoint (damaged, or no file of torch's: "
            f"{error}); copy it again"
        ) from error
    if not isinstance(content, Mapping):
        raise UserError(
            f"{path}: holds a {type(content).__name__}, expected a dictionary with 'state_dict'"
        )
    return content


def official_file(content: Mapping[str, Any], path: Path) -> OfficialFile:
    """Return the tensors of a file under the official names.

    Raises
    ------
    UserError
        If there are none.
    """
    state = content.get("state_dict", content)
    if (
        not isinstance(state, Mapping)
        or not state
        or not all(isinstance(value, Tensor) for value in state.values())
    ):
        raise UserError(f"{path}: has no 'state_dict' of tensors; is it a training checkpoint?")
    epoch, metric = content.get("epoch"), content.get("best_metric_value")
    try:
        return OfficialFile(
            path=path,
            state={str(key).removeprefix(WRAPPER): value for key, value in state.items()},
            epoch=None if epoch is None else int(epoch),
            best_metric=None if metric is None else float(metric),
        )
    except (TypeError, ValueError, OverflowError) as error:
        raise UserError(
            f"{path}: epoch or best_metric_value is no number; copy it again"
        ) from error


def shortened(keys: list[str] | tuple[str, ...]) -> str:
    """List the first keys and count the rest."""
    if not keys:
        return "none"
    listed = ", ".join(keys[:4])
    return listed if len(keys) <= 4 else f"{listed} and {len(keys) - 4} more"


def stage_shapes(file: OfficialFile, network: str) -> dict[str, tuple[int, ...]]:
    """Return blocks and width of every stage, finest first.

    Parameters
    ----------
    file
        The checkpoint.
    network
        Whose keys they are, for the message.

    Returns
    -------
    dict
        "enc_depths", "enc_channels", "dec_depths", "dec_channels", as configurations have them.

    Raises
    ------
    UserError
        If a stage is missing.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for side, projection in (("enc", "down.proj"), ("dec", "up.proj.0")):
        prefix = f"backbone.{side}.{side}"
        # The stage and the part of every key, "0" and "block1".
        parts = {
            (*key.removeprefix(prefix).split("."), "")[:2]
            for key in file.state
            if key.startswith(prefix)
        }
        known = {stage for stage, _ in parts}
        indices = sorted(int(index) for index in known if whole_number(index) is not None)
        if not indices or indices != list(range(len(indices))):
            raise UserError(
                f"{file.path}: has stages {', '.join(f'{side}{i}' for i in indices) or 'none'} of "
                f"a {network}; a stage is missing, so the file is cut or of another network"
            )
        shapes[f"{side}_depths"] = tuple(
            sum(stage == str(index) and part.startswith("block") for stage, part in parts)
            for index in indices
        )
        keys = [f"{prefix}{index}.{projection}.weight" for index in indices]
        if side == "enc":
            keys[0] = STEM
        lacking = [key for key in keys if key not in file.state]
        if lacking:
            raise UserError(f"{file.path}: no '{lacking[0]}' in the checkpoint of a {network}")
        shapes[f"{side}_channels"] = tuple(int(file.state[key].shape[0]) for key in keys)
    return shapes

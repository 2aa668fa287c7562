"""Reading Pointcept's checkpoint files: as data, never as code, and saying what was found."""

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from train.core.errors import ClassCountError, UserError
from train.networks.ptv3.block import CpeInput
from train.networks.ptv3.segmentor import Segmentor, build_segmentor

_WRAPPER_PREFIX = "module."  # what DistributedDataParallel puts before every key
_HEAD, _STEM = "seg_head.weight", "backbone.embedding.stem.conv.weight"


@dataclass(frozen=True)
class CheckpointReport:
    """What a checkpoint file held and how it was read.

    Attributes
    ----------
    path
        The file.
    epoch, best_metric
        As stored in the file, None where absent.
    cpe_input, depth_rule
        The behavior the network was given; the file cannot tell which it was trained with.
    missing, unexpected
        Keys that the network needs and the file lacks, and the other way round.
    """

    path: Path
    epoch: int | None
    best_metric: float | None
    cpe_input: str
    depth_rule: str
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def __str__(self) -> str:
        """Return one line for a log."""
        line = f"{self.path}: loaded with cpe_input={self.cpe_input}, depth_rule={self.depth_rule}"
        for what, keys in (("missing", self.missing), ("unexpected", self.unexpected)):
            if keys:
                line += f"; {what} {_shortened(keys)}"
        return line


def load_pointcept_checkpoint(
    path: str | Path,
    *,
    cpe_input: CpeInput,
    size: str = "teacher",
    num_classes: int | None = None,
    strict: bool = True,
    **overrides: Any,
) -> tuple[Segmentor, CheckpointReport]:
    """Build a network from an official PTv3 semantic segmentation checkpoint.

    Parameters
    ----------
    path
        A file as Pointcept's trainer writes it (a dictionary with `state_dict`, whose keys may
        carry a ``module.`` prefix), or a bare state dict.
    cpe_input
        ``"v1.5.1"`` for the weights that Pointcept released and all that were trained before its
        commit 74c4fc1 (2024-03-26), ``"main"`` for those trained after. Keys and shapes are the
        same and a wrong choice silently ruins the predictions, so there is no default.
    size
        Name of the network; class count and input channels are read from the file.
    num_classes
        Refuse a file with another class count; None takes any.
    strict
        Refuse a file with missing or unexpected keys; otherwise only report them.
    **overrides
        Fields of `NetworkConfig`. `depth_rule` follows `cpe_input` unless given: checkpoints
        trained between that commit and v1.6.0 need ``depth_rule="v1.5.1"`` with ``"main"``.

    Returns
    -------
    model : Segmentor
        In evaluation mode, on the CPU, float32.
    report : CheckpointReport
        To be shown to the user: it names the choice that was made.

    Raises
    ------
    UserError
        If the file is absent, damaged, holds anything but tensors and plain values, or does not
        fit the network.
    ClassCountError
        If it has another number of classes than `num_classes`; also a `ValueError`.

    Notes
    -----
    The file is unpickled by torch's restricted reader, which builds tensors, containers and plain
    values and calls nothing else; numpy scalars (Pointcept's stored metric) are allowed besides.
    """
    file = Path(path)
    content = _read(file)
    if "format" in content:
        raise UserError(
            f"{file}: is a checkpoint of this package (format {content['format']!r}), not of"
            " Pointcept; read it with train.networks.weights.load_model; train.predict does without"
            " --pointcept-size"
        )
    state = _state_dict(content, file)
    for key in (_HEAD, _STEM):
        if key not in state:
            raise UserError(
                f"{file}: no '{key}' in the checkpoint, so it is no PTv3 segmentation network of"
                f" Pointcept; it has {_shortened(tuple(state))}"
            )
    overrides.setdefault("depth_rule", cpe_input)
    found_classes, in_channels = state[_HEAD].shape[0], state[_STEM].shape[-1]
    if num_classes is not None and num_classes != found_classes:
        raise ClassCountError(
            f"{file}: has {found_classes} classes, {num_classes} are wanted; give another"
            " checkpoint, or the class count of this one"
        )
    model = build_segmentor(size, found_classes, in_channels, cpe_input=cpe_input, **overrides)
    wanted = model.state_dict()
    missing = tuple(key for key in wanted if key not in state)
    unexpected = tuple(key for key in state if key not in wanted)
    if strict and (missing or unexpected):
        raise UserError(
            f"{file}: does not fit '{size}': missing {_shortened(missing)}; unexpected"
            f" {_shortened(unexpected)}; give the --pointcept-size that the file has"
        )
    for key, value in state.items():
        if key in wanted and value.shape != wanted[key].shape:
            raise UserError(
                f"{file}: '{key}' has shape {tuple(value.shape)}, '{size}' needs"
                f" {tuple(wanted[key].shape)}; choose another size (convolution weights of spconv"
                " 1 have another layout and are not converted)"
            )
    model.load_state_dict({key: state[key] for key in wanted if key in state}, strict=False)
    epoch, metric = content.get("epoch"), content.get("best_metric_value")
    report = CheckpointReport(
        path=file,
        epoch=None if epoch is None else int(epoch),
        best_metric=None if metric is None else float(metric),
        cpe_input=model.config.cpe_input,
        depth_rule=model.config.depth_rule,
        missing=missing,
        unexpected=unexpected,
    )
    return model.eval(), report


def _read(file: Path) -> Mapping[str, Any]:
    """Unpickle without running anything that the file names."""
    if not file.is_file():
        raise UserError(f"{file}: no such checkpoint file")
    scalar = np.float64(0.0).__reduce__()[0]  # the function that numpy's pickles name
    names = [f"numpy.{core}.multiarray.scalar" for core in ("core", "_core")]  # numpy 1 and 2
    dtypes = [type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8")]
    allowed: list[Any] = [*((scalar, name) for name in names), np.dtype, *dtypes]
    try:
        with torch.serialization.safe_globals(allowed):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0]
        raise UserError(
            f"{file}: damaged, or holds more than tensors and plain values and is not read, because"
            f" a checkpoint is data and never code ({reason})"
        ) from error
    except (RuntimeError, EOFError, BadZipFile, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{file}: damaged or no torch checkpoint ({reason})") from error
    if not isinstance(content, Mapping):
        raise UserError(
            f"{file}: holds a {type(content).__name__}, expected a dictionary with 'state_dict'"
        )
    return content


def _state_dict(content: Mapping[str, Any], file: Path) -> dict[str, Tensor]:
    state = content.get("state_dict", content)
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise UserError(f"{file}: has no 'state_dict' of tensors; is it a training checkpoint?")
    return {str(key).removeprefix(_WRAPPER_PREFIX): value for key, value in state.items()}


def _shortened(keys: tuple[str, ...]) -> str:
    """List the first keys and count the rest."""
    if not keys:
        return "none"
    listed = ", ".join(keys[:4])
    return listed if len(keys) <= 4 else f"{listed} and {len(keys) - 4} more"

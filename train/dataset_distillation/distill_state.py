"""The file that a stopped distillation goes on from, and whether it is of the same distillation."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch

from train.core.atomic_write import atomic_write
from train.core.errors import UserError
from train.core.tensor_file import read_tensors
from train.dataset_distillation.clouds import PointClouds
from train.dataset_distillation.options import DistillOptions

STATE_FORMAT: Final = "topodistill-distill-data-2"
"""Raised whenever a state would go on to another end than before."""


def save_state(
    path: Path,
    options: DistillOptions,
    real: PointClouds,
    learned: Mapping[str, Any],
    start: Mapping[str, Any],
) -> None:
    """Write a state, whole or not at all.

    Parameters
    ----------
    path
        The file.
    options, real
        What is distilled; `load_state` refuses others.
    learned
        Tensors and plain values.
    start
        Plain values that say more of how it started; `load_state` refuses others.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    content = {
        "format": STATE_FORMAT,
        "options": _plain(options),
        "real": _fingerprint(real),
        "start": dict(start),
        **learned,
    }
    with atomic_write(path) as unfinished:
        torch.save(content, unfinished)


def load_state(
    path: Path, options: DistillOptions, real: PointClouds, start: Mapping[str, Any]
) -> dict[str, Any]:
    """Return what `save_state` wrote.

    Raises
    ------
    UserError
        If the file is damaged, of another version, or of another distillation.
    """
    content = read_tensors(path, STATE_FORMAT, "state of distill-data")
    wanted = _plain(options) | {"iterations": content["options"]["iterations"]}
    for name, value in wanted.items():
        if content["options"].get(name) != value:
            raise UserError(
                f"{path}: was made with {name} {content['options'].get(name)}, and here it is "
                f"{value}; give the same options, or start over without --resume"
            )
    if content["options"]["iterations"] != options.iterations:
        raise UserError(
            f"{path}: was made for {content['options']['iterations']} iterations, and here are "
            f"{options.iterations}: the rate falls at half time; give the same number"
        )
    for name, value in start.items():
        if content["start"].get(name) != value:
            raise UserError(
                f"{path}: was made with {name} {content['start'].get(name)} of its start, and here "
                f"it is {value}; give the same options, or start over without --resume"
            )
    if content["real"] != _fingerprint(real):
        raise UserError(f"{path}: was made from other real clouds; give the same --data")
    return dict(content)


def _plain(options: DistillOptions) -> dict[str, Any]:
    """Return plain values, as a file of tensors keeps them."""
    plain: Mapping[str, Any] = asdict(options)
    return {name: list(v) if isinstance(v, tuple) else v for name, v in plain.items()}


def _fingerprint(real: PointClouds) -> list[Any]:
    points = real.points
    return [list(points.shape), list(real.classes), float(points.astype("f8").sum())]

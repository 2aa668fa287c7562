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
from train.dataset_distillation.start import StartOptions

STATE_FORMAT: Final = "topodistill-distill-data-2"
"""Raised whenever a state would go on to another end than before."""


def made_from(options: DistillOptions, start: StartOptions, real: PointClouds) -> dict[str, Any]:
    """Return plain values that are the same for the same distillation, as a state keeps them."""
    plain: Mapping[str, Any] = asdict(options)
    points = real.points
    return {
        "options": {name: list(v) if isinstance(v, tuple) else v for name, v in plain.items()},
        "start": start.plain(),
        "real": [list(points.shape), list(real.classes), float(points.astype("f8").sum())],
    }


def save_state(path: Path, made_from: Mapping[str, Any], learned: Mapping[str, Any]) -> None:
    """Write what is distilled, as `load_state` wants it again, and what is learned of it so far.

    Whole or not at all; UserError if the file cannot be written.
    """
    with atomic_write(path) as unfinished:
        torch.save({"format": STATE_FORMAT, **made_from, **learned}, unfinished)


def load_state(path: Path, made_from: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `save_state` wrote.

    Raises
    ------
    UserError
        If the file is damaged, of another version, or of another distillation.
    """
    content = read_tensors(path, STATE_FORMAT, "state of distill-data")
    for kind, of in (("options", ""), ("start", " of its start")):
        for name, value in made_from[kind].items():
            found = content[kind].get(name)
            if found == value:
                continue
            if name == "iterations":
                raise UserError(
                    f"{path}: was made for {found} iterations, and here are {value}: the rate "
                    "falls at half time; give the same number"
                )
            raise UserError(
                f"{path}: was made with {name} {found}{of}, and here it is {value}; give the same "
                "options, or start over without --resume"
            )
    if content["real"] != made_from["real"]:
        raise UserError(f"{path}: was made from other real clouds; give the same --data")
    return dict(content)

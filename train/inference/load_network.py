"""Open a network to predict with: from a checkpoint of ours, or of Pointcept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from train.core.errors import UserError
from train.data.frame import IN_CHANNELS
from train.data.registry import dataset_spec
from train.data.transforms import ClipRange
from train.networks.protocol import Network
from train.networks.ptv3 import load_pointcept_checkpoint
from train.networks.ptv3.block import CpeInput
from train.networks.weights import load_model

POINTCEPT_GRID_SIZE_M: Final = 0.05  # of the released outdoor networks


@dataclass(frozen=True)
class LoadedNetwork:
    """A network and what one needs to use it.

    Attributes
    ----------
    model
        On the CPU; takes `IN_CHANNELS` input channels.
    class_names
        By train id; None where nobody said.
    grid_size_m
        The voxels' edge in training.
    clip_range_m
        The box that points are moved into before they become voxels, as in training; None: none.
    note
        What to tell the user about how the file was read; may be empty.
    """

    model: Network
    class_names: tuple[str, ...] | None
    grid_size_m: float
    clip_range_m: ClipRange | None = None
    note: str = ""


def open_network(
    path: Path,
    *,
    pointcept_size: str | None = None,
    cpe_input: CpeInput | None = None,
    dataset: str | None = None,
) -> LoadedNetwork:
    """Read a checkpoint.

    Parameters
    ----------
    path
        A file of `train.networks.weights.save_model`, or of Pointcept's trainer.
    pointcept_size
        ``"teacher"`` or ``"student"`` for a file of Pointcept; None for one of ours.
    cpe_input
        For a file of Pointcept, which cannot tell; see `load_pointcept_checkpoint`.
    dataset
        For a file of Pointcept: whose classes it has, if that is known here.

    Raises
    ------
    UserError
        If options and file do not belong together, the file is missing, damaged or of another kind,
        or its network takes other input.
    """
    if pointcept_size is None:
        for flag, value in (("--cpe-input", cpe_input), ("--dataset", dataset)):
            if value is not None:
                raise UserError(
                    f"{flag} is for files of Pointcept (--pointcept-size); our own checkpoints say "
                    "it themselves"
                )
        model: Network
        model, card = load_model(path)
        if len(card.class_names) != card.num_classes:
            raise UserError(
                f"{path}: has {card.num_classes} classes but names {len(card.class_names)}; the "
                "checkpoint was written wrongly"
            )
        network = LoadedNetwork(model, card.class_names, card.grid_size_m, card.clip_range_m)
    else:
        if cpe_input is None:
            raise UserError(
                "--pointcept-size needs --cpe-input: v1.5.1 for released weights, main for newer"
            )
        model, report = load_pointcept_checkpoint(path, size=pointcept_size, cpe_input=cpe_input)
        names = None if dataset is None else dataset_spec(dataset).class_names
        if names is not None and len(names) != model.num_classes:
            raise UserError(
                f"{path}: has {model.num_classes} classes, {dataset} has {len(names)}; choose "
                "another --dataset, or none"
            )
        network = LoadedNetwork(model, names, POINTCEPT_GRID_SIZE_M, note=str(report))
    if model.in_channels != IN_CHANNELS:
        raise UserError(
            f"{path}: takes {model.in_channels} input channels, not {IN_CHANNELS}: x, y, z and "
            "strength; prepare its input yourself and call the network"
        )
    return network

"""Files of weights: networks to deploy, with what is needed to rebuild and use them.

Every file is data, never code: read with `weights_only=True`, written whole or not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from train.core.atomic_write import atomic_write
from train.core.errors import UserError
from train.core.tensor_file import read_tensors
from train.networks.protocol import Network, NetworkSpec
from train.networks.registry import build_network

MODEL_FORMAT = "topodistill-segmentor-1"


@dataclass(frozen=True, kw_only=True)
class ModelMetadata:
    """What a checkpoint's weights are: enough to build the network and to use its output.

    Attributes
    ----------
    network, size, num_classes, in_channels, overrides
        As in `NetworkSpec`.
    dataset
        Whose classes the network knows.
    class_names
        By train id.
    grid_size_m
        The voxels' edge in training.
    clip_range_m
        The box that points are moved into before they become voxels; None for none.
    trained_on
        Names of the sequences that were trained on; empty where that was not recorded.
    """

    size: str
    num_classes: int
    in_channels: int
    overrides: dict[str, Any]
    dataset: str
    class_names: tuple[str, ...]
    grid_size_m: float
    clip_range_m: tuple[float, float, float, float, float, float] | None = None
    network: str = "ptv3"
    trained_on: tuple[str, ...] = ()

    @property
    def spec(self) -> NetworkSpec:
        """What the network is built from."""
        return NetworkSpec(
            self.network, self.size, self.num_classes, self.in_channels, self.overrides
        )


def save_model(model: Network, metadata: ModelMetadata, path: Path) -> None:
    """Write a network's weights with what they are, on the CPU and in float32.

    Raises
    ------
    UserError
        If the file cannot be written; an earlier one is then untouched.
    """
    weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    card = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in vars(metadata).items()
    }
    with atomic_write(path) as unfinished:
        torch.save({"format": MODEL_FORMAT, "card": card, "state_dict": weights}, unfinished)


def load_model(path: Path, **options: Any) -> tuple[Network, ModelMetadata]:
    """Build the network that a checkpoint describes and load its weights.

    Parameters
    ----------
    path
        A file of `save_model`.
    **options
        How to compute, as `build_network` takes them; the weights are the same for all.

    Raises
    ------
    UserError
        If the file is missing, damaged, of another kind, or its weights do not fit its own card.
    """
    content = read_tensors(path, MODEL_FORMAT, "model checkpoint")
    try:
        values = dict(content["card"])
        for name in ("class_names", "trained_on", "clip_range_m"):
            if values.get(name) is not None:
                values[name] = tuple(values[name])
        metadata = ModelMetadata(**values)
        model = build_network(metadata.spec, **options)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: describes a network that this version cannot build: {error}"
        ) from error
    _load_weights(model, content.get("state_dict"), path)
    return model, metadata


def _load_weights(model: Network, weights: object, path: Path) -> None:
    if not isinstance(weights, dict):
        raise UserError(f"{path}: holds no state_dict")
    own = model.state_dict()
    missing = sorted(own.keys() - weights.keys())
    unexpected = sorted(weights.keys() - own.keys())
    reshaped = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & weights.keys())
        if weights[name].shape != own[name].shape
    ]
    problems = [
        f"{len(names)} {kind} (first: {names[0]})"
        for kind, names in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("reshaped", reshaped),
        )
        if names
    ]
    if problems:
        raise UserError(f"{path}: its weights are of another architecture: {', '.join(problems)}")
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(f"{path}: {name} has NaN or infinite entries; train the network again")
    model.load_state_dict(weights)


def load_teacher(
    path: Path, *, wanted: str, in_channels: int, class_names: Sequence[str], **options: Any
) -> tuple[Network, ModelMetadata]:
    """Load a model and check that it is the teacher that a run needs.

    Parameters
    ----------
    path
        A file of `save_model`.
    wanted
        The network it must hold, as "NETWORK:SIZE".
    in_channels, class_names
        Of the data.
    **options
        As for `load_model`.

    Raises
    ------
    UserError
        As `load_model`; also if the network, the input channels or the classes are others.
    """
    model, metadata = load_model(path, **options)
    held = f"{metadata.network}:{metadata.size}"
    if held != wanted:
        raise UserError(
            f"{path}: holds a {held}, but this run needs a {wanted}; choose the pair with --model, "
            f"or say --teacher {held}"
        )
    if metadata.in_channels != in_channels:
        raise UserError(
            f"{path}: takes {metadata.in_channels} input channels, but the data has {in_channels}"
        )
    if metadata.class_names != tuple(class_names):
        raise UserError(
            f"{path}: was trained on the {metadata.num_classes} classes of {metadata.dataset}, "
            "which are not those of this run's dataset"
        )
    return model, metadata

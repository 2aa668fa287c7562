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
from train.networks.ptv3 import Segmentor, build_segmentor
from train.networks.ptv3.attention import AttentionForm
from train.networks.ptv3.conv_backends import ConvBackend

MODEL_FORMAT = "topodistill-segmentor-1"


@dataclass(frozen=True)
class ModelMetadata:
    """What a checkpoint's weights are: enough to build the network and to use its output."""

    size: str
    num_classes: int
    in_channels: int
    overrides: dict[str, Any]
    dataset: str
    class_names: tuple[str, ...]
    grid_size_m: float
    clip_range_m: tuple[float, float, float, float, float, float] | None = None


def save_model(model: Segmentor, card: ModelMetadata, path: Path) -> None:
    """Write a network's weights with its card, on the CPU and in float32."""
    weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    card_values = {
        "size": card.size,
        "num_classes": card.num_classes,
        "in_channels": card.in_channels,
        "overrides": dict(card.overrides),
        "dataset": card.dataset,
        "class_names": list(card.class_names),
        "grid_size_m": card.grid_size_m,
        "clip_range_m": None if card.clip_range_m is None else list(card.clip_range_m),
    }
    with atomic_write(path) as unfinished:
        content = {"format": MODEL_FORMAT, "card": card_values, "state_dict": weights}
        torch.save(content, unfinished)


def load_model(
    path: Path, *, convolution: ConvBackend = "torch", attention: AttentionForm = "sdpa"
) -> tuple[Segmentor, ModelMetadata]:
    """Build the network that a checkpoint describes and load its weights.

    Parameters
    ----------
    path
        A file of `save_model`.
    convolution, attention
        Whose implementations to compute with: the weights are the same for all.

    Raises
    ------
    UserError
        If the file is missing, damaged, of another kind, or its weights do not fit its own card.
    """
    content = read_tensors(path, MODEL_FORMAT, "model checkpoint")
    try:
        values = dict(content["card"])
        values["class_names"] = tuple(values["class_names"])
        if values.get("clip_range_m") is not None:
            values["clip_range_m"] = tuple(values["clip_range_m"])
        card = ModelMetadata(**values)
        model = build_segmentor(
            card.size,
            card.num_classes,
            in_channels=card.in_channels,
            convolution=convolution,
            attention=attention,
            **card.overrides,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: describes a network that this version cannot build: {error}"
        ) from error
    _load_weights(model, content.get("state_dict"), path)
    return model, card


def _load_weights(model: Segmentor, weights: object, path: Path) -> None:
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
            raise UserError(f"{path}: {name} has NaN or infinite entries; train the network anew")
    model.load_state_dict(weights)


def load_teacher(
    path: Path,
    *,
    size: str,
    in_channels: int,
    class_names: Sequence[str],
    convolution: ConvBackend = "torch",
    attention: AttentionForm = "sdpa",
) -> tuple[Segmentor, ModelMetadata]:
    """Load a model and check that it is the teacher this run needs.

    Raises
    ------
    UserError
        As `load_model`; also if the size, the input channels or the classes are others.
    """
    model, card = load_model(path, convolution=convolution, attention=attention)
    if card.size != size:
        raise UserError(
            f"{path}: holds a {card.size}, but this run needs a {size}; "
            "choose the pair with --model"
        )
    if card.in_channels != in_channels:
        raise UserError(
            f"{path}: takes {card.in_channels} input channels, but the data has {in_channels}"
        )
    if card.class_names != tuple(class_names):
        raise UserError(
            f"{path}: was trained on the {card.num_classes} classes of {card.dataset}, "
            "which are not those of this run's dataset"
        )
    return model, card

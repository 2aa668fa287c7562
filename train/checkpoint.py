"""Files of weights: models that one deploys, and training states that a run goes on from.

Every file is data, never code: read with `weights_only=True`, written whole or not at all.
"""

import pickle
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from train.errors import UserError
from train.files import whole_file
from train.model import Segmentor, build_segmentor
from train.model.attention import AttentionForm
from train.model.convolution_choice import ConvolutionForm

MODEL_FORMAT = "topodistill-segmentor-1"
STATE_FORMAT = "topodistill-training-state-1"


@dataclass(frozen=True)
class ModelCard:
    """What a checkpoint's weights are: enough to build the network and to use its output."""

    size: str
    num_classes: int
    in_channels: int
    overrides: dict[str, Any]
    dataset: str
    class_names: tuple[str, ...]
    grid_size_m: float
    clip_range_m: tuple[float, float, float, float, float, float] | None = None


def _read(path: Path, expected_format: str, what: str) -> dict[str, Any]:
    if not path.is_file():
        raise UserError(f"{path}: no such file; give a {what} that an earlier run wrote")
    try:
        with warnings.catch_warnings():
            # About foreign pickles, which are refused below in one line of our own.
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise UserError(
            f"{path}: not readable as a {what} (damaged, or more than plain data: {reason}); "
            "copy it again or write it anew"
        ) from error
    found = content.get("format") if isinstance(content, dict) else None
    if found != expected_format:
        raise UserError(
            f"{path}: not a {what} of this package (its format is {found!r}, expected "
            f"{expected_format!r})"
        )
    return dict(content)


def save_model(model: Segmentor, card: ModelCard, path: Path) -> None:
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
    with whole_file(path) as unfinished:
        content = {"format": MODEL_FORMAT, "card": card_values, "state_dict": weights}
        torch.save(content, unfinished)


def load_model(
    path: Path, *, convolution: ConvolutionForm = "torch", attention: AttentionForm = "sdpa"
) -> tuple[Segmentor, ModelCard]:
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
    content = _read(path, MODEL_FORMAT, "model checkpoint")
    try:
        values = dict(content["card"])
        values["class_names"] = tuple(values["class_names"])
        if values.get("clip_range_m") is not None:
            values["clip_range_m"] = tuple(values["clip_range_m"])
        card = ModelCard(**values)
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
    convolution: ConvolutionForm = "torch",
    attention: AttentionForm = "sdpa",
) -> tuple[Segmentor, ModelCard]:
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


def save_state(state: dict[str, Any], path: Path) -> None:
    """Write a training state; `state` holds tensors and plain values only."""
    with whole_file(path) as unfinished:
        torch.save({"format": STATE_FORMAT, **state}, unfinished)


def load_state(path: Path) -> dict[str, Any]:
    """Read a training state that `save_state` wrote.

    Raises
    ------
    UserError
        If the file is missing, damaged or of another kind.
    """
    return _read(path, STATE_FORMAT, "training state")

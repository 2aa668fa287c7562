"""Files between the steps: clouds with their exact images, and a fitted RipsNet; both say of what.

Shape letters: K clouds, M points of a cloud, C channels, P pixels of an image.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from fast import ImageScale
from train.core import provenance
from train.core.atomic_write import atomic_write, check_writable
from train.core.errors import UserError
from train.core.tensor_file import SAFETENSORS, read_safetensors
from train.methods.topkd.clouds import CloudChoice
from train.methods.topkd.ripsnet import PIXELS, RipsNet

TARGETS_FORMAT: Final = "topodistill-topkd-targets-1"
RIPSNET_FORMAT: Final = "topodistill-topkd-1"

TARGETS_NAME: Final = "topkd-targets.safetensors"
RIPSNET_NAME: Final = "topkd.safetensors"
STATE_NAME: Final = "topkd-fit.pt"
"""How `prepare` calls the files in its folder."""


@dataclass(frozen=True, kw_only=True)
class ImageCard:
    """What images are of: whose clouds, and how a diagram became an image.

    Attributes
    ----------
    choice
        Which points of a frame made a cloud.
    channels
        C: the teacher's width at that stage.
    dims
        Homology dimensions whose diagrams are in the image.
    birth_margin
        See `TopKDConfig.birth_margin`.
    scale
        Weight, bandwidth, ranges and maximum of the images.
    teacher
        Checksum of its weights, `train.networks.weights.checksum`.
    """

    choice: CloudChoice
    channels: int
    dims: tuple[int, ...]
    birth_margin: float
    scale: ImageScale
    teacher: str

    def to_plain(self) -> dict[str, Any]:
        """Return plain values, as JSON has them."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "ImageCard":
        """Return what `to_plain` wrote.

        Raises
        ------
        KeyError, TypeError, ValueError
            If fields are missing, unknown or refused.
        """
        scale: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in values["scale"].items()
        }
        found: dict[str, Any] = dict(values) | {
            "choice": CloudChoice(**values["choice"]),
            "scale": ImageScale(**scale),
            "dims": tuple(values["dims"]),
        }
        return cls(**found)


@dataclass(frozen=True, kw_only=True, eq=False)
class Targets:
    """Clouds and their exact images.

    Attributes
    ----------
    card
        What they are.
    clouds
        (K, M, C) float32.
    images
        (K, P) float32, between 0 and 1.
    """

    card: ImageCard
    clouds: Tensor
    images: Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class ImageMaker:
    """What the method needs: how exact images are made, and a network that predicts them.

    Attributes
    ----------
    card
        What was fitted.
    ripsnet
        Fitted; None where exact images are to be taken.
    losses
        Mean squared error on held-out clouds: of each operator that was tried, and of "constant",
        the mean image of the others.
    """

    card: ImageCard
    ripsnet: RipsNet | None
    losses: Mapping[str, float] = field(default_factory=dict)


def check_output(path: Path) -> None:
    """Refuse a file that cannot be written, before the work; `path` is what --output says.

    Raises
    ------
    UserError
        If the name has another ending, or its folder is not there or not to be written to.
    """
    if path.suffix != SAFETENSORS:
        raise UserError(f"--output {path}: end the name in {SAFETENSORS}")
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: there is no folder {path.parent}; make it first")
    check_writable(path.parent, "--output")


def save_targets(targets: Targets, path: Path) -> None:
    """Write clouds and images, whole or not at all.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    tensors = {"clouds": targets.clouds, "images": targets.images}
    _write(path, tensors, TARGETS_FORMAT, targets.card, {})


def load_targets(path: Path) -> Targets:
    """Read what `save_targets` wrote.

    Raises
    ------
    UserError
        If the file is missing, damaged or of another kind.
    """
    tensors, header = read_safetensors(path, TARGETS_FORMAT, "file of topkd-targets")
    card = _card(path, header)
    clouds, images = tensors.get("clouds"), tensors.get("images")
    if (
        clouds is None
        or images is None
        or clouds.shape != (len(images), card.choice.num_points, card.channels)
        or images.shape[1:] != (PIXELS,)
    ):
        raise UserError(f"{path}: its clouds and images do not fit its header; make it again")
    return Targets(card=card, clouds=clouds, images=images)


def save_maker(maker: ImageMaker, path: Path) -> None:
    """Write a fitted RipsNet, or the scale of exact images alone; whole or not at all.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    ripsnet = maker.ripsnet
    _write(
        path,
        # safetensors has no file without a tensor.
        {"exact": torch.ones(1)} if ripsnet is None else ripsnet.weights(),
        RIPSNET_FORMAT,
        maker.card,
        {
            "operator": None if ripsnet is None else ripsnet.operator,
            "losses": dict(maker.losses),
        },
    )


def load_maker(path: Path) -> ImageMaker:
    """Read what `save_maker` wrote.

    Raises
    ------
    UserError
        If the file is missing, damaged or of another kind.
    """
    tensors, header = read_safetensors(path, RIPSNET_FORMAT, "file of topkd-fit")
    card = _card(path, header)
    try:
        operator, losses = json.loads(header["operator"]), json.loads(header["losses"])
        ripsnet = None
        if operator is not None:
            with torch.random.fork_rng(devices=[]):
                ripsnet = RipsNet(card.channels, operator)
            ripsnet.load_state_dict(tensors)
    except (KeyError, ValueError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:120]
        raise UserError(f"{path}: its weights do not fit its header ({reason})") from error
    if not all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values()):
        raise UserError(f"{path}: its weights are not finite; fit it again")
    return ImageMaker(card=card, ripsnet=ripsnet, losses=losses)


def refuse_other(
    path: Path,
    card: ImageCard,
    *,
    choice: CloudChoice,
    channels: int,
    dims: tuple[int, ...],
    birth_margin: float,
    teacher: str | None = None,
) -> None:
    """Raise a `UserError`, one line, if a file is not for these clouds, images and this teacher.

    Parameters
    ----------
    path, card
        The file, and what it says.
    choice, channels, dims, birth_margin
        What is wanted, as in `ImageCard`.
    teacher
        Its checksum; None where its weights are not known yet.
    """
    flags = {name: f"--method.{name.replace('_', '-')}" for name in vars(choice)}
    pairs: list[tuple[str, object, object]] = [
        ("the teacher's width at its stage", card.channels, channels),
        *((flags[name], getattr(card.choice, name), getattr(choice, name)) for name in flags),
        ("--method.dims", _words(card.dims), _words(dims)),
        ("--method.birth-margin", card.birth_margin, birth_margin),
    ]
    for what, found, wanted in pairs:
        if found != wanted:
            hint = f"give {what} {found}, or " if what.startswith("--") else ""
            raise UserError(
                f"{path}: was made with {what} {found}, and here it is {wanted}; {hint}make the "
                "file again"
            )
    if teacher is not None and card.teacher != teacher:
        raise UserError(
            f"{path}: was made for another teacher ({card.teacher}, this one is {teacher}); give "
            "that one by --teacher-checkpoint, or make the file again"
        )


def _words(dims: tuple[int, ...]) -> str:
    return " ".join(map(str, dims))


def _write(
    path: Path, tensors: Mapping[str, Tensor], kind: str, card: ImageCard, more: Mapping[str, Any]
) -> None:
    from safetensors.torch import save

    header = {
        "format": kind,
        "card": json.dumps(card.to_plain()),
        "made_by": json.dumps({"versions": provenance.versions(), **provenance.commit()}),
        **{name: json.dumps(value) for name, value in more.items()},
    }
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_write(path) as unfinished:
        unfinished.write_bytes(save(plain, metadata=header))


def _card(path: Path, header: Mapping[str, str]) -> ImageCard:
    try:
        return ImageCard.from_plain(json.loads(header["card"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: its header is not one of this version ({error}); make the file again"
        ) from error

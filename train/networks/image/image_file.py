"""Files of image networks: safetensors with a card that says classes, image size and backbone."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from train.core.atomic_write import atomic_write
from train.core.bounded import parse_json
from train.core.errors import UserError
from train.core.tensor_file import misfits, read_safetensors, refuse_not_finite
from train.networks.image.backbones import UNET, build_backbone
from train.networks.image.network import IMAGE_SIZE, ImageNetwork
from train.networks.image.unet import WIDTH

FORMAT: Final = "topodistill-image-network-1"
CARD: Final = "image-network"
"""Where the header has the card, as JSON."""
_WHAT: Final = "file of topodistill train-images"


@dataclass(frozen=True, kw_only=True)
class ImageCard:
    """What an image network is: enough to build it and to use its output.

    Attributes
    ----------
    class_names
        In the order of its logits.
    image_size
        H, W of the images that it was trained on, and is to be given.
    backbone
        A name of `train.networks.image.backbones`.
    width
        Of the U-Net; not used by others.
    dataset
        Whose classes they are.
    trained_on
        What it was trained on, in words.
    scores
        "miou" and others on pairs that were held out.
    """

    class_names: tuple[str, ...]
    image_size: tuple[int, int] = IMAGE_SIZE
    backbone: str = UNET
    width: int = WIDTH
    dataset: str = ""
    trained_on: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)

    def build(self) -> ImageNetwork:
        """Return the network with fresh weights; a published backbone is frozen."""
        backbone = build_backbone(self.backbone, width=self.width)
        return ImageNetwork(backbone, len(self.class_names), frozen_backbone=self.backbone != UNET)


def save_image_network(network: ImageNetwork, card: ImageCard, path: Path) -> None:
    """Write a network with its card, whole or not at all.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    from safetensors.torch import save_file

    tensors = {
        name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()
    }
    header = {"format": FORMAT, CARD: json.dumps(dataclasses.asdict(card))}
    with atomic_write(path) as unfinished:
        save_file(tensors, unfinished, header)


def load_image_network(path: Path) -> tuple[ImageNetwork, ImageCard]:
    """Return a network of `save_image_network`, frozen and in evaluation mode, on the CPU.

    Raises
    ------
    UserError
        If the file is missing, damaged, of another kind, or its weights do not fit its card.
    """
    tensors, header = read_safetensors(path, FORMAT, _WHAT)
    try:
        card = _card(parse_json(header[CARD]))
        # The caller's random numbers are those of a run that loads nothing.
        with torch.random.fork_rng(devices=[]):
            network = card.build()
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: describes an image network that this version cannot build: {error}"
        ) from error
    differing = misfits(network.state_dict(), tensors)
    wrong = [key for keys in differing.values() for key in keys]
    if wrong:
        raise UserError(
            f"{path}: {len(wrong)} of its tensors do not fit its own card (first: {wrong[0]}); "
            "train the network again"
        )
    refuse_not_finite(path, tensors, "train the network again")
    network.load_state_dict(tensors)
    return network.eval().requires_grad_(False), card


def _card(values: Mapping[str, Any]) -> ImageCard:
    """Return a card from plain values."""
    found = dict(values)
    height, width = (int(edge) for edge in found["image_size"])
    found["image_size"] = (height, width)
    found["class_names"] = tuple(str(name) for name in found["class_names"])
    if not found["class_names"] or min(height, width) < 1:
        raise ValueError("no classes, or images without pixels")
    return ImageCard(**found)


def refuse_other_classes(path: Path, card: ImageCard, class_names: Sequence[str]) -> None:
    """Raise a `UserError` if a network's classes are not those of a run, in the same order."""
    ours, theirs = tuple(class_names), card.class_names
    if ours == theirs:
        return
    if len(ours) != len(theirs):
        what = f"has {len(theirs)} classes, the run has {len(ours)}"
    else:
        place = next(
            i for i, names in enumerate(zip(ours, theirs, strict=True)) if len({*names}) > 1
        )
        what = f"calls class {place} {theirs[place]!r}, the run {ours[place]!r}"
    raise UserError(
        f"{path}: an image network of other classes: it {what}; train one for this dataset "
        "with topodistill train-images"
    )

"""Backbones by name, and those of others from a checkpoint file: known by their keys and shapes.

Understood are state dicts of torchvision's ResNet-18 and ResNet-50 (``conv1.weight``,
``layer1.0.conv1.weight``, ...), of DINOv2's ViT-S/14 and of DINO's ViT-S/16 (``cls_token``,
``blocks.0.attn.qkv.weight``, ...). Nothing is downloaded. The networks are our own and not timm's,
which cannot be imported without torchvision, a package that nothing else here needs.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from train.core.errors import UserError
from train.core.tensor_file import misfits, refuse_not_finite
from train.networks.image.resnet import ResNet
from train.networks.image.unet import WIDTH, UNet
from train.networks.image.vision_transformer import FORMS, VisionTransformer
from train.networks.official.checkpoint import read_content

UNET: Final = "unet"
PUBLISHED: Final = ("resnet18", "resnet50", *FORMS)
"""Backbones whose weights come from a file of others."""

WRAPPERS: Final = ("module.", "backbone.", "teacher.", "encoder.")
"""What training codes put before every key."""
INSIDE: Final = ("state_dict", "model", "teacher", "model_state_dict")
"""Where a file has the state dict, if it is not one itself."""
LEFT_OUT: Final = ("fc.", "head.", "mask_token")
"""Keys of a file that are for its own task."""
COUNTERS: Final = "num_batches_tracked"


def build_backbone(name: str, *, width: int = WIDTH) -> nn.Module:
    """Return a backbone with fresh weights.

    Parameters
    ----------
    name
        "unet", or one of `PUBLISHED`.
    width
        Of the U-Net; the others have their own.

    Raises
    ------
    ValueError
        If there is no such backbone.
    """
    if name == UNET:
        return UNet(width)
    if name in FORMS:
        return VisionTransformer(FORMS[name])
    if name in PUBLISHED:
        return ResNet(int(name.removeprefix("resnet")))
    raise ValueError(
        f"build_backbone: no backbone {name!r}; known: {', '.join((UNET, *PUBLISHED))}"
    )


def read_backbone(path: Path) -> tuple[str, nn.Module]:
    """Return the name and the backbone of a checkpoint of others.

    Raises
    ------
    UserError
        If the file is missing, damaged or holds more than data; or if its keys and shapes are those
        of none of `PUBLISHED`: the line says what the nearest lacks.
    """
    weights = _state(read_content(path), path)
    misfits: dict[str, list[str]] = {}
    for name in PUBLISHED:
        with torch.device("meta"):
            expected = build_backbone(name).state_dict()
        wrong = _differences(expected, weights)
        if not wrong:
            backbone = build_backbone(name)
            # Old files do not count batches, which nothing here reads.
            backbone.load_state_dict(
                {key: weights.get(key, torch.tensor(0)) for key in backbone.state_dict()}
            )
            return name, backbone
        misfits[name] = wrong
    nearest = min(misfits, key=lambda name: len(misfits[name]))
    raise UserError(
        f"{path}: is no backbone that is known here ({', '.join(PUBLISHED)}); of {nearest} "
        f"{len(misfits[nearest])} keys differ, the first: {misfits[nearest][0]}"
    )


def _state(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file, without the prefixes that all of them carry."""
    for name in INSIDE:
        if isinstance(content.get(name), Mapping):
            content = content[name]
            break
    found = {key: value for key, value in content.items() if isinstance(value, Tensor)}
    if not found:
        raise UserError(f"{path}: holds no tensors by name; give a state dict of a backbone")
    changed = True
    while changed:
        changed = False
        for prefix in WRAPPERS:
            if all(key.startswith(prefix) for key in found):
                found = {key.removeprefix(prefix): value for key, value in found.items()}
                changed = True
    kept = {key: value for key, value in found.items() if not key.startswith(LEFT_OUT)}
    refuse_not_finite(path, kept, "copy the file again")
    return kept


def _differences(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """Return in which keys a file differs, a line each."""
    wrong = misfits(expected, found)
    return [
        *(line.replace(" (", " is (", 1) for line in wrong["reshaped"]),
        *(f"{key} is missing" for key in wrong["missing"] if not key.endswith(COUNTERS)),
        *(f"{key} is not known" for key in wrong["unexpected"]),
    ]

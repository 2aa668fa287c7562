"""A folder to share or deploy from: weights as safetensors, what they are, and a model card.

`train.predict.from_pretrained` reads it without a hub; it is laid out as model hubs expect it.
"""

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from train.core import blocks, provenance
from train.core.atomic_write import atomic_write, make_folder
from train.core.errors import UserError
from train.core.provenance import sha256_of
from train.core.tensor_file import TENSORS_SHA256, tensors_sha256
from train.core.user_file import short_name
from train.networks.protocol import Network
from train.networks.weights import (
    FOLDER_CONFIG,
    FOLDER_FORMAT,
    ModelMetadata,
    checksum,
    write_safetensors,
)

CARD: Final = "README.md"
WEIGHTS: Final = "model.safetensors"

_FRONT: Final = """\
---
library_name: topodistill
license: {license}
tags:
- point-cloud
- semantic-segmentation
- lidar
- knowledge-distillation
---"""


def save_pretrained(
    network: Network,
    folder: Path | str,
    *,
    metadata: ModelMetadata,
    data_license: str,
    scores: Mapping[str, Mapping[str, Any]] | None = None,
    made_by: Mapping[str, Any] | None = None,
    weights_name: str = WEIGHTS,
) -> Path:
    """Write a folder with a network's weights, ``config.json`` and a model card, ``README.md``.

    Parameters
    ----------
    network
        Weights are stored as they are, bit for bit, on the CPU.
    folder
        Made if need be; files of these names are replaced, each whole or not at all.
    metadata
        What the network is and what its output means.
    data_license
        A sentence on the terms of the training data. A card without one is not written: whoever
        gets the folder has to know.
    scores
        Name of what was scored -> "miou", "accuracy" (shares of 1), "iou" by class, "frames"; any
        of them may be missing. Empty or None: nobody scored these weights, and the card says so.
    made_by
        How it was made: "command", "commit", "versions" and whatever else is known.
    weights_name
        File name of the weights; ends in ``.safetensors``.

    Returns
    -------
    Path
        The file of weights.

    Raises
    ------
    UserError
        If `data_license` is empty, or a file cannot be written.
    ValueError
        If the name of the weights has another ending or the metadata are another network's.
    """
    folder = Path(folder)
    if not data_license.strip():
        raise UserError(
            f"{folder}: a model card has to say which terms the training data has; give a sentence "
            "as data_license (--data-license)"
        )
    if not weights_name.endswith(".safetensors") or Path(weights_name).name != weights_name:
        raise ValueError(
            f"save_pretrained: weights_name is {weights_name!r}, must be a file name that ends in "
            ".safetensors"
        )
    if (metadata.num_classes, metadata.in_channels) != (network.num_classes, network.in_channels):
        raise ValueError(
            f"save_pretrained: metadata describes {metadata.num_classes} classes and "
            f"{metadata.in_channels} input channels, the network has {network.num_classes} and "
            f"{network.in_channels}; give its own metadata"
        )
    scores, made_by = dict(scores or {}), dict(made_by or {})
    made_by.setdefault("versions", provenance.versions())
    weights = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    make_folder(folder, "--output")
    path = folder / weights_name
    write_safetensors(
        path,
        weights,
        metadata,
        made_by=made_by,
        scores=scores,
        terms=data_license.strip(),
        more={TENSORS_SHA256: tensors_sha256(weights)},
    )
    config = {
        "format": FOLDER_FORMAT,
        "library_name": "topodistill",
        "weights": weights_name,
        "sha256": sha256_of(path),
        "checksum": checksum(network),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "model": metadata.to_plain(),
        "data_license": data_license.strip(),
        "scores": scores,
        "made_by": made_by,
    }
    with atomic_write(folder / FOLDER_CONFIG) as unfinished:
        unfinished.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    with atomic_write(folder / CARD) as unfinished:
        unfinished.write_text(model_card(config, metadata), encoding="utf-8")
    return path


def model_card(config: Mapping[str, Any], metadata: ModelMetadata) -> str:
    """Return the text of a model card.

    Parameters
    ----------
    config
        What goes to ``config.json``.
    metadata
        What the network is.
    """
    clip, simulated = metadata.clip_range_m, metadata.simulated_seed is not None
    # Not the folders of the machine where files of the user's lie.
    dataset = short_name(metadata.dataset)
    network = f"{short_name(metadata.network)}:{metadata.size}"
    title = f"{network}, {dataset}"
    options = ", ".join(f"{name} {value}" for name, value in metadata.overrides.items())
    box = "" if clip is None else f" (points moved into the box {clip[:3]} to {clip[3:]} m)"
    channels = "x, y, z in meters and strength" if metadata.in_channels == 4 else "as trained"
    return blocks.page(
        _FRONT.format(license="mit" if simulated else "other"),
        blocks.heading(f"{title}{' (simulated)' if simulated else ''}", 1),
        f"A LiDAR segmentation network of {config['parameters']:,} parameters. It takes points "
        f"with {metadata.in_channels} channels, {channels}, in voxels of "
        f"{metadata.grid_size_m:g} m{box}.",
        blocks.code(
            "from topodistill import from_pretrained\n\n"
            'network = from_pretrained("PATH OF THIS FOLDER")\n'
            "labels = network.predict(points)  # (N, 4): x, y, z, strength",
            "python",
        ),
        "`topodistill predict --checkpoint FOLDER --input frame.bin --output labels.npy` labels a "
        "cloud.",
        blocks.heading("Data license"),
        config["data_license"],
        blocks.heading("Scores"),
        *_about_scores(config["scores"]),
        blocks.heading("What it is"),
        blocks.bullets(
            [
                f"Network: {network}" + (options and f" ({options})"),
                f"Weights: `{config['weights']}`, checksum {config['checksum']}",
                f"Classes of {dataset}, by train id: "
                + ", ".join(f"{index} {name}" for index, name in enumerate(metadata.class_names)),
                f"Trained on: {_trained_on(metadata)}",
            ]
        ),
        blocks.heading("How it was made"),
        *_how_made(config["made_by"]),
    )


def _trained_on(metadata: ModelMetadata) -> str:
    count = len(metadata.trained_on)
    sequences = f"{count} sequences" if count else "sequences that were not recorded"
    if metadata.simulated_seed is not None:
        return f"{sequences} of simulated scenes, seed {metadata.simulated_seed}"
    return f"{sequences} of {short_name(metadata.dataset)}"


def _about_scores(scores: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    if not scores:
        yield "These weights have not been scored."
        return
    yield (
        "Percent, over every raw point; mIoU is the mean over the classes that occur in the labels "
        "or the predictions."
    )
    for name, values in scores.items():
        frames = f" ({values['frames']} frames)" if "frames" in values else ""
        yield (
            f"On {name}{frames}: mIoU {percent(values.get('miou'))}, accuracy "
            f"{percent(values.get('accuracy'))}."
        )
        if values.get("iou"):
            rows = [(each, percent(iou)) for each, iou in values["iou"].items()]
            yield blocks.table(("class", "IoU"), rows)


def _how_made(made_by: Mapping[str, Any]) -> Iterator[str]:
    rest = dict(made_by)
    command = rest.pop("command", None)
    if command is not None:
        yield blocks.code(str(command))
    yield blocks.bullets(facts(rest))


def facts(made_by: Mapping[str, Any]) -> list[str]:
    """Return what is known of a network's making, for people: "Seed: 3"."""
    return [f"{k.replace('_', ' ').capitalize()}: {words(value)}" for k, value in made_by.items()]


def words(value: object) -> str:
    """Return a plain value, for people."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {words(inner)}" for name, inner in value.items())
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


percent: Final = partial(blocks.percent, missing="-")
"""A share of 1 in percent, for people."""

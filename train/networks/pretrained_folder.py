"""A folder to share or deploy from: weights as safetensors, what they are, and a model card.

`from_pretrained` needs no hub and no network; the folder is laid out as model hubs expect it.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from train.core import provenance
from train.core.atomic_write import atomic_write, make_folder
from train.core.errors import UserError
from train.core.provenance import sha256_of
from train.core.tensor_file import TENSORS_SHA256, tensors_sha256
from train.networks.protocol import Network
from train.networks.weights import (
    FOLDER_CONFIG,
    FOLDER_FORMAT,
    METADATA_KEY,
    MODEL_FORMAT,
    ModelMetadata,
    checksum,
    load_model,
)

CARD: Final = "README.md"
WEIGHTS: Final = "model.safetensors"


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
    from safetensors.torch import save

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
    # Copies: safetensors refuses tensors that share memory.
    weights = {
        name: tensor.detach().cpu().contiguous().clone()
        for name, tensor in network.state_dict().items()
    }
    header = {
        "format": MODEL_FORMAT,
        TENSORS_SHA256: tensors_sha256(weights),
        METADATA_KEY: json.dumps(metadata.to_plain()),
        "made_by": json.dumps(made_by),
        "scores": json.dumps(scores),
        "license": data_license.strip(),
    }
    make_folder(folder, "--output")
    path = folder / weights_name
    with atomic_write(path) as unfinished:
        # Not by its own writer, whose files nobody but their owner may read.
        unfinished.write_bytes(save(weights, metadata=header))
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


def from_pretrained(folder: Path | str, **options: Any) -> tuple[Network, ModelMetadata]:
    """Return the network of a folder of `save_pretrained`, and what it is.

    Parameters
    ----------
    folder
        The folder, or the ``.safetensors`` file in it.
    **options
        How to compute, as `train.networks.registry.build_network` takes them.

    Returns
    -------
    tuple of Network and ModelMetadata
        The network is in evaluation mode, in float32, on the CPU.

    Raises
    ------
    UserError
        If a file is missing or damaged, or the files do not belong together.
    """
    network, metadata = load_model(Path(folder), **options)
    return network.eval(), metadata


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
    title = f"{metadata.network}:{metadata.size}, {metadata.dataset}"
    options = ", ".join(f"{name} {value}" for name, value in metadata.overrides.items())
    lines = [
        "---",
        "library_name: topodistill",
        f"license: {'mit' if simulated else 'other'}",
        "tags:",
        "- point-cloud",
        "- semantic-segmentation",
        "- lidar",
        "- knowledge-distillation",
        "---",
        "",
        f"# {title}{' (simulated)' if simulated else ''}",
        "",
        f"A LiDAR segmentation network of {config['parameters']:,} parameters. It takes points "
        f"with {metadata.in_channels} channels, "
        + ("x, y, z in meters and strength" if metadata.in_channels == 4 else "as trained")
        + f", in voxels of {metadata.grid_size_m:g} m"
        + ("" if clip is None else f" (points moved into the box {clip[:3]} to {clip[3:]} m)")
        + ".",
        "",
        "```python",
        "from topodistill import from_pretrained",
        "",
        'network, metadata = from_pretrained("PATH OF THIS FOLDER")',
        "```",
        "",
        "`topodistill predict --checkpoint FOLDER --input frame.bin --output labels.npy` labels a "
        "cloud.",
        "",
        "## Data license",
        "",
        config["data_license"],
        "",
        "## Scores",
        "",
        *_score_lines(config["scores"]),
        "",
        "## What it is",
        "",
        f"- Network: {metadata.network}:{metadata.size}" + (f" ({options})" if options else ""),
        f"- Weights: `{config['weights']}`, checksum {config['checksum']}",
        f"- Classes of {metadata.dataset}, by train id: "
        + ", ".join(f"{index} {name}" for index, name in enumerate(metadata.class_names)),
        f"- Trained on: {_trained_on(metadata)}",
        "",
        "## How it was made",
        "",
        *_made_lines(config["made_by"]),
    ]
    return "\n".join(lines) + "\n"


def _trained_on(metadata: ModelMetadata) -> str:
    count = len(metadata.trained_on)
    sequences = f"{count} sequences" if count else "sequences that were not recorded"
    if metadata.simulated_seed is not None:
        return f"{sequences} of simulated scenes, seed {metadata.simulated_seed}"
    return f"{sequences} of {metadata.dataset}"


def _score_lines(scores: Mapping[str, Mapping[str, Any]]) -> list[str]:
    if not scores:
        return ["These weights have not been scored."]
    lines = [
        "Percent, over every raw point; mIoU is the mean over the classes that occur in the labels "
        "or the predictions.",
    ]
    for name, values in scores.items():
        frames = f" ({values['frames']} frames)" if "frames" in values else ""
        lines += [
            "",
            f"On {name}{frames}: mIoU {_percent(values.get('miou'))}, accuracy "
            f"{_percent(values.get('accuracy'))}.",
        ]
        if values.get("iou"):
            lines += ["", "| class | IoU |", "| --- | ---: |"]
            lines += [f"| {each} | {_percent(iou)} |" for each, iou in values["iou"].items()]
    return lines


def _made_lines(made_by: Mapping[str, Any]) -> list[str]:
    rest = dict(made_by)
    command = rest.pop("command", None)
    lines = [] if command is None else ["```bash", str(command), "```", ""]
    return lines + [
        f"- {name.replace('_', ' ').capitalize()}: {_words(value)}" for name, value in rest.items()
    ]


def _words(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_words(inner)}" for name, inner in value.items())
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"

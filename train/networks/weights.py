"""Files of weights: networks to deploy, with what is needed to rebuild and use them.

Every file is data, never code: read with `weights_only=True`, or as safetensors; written whole or
not at all.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import torch

from train.core.atomic_write import atomic_write
from train.core.bounded import parse_json, read_json
from train.core.errors import UserError
from train.core.provenance import sha256_of
from train.core.tensor_file import (
    is_safetensors,
    misfits,
    read_safetensors,
    read_tensors,
    refuse_not_finite,
    write_tensors,
)
from train.networks.protocol import Network, NetworkSpec
from train.networks.registry import build_network

MODEL_FORMAT = "topodistill-segmentor-1"
METADATA_KEY: Final = "model"
"""Where the header of a safetensors file has the `ModelMetadata`, as JSON."""
FOLDER_FORMAT: Final = "topodistill-folder-1"
"""What `config.json` in a folder of `train.networks.save_pretrained` calls itself."""
FOLDER_CONFIG: Final = "config.json"


_HUB_NAME: Final = re.compile(r"[\w-][\w.-]*/[\w.-]+")
_WEIGHTS: Final = (".bin", ".pt", ".pth", ".safetensors")
SHIPPED: Final = {"waymo-simulated": "waymo-simulated-ptv3-tiny-teacher.safetensors"}
"""Networks that come with the package: name -> file in `train/networks/pretrained/`."""

_LAYOUT: Final[dict[str, type | tuple[type, ...]]] = {
    "class_map": dict,
    "point_columns": str,
    "strength_scale": (int, float),
    "origin": list,
    "label_type": str,
}
"""Fields of `ModelMetadata.layout`."""

_MOST_CHANNELS: Final = 65_536
_MOST_BLOCKS: Final = 512
"""More than any network has; a card that asks for more is damaged, and would fill the memory."""


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
    layout
        How the files of training lay on disk where the dataset does not say it itself (frames of
        one's own): `point_columns`, `strength_scale`, `origin`, `label_type`, and `class_map` as
        `ClassMap.to_plain` has it. Files of the network's input are read so.
    simulated_seed
        Seed of the simulated scenes that were trained on: scenes of other seeds have the same
        names. None for recorded frames, and where it was not recorded.
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
    simulated_seed: int | None = None
    layout: dict[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> NetworkSpec:
        """What the network is built from."""
        return NetworkSpec(
            self.network, self.size, self.num_classes, self.in_channels, self.overrides
        )

    def to_plain(self) -> dict[str, Any]:
        """Return the fields as plain values, as JSON has them."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in vars(self).items()
        }

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> "ModelMetadata":
        """Return what `to_plain` wrote.

        Raises
        ------
        TypeError
            If fields are missing, or unknown to this version.
        ValueError
            If a value is none that its field can have.
        """
        found = dict(values)
        for name in ("class_names", "trained_on", "clip_range_m"):
            if isinstance(found.get(name), list):
                found[name] = tuple(found[name])
        made = cls(**found)
        made._check()
        return made

    def _check(self) -> None:
        """Refuse values that a damaged or foreign card may have."""
        names, clip = self.class_names, self.clip_range_m
        is_clip = clip is None or (
            isinstance(clip, tuple)
            and len(clip) == 6
            and all(map(_is_number, clip))
            and all(low < high for low, high in zip(clip[:3], clip[3:], strict=True))
        )
        grid, seed = self.grid_size_m, self.simulated_seed
        for name, good, wanted in (
            ("network", isinstance(self.network, str), "a name"),
            ("size", isinstance(self.size, str), "a name"),
            ("dataset", isinstance(self.dataset, str), "a name"),
            ("num_classes", _is_width(self.num_classes), f"1 to {_MOST_CHANNELS}"),
            ("in_channels", _is_width(self.in_channels), f"1 to {_MOST_CHANNELS}"),
            ("overrides", isinstance(self.overrides, dict), "options by name"),
            ("class_names", _are_names(names), "a list of names"),
            ("trained_on", _are_names(self.trained_on), "a list of names"),
            ("grid_size_m", _is_number(grid) and grid > 0, "a positive number of meters"),
            ("clip_range_m", is_clip, "null or six numbers, x y z of two opposite corners"),
            ("layout", _is_layout(self.layout), "how files lie on disk, by name"),
            ("simulated_seed", seed is None or type(seed) is int, "null or a whole number"),
        ):
            if not good:
                raise ValueError(
                    f"{name} is {_short(getattr(self, name))}, must be {wanted}; copy or write "
                    "the file again"
                )
        for name, value in self.overrides.items():
            depths = isinstance(value, list | tuple) and "depths" in str(name)
            if depths and sum(each for each in value if _is_number(each)) > _MOST_BLOCKS:
                raise ValueError(
                    f"{name} is {_short(value)}, must be {_MOST_BLOCKS} blocks at most; copy or "
                    "write the file again"
                )
            numbers = value if isinstance(value, list | tuple) else [value]
            if any(_is_number(each) and each > _MOST_CHANNELS for each in numbers):
                raise ValueError(
                    f"{name} is {_short(value)}, must be {_MOST_CHANNELS} at most; copy or write "
                    "the file again"
                )


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e15  # which NaN is not


def _is_layout(value: object) -> bool:
    if not isinstance(value, dict) or not value.keys() <= _LAYOUT.keys():
        return False
    scale, origin = value.get("strength_scale", 1), value.get("origin", [0, 0, 0])
    return (
        all(isinstance(value[name], _LAYOUT[name]) for name in value)
        and _is_number(scale)
        and scale > 0
        and len(origin) == 3
        and all(map(_is_number, origin))
    )


def _is_width(value: object) -> bool:
    return type(value) is int and 1 <= value <= _MOST_CHANNELS


def _are_names(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) for name in value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def save_model(model: Network, metadata: ModelMetadata, path: Path) -> None:
    """Write a network's weights with what they are, on the CPU and in float32.

    Raises
    ------
    UserError
        If the file cannot be written; an earlier one is then untouched.
    """
    weights = {name: tensor.detach().cpu() for name, tensor in model.state_dict().items()}
    content = {"format": MODEL_FORMAT, "card": metadata.to_plain(), "state_dict": weights}
    write_tensors(content, path)


def write_safetensors(
    path: Path,
    weights: Mapping[str, torch.Tensor],
    metadata: ModelMetadata,
    *,
    made_by: Mapping[str, Any],
    scores: Mapping[str, Any],
    terms: str,
    more: Mapping[str, str] | None = None,
) -> None:
    """Write weights as they are, with what they are in the header, whole or not at all.

    `made_by`, `scores` and `terms` (the license) are plain values; `more` are further texts.

    Raises
    ------
    UserError
        If the file cannot be written.
    """
    from safetensors.torch import save

    header = {
        "format": MODEL_FORMAT,
        **(more or {}),
        METADATA_KEY: json.dumps(metadata.to_plain()),
        "made_by": json.dumps(dict(made_by)),
        "scores": json.dumps(dict(scores)),
        "license": terms,
    }
    # Copies: safetensors refuses tensors that share memory.
    copies = {name: tensor.contiguous().clone() for name, tensor in weights.items()}
    with atomic_write(path) as unfinished:
        # Not by its own writer, whose files nobody but their owner may read.
        unfinished.write_bytes(save(copies, metadata=header))


def load_model(path: Path, **options: Any) -> tuple[Network, ModelMetadata]:
    """Build the network that a checkpoint describes and load its weights.

    Parameters
    ----------
    path
        A file of `save_model`, a ``.safetensors`` file of ours, a folder of
        `train.networks.save_pretrained`, or a name of `SHIPPED`.
    **options
        How to compute, as `build_network` takes them; the weights are the same for all.

    Returns
    -------
    tuple of Network and ModelMetadata
        The network has float32 weights, on the CPU, also where the file has float16.

    Raises
    ------
    UserError
        If the file is missing, damaged, of another kind, or its weights do not fit its own card;
        if the files of a folder do not belong together.
    """
    path = weights_file(path)
    content = _read(path)
    try:
        metadata = ModelMetadata.from_plain(content["card"])
        _check_widths(metadata, content.get("state_dict"))
        model = build_network(metadata.spec, **options)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: describes a network that this version cannot build: {error}"
        ) from error
    _load_weights(model, content.get("state_dict"), path)
    return model, metadata


def shipped_file(path: Path) -> Path:
    """Return where a network lies that is given by name; paths of files and folders as they are.

    Names are those of `SHIPPED`, which come with the package, and ``OWNER/NAME`` of the Hugging
    Face hub, whose folder is downloaded once. What exists under the name in the current folder
    comes first.

    Raises
    ------
    UserError
        If a name can only be the hub's, and its package is not installed or does not get it.
    """
    if path.exists():
        return path
    if (name := SHIPPED.get(str(path))) is not None:
        return Path(__file__).parent / "pretrained" / name
    if _HUB_NAME.fullmatch(str(path)) and path.suffix not in _WEIGHTS:
        return _from_hub(path)
    return path


def _from_hub(path: Path) -> Path:
    nothing = f"{path}: no such file or folder"
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(
            f"{nothing}; to take it from the Hugging Face hub: pip install huggingface_hub"
        ) from None
    try:
        kept = snapshot_download(str(path), allow_patterns=[FOLDER_CONFIG, "*.safetensors"])
    except (OSError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())[:200]
        raise UserError(
            f"{nothing}, and the Hugging Face hub gives none of this name ({said}); check the name "
            "and the network, or give a folder that was downloaded"
        ) from error
    return Path(kept)


def weights_file(path: Path) -> Path:
    """Return the file of weights in a folder of `train.networks.save_pretrained`.

    A name of `SHIPPED` gives its file; what else is no folder is returned as it is.

    Raises
    ------
    UserError
        If the folder is none of those, or its ``config.json`` and its weights do not belong
        together.
    """
    folder = path = shipped_file(path)
    if not path.is_dir():
        return path
    config = read_folder_config(folder)
    name = config.get("weights")
    if not isinstance(name, str) or Path(name).name != name or len(name) > 200:
        raise UserError(f"{folder / FOLDER_CONFIG}: names no weights; copy the folder again")
    path = folder / name
    if not path.is_file():
        raise UserError(f"{path}: no such file, but {FOLDER_CONFIG} there names it; copy it too")
    if sha256_of(path) != config.get("sha256"):
        raise UserError(
            f"{path}: is not the file that {FOLDER_CONFIG} beside it was written for (its SHA-256 "
            "differs); keep the files of a folder together, copy both again"
        )
    return path


def read_folder_config(folder: Path) -> dict[str, Any]:
    """Return the ``config.json`` of a folder of `train.networks.save_pretrained`.

    Raises
    ------
    UserError
        If there is none, it is damaged, or it is something else's.
    """
    path = folder / FOLDER_CONFIG
    if not path.is_file():
        raise UserError(
            f"{folder}: has no {FOLDER_CONFIG}, so it is no folder of a network; give the file of "
            "weights, or a folder that topodistill export --format safetensors wrote"
        )
    try:
        config = read_json(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); copy it again") from error
    if not isinstance(config, dict) or config.get("format") != FOLDER_FORMAT:
        inner = "" if not (folder / "student").is_dir() else f"; perhaps {folder / 'student'}"
        raise UserError(
            f"{path}: describes no network of this package (format {FOLDER_FORMAT}); give a folder "
            f"that topodistill export --format safetensors wrote{inner}"
        )
    return config


def _read(path: Path) -> dict[str, Any]:
    """Return a file's "card" and "state_dict", whichever of the two kinds it is."""
    if not is_safetensors(path):
        return read_tensors(path, MODEL_FORMAT, "model checkpoint")
    weights, header = read_safetensors(path, MODEL_FORMAT, "model checkpoint")
    try:
        return {"card": parse_json(header[METADATA_KEY]), "state_dict": weights}
    except (KeyError, ValueError) as error:
        raise UserError(
            f"{path}: its header has no {METADATA_KEY!r}, or a damaged one ({error}); copy or "
            "write it again"
        ) from error


def _check_widths(metadata: ModelMetadata, weights: object) -> None:
    """Refuse widths that no tensor of the file has, before a network of that width is built."""
    if not isinstance(weights, dict):
        return
    widest = max(
        (
            size
            for value in weights.values()
            if isinstance(value, torch.Tensor)
            for size in value.shape
        ),
        default=0,
    )
    widths = {"num_classes": metadata.num_classes, "in_channels": metadata.in_channels}
    for name, value in {**widths, **metadata.overrides}.items():
        values = value if isinstance(value, list | tuple) else [value]
        if ("channels" in name or name in ("num_classes", "mlp_ratio")) and any(
            type(each) is int and each > max(widest, 1024) for each in values
        ):
            raise ValueError(
                f"{name} is {_short(value)}, but no weight in the file is wider than {widest}; "
                "copy or write the file again"
            )


def _load_weights(model: Network, weights: object, path: Path) -> None:
    if not isinstance(weights, dict) or not all(
        isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in weights.items()
    ):
        raise UserError(f"{path}: holds no state_dict of tensors; copy or write it again")
    problems = [
        f"{len(keys)} {kind} (first: {keys[0]})"
        for kind, keys in misfits(model.state_dict(), weights).items()
        if keys
    ]
    if problems:
        raise UserError(f"{path}: its weights are of another architecture: {', '.join(problems)}")
    refuse_not_finite(path, weights, "train the network again")
    model.load_state_dict(weights)


def load_teacher(
    path: Path, *, wanted: str, in_channels: int, class_names: Sequence[str], **options: Any
) -> tuple[Network, ModelMetadata]:
    """Load a model and check that it is the teacher that a run needs.

    Parameters
    ----------
    path
        As for `load_model`.
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


def checksum(network: Network) -> str:
    """Return 12 hexadecimal digits that stand for a network's weights, wherever they came from."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]

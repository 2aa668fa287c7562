"""Open a network whoever wrote its file: this package, Pointcept or LitePT; and fit its classes."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from train.core.bounded import whole_number
from train.core.errors import UserError
from train.data.dataset_spec import DATASETS, dataset_spec
from train.data.files import read_bytes
from train.data.frame import IN_CHANNELS
from train.data.transforms import ClipRange
from train.networks.official.checkpoint import Form, is_ours, official_file, read_content
from train.networks.official.identify import identify, load_state
from train.networks.protocol import Network, NetworkSpec
from train.networks.weights import ModelMetadata, load_model, shipped_file


def read_class_names(classes: str) -> tuple[str, ...]:
    """Return names of classes: a dataset's, or those that a file lists.

    Parameters
    ----------
    classes
        A name that the dataset registry knows, or the path of a text file with one name per line,
        or of a YAML list (``- car`` per line, or ``[car, truck]``) or map (``0: car``), in the
        order of the network's outputs; ``#`` begins a comment.

    Raises
    ------
    UserError
        If there is no such dataset or file, it lists nothing, a number is out of order, or two
        names are equal.
    """
    if classes in DATASETS:
        return tuple(dataset_spec(classes).class_names)
    path = Path(classes)
    hint = (
        f"give a file that lists the names of the classes, or one of {', '.join(sorted(DATASETS))}"
    )
    try:
        text = read_bytes(path, hint=hint).decode()
    except UnicodeDecodeError as error:
        raise UserError(f"{classes}: cannot be read (no text file); {hint}") from error
    names: list[str] = []
    content = re.sub(r"(^|\s)#.*", "", text, flags=re.MULTILINE).strip()
    is_flow = content.startswith("[") and content.endswith("]")
    lines = content[1:-1].split(",") if is_flow else content.splitlines()
    for number, line in enumerate(lines, start=1):
        entry = line.strip().removeprefix("- ").strip()
        found = re.fullmatch(r"(\d+)\s*:\s*(.+)", entry)
        if found is not None:
            if whole_number(found[1]) != len(names):
                raise UserError(
                    f"{classes}: line {number} gives class {found[1]} where class {len(names)} is "
                    "expected; number the network's outputs from 0, none left out"
                )
            entry = found[2]
        entry = entry.strip().strip("'\"")
        if entry:
            names.append(entry)
    if not names:
        raise UserError(f"{classes}: lists no class; give one name per line")
    plain = [plain_name(name) for name in names]
    twice = next((name for name in names if plain.count(plain_name(name)) > 1), None)
    if twice is not None:
        raise UserError(f"{classes}: lists {twice} twice; each output has a name of its own")
    return tuple(names)


def plain_name(name: str) -> str:
    """Return a class's name without what spelling alone decides: case, spaces, underscores."""
    return re.sub(r"[\s_]+", "-", name.strip().lower())


POINTCEPT_GRID_SIZE_M: Final = 0.05  # of the released outdoor networks

OFFICIAL_BOXES: Final[dict[tuple[str, str], ClipRange]] = {
    ("ptv3", "waymo"): (-75.2, -75.2, -4.0, 75.2, 75.2, 2.0),
}
"""Network and dataset -> the box of Pointcept's recipe (PointClip); LitePT's has none on Waymo.
Strengths need no change: the readers scale them as Pointcept's do (intensity / 255 on nuScenes,
tanh on Waymo, as they are on SemanticKITTI)."""

UNKNOWN_DATASET: Final = "unknown"


@dataclass(frozen=True)
class OpenedCheckpoint:
    """A network and what its file says of it, or what is known of files of its kind.

    Attributes
    ----------
    model
        On the CPU, float32.
    metadata
        Of a file of others: the grid and box of its recipe; `class_names` are those that the caller
        gave or, without any, of the dataset named; () where nobody knows.
    note
        How a file of others was read, for people; "" for one of ours.
    """

    model: Network
    metadata: ModelMetadata
    note: str = ""

    @property
    def is_ours(self) -> bool:
        """Whether this package wrote the file."""
        return not self.note


def open_checkpoint(
    path: Path,
    *,
    form: Form | None = None,
    classes: str | None = None,
    dataset: str | None = None,
    **options: Any,
) -> OpenedCheckpoint:
    """Read a checkpoint of this package, of Pointcept's PTv3 or of LitePT.

    Parameters
    ----------
    path
        A file (or folder) of `train.networks.weights`, or a file of others: a pickle of tensors and
        plain values with `state_dict`, or safetensors.
    form
        For a PTv3 of Pointcept, which cannot tell: "v1.5.1" or "main".
    classes
        For a file of others: a dataset's name, or a file of `read_class_names`.
    dataset
        For a file of others without `classes`: whose classes it has if it has as many.
    **options
        How to compute, as `build_network` takes them.

    Raises
    ------
    UserError
        If the file is missing, damaged, holds code, or fits no network; if something is missing
        that the file cannot say, or given that it says itself.
    """
    path = shipped_file(path)
    if path.is_dir():
        return _open_ours(path, form, classes, options)
    content = read_content(path)
    if is_ours(content):
        return _open_ours(path, form, classes, options)
    file = official_file(content, path)
    spec = identify(file, form)
    names, source = _class_names(path, spec.num_classes, classes, dataset)
    whose = classes if classes in DATASETS else (dataset if names else None)
    model: Network = load_state(spec, file, **options)
    metadata = ModelMetadata(
        network=spec.network,
        size=spec.size,
        num_classes=spec.num_classes,
        in_channels=spec.in_channels,
        overrides=dict(spec.overrides),
        dataset=whose or UNKNOWN_DATASET,
        class_names=names,
        grid_size_m=POINTCEPT_GRID_SIZE_M,
        clip_range_m=OFFICIAL_BOXES.get((spec.network, whose or "")),
    )
    return OpenedCheckpoint(model, metadata, _note(file.path, spec, source, file.best_metric))


def _open_ours(
    path: Path, form: Form | None, classes: str | None, options: dict[str, Any]
) -> OpenedCheckpoint:
    for what, given in (("form", form), ("classes", classes)):
        if given is not None:
            raise UserError(
                f"{path}: is a checkpoint of this package and says its {what} itself; leave out "
                f"the {what} ({given})"
            )
    model, metadata = load_model(path, **options)
    if len(metadata.class_names) != metadata.num_classes:
        raise UserError(
            f"{path}: has {metadata.num_classes} classes but names {len(metadata.class_names)}; "
            "the checkpoint was written wrongly"
        )
    return OpenedCheckpoint(model, metadata)


def _note(path: Path, spec: NetworkSpec, source: str, best_metric: float | None) -> str:
    forms = ", ".join(f"{k}={v}" for k, v in spec.overrides.items() if k in _TOLD)
    inferred = " with widths of its own" if "enc_channels" in spec.overrides else ""
    best = f"; its trainer noted a best mIoU of {100 * best_metric:.1f}" if best_metric else ""
    return (
        f"{path}: {spec.network}:{spec.size}{inferred}, {spec.num_classes} classes ({source})"
        f"{f', {forms}' if forms else ''}; voxels of {POINTCEPT_GRID_SIZE_M:g} m{best}"
    )


_TOLD: Final = ("cpe_input", "depth_rule")


def _class_names(
    path: Path, count: int, classes: str | None, dataset: str | None
) -> tuple[tuple[str, ...], str]:
    """Return a foreign file's class names, () if nobody knows, and where they are from."""
    if classes is None:
        known = () if dataset is None else tuple(dataset_spec(dataset).class_names)
        if len(known) == count:
            return known, f"taken to be those of {dataset}, in its order"
        return (), "names unknown"
    names = read_class_names(classes)
    if len(names) != count:
        raise UserError(
            f"{path}: has {count} classes, but {classes} names {len(names)}; name each of its "
            "classes, in its order"
        )
    return names, f"those of {classes}"


def fit_classes(
    opened: OpenedCheckpoint, wanted: Sequence[str], path: Path, flag: str
) -> tuple[OpenedCheckpoint, str]:
    """Return a network whose logits are those of the wanted classes, and what became of which.

    Parameters
    ----------
    opened
        From `open_checkpoint`; its model is changed if its classes are others.
    wanted
        Names of the data's classes, in the order of train ids.
    path
        The checkpoint, for messages.
    flag
        Where a user names the network's classes, for messages.

    Returns
    -------
    opened : OpenedCheckpoint
        A class that the network does not know gets a logit that is never the largest.
    note : str
        What is known to one side alone; "" if the classes were the wanted ones.

    Raises
    ------
    UserError
        If the names are unknown, or none of them is wanted.
    """
    have, wanted = opened.metadata.class_names, tuple(wanted)
    if have == wanted:
        return opened, ""
    if not have:
        raise UserError(
            f"{path}: has {opened.metadata.num_classes} classes, the data has {len(wanted)}; say "
            f"which they are with {flag}: a file with one name per line, in the network's order, "
            f"or one of {', '.join(sorted(DATASETS))}"
        )
    place = {plain_name(name): index for index, name in enumerate(have)}
    columns = [place.get(plain_name(name)) for name in wanted]
    if all(column is None for column in columns):
        raise UserError(
            f"{path}: none of its classes ({_few(have)}) is one of the data's ({_few(wanted)}); "
            f"list them with {flag} under the data's names where they mean the same"
        )
    opened.model.select_classes(columns)
    unknown = [name for name, column in zip(wanted, columns, strict=True) if column is None]
    dropped = [name for index, name in enumerate(have) if index not in columns]
    note = f"{len(wanted) - len(unknown)} of {len(wanted)} classes are known to it by name"
    if unknown:
        note += f"; not known, and taught by labels alone: {', '.join(unknown)}"
    if dropped:
        note += f"; known to it alone, and dropped: {', '.join(dropped)}"
    metadata = replace(
        opened.metadata,
        num_classes=len(wanted),
        class_names=wanted,
        layout={k: value for k, value in opened.metadata.layout.items() if k != "class_map"},
    )
    return OpenedCheckpoint(opened.model, metadata, opened.note), note


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (" .." if len(names) > 5 else "")


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
    layout
        How files lie on disk that are as in training, see `ModelMetadata`.
    """

    model: Network
    class_names: tuple[str, ...] | None
    grid_size_m: float
    clip_range_m: ClipRange | None = None
    note: str = ""
    layout: Mapping[str, Any] = field(default_factory=dict)


def open_network(
    path: Path,
    *,
    form: Form | None = None,
    classes: str | None = None,
    dataset: str | None = None,
) -> LoadedNetwork:
    """Read a checkpoint to predict with.

    Parameters
    ----------
    path, form, classes, dataset
        As for `open_checkpoint`.

    Raises
    ------
    UserError
        As `open_checkpoint`; also if the network takes other input.
    """
    if is_own_checkpoint(path):
        refuse_of_others(path, {"--form": form, "--classes": classes, "--dataset": dataset})
        opened = open_checkpoint(path)
    else:
        opened = open_checkpoint(path, form=form, classes=classes, dataset=dataset)
        if dataset is not None and not opened.metadata.class_names:
            count = len(dataset_spec(dataset).class_names)
            raise UserError(
                f"{path}: has {opened.metadata.num_classes} classes, {dataset} has {count}; choose "
                "another --dataset, or none"
            )
    metadata = opened.metadata
    if metadata.in_channels != IN_CHANNELS:
        raise UserError(
            f"{path}: takes {metadata.in_channels} input channels, not {IN_CHANNELS}: x, y, z and "
            "strength; prepare its input yourself and call the network"
        )
    return LoadedNetwork(
        opened.model,
        metadata.class_names or None,
        metadata.grid_size_m,
        metadata.clip_range_m,
        opened.note,
        metadata.layout,
    )


def refuse_of_others(path: Path, flags: Mapping[str, str | None]) -> None:
    """Refuse flags that say what a checkpoint of this package says itself.

    Raises
    ------
    UserError
        If one of the flags (name -> value) is given.
    """
    for flag, value in flags.items():
        if value is not None:
            raise UserError(
                f"{flag} is for files of Pointcept and LitePT; {path} says it itself; leave it out"
            )


def voxels_of_checkpoint(
    path: Path, *, classes: str | None = None, dataset: str | None = None
) -> tuple[float, ClipRange | None]:
    """Return the voxels' edge and the box that a network was trained with.

    Parameters
    ----------
    path
        As for `open_checkpoint`.
    classes, dataset
        For a file of others: whose classes it has, which tells whose recipe it is of.

    Raises
    ------
    UserError
        If the file cannot be read, or fits no network.
    """
    if is_own_checkpoint(path):
        metadata = load_model(path)[1]
        return metadata.grid_size_m, metadata.clip_range_m
    # The form of a PTv3 changes neither.
    file = official_file(read_content(path), path)
    is_ptv3 = any(".cpe.0.weight" in key for key in file.state)
    network = "ptv3" if is_ptv3 else identify(file).network
    whose = classes if classes in DATASETS else dataset
    return POINTCEPT_GRID_SIZE_M, OFFICIAL_BOXES.get((network, whose or ""))


def is_own_checkpoint(path: Path) -> bool:
    """Return whether this package wrote a file (or folder); False where others did.

    Raises
    ------
    UserError
        If the file is missing, damaged or holds code.
    """
    path = shipped_file(path)
    return path.is_dir() or is_ours(read_content(path))

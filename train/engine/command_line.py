"""The main command's line: presets, changed by flags; help in topics; flags that have moved."""

import argparse
import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_type_hints

import tyro

from train.config import ADDED_LATER, RunConfig, from_json
from train.core.console import logger
from train.core.device import resolve_device
from train.core.errors import UserError
from train.core.provenance import program
from train.data.registry import DATASETS, dataset_spec
from train.evaluation.load_network import voxels_of_checkpoint
from train.methods.registry import METHODS, method_class, option_owners
from train.networks.network_file import is_network_file
from train.networks.registry import PAIRS, parse_network
from train.presets import preset
from train.presets.recipes import RECIPES, find_recipe

TOPICS: Final = {
    "data": ("data",),
    "optim": ("optim",),
    "compute": ("device", "precision", "convolution", "attention", "sync_batch_norm"),
    "scoring": ("evaluate_every", "tta", "submit", "submit_account"),
    "networks": (
        *("teacher", "student", "initial_teacher", "from_scratch"),
        *("teacher_form", "teacher_classes", "teacher_check"),
    ),
}
"""Fields of the run whose options `--help` leaves to `--help TOPIC`, so that each page is short."""

MOVED: Final = {
    "--loss.normalisation": "--method.normalization",
    "--loss.normalization": "--method.normalization",
}
"""Flags of earlier versions whose new name is more than another prefix."""


def parse(arguments: Sequence[str]) -> RunConfig:
    """Return the run that a command line asks for: a preset, changed by the flags.

    With `--resume` the recorded run takes the preset's place, so that flags need not be repeated.

    Raises
    ------
    UserError
        If the dataset is missing or unknown, a flag has moved or belongs to another method, the
        device is not there, or a value is refused.
    SystemExit
        From the flag parser: 0 after --help, 2 for a flag that is not known.
    """
    arguments = list(arguments)
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--dataset")
    first.add_argument("--device", default="auto")
    first.add_argument("--model")
    first.add_argument("--method")
    first.add_argument("--preset")
    first.add_argument("--output", type=Path)
    first.add_argument("--resume", action="store_true")
    first.add_argument("--simulate", action="store_true")
    first.add_argument("--teacher-checkpoint", "--teacher_checkpoint", type=Path)
    first.add_argument("--teacher-classes", "--teacher_classes")
    known, _ = first.parse_known_args(arguments)
    wants_help = bool({"-h", "--help"} & set(arguments))
    if known.dataset is None:
        if not wants_help:
            raise UserError(f"--dataset is missing: choose one of {', '.join(sorted(DATASETS))}")
        known.dataset = min(DATASETS)
        arguments = ["--dataset", known.dataset, *arguments]
        logger.info(
            f"Defaults below are those of --dataset {known.dataset}; known: {', '.join(DATASETS)}"
        )
    dataset_spec(known.dataset)
    _refuse_moved(arguments)
    recorded = None if wants_help else _recorded(known)
    recipe = None if known.preset is None else find_recipe(known.preset)
    if recipe is not None:
        arguments = _without(arguments, "--preset")
        if known.method not in (None, recipe.method):
            raise UserError(
                f"--preset {known.preset} is a setting of --method {recipe.method}, not of "
                f"{known.method}; leave one of them out"
            )
        if recorded is not None:
            raise UserError("--preset: a run that goes on has its options; leave it out")
        known.method = recipe.method
        arguments = ["--method", recipe.method, *_without(arguments, "--method")]
    method = known.method or (recorded or {}).get("method") or "topology-gradient"
    _refuse_options_of_other_methods(arguments, method)
    device = resolve_device(known.device)
    if known.model not in (None, "auto", *PAIRS):
        raise UserError(f"--model {known.model}: choose auto, {' or '.join(PAIRS)}")
    chosen = known.model or (recorded or {}).get("model") or "auto"
    model: Literal["paper", "tiny"]
    if chosen == "auto":
        model = "paper" if device.type == "cuda" else "tiny"
    else:
        model = "paper" if chosen == "paper" else "tiny"
    default = preset(known.dataset, model, method)
    has_twin = method != "none" and method_class(method).needs_labels
    if known.simulate and model == "tiny" and device.type == "cpu" and has_twin:
        default = dataclasses.replace(default, baseline=True)
    if recorded is None and not wants_help and known.teacher_checkpoint is not None:
        default = _with_voxels_of_teacher(default, known, arguments)
    if recipe is not None:
        default = dataclasses.replace(
            default, options=dataclasses.replace(default.options, **recipe.options)
        )
    if recorded is not None:
        default = _as_default(recorded, default, known.output)
    if wants_help:
        _show_help(arguments, default)
    kind = _run_config(type(default.options))
    config: RunConfig = tyro.cli(
        kind,
        default=kind(**{f.name: getattr(default, f.name) for f in dataclasses.fields(default)}),
        args=arguments,
        prog=program("train.run"),
        description="Train a teacher, distill it into a student, score both.",
    )
    plain = {f.name: getattr(config, f.name) for f in dataclasses.fields(RunConfig)}
    for role in ("teacher", "student"):
        if plain[role] is not None and is_network_file(plain[role].rpartition(":")[0]):
            # A path of this folder, which is another one when the run goes on.
            plain[role] = ":".join(parse_network(role, plain[role]))
    return RunConfig(**plain | {"model": model, "method": method, "device": str(device)})


def _with_voxels_of_teacher(
    default: RunConfig, known: argparse.Namespace, arguments: Sequence[str]
) -> RunConfig:
    """Return a run whose voxels are those that a given teacher was trained on.

    Only what no flag sets. A file that cannot be read is left to the run, which says why.
    """
    try:
        voxels = voxels_of_checkpoint(
            known.teacher_checkpoint, classes=known.teacher_classes, dataset=known.dataset
        )
    except UserError:
        return default
    given = {word.split("=")[0].replace("_", "-") for word in arguments}
    wanted: dict[str, Any] = {
        name: value
        for name, value in (("grid_size_m", voxels[0]), ("clip_range_m", voxels[1]))
        if f"--data.{name}".replace("_", "-") not in given and getattr(default.data, name) != value
    }
    if not wanted:
        return default
    told = ", ".join(f"{flag} {value}" for flag, value in _as_flags(wanted))
    logger.info(f"as the teacher was trained: {told}")
    return dataclasses.replace(default, data=dataclasses.replace(default.data, **wanted))


def _as_flags(values: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return fields of the data as flags, a box as its six numbers."""
    return [
        (
            f"--data.{name}".replace("_", "-"),
            " ".join(map(str, value)) if isinstance(value, tuple) else str(value),
        )
        for name, value in values.items()
    ]


def _without(arguments: Sequence[str], flag: str) -> list[str]:
    """Return a command line without a flag and its value."""
    kept: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == flag:
            next(words, None)
        elif not word.startswith(f"{flag}="):
            kept.append(word)
    return kept


def _run_config(options: type[Any]) -> type[Any]:
    """Return `RunConfig` with the options of one method, as flags under ``--method.``."""
    named = Annotated[options, tyro.conf.arg(name="method")]  # type: ignore[valid-type]
    made: type[Any] = dataclasses.make_dataclass(
        "RunConfig",
        [("options", named, field(default_factory=options))],
        bases=(RunConfig,),
        frozen=True,
        kw_only=True,
    )
    return made


def _show_help(arguments: list[str], default: RunConfig) -> None:
    """Show the options of the run and its method, or of one topic, and exit."""
    place = next(i for i, word in enumerate(arguments) if word in ("-h", "--help"))
    topic = arguments[place + 1] if place + 1 < len(arguments) else ""
    kind = _run_config(type(default.options))
    if topic and not topic.startswith("-") and topic not in TOPICS:
        raise UserError(f"--help {topic}: no such topic; choose {', '.join(TOPICS)}, or none")
    shown = TOPICS.get(topic)
    hidden = {
        f.name
        for f in dataclasses.fields(kind)
        if (
            f.name not in shown
            if shown is not None
            else any(f.name in names for names in TOPICS.values())
        )
    }
    hints = get_type_hints(kind, include_extras=True)
    suppress: Any = tyro.conf.Suppress
    kind = dataclasses.make_dataclass(
        "Run",
        [(name, suppress[hints[name]], field()) for name in hidden],
        bases=(kind,),
        frozen=True,
        kw_only=True,
    )
    values = {f.name: getattr(default, f.name) for f in dataclasses.fields(default)}
    tyro.cli(
        kind,
        default=kind(**values),
        args=["--help"],
        prog=program("train.run"),
        description=f"Options of {topic}."
        if shown is not None
        else (
            "Train a teacher, distill it into a student, score both. Options under --method. are "
            f"those of --method {default.method}; known methods: {', '.join(METHODS)}; --preset "
            f"{' or '.join(RECIPES)} is a method with its options set. More "
            f"options: {', '.join(f'--help {name}' for name in TOPICS)}."
        ),
    )


def _refuse_moved(arguments: Sequence[str]) -> None:
    for word in arguments:
        flag = word.split("=")[0].replace("_", "-")
        if flag == "--evaluate-untrained" or flag == "--no-evaluate-untrained":
            raise UserError(f"{flag}: the tiny pair is always scored untrained; leave it out")
        if flag.startswith("--loss."):
            new = MOVED.get(flag, flag.replace("--loss.", "--method."))
            raise UserError(f"{flag} is now {new}")


def _refuse_options_of_other_methods(arguments: Sequence[str], method: str) -> None:
    own = {f.name for f in dataclasses.fields(method_class(method).Config)}
    for word in arguments:
        if not word.startswith("--method."):
            continue
        option = word.split("=")[0].removeprefix("--method.").replace("-", "_")
        owners = option_owners(option)
        if option not in own and owners:
            raise UserError(
                f"--method.{option.replace('_', '-')} is an option of --method "
                f"{' and '.join(owners)}, not of {method}"
            )


def _recorded(known: argparse.Namespace) -> dict[str, Any] | None:
    """Return the options of the run that is to go on, as its config.json has them, if it does."""
    path = (known.output or RunConfig(dataset=known.dataset).resolved_output) / "config.json"
    if not known.resume or not path.is_file():
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["config"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"--resume: {path} is damaged ({error})") from error
    return ADDED_LATER | dict(found)


def _as_default(recorded: dict[str, Any], default: RunConfig, output: Path | None) -> RunConfig:
    """Return the recorded run, so that only flags that are given change it."""
    values = dict(recorded)
    if values.get("method") != default.method:
        values.pop("options", None)  # the comparison of both runs names the method
        values.pop("method", None)
    for name in ("resume", "device", "stage", "submit"):
        values.pop(name, None)
    values["output"] = None if output is None else str(output)
    try:
        return from_json(values, default)
    except UserError as error:
        raise UserError(
            f"--resume: the run was started by another version ({error}); go on with that one, or "
            "start a new --output"
        ) from error

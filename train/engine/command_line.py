"""The main command's line: presets, changed by flags; help in topics."""

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Final, get_type_hints

import tyro

from train.config import DataConfig, RunConfig, from_json
from train.core.bounded import read_json
from train.core.command import parse_options
from train.core.console import logger
from train.core.device import resolve_device
from train.core.errors import UserError
from train.core.provenance import program
from train.core.user_file import whole_name
from train.data.dataset_spec import DATASETS, dataset_spec
from train.methods.registry import METHODS, method_class, option_owners
from train.networks.registry import PAIRS
from train.networks.weights import shipped_file
from train.presets import RECIPES, Recipe, find_recipe, preset

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

_DOES: Final = "Train a teacher, distill it into a student, score both."

_Topic = Annotated[
    str | None,
    tyro.conf.arg(aliases=("-h",)),
    tyro.constructors.PrimitiveConstructorSpec(
        nargs=(0, 1),
        metavar="[TOPIC]",
        instance_from_str=lambda words: "".join(words),
        is_instance=lambda value: value is None or isinstance(value, str),
        str_from_instance=lambda value: [str(value)],
    ),
]


@dataclass(frozen=True, kw_only=True)
class _First:
    """The flags on which the others, their defaults and their help depend."""

    dataset: str | None = None
    device: str = "auto"
    model: str | None = None
    method: str | None = None
    preset: str | None = None
    output: Path | None = None
    resume: bool = False
    simulate: bool = False
    teacher_checkpoint: Path | None = None
    teacher_classes: str | None = None
    help: _Topic = None


def parse(arguments: Sequence[str]) -> RunConfig:
    """Return the run that a command line asks for: a preset, changed by the flags.

    With `--resume` the recorded run takes the preset's place, so that flags need not be repeated.

    Raises
    ------
    UserError
        If the dataset is missing or unknown, a flag is unknown or belongs to another method, the
        device is not there, or a value is refused.
    SystemExit
        With code 0, after --help.
    """
    first, rest = parse_options(
        _First,
        arguments,
        program=program("train.run"),
        description=_DOES,
        add_help=False,
        return_unknown_args=True,
    )
    recorded = _recorded(first)
    chosen = _chosen(first, recorded, "dataset") or _dataset_of_help(first)
    dataset = whole_name("dataset", chosen, "SPEC")
    dataset_spec(dataset)
    method = first.method and whole_name("method", first.method, "CLASS")
    first = replace(first, dataset=dataset, method=method)
    recipe = _recipe(first, recorded)
    method = recipe.method if recipe else _chosen(first, recorded, "method") or "topology-gradient"
    _refuse_options_of_other_methods(rest, method)
    device = resolve_device(first.device)
    model = _model(first, recorded, device.type)
    usual = _default(first, recorded, recipe, preset(dataset, model, method))
    if first.help is not None:
        _show_help(first.help, usual, _model(replace(first, model=None), None, device.type))
    default = usual
    if recorded is None and first.teacher_checkpoint is not None:
        default = replace(usual, data=_with_voxels_of_teacher(usual.data, first))
    config = _with_flags(default, arguments)
    _tell_voxels(usual.data, default.data, config.data)
    return replace(
        config,
        dataset=dataset,
        model=model,
        method=method,
        device=str(device),
        teacher=config.teacher and whole_name("teacher", config.teacher, "FUNCTION"),
        teacher_checkpoint=config.teacher_checkpoint and shipped_file(config.teacher_checkpoint),
        initial_teacher=config.initial_teacher and shipped_file(config.initial_teacher),
        student=config.student and whole_name("student", config.student, "FUNCTION"),
    )


def _dataset_of_help(first: _First) -> str:
    """Return the dataset whose defaults help shows if none is given."""
    if first.help is None:
        raise UserError(f"--dataset is missing: choose one of {', '.join(sorted(DATASETS))}")
    shown = min(DATASETS)
    logger.info(f"Defaults below are those of --dataset {shown}; known: {', '.join(DATASETS)}")
    return shown


def _chosen(first: _First, recorded: Mapping[str, Any] | None, name: str) -> Any:
    return getattr(first, name) or (recorded or {}).get(name)


def _recipe(first: _First, recorded: Mapping[str, Any] | None) -> Recipe | None:
    if first.preset is None:
        return None
    recipe = find_recipe(first.preset)
    if first.method not in (None, recipe.method):
        raise UserError(
            f"--preset {first.preset} is a setting of --method {recipe.method}, not of "
            f"{first.method}; leave one of them out"
        )
    if recorded is not None:
        raise UserError("--preset: a run that goes on has its options; leave it out")
    return recipe


def _model(first: _First, recorded: Mapping[str, Any] | None, device: str) -> Any:
    """Return "paper" or "tiny"."""
    if first.model not in (None, "auto", *PAIRS):
        raise UserError(f"--model {first.model}: choose auto, {' or '.join(PAIRS)}")
    chosen = _chosen(first, recorded, "model") or "auto"
    automatic = "paper" if device == "cuda" else "tiny"
    return automatic if chosen == "auto" else chosen


def _default(
    first: _First, recorded: dict[str, Any] | None, recipe: Recipe | None, default: RunConfig
) -> RunConfig:
    """Return what the run is where no flag says otherwise."""
    if recipe is not None:
        default = replace(default, options=replace(default.options, **recipe.options))
    if recorded is not None:
        return _as_default(recorded, default, first.output)
    has_twin = default.method != "none" and method_class(default.method).needs_labels
    simulated = first.simulate and default.model == "tiny"
    if simulated and has_twin and resolve_device(first.device).type == "cpu":
        return replace(default, baseline=True)
    return default


def _with_voxels_of_teacher(data: DataConfig, first: _First) -> DataConfig:
    """Return the data in the voxels that a given teacher was trained on.

    A file that cannot be read is left to the run, which says why.
    """
    from train.evaluation.load_network import voxels_of_checkpoint  # loads networks: not for --help

    assert first.teacher_checkpoint is not None
    try:
        grid_size_m, clip_range_m = voxels_of_checkpoint(
            first.teacher_checkpoint, classes=first.teacher_classes, dataset=first.dataset
        )
    except UserError:
        return data
    return replace(data, grid_size_m=grid_size_m, clip_range_m=clip_range_m)


def _tell_voxels(usual: DataConfig, of_teacher: DataConfig, taken: DataConfig) -> None:
    """Say which voxels are a given teacher's, other than usual, and changed by no flag."""
    told = []
    for name in ("grid_size_m", "clip_range_m"):
        value = getattr(of_teacher, name)
        if getattr(usual, name) != value == getattr(taken, name):
            words = " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
            told.append(f"--data.{name} {words}".replace("_", "-"))
    if told:
        logger.info(f"as the teacher was trained: {', '.join(told)}")


def _with_flags(default: RunConfig, arguments: Sequence[str]) -> RunConfig:
    kind = _kind(default)
    given = parse_options(
        kind,
        arguments,
        program=program("train.run"),
        description=_DOES,
        default=kind(**_values(default)),
    )
    return RunConfig(**_values(given))


def _values(config: RunConfig) -> dict[str, Any]:
    return {f.name: getattr(config, f.name) for f in dataclasses.fields(RunConfig)}


def _kind(default: RunConfig, hidden: Collection[str] = ()) -> type[Any]:
    """Return `RunConfig` with one method's options under ``--method.``, and with --preset."""
    suppress: Any = tyro.conf.Suppress
    hints = get_type_hints(RunConfig, include_extras=True)
    hints["options"] = Annotated[type(default.options), tyro.conf.arg(name="method")]
    hints["preset"] = str | None
    fields = [
        (name, suppress[hint] if name in hidden else hint, field(default=None))
        for name, hint in hints.items()
        if name in ("options", "preset", *hidden)
    ]
    made: type[Any] = dataclasses.make_dataclass(
        "Run", fields, bases=(RunConfig,), frozen=True, kw_only=True
    )
    return made


def _show_help(topic: str, default: RunConfig, model: str) -> None:
    """Show the options of the run and its method, or of one topic, and exit.

    What was typed is no default: `model` is what this machine takes.
    """
    if topic and topic not in TOPICS:
        raise UserError(f"--help {topic}: no such topic; choose {', '.join(TOPICS)}, or none")
    of_topics = {name for fields in TOPICS.values() for name in fields}
    hidden = _values(default).keys() - TOPICS[topic] if topic else of_topics
    kind = _kind(default, {*hidden, "preset"})
    usual = {"method": RunConfig.method, "model": model}
    if not topic:
        usual["dataset"] = tyro.MISSING  # which may not be hidden
    parse_options(
        kind,
        ["--help"],
        program=program("train.run"),
        description=f"Options of {topic}."
        if topic
        else (
            f"{_DOES} Options under --method. are those of --method {default.method}; known "
            f"methods: {', '.join(METHODS)}; --preset {' or '.join(RECIPES)} is a method with its "
            f"options set. More options: {', '.join(f'--help {name}' for name in TOPICS)}."
        ),
        default=kind(**_values(default) | usual),
    )


def _refuse_options_of_other_methods(words: Sequence[str], method: str) -> None:
    own = {f.name for f in dataclasses.fields(method_class(method).Config)}
    for word in words:
        option = word.split("=")[0].removeprefix("--method.").replace("-", "_")
        owners = option_owners(option) if word.startswith("--method.") else ()
        if option not in own and owners:
            raise UserError(
                f"--method.{option.replace('_', '-')} is an option of --method "
                f"{' and '.join(owners)}, not of {method}"
            )


def _recorded(first: _First) -> dict[str, Any] | None:
    """Return the options of the run that is to go on, as its config.json has them, if it does."""
    output = first.output
    if output is None and first.dataset is not None:
        output = RunConfig(dataset=first.dataset).resolved_output
    if output is None or not first.resume or first.help is not None:
        return None
    path = output / "config.json"
    if not path.is_file():
        return None
    try:
        return dict(read_json(path)["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"--resume: {path} is damaged ({error})") from error


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

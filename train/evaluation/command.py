"""The command that scores a finished checkpoint on any data of its dataset.

python -m train.evaluate --checkpoint runs/semantickitti/student.pt --sequences 08
"""

import dataclasses
import json
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import torch
from tyro.conf import arg

from train.core import provenance
from train.core.atomic_write import atomic_write, check_writable
from train.core.command import Command, Device, Names, or_alone
from train.core.console import logger
from train.core.device import describe_device
from train.core.distributed import (
    first_process_first,
    is_first_process,
    process_device,
    process_group,
)
from train.core.errors import UserError
from train.core.user_file import whole_name
from train.data.batch import BadFrame, SkippedFrames
from train.data.dataset_spec import DATASETS, DatasetSpec, dataset_spec, simulated_seed
from train.data.frame import IN_CHANNELS, FrameSource, Split
from train.data.layout_flags import LayoutFlags
from train.data.loader import EvaluationFrames
from train.evaluation.evaluate import evaluate
from train.evaluation.load_network import (
    fit_classes,
    is_own_checkpoint,
    open_checkpoint,
    refuse_of_others,
)
from train.evaluation.network_pass import TEST_TIME_AUGMENTATIONS, WHEN_IT_HELPS, Precision
from train.evaluation.training_overlap import count_trained
from train.networks.official.checkpoint import Form
from train.networks.protocol import Network
from train.networks.weights import ModelMetadata, load_model

RUN_FILES: Final = ("config.json", "evaluation.json", "metrics.json", "skipped.json")
"""JSON files that a training run writes; scores never replace them."""

EPILOG: Final = """\
examples:
  topodistill evaluate --checkpoint runs/semantickitti/student.pt --data-root data/semantickitti
  topodistill evaluate --checkpoint teacher.pt --sequences 08 09 --tta --output scores.json

The table goes to the standard output; messages go to the standard error stream. The run that the
checkpoint comes from is not touched.
"""


@dataclass(frozen=True, kw_only=True)
class DataFlags(LayoutFlags):
    """How frames are read; the first four are for frames of your own, --dataset kitti-layout."""

    cache_dir: Annotated[Path | None, arg(metavar="DIR", aliases=("--cache-dir",))] = None
    """folder for indices [.topodistill-index in the data root]"""
    # torch warns twice of more than there are cores.
    num_workers: Annotated[int, arg(metavar="N", aliases=("--num-workers",))] = min(
        4, os.cpu_count() or 1
    )
    """processes that read frames; 0 reads in this process"""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_workers < 0:
            raise UserError(f"--data.num-workers is {self.num_workers}: 0 or more processes")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is scored, how, and where the scores go."""

    checkpoint: Annotated[Path, arg(metavar="FILE")]
    """student.pt or teacher.pt of a run, or a checkpoint of Pointcept's PTv3 or LitePT"""
    form: Form | None = None
    """of a PTv3 of Pointcept: v1.5.1 for the released weights, main for newer ones"""
    classes: Annotated[str | None, arg(metavar="FILE")] = None
    """of a checkpoint of others: its classes in its order, one name per line or a YAML list, or a
    dataset's name [those of --dataset, if as many]"""
    dataset: Annotated[
        str | None,
        arg(
            metavar="NAME",
            help=f"the checkpoint's dataset ({', '.join(sorted(DATASETS))}) [what the checkpoint "
            "says]; the frames that a checkpoint of others is scored on",
        ),
    ] = None
    data_root: Annotated[Path | None, arg(metavar="DIR")] = None
    """folder of the dataset, recorded or simulated [data/DATASET]"""
    split: Split | None = None
    """the official split to score [validation]"""
    sequences: Names = ()
    """score these sequences (nuScenes: scenes, Waymo: segments) in place of a split"""
    tta: Annotated[
        str | None,
        or_alone(tuple(TEST_TIME_AUGMENTATIONS), "rotations"),
        arg(
            help="also score the mean of several passes (test-time augmentation), apart from "
            f"single passes; rotations if nothing is said. {WHEN_IT_HELPS}"
        ),
    ] = None
    device: Device = "auto"
    precision: Precision = "fp32"
    """arithmetic of the network"""
    on_bad_frame: Literal["stop", "skip"] = "stop"
    """a frame that cannot be read ends the command, or is left out and listed"""
    output: Annotated[Path | None, arg(metavar="FILE")] = None
    """also write the scores to this .json file"""
    overwrite: bool = False
    """replace an --output that exists"""
    data: DataFlags = field(default_factory=DataFlags)


@dataclass(frozen=True)
class _Data:
    """What is scored: the source, its root, and how it was chosen, for people."""

    source: FrameSource
    root: Path
    chosen: str


def _run(options: Options) -> None:
    """Check all that can be checked, then score, then print and write."""
    if options.split is not None and options.sequences:
        raise UserError("--split and --sequences exclude each other: give one of them")
    _check_output(options.output, options.checkpoint, overwrite=options.overwrite)
    device = process_device(options.device)
    with process_group(device):
        _score(options, device)


def _score(options: Options, device: torch.device) -> None:
    """Score the frames, shared by all processes; the first one prints and writes."""
    model, card = _load(options)
    spec = _dataset_of(options, card)
    with first_process_first():
        data = _open_data(spec, options)
    skipped = SkippedFrames()
    skipped.add(BadFrame(*left_out) for left_out in data.source.unreadable.items())
    overlap = _training_frames(data, card)
    logger.info(
        f"{options.checkpoint}: {card.size}; {len(data.source)} frames of {spec.name}, "
        f"{data.chosen}; {describe_device(device)}, {options.precision}"
    )

    frames = EvaluationFrames(
        data.source,
        card.grid_size_m,
        clip_range_m=card.clip_range_m,
        on_bad_frame=options.on_bad_frame,
    )
    scored = (model.to(device), frames, spec.class_names, spec.benchmark_rule, device)
    reading: dict[str, Any] = {
        "num_workers": options.data.num_workers,
        "skipped": skipped,
        "precision": options.precision,
    }
    scores = evaluate(*scored, title="evaluation", **reading)
    if options.tta is not None:
        title = f"evaluation, {options.tta}"
        scores["tta"] = evaluate(*scored, title=title, augmentation=options.tta, **reading)
    if not is_first_process():
        return
    for line in skipped.lines():
        logger.info(line)
    sys.stdout.write(table(scores))
    if options.output is not None:
        content = {
            "checkpoint": str(options.checkpoint),
            "size": card.size,
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "dataset": spec.name,
            "scored": data.chosen,
            "grid_size_m": card.grid_size_m,
            "precision": options.precision,
            "device": describe_device(device),
            "training_frames_scored": overlap,
            "skipped_frames": skipped.messages,
            **scores,
            "versions": provenance.versions(),
            **provenance.commit(),
        }
        with atomic_write(options.output) as unfinished:
            unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        logger.info(f"wrote {options.output}")


def _load(options: Options) -> tuple[Network, ModelMetadata]:
    """Return the network to score and what it is; one of others gets the dataset's classes."""
    path = options.checkpoint
    if is_own_checkpoint(path):
        refuse_of_others(path, {"--form": options.form, "--classes": options.classes})
        return load_model(path)
    if options.dataset is None:
        raise UserError(
            f"--dataset is missing: {path} is not of this package and does not say which frames "
            "it is for"
        )
    own_classes = options.dataset == "kitti-layout"
    opened = open_checkpoint(
        path,
        form=options.form,
        classes=options.classes,
        dataset=None if own_classes else options.dataset,
    )
    names = tuple(dataset_spec(options.dataset, vars(options.data)).class_names)
    if own_classes and options.classes is None and opened.metadata.num_classes == len(names):
        named = dataclasses.replace(opened.metadata, class_names=names)
        opened = dataclasses.replace(opened, metadata=named)
    opened, note = fit_classes(opened, names, path, "--classes")
    for line in filter(None, (opened.note, note)):
        logger.info(line)
    return opened.model, dataclasses.replace(opened.metadata, dataset=options.dataset)


def _check_output(path: Path | None, checkpoint: Path, *, overwrite: bool) -> None:
    """Refuse a file that cannot be meant or cannot be written, before anything is computed."""
    if path is None:
        return
    if path.suffix != ".json":
        raise UserError(f"--output {path}: end the name in .json")
    if path.is_dir():
        raise UserError(f"--output {path}: is a folder; give a file name")
    if not path.parent.is_dir():
        raise UserError(f"--output {path}: there is no folder {path.parent}; make it first")
    of_run = path.parent.resolve() == checkpoint.parent.resolve() or any(
        (path.parent / name).is_file() for name in ("config.json", "log.jsonl")
    )
    if path.name in RUN_FILES and of_run:
        raise UserError(
            f"--output {path}: is a file of the training run in {path.parent}; give another name"
        )
    if path.exists() and not overwrite:
        raise UserError(f"--output {path}: exists; choose another name, or give --overwrite")
    check_writable(path.parent, "--output")


def _dataset_of(options: Options, card: ModelMetadata) -> DatasetSpec:
    """Return the dataset of a checkpoint, and refuse data that it cannot be scored on.

    Frames of one's own may have the classes of any dataset.
    """
    checkpoint, asked = options.checkpoint, options.dataset
    asked = asked and whole_name("dataset", asked, "SPEC")
    name = asked or card.dataset
    spec = dataset_spec(name, options.data.over(card.layout if name == "kitti-layout" else {}))
    if asked not in (None, card.dataset, "kitti-layout"):
        raise UserError(
            f"--dataset {asked}: {checkpoint} was trained on {card.dataset}; its classes are not "
            f"those of {asked}; leave out --dataset, or give a checkpoint of {asked}"
        )
    if card.class_names != tuple(spec.class_names):
        own = spec.name == "kitti-layout"
        hint = "give its --data.class-map" if own else "train it with this version"
        raise UserError(
            f"{checkpoint}: its {len(card.class_names)} classes are not the "
            f"{len(spec.class_names)} of {spec.name} here; {hint}"
        )
    if card.in_channels != IN_CHANNELS:
        raise UserError(
            f"{checkpoint}: takes {card.in_channels} input channels, but the data has {IN_CHANNELS}"
        )
    return spec


def _open_data(spec: DatasetSpec, options: Options) -> _Data:
    root = options.data_root or Path("data") / spec.name
    split = options.split or "validation"
    source = spec.open(
        root,
        split,
        sequences=tuple(options.sequences),
        cache_dir=options.data.cache_dir,
        strict=options.on_bad_frame == "stop",
    )
    named = f"{spec.sequence_word}s {', '.join(options.sequences)}"
    chosen = named if options.sequences else f"{split} split"
    if source.skipped_unlabeled:
        logger.info(
            f"{root}, {chosen}: {source.skipped_unlabeled} frames without labels are left out"
        )
    return _Data(source, root, chosen)


def _training_frames(data: _Data, card: ModelMetadata) -> int | None:
    """Count the frames that the network was trained on, and warn; None where nobody recorded it."""
    trained_on: tuple[str, ...] = getattr(card, "trained_on", ())
    if not trained_on:
        logger.info(
            "note: the checkpoint does not say what it was trained on; scores on its training "
            "frames would say nothing about others"
        )
        return None
    count = count_trained(
        tuple(data.source.names),
        trained_on,
        trained_seed=card.simulated_seed,
        seed=simulated_seed(data.root),
    )
    if count:
        logger.warning(
            f"warning: the network was trained on {count} of the {len(data.source)} frames; their "
            "scores say nothing about others"
        )
    return count


def table(scores: dict[str, Any]) -> str:
    """Return the scores as lines for people: IoU by class, means, accuracy; percent.

    Parameters
    ----------
    scores
        As `evaluate` returns them; with test-time augmentation also its scores as "tta".
    """
    columns = {"single pass": scores}
    if "tta" in scores:
        columns[scores["tta"]["augmentation"]] = scores["tta"]
    names = list(scores["iou"])
    rows = [(name, [column["iou"][name] for column in columns.values()]) for name in names]
    rows += [
        (title, [column[key] for column in columns.values()])
        for title, key in (
            ("mIoU", "miou"),
            ("mIoU of the benchmark", "benchmark_miou"),
            ("accuracy", "accuracy"),
        )
        if key in scores
    ]
    width = max(len(title) for title, _ in rows)
    lines = [
        f"{scores['frames']} frames, {scores['labeled_points']:,} labeled points; percent",
        " ".join([f"{'class':<{width}}", *(f"{title:>12}" for title in columns)]),
    ]
    for title, values in rows:
        shown = ("-" if value is None else f"{100 * value:.2f}" for value in values)
        lines.append(" ".join([f"{title:<{width}}", *(f"{text:>12}" for text in shown)]))
    return "\n".join(lines) + "\n"


COMMAND: Final = Command(
    "topodistill evaluate",
    Options,
    _run,
    "Score a finished checkpoint, teacher or student, on data of its dataset.",
    epilog=EPILOG,
)
main: Final = COMMAND.main

"""Gathers what a finished run has to say into plain values, from its files, networks and data."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from train.core.errors import UserError
from train.data.dataset_spec import DatasetSpec, dataset_spec
from train.data.frame import FrameSource
from train.engine.run_folder import ROLES
from train.engine.run_log import left_out
from train.networks.protocol import Network
from train.report.frames import PicturedFrame, best_and_worst, picture_frames
from train.report.records import (
    Records,
    curves,
    fit_to_publish,
    gradient_norms_of,
    numbers_of,
    option_text,
    records_of_this_version,
)


@dataclass(frozen=True)
class NetworkScores:
    """A network's scores on the validation frames.

    Attributes
    ----------
    role
        One of `ROLES`.
    parameters
        How many.
    miou, common_miou, accuracy
        In 0..1; `common_miou` is over the classes that most frames have, None for a run of an
        earlier version.
    iou
        By class.
    benchmark_miou
        As the benchmark's own tool takes the mean; None where it was not recorded.
    augmented
        With test-time augmentation, as `metrics.json` has them (`augmentation`, `passes` and
        scores of the same names), or None without.
    confusion
        C lists of C labeled points, rows are the truth; None for a run of an earlier version.
    agreement
        With the teacher's features, as `train.evaluation.agreement.agreement` returns it, or None.
    """

    role: str
    parameters: int
    miou: float | None
    common_miou: float | None
    accuracy: float | None
    iou: Mapping[str, float | None]
    benchmark_miou: float | None = None
    augmented: Mapping[str, Any] | None = None
    confusion: Sequence[Sequence[int]] | None = None
    agreement: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Curve:
    """A number over the steps, or epochs, of a stage."""

    stage: str
    name: str
    steps: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class GradientNorms:
    """The norm of each weighted term's gradient, in the steps that logged it.

    Attributes
    ----------
    stage, terms, steps
        Whose, of what, when.
    norms
        One row per step, in the order of the terms.
    """

    stage: str
    terms: tuple[str, ...]
    steps: tuple[int, ...]
    norms: tuple[tuple[float, ...], ...]

    def shares(self) -> list[list[float]]:
        """Return each row over its sum; zeros where all norms are 0."""
        return [[norm / (sum(row) or 1.0) for norm in row] for row in self.norms]


@dataclass(frozen=True)
class StageTime:
    """Where wall time went.

    Attributes
    ----------
    stage
        A stage of training, or "evaluation".
    seconds
        In all, reading and checkpoints included.
    steps, median_s
        Of the training steps; 0 and None for other stages.
    """

    stage: str
    seconds: float
    steps: int
    median_s: float | None


@dataclass(frozen=True)
class RunReport:
    """All that the page of a run says.

    Attributes
    ----------
    spec
        The dataset.
    simulated
        Whether its frames were.
    settings
        (What, value) to be read, in order.
    command
        That started the run, without the folders of the machine.
    networks
        Those that were scored, in the order of `ROLES`.
    untrained_miou
        The student's before training, or None.
    validation_frames
        How many were scored.
    common_classes
        Those that most frames have; empty for a run of an earlier version.
    losses
        Terms before weighting, and their weighted total, over the steps of each stage.
    validation
        mIoU over epochs, where it was taken during training.
    gradients
        One per stage that logged more than one term; empty where norms were not logged.
    times
        By stage.
    frames
        Those to be drawn.
    notes
        What is missing and why, a sentence each.
    """

    spec: DatasetSpec
    simulated: bool
    settings: tuple[tuple[str, str], ...]
    command: str
    networks: tuple[NetworkScores, ...]
    untrained_miou: float | None
    validation_frames: int
    common_classes: tuple[str, ...]
    losses: tuple[Curve, ...]
    validation: tuple[Curve, ...]
    gradients: tuple[GradientNorms, ...]
    times: tuple[StageTime, ...]
    frames: tuple[PicturedFrame, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def scores_of(self, role: str) -> NetworkScores | None:
        """Return the scores of a network, if it is there."""
        return next((each for each in self.networks if each.role == role), None)


Opened = tuple[FrameSource, Mapping[str, Network]]
"""The validation frames of a run, and its networks by role."""


def gather_report(records: Records, opened: Opened | str) -> RunReport:
    """Return what a finished run has to say.

    Parameters
    ----------
    records
        The run's.
    opened
        Its validation frames and networks; a sentence that says why they are not there leaves the
        pictures of frames out, and is among the notes.

    Raises
    ------
    UserError
        If the run is one of a version that recorded other things.
    """
    with records_of_this_version(records.folder):
        report = _from_records(records)
        data = records.config["config"]["data"]
        shown = best_and_worst(_by_frame(records.evaluation))
        grid_size_m, clip_range_m = data["grid_size_m"], data["clip_range_m"]
    if isinstance(opened, str):
        return dataclasses.replace(report, notes=(*report.notes, opened))
    source, networks = opened
    try:
        missing = set(shown.values()) - set(source.names)
        if missing:
            raise UserError(f"the data has no frame {min(missing)} any more")
        frames = picture_frames(
            shown,
            source,
            {role: networks[role] for role in ROLES if role in networks},
            report.spec,
            grid_size_m=grid_size_m,
            clip_range_m=None if clip_range_m is None else tuple(clip_range_m),
        )
    except UserError as error:
        return dataclasses.replace(report, notes=(*report.notes, f"No frames are drawn: {error}."))
    return dataclasses.replace(report, frames=frames)


def _by_frame(evaluation: Mapping[str, Any]) -> dict[str, float | None]:
    """Return each frame's mIoU of the student, or the teacher alone; empty if not recorded."""
    for role in ("student", "teacher"):
        if role in evaluation:
            return dict(evaluation[role]["by_frame"])
    return {}


def _from_records(records: Records) -> RunReport:
    """Return the report without the frames."""
    metrics, config, steps = records.metrics, records.config, records.steps
    evaluation = records.evaluation
    spec = dataset_spec(metrics["dataset"], config["config"]["data"])
    roles = [role for role in ROLES if role in metrics]
    notes = []
    if not evaluation:
        notes.append(
            "The run was recorded by an earlier version, without confusion counts and scores of "
            "single frames; score it again with --resume --stage evaluate to have them."
        )
    agreements = evaluation.get("agreement", {})
    networks = tuple(
        NetworkScores(
            role=role,
            parameters=metrics[role]["parameters"],
            miou=metrics[role]["miou"],
            common_miou=metrics[role].get("common_miou"),
            accuracy=metrics[role]["accuracy"],
            iou=metrics[role]["iou"],
            benchmark_miou=metrics[role].get("benchmark_miou"),
            augmented=metrics[role].get("tta"),
            confusion=evaluation.get(role, {}).get("confusion"),
            agreement=agreements.get(role),
        )
        for role in roles
    )
    skipped = metrics.get("skipped_frames", {})
    if skipped:
        notes.append(f"{len(skipped)} frames could not be read; skipped.json says which and why.")
    rays = {name: n for step in steps for name, n in step.get("rays_without_return", {}).items()}
    if rays:
        notes.append(f"Trained on: {left_out(rays)}.")
    return RunReport(
        spec=spec,
        simulated=metrics["simulated"],
        settings=_settings(metrics, config),
        command=fit_to_publish(config["command"]),
        networks=networks,
        untrained_miou=metrics.get("student", {}).get("miou_untrained"),
        validation_frames=metrics[roles[0]]["frames"] if roles else 0,
        common_classes=tuple(metrics[roles[0]].get("common_classes", ())) if roles else (),
        losses=tuple(_curve(steps, stage, term) for stage, term in curves(steps)),
        validation=_validation(steps),
        gradients=_gradients(steps),
        times=_times(metrics["seconds"], steps),
        notes=tuple(notes),
    )


def _settings(metrics: Mapping[str, Any], config: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    run = config["config"]
    optim, data = run["optim"], run["data"]
    versions = ", ".join(f"{name} {version}" for name, version in config["versions"].items())
    training = (
        f"{optim['student_epochs']} epochs of the student, {data['batch_size']} frames a step, "
        f"voxels of {data['grid_size_m']} m"
    )
    if "teacher" in metrics["seconds"]:  # a teacher that was given was not trained here
        training = f"{optim['teacher_epochs']} epochs of the teacher, {training}"
    if data["max_voxels"]:
        training += f", crops of {data['max_voxels']:,} voxels"
    known, truth = metrics.get("labeled_frames"), metrics.get("scored_against")
    against = "" if truth is None else f" against {truth}, for want of labels"
    labeled = "" if known is None else f" ({known} with labels)"
    commit = f"{config['commit'] or 'unknown'}{' with local changes' if config['dirty'] else ''}"
    return (
        ("Method", run["method"]),
        ("Networks", f"the {run['model']} pair, {run['precision']}, seed {run['seed']}"),
        (
            "Frames",
            f"{metrics['train_frames']} to train on{labeled}, "
            f"{metrics['validation_frames']} to score on{against}, "
            f"{'simulated' if metrics['simulated'] else 'recorded'}",
        ),
        ("Training", training),
        *((("Teacher", f"from {config['teacher']['from']}"),) if config.get("teacher") else ()),
        ("Device", str(config["device"])),
        ("Versions", f"{versions}; commit {commit}"),
        *((f"--method.{n.replace('_', '-')}", option_text(v)) for n, v in run["options"].items()),
    )


def _curve(steps: Sequence[Mapping[str, Any]], stage: str, name: str) -> Curve:
    logged = numbers_of(steps, stage, name)
    return Curve(stage, name, tuple(logged), tuple(logged.values()))


def _validation(steps: Sequence[Mapping[str, Any]]) -> tuple[Curve, ...]:
    stages = dict.fromkeys(step["stage"] for step in steps if "validation_miou" in step)
    found = (_curve(steps, stage, "validation_miou") for stage in stages)
    return tuple(
        dataclasses.replace(curve, stage=curve.stage.removesuffix(" validation"), name="mIoU")
        for curve in found
        if curve.values
    )


def _gradients(steps: Sequence[Mapping[str, Any]]) -> tuple[GradientNorms, ...]:
    found = []
    for stage in ROLES:
        logged = gradient_norms_of(steps, stage)
        terms = tuple(dict.fromkeys(term for _, norms in logged for term in norms))
        if len(terms) > 1:
            found.append(
                GradientNorms(
                    stage,
                    terms,
                    tuple(step for step, _ in logged),
                    tuple(tuple(norms.get(term, 0.0) for term in terms) for _, norms in logged),
                )
            )
    return tuple(found)


def _times(
    seconds: Mapping[str, float], steps: Sequence[Mapping[str, Any]]
) -> tuple[StageTime, ...]:
    found = []
    for stage, total in seconds.items():
        own = list(numbers_of(steps, stage, "seconds").values()) if stage in ROLES else []
        found.append(StageTime(stage, total, len(own), statistics.median(own) if own else None))
    return tuple(found)

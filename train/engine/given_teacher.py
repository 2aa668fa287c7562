"""The teacher that a run is given: its file read, its classes fitted, its score looked at."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from train.config import RunConfig
from train.core.console import logger
from train.core.device import to_device
from train.core.errors import UserError
from train.core.provenance import sha256_of
from train.data.batch import collate
from train.data.frame import IGNORE_INDEX, IN_CHANNELS, FrameSource
from train.data.loader import EvaluationFrames
from train.evaluation.load_network import OpenedCheckpoint, fit_classes, open_checkpoint
from train.evaluation.network_pass import arithmetic, network_input
from train.networks.protocol import Network
from train.networks.registry import network_name, parse_network
from train.networks.weights import load_model, weights_file

FRAMES: Final = 4
"""Training frames on which a given teacher is scored before it is used."""

TIMES_CHANCE: Final = 2.0
"""A teacher below this many times the mIoU of naming one class everywhere has learned nothing."""


@dataclass(frozen=True)
class GivenTeacher:
    """A teacher from a file.

    Attributes
    ----------
    path
        The file.
    opened
        Network and metadata; its classes are the data's.
    is_foreign
        Whether others wrote the file.
    classes_note
        What is known to one side alone; "" if teacher and data have the same classes.
    """

    path: Path
    opened: OpenedCheckpoint
    is_foreign: bool
    classes_note: str = ""

    @property
    def is_converted(self) -> bool:
        """Whether the file itself is not what the run uses: a copy of ours is."""
        return self.is_foreign or bool(self.classes_note)

    def origin(self) -> dict[str, Any]:
        """Return what config.json says of it."""
        found: dict[str, Any] = {
            "from": "--teacher-checkpoint",
            "file": str(self.path),
            "sha256": sha256_of(weights_file(self.path)),
        }
        return found | ({"converted": "; ".join(self.lines())} if self.is_converted else {})

    def lines(self) -> list[str]:
        """Return what to say of it."""
        told = [f"teacher: {self.opened.note}"] if self.opened.note else []
        return told + ([f"teacher: {self.classes_note}"] if self.classes_note else [])


def named_teacher(
    config: RunConfig,
    class_names: Sequence[str],
    *,
    wanted: bool,
    copy: Path | None,
    **options: Any,
) -> GivenTeacher | None:
    """Return the teacher that a flag names, read and fitted; None where none is named or wanted.

    Parameters
    ----------
    config
        The run's.
    class_names
        Of the data.
    wanted
        Whether the run has a teacher at all.
    copy
        What an earlier start made of the file, which may be gone; None if there is none.
    **options
        How to compute, as `build_network` takes them.

    Raises
    ------
    UserError
        If flags do not go together, or the file cannot be used.
    """
    if config.initial_teacher is not None and config.teacher_checkpoint is not None:
        raise UserError(
            "--initial-teacher: is trained further, and --teacher-checkpoint is taken as it is; "
            "give one of them"
        )
    path = config.teacher_checkpoint or config.initial_teacher
    for flag, value in (
        ("--teacher-form", config.teacher_form),
        ("--teacher-classes", config.teacher_classes),
    ):
        if path is None and value is not None:
            raise UserError(
                f"{flag}: says something of the file of --teacher-checkpoint, which is missing"
            )
    if path is None or not wanted:
        return None
    if copy is not None:
        return GivenTeacher(copy, OpenedCheckpoint(*load_model(copy, **options)), is_foreign=False)
    return open_given_teacher(path, config, class_names, **options)


def open_given_teacher(
    path: Path, config: RunConfig, class_names: Sequence[str], **options: Any
) -> GivenTeacher:
    """Read the file of a teacher and fit its classes to the data's.

    Parameters
    ----------
    path
        The file.
    config
        The run's; `teacher`, if it is given, must be what the file holds.
    class_names
        Of the data.
    **options
        How to compute, as `build_network` takes them.

    Raises
    ------
    UserError
        If the file cannot be used; see `open_checkpoint` and `fit_classes`.
    """
    opened = open_checkpoint(
        path,
        form=config.teacher_form,
        classes=config.teacher_classes,
        dataset=config.dataset,
        **options,
    )
    held = network_name(opened.metadata.spec)
    if config.teacher is not None:
        wanted = ":".join(parse_network("teacher", config.teacher))
        if wanted != held:
            raise UserError(
                f"{path}: holds a {held}, but this run needs a {wanted}; leave out --teacher, or "
                f"say --teacher {held}"
            )
    if opened.metadata.in_channels != IN_CHANNELS:
        raise UserError(
            f"{path}: takes {opened.metadata.in_channels} input channels, but the data has "
            f"{IN_CHANNELS}"
        )
    is_foreign = not opened.is_ours
    fitted, note = fit_classes(opened, class_names, path, "--teacher-classes")
    return GivenTeacher(path, fitted, is_foreign, note)


@dataclass(frozen=True)
class TeacherScore:
    """What a teacher gets right on some frames, at voxels, over the classes that it knows.

    Attributes
    ----------
    frames, voxels
        How many were looked at; voxels with a label of a known class.
    miou, accuracy
        Of the teacher; NaN without such voxels.
    chance_miou, chance_accuracy
        Of naming the most frequent class everywhere.
    most_frequent
        Its train id.
    """

    frames: int
    voxels: int
    miou: float
    accuracy: float
    chance_miou: float
    chance_accuracy: float
    most_frequent: int

    @property
    def is_near_chance(self) -> bool:
        """Whether naming one class everywhere does about as well."""
        if not self.voxels:
            return False
        below = self.miou < TIMES_CHANCE * self.chance_miou and self.chance_accuracy < 1.0
        return below or self.accuracy < self.chance_accuracy

    def line(self, class_names: Sequence[str]) -> str:
        """Return the score for people."""
        if not self.voxels:
            return f"no labeled voxel of a class it knows on {self.frames} training frames"
        return (
            f"mIoU {100 * self.miou:.1f}, accuracy {100 * self.accuracy:.1f} on {self.frames} "
            f"training frames (naming {class_names[self.most_frequent]} everywhere: "
            f"{100 * self.chance_miou:.1f}, {100 * self.chance_accuracy:.1f})"
        )


@torch.no_grad()
def score_teacher(
    teacher: Network,
    source: FrameSource,
    config: RunConfig,
    device: torch.device,
    num_classes: int,
) -> TeacherScore:
    """Score a teacher on an even sample of training frames, whole and not augmented.

    Every process does it alone and finds the same. A frame that cannot be read is left out where
    the run leaves such frames out.

    Parameters
    ----------
    teacher
        On `device`, in evaluation mode.
    source
        Training frames.
    config
        The run's: grid, box, precision.
    device
        Where it runs.
    num_classes
        Of the data.

    Raises
    ------
    UserError
        If a frame cannot be read.
    """
    data = config.data
    frames = EvaluationFrames(source, data.grid_size_m, clip_range_m=data.clip_range_m)
    chosen = sorted({round(at) for at in np.linspace(0, len(source) - 1, FRAMES)})
    known = np.array(teacher.known_classes or (True,) * num_classes)
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    seen = 0
    for index in chosen:
        try:
            frame = frames[index]
        except UserError:
            if config.on_bad_sweep == "stop":
                raise
            continue
        seen += 1
        if frame.segment is None:
            continue
        batch = to_device(network_input(collate([frame])), device)
        with arithmetic(device, config.precision):
            found = teacher(batch).logits.argmax(dim=1).cpu().numpy()
        labeled = frame.segment != IGNORE_INDEX
        labeled[labeled] = known[frame.segment[labeled]]
        pairs = num_classes * frame.segment[labeled] + found[labeled]
        counts += np.bincount(pairs, minlength=num_classes**2).reshape(counts.shape)
    return _score(counts, seen)


def _score(counts: NDArray[np.int64], frames: int) -> TeacherScore:
    """Return the score of a confusion matrix, truth by row."""
    truth, total = counts.sum(axis=1), int(counts.sum())
    if not total:
        return TeacherScore(frames, 0, *(math.nan,) * 4, 0)
    hits = np.diag(counts)
    union = truth + counts.sum(axis=0) - hits
    present = truth > 0
    share = float(truth.max() / total)
    return TeacherScore(
        frames=frames,
        voxels=total,
        miou=float((hits[present] / union[present]).mean()),
        accuracy=float(hits.sum() / total),
        chance_miou=share / int(present.sum()),
        chance_accuracy=share,
        most_frequent=int(truth.argmax()),
    )


def look_at_teacher(
    given: GivenTeacher,
    source: FrameSource,
    config: RunConfig,
    device: torch.device,
    class_names: tuple[str, ...],
) -> None:
    """Score a teacher on some training frames and say so, unless the run is told not to.

    Raises
    ------
    UserError
        As `score_teacher` and `check_teacher_score`.
    """
    if config.teacher_check == "skip":
        return
    teacher = given.opened.model.to(device).eval().requires_grad_(False)
    score = score_teacher(teacher, source, config, device, len(class_names))
    teacher.cpu()  # the run loads its own
    check_teacher_score(score, given, config, class_names)


def check_teacher_score(
    score: TeacherScore, given: GivenTeacher, config: RunConfig, class_names: Sequence[str]
) -> None:
    """Say a teacher's score; near chance warn, or refuse.

    Raises
    ------
    UserError
        If the score is near chance and `config.teacher_check` (or, with "auto", a file of others)
        wants the run to stop.
    """
    logger.info(f"teacher: {score.line(class_names)}")
    if not score.is_near_chance:
        return
    form = config.teacher_form
    other = {"main": "v1.5.1", "v1.5.1": "main"}
    causes = [
        f"--teacher-form (it was {form}: try {other[form]})" if form else "",
        "--teacher-classes (names in the teacher's order)" if given.is_foreign else "",
        f"--data.grid-size-m ({config.data.grid_size_m:g} m here, "
        f"{given.opened.metadata.grid_size_m:g} m in its training)",
        "the scale of strengths and the axes of --data-root's frames (topodistill inspect)",
    ]
    told = (
        f"{given.path}: the teacher does hardly better on the training frames than naming one "
        f"class everywhere; check {', '.join(filter(None, causes))}"
    )
    stops = {"auto": given.is_foreign, "stop": True, "warn": False}[config.teacher_check]
    if stops:
        raise UserError(f"{told}; --teacher-check warn goes on all the same")
    logger.warning(f"warning: {told}")

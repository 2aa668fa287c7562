"""How well a given teacher does on some training frames, before a student learns from it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch

from train.config import RunConfig
from train.core.console import logger
from train.core.device import to_device
from train.core.errors import UserError
from train.core.iou import ClassCounts, count_pairs
from train.data.batch import collate
from train.data.frame import IGNORE_INDEX, FrameSource
from train.data.loader import EvaluationFrames
from train.engine.pair import GivenTeacher
from train.evaluation.network_pass import arithmetic, network_input
from train.networks.protocol import Network

FRAMES: Final = 4
"""Training frames on which a given teacher is scored before it is used."""

TIMES_CHANCE: Final = 2.0
"""A teacher below this many times the mIoU of naming one class everywhere has learned nothing."""


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
            if config.on_bad_frame == "stop":
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
        counts += count_pairs(frame.segment[labeled], found[labeled], num_classes)
    return _score(ClassCounts.of_matrix(counts), seen)


def _score(counts: ClassCounts, frames: int) -> TeacherScore:
    truth, total = counts.true, int(counts.true.sum())
    if not total:
        return TeacherScore(frames, 0, *(math.nan,) * 4, 0)
    present = truth > 0
    share = float(truth.max() / total)
    return TeacherScore(
        frames=frames,
        voxels=total,
        miou=float((counts.right[present] / counts.union[present]).mean()),
        accuracy=counts.accuracy(),
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

"""`--method kd`: cross-entropy and the divergence of the softened logits."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from fast import DistillationLoss
from train.config import MethodConfig, require
from train.data.frame import IGNORE_INDEX
from train.methods.losses import require_finite, segmentation_term
from train.methods.protocol import DistillationMethod
from train.methods.targets import TeacherTargets, geometry_and_targets
from train.methods.terms import LossTerm, TargetChoice
from train.networks.protocol import UNKNOWN_LOGIT, Network


@dataclass(frozen=True, kw_only=True)
class KDConfig(MethodConfig):
    """Softened logits beside the cross-entropy, whose weight is 1."""

    distillation: float = 1.0
    """Weight of the divergence of the softened logits; 0 turns it off."""
    temperature: float = 1.0
    """Temperature of the softened logits."""
    kd_ignore: bool = False
    """Leave points without a label out of the divergence."""

    def __post_init__(self) -> None:
        for name in self.weights:
            value = getattr(self, name)
            require(0 <= value < float("inf"), f"method.{name}", value, "a weight is 0 or above")
        require(
            0 < self.temperature < float("inf"),
            "method.temperature",
            self.temperature,
            "a temperature is above 0",
        )

    @property
    def weights(self) -> tuple[str, ...]:
        """The fields that are weights of terms."""
        return ("distillation",)


class SoftenedLogits(DistillationMethod):
    """G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", 2015."""

    Config = KDConfig
    choice: TargetChoice

    def __init__(
        self,
        config: KDConfig,
        student: Network,
        teacher: Network | None,
        *,
        artifacts: Path | None = None,
    ) -> None:
        super().__init__(config, student, teacher, artifacts=artifacts)
        self.distillation_loss = DistillationLoss(temperature=config.temperature)
        self.choice = TargetChoice()

    @classmethod
    def takes_unlabeled(cls, config: KDConfig) -> bool:
        """Return whether the divergence is there, and over all points."""
        return config.distillation > 0 and not config.kd_ignore

    def forward(
        self, student: Network, teacher: Network | None, batch: Mapping[str, Any]
    ) -> dict[str, LossTerm]:
        """Return cross-entropy and divergence."""
        geometry, targets = geometry_and_targets(student, teacher, batch, self.choice)
        return self.common_terms(student(batch, geometry).logits, targets, batch)

    def common_terms(
        self, logits: Tensor, targets: TeacherTargets, batch: Mapping[str, Any]
    ) -> dict[str, LossTerm]:
        """Return cross-entropy and divergence of a student's logits, one of weight 0 left out."""
        terms = {"segmentation": segmentation_term(logits, batch, self.config.segmentation)}
        if self.config.distillation > 0:
            terms["distillation"] = divergence_term(
                self.distillation_loss, self.config, targets.logits, logits, batch
            )
        return terms


def divergence_term(
    loss: DistillationLoss,
    config: KDConfig,
    teacher_logits: Tensor,
    student_logits: Tensor,
    batch: Mapping[str, Any],
) -> LossTerm:
    """Return the divergence of the softened logits, over all voxels or over the labeled ones.

    Classes that the teacher never learned are left out of both sides.
    """
    unknown = teacher_logits < UNKNOWN_LOGIT / 2
    student_logits = student_logits.masked_fill(unknown, UNKNOWN_LOGIT)
    if not config.kd_ignore:
        value = loss(teacher_logits, student_logits)
        return LossTerm(require_finite("distillation", value), config.distillation, "points")
    labeled = batch["segment"] != IGNORE_INDEX
    if not bool(labeled.any()):
        return LossTerm(student_logits.sum() * 0.0, config.distillation, "labeled")
    value = loss(teacher_logits[labeled], student_logits[labeled])
    return LossTerm(require_finite("distillation", value), config.distillation, "labeled")

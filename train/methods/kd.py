"""`--method kd`: cross-entropy and the divergence of the softened logits."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from fast import kl_distillation
from train.config import MethodConfig
from train.data.frame import IGNORE_INDEX
from train.methods.losses import require_finite, segmentation_term
from train.methods.protocol import DistillationMethod
from train.methods.targets import TeacherTargets, geometry_and_targets
from train.methods.terms import LossTerm, TargetChoice, Unit
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

    weights: ClassVar[tuple[str, ...]] = ("distillation",)
    positive: ClassVar[Mapping[str, str]] = {"temperature": "a temperature is above 0"}


@dataclass(frozen=True, kw_only=True)
class SoftenedLogitsConfig(KDConfig):
    """The same with the temperature that tuning chose, for softened logits without a further term.

    See docs/decisions/0009-rules-of-the-comparison.md.
    """

    temperature: float = 4.0
    """Temperature of the softened logits."""


class SoftenedLogits(DistillationMethod):
    """G. Hinton, O. Vinyals, J. Dean, "Distilling the knowledge in a neural network", 2015."""

    Config: ClassVar[type[MethodConfig]] = SoftenedLogitsConfig
    choice: TargetChoice = TargetChoice()

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
            terms["distillation"] = divergence_term(self.config, targets.logits, logits, batch)
        return terms


def divergence_term(
    config: KDConfig, teacher_logits: Tensor, student_logits: Tensor, batch: Mapping[str, Any]
) -> LossTerm:
    """Return the divergence of the softened logits, over all voxels or over the labeled ones.

    Classes that the teacher never learned are left out of both sides.
    """
    unknown = teacher_logits < UNKNOWN_LOGIT / 2
    theirs, ours = teacher_logits.detach(), student_logits.masked_fill(unknown, UNKNOWN_LOGIT)
    unit: Unit = "points"
    if config.kd_ignore:
        labeled, unit = batch["segment"] != IGNORE_INDEX, "labeled"
        if not bool(labeled.any()):
            return LossTerm(ours.sum() * 0.0, config.distillation, unit)
        theirs, ours = theirs[labeled], ours[labeled]
    value = kl_distillation(theirs, ours, config.temperature)
    return LossTerm(require_finite("distillation", value), config.distillation, unit)

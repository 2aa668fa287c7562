"""Cross-entropy and one term on the logits of a cloud's points: what `dist` and `cwd` share.

Shape letters: N voxels, K classes, n voxels of a cloud.
"""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from train.config import MethodConfig
from train.methods.losses import require_finite, segmentation_term
from train.methods.protocol import DistillationMethod
from train.methods.targets import geometry_and_targets
from train.methods.terms import LossTerm, TargetChoice
from train.networks.protocol import UNKNOWN_LOGIT, Network


@dataclass(frozen=True, kw_only=True)
class LogitTermConfig(MethodConfig):
    """The term's weight beside the cross-entropy, whose weight is 1."""

    distillation: float = 1.0
    """Weight of the term on the logits."""
    temperature: float = 1.0
    """Temperature of the softened logits."""

    positive: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("distillation", "temperature"), "a finite number above 0"
    )


class LogitTerm(DistillationMethod):
    """Cross-entropy and a comparison of logits cloud by cloud; a subclass says which.

    Attributes
    ----------
    name
        Of the term.
    """

    Config = LogitTermConfig
    choice = TargetChoice()
    name: ClassVar[str]

    @classmethod
    def takes_unlabeled(cls, config: LogitTermConfig) -> bool:
        """Return True: a teacher's logits are enough."""
        return config.distillation > 0

    def forward(
        self, student: Network, teacher: Network | None, batch: Mapping[str, Any]
    ) -> dict[str, LossTerm]:
        """Return cross-entropy and the term, a mean over clouds."""
        geometry, targets = geometry_and_targets(student, teacher, batch, self.choice)
        logits = student(batch, geometry).logits
        theirs, ours = comparable(targets.logits, logits)
        begin, values = 0, []
        for end in batch["offset"].tolist():
            values.append(self.compare(theirs[begin:end], ours[begin:end]))
            begin = end
        value = require_finite(self.name, torch.stack(values).mean())
        return {
            "segmentation": segmentation_term(logits, batch, self.config.segmentation),
            self.name: LossTerm(value, self.config.distillation, "clouds"),
        }

    @abstractmethod
    def compare(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return the () term of one cloud, from (n, K) logits of each network."""


def known_classes(teacher: Tensor) -> Tensor:
    """Return (K,) bool: of (N, K) logits of a teacher, the classes that it ever learned."""
    return (teacher > UNKNOWN_LOGIT / 2).all(dim=0)


def comparable(teacher: Tensor, student: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N, K) logits in float32 at least, without classes that the teacher never learned."""
    known = known_classes(teacher)
    theirs, ours = teacher.detach()[:, known], student[:, known]
    return (
        theirs.to(torch.promote_types(theirs.dtype, torch.float32)),
        ours.to(torch.promote_types(ours.dtype, torch.float32)),
    )

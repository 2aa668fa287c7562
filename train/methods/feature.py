"""`--method feature`: softened logits, and a hint: the teacher's own features at a stage.

Shape letters: N_s voxels at a stage, B clouds, C channels (T teacher, S student).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from train.methods.losses import require_finite
from train.methods.stage_term import StageTerm, StageTermConfig
from train.methods.stages import width_adapter
from train.methods.terms import LossTerm
from train.networks.protocol import Network


@dataclass(frozen=True, kw_only=True)
class FeatureConfig(StageTermConfig):
    """The hint beside the divergence and the cross-entropy."""

    feature: float = 1.0
    """Weight of the squared difference of the normalized features."""

    weights: ClassVar[tuple[str, ...]] = ("feature", "distillation")
    own_weight: ClassVar[str] = "feature"


class FeatureHint(StageTerm):
    """A linear map of the student's features is to be the teacher's, voxel by voxel.

    The map is trained with the student, whatever the widths, and is no part of its checkpoint.

    Notes
    -----
    A. Romero et al., "FitNets: Hints for Thin Deep Nets", ICLR 2015, Eq. 3, beside the other terms
    instead of before them, and on normalized features, so that the teacher's scale does not set the
    weight.
    """

    Config = FeatureConfig
    name = "feature"

    def __init__(
        self,
        config: FeatureConfig,
        student: Network,
        teacher: Network | None,
        *,
        artifacts: Path | None = None,
    ) -> None:
        super().__init__(config, student, teacher, artifacts=artifacts)
        assert teacher is not None
        self.adapter = width_adapter(self.stages, student, teacher)

    def term(self, target: Tensor, features: Tensor, offset: Tensor) -> LossTerm:
        """Return the mean over the stage's voxels."""
        del offset
        value = require_finite(self.name, hint_loss(target, self.adapter(features)))
        # A coarser stage has fewer voxels than the batch.
        count = value.new_tensor([float(len(features))])
        return LossTerm(value[None], self.fixed_weight, "points", count=count)


def hint_loss(teacher: Tensor, adapted: Tensor) -> Tensor:
    """Return how far adapted features are from the teacher's.

    Parameters
    ----------
    teacher, adapted
        (N, T), floating point.

    Returns
    -------
    Tensor
        () the mean squared difference over voxels and channels, in float32 at least, between 0 and
        4. Both sides are layer-normalized without scale and shift: each voxel's channels have mean
        0 and variance 1.
    """
    wide = torch.promote_types(adapted.dtype, torch.float32)
    ours, theirs = (
        functional.layer_norm(each.to(wide), each.shape[1:]) for each in (adapted, teacher.detach())
    )
    return functional.mse_loss(ours, theirs)

"""`--method affinity`: softened logits, and cosine similarities between the features of points.

Shape letters: N_s voxels at a stage, B clouds, M samples, C channels (T teacher, S student).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from fast import normalise
from train.methods.losses import require_finite
from train.methods.sampled_points import SampledConfig, SampledTerm
from train.methods.terms import LossTerm


@dataclass(frozen=True, kw_only=True)
class AffinityConfig(SampledConfig):
    """Similarities of sampled points beside the divergence and the cross-entropy."""

    affinity: float = 1.0
    """Weight of the squared difference of the similarities."""

    weights: ClassVar[tuple[str, ...]] = ("affinity", "distillation")
    own_weight: ClassVar[str] = "affinity"


class Affinity(SampledTerm):
    """The similarity of every two sampled points of a cloud is to be the teacher's.

    Notes
    -----
    The pair-wise distillation of Y. Liu et al., "Structured Knowledge Distillation for Semantic
    Segmentation", CVPR 2019, on points. It stands for methods like SRKD (Y. Li et al., "SRKD:
    Towards Efficient 3D Point Cloud Segmentation via Structure- and Relation-aware Knowledge
    Distillation", arXiv 2506.17290, 2025), which align affinity matrices of points for PTv3, and is
    none of them: SRKD's relations between different clouds and its supervoxels are not here.
    """

    Config = AffinityConfig
    name = "affinity"

    def term(self, target: Tensor, features: Tensor, offset: Tensor) -> LossTerm:
        """Return the mean over clouds."""
        clouds = self.sampled_points(target, features, offset)
        value = torch.stack([affinity_loss(*cloud) for cloud in clouds]).mean()
        return LossTerm(require_finite(self.name, value), self.fixed_weight, "clouds")


def affinity_loss(teacher: Tensor, student: Tensor) -> Tensor:
    """Return how far the student's cosine similarities are from the teacher's.

    Parameters
    ----------
    teacher, student
        (M, T) and (M, S), floating point: the same points.

    Returns
    -------
    Tensor
        () the mean of the squared differences over all M^2 pairs, between 0 and 4. A row of zeros
        has similarity 0 to all, and gets no gradient from its length.

    Notes
    -----
    Liu et al., CVPR 2019, the pair-wise loss of Section 3.2.
    """
    with torch.autocast(student.device.type, enabled=False):
        ours, theirs = normalise(student), normalise(teacher.detach())
        return (ours @ ours.mT - theirs @ theirs.mT).square().mean()

"""`--method rkd`: softened logits, and distances and angles between the features of some points.

Shape letters: N_s voxels at a stage, B clouds, M samples, A of them for angles, C channels (T
teacher, S student).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from fast import pairwise_distances
from train.config import require
from train.methods.losses import require_finite
from train.methods.sampled_points import SampledConfig, SampledTerm
from train.methods.terms import LossTerm


@dataclass(frozen=True, kw_only=True)
class RelationalKDConfig(SampledConfig):
    """Relations of sampled points beside the divergence and the cross-entropy."""

    distance: float = 25.0
    """Weight of the distances between two points; with --method.balance, in their sum with the
    angles."""
    angle: float = 50.0
    """Weight of the angles between three points; with --method.balance, in their sum with the
    distances."""
    angle_samples: int = 64
    """Points of a cloud whose angles are compared, the first of the samples: they are as many as
    this number's third power."""

    weights: ClassVar[tuple[str, ...]] = ("distance", "angle", "distillation")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.angle_samples >= 3,
            "method.angle-samples",
            self.angle_samples,
            "an angle has 3 points; --method.angle 0 turns angles off",
        )
        require(
            self.balance == 0 or self.distance + self.angle > 0,
            "method.balance",
            self.balance,
            "there is nothing to balance: give --method.distance or --method.angle above 0",
        )


class RelationalKD(SampledTerm):
    """Relational knowledge distillation of points of a cloud in place of images of a batch.

    The term "relations" is the weighted sum of the two losses, each a mean (the paper has sums)
    over the pairs or triplets of a cloud, and then over clouds.

    Notes
    -----
    W. Park, D. Kim, Y. Lu, M. Cho, "Relational Knowledge Distillation", CVPR 2019. The weights are
    those that it uses beside a cross-entropy; its own features are not normalized, which is
    ``--method.normalization none``.
    """

    Config = RelationalKDConfig
    name = "relations"

    @property
    def fixed_weight(self) -> float:
        """1, for the term's parts have their weights; 0 if they have none."""
        return float(self.config.distance + self.config.angle > 0)

    def term(self, target: Tensor, features: Tensor, offset: Tensor) -> LossTerm:
        """Return the sum of both losses, and each as a statistic."""
        config = self.config
        clouds = self.sampled_points(target, features, offset)
        value, stats = features.new_zeros((), dtype=clouds[0][1].dtype), {}
        if config.distance > 0:
            distances = torch.stack([distance_loss(*cloud) for cloud in clouds]).mean()
            value, stats["distances"] = value + config.distance * distances, distances.detach()
        if config.angle > 0:
            first = [tuple(each[: config.angle_samples] for each in cloud) for cloud in clouds]
            angles = torch.stack([angle_loss(*cloud) for cloud in first]).mean()
            value, stats["angles"] = value + config.angle * angles, angles.detach()
        value = require_finite(self.name, value)
        return LossTerm(value, self.fixed_weight, "clouds", stats=stats)


def distance_loss(teacher: Tensor, student: Tensor) -> Tensor:
    """Return how far the student's distances are from the teacher's, each by their own mean.

    Parameters
    ----------
    teacher, student
        (M, T) and (M, S), floating point: the same points.

    Returns
    -------
    Tensor
        () the mean over pairs of points of the Huber loss of two distances; 0 for a single point.
        Two points in one place send each other no gradient.

    Notes
    -----
    Park et al., CVPR 2019, Eq. 5-8, as a mean.
    """
    pairs = max(1, len(teacher) * (len(teacher) - 1))

    def by_mean(points: Tensor) -> Tensor:
        distances = pairwise_distances(points)
        mean = distances.sum() / pairs  # that of a point to itself adds nothing
        return distances / mean.where(mean > 0, 1.0)

    summed = functional.huber_loss(by_mean(student), by_mean(teacher).detach(), reduction="sum")
    return summed / pairs


def angle_loss(teacher: Tensor, student: Tensor) -> Tensor:
    """Return how far the student's angles are from the teacher's.

    Parameters
    ----------
    teacher, student
        (A, T) and (A, S), floating point: the same points.

    Returns
    -------
    Tensor
        () the mean over triplets of different points of the Huber loss of two cosines; 0 for fewer
        than three points. Where two of them are in one place the cosine counts as 0.

    Notes
    -----
    Park et al., CVPR 2019, Eq. 9-10, as a mean. O(A^2 C + A^3) memory.
    """
    number = len(teacher)
    triplets = max(1, number * (number - 1) * (number - 2))
    # Both sides of these angles end in one point.
    same = torch.eye(number, dtype=torch.bool, device=student.device)

    def cosines(points: Tensor) -> Tensor:
        """Return (A, A, A): at the first, between the sides to the second and to the third."""
        sides = points[None, :, :] - points[:, None, :]
        squares = sides.square().sum(dim=-1)
        units = sides / squares.where(squares > 0, 1.0).sqrt()[..., None]
        return (units @ units.mT).masked_fill(same, 0.0)

    with torch.autocast(student.device.type, enabled=False):
        summed = functional.huber_loss(cosines(student), cosines(teacher).detach(), reduction="sum")
    return summed / triplets

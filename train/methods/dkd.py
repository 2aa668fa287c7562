"""`--method dkd`: softened logits, the true class apart from the others.

Shape letters: n labeled points, K classes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from train.config import MethodConfig
from train.data.frame import IGNORE_INDEX
from train.methods.kd import KDConfig
from train.methods.logit_term import comparable, known_classes
from train.methods.losses import require_finite, segmentation_term
from train.methods.protocol import DistillationMethod
from train.methods.targets import geometry_and_targets, with_known_labels
from train.methods.terms import LossTerm, TargetChoice
from train.networks.protocol import Network


@dataclass(frozen=True, kw_only=True)
class DKDConfig(MethodConfig):
    """Weights and temperature of the paper; the cross-entropy has weight 1."""

    target: float = 1.0
    """Weight of how sure the networks are of the true class (alpha)."""
    others: float = 8.0
    """Weight of how the other classes share what is left (beta)."""
    temperature: float = 4.0
    """Temperature of the softened logits."""
    standardize: bool = False
    """Take each point's logits less their mean, over their standard deviation."""

    weights: ClassVar[tuple[str, ...]] = ("target", "others")
    positive: ClassVar[Mapping[str, str]] = KDConfig.positive


class DKD(DistillationMethod):
    """The divergence of softened logits in two parts with a weight each.

    Notes
    -----
    B. Zhao et al., "Decoupled Knowledge Distillation", CVPR 2022. Standardized logits are those of
    S. Sun et al., "Logit Standardization in Knowledge Distillation", CVPR 2024. Points without a
    label, or of a class that the teacher never learned, have no true class and count for nothing.
    """

    Config = DKDConfig
    choice = TargetChoice()

    def forward(
        self, student: Network, teacher: Network | None, batch: Mapping[str, Any]
    ) -> dict[str, LossTerm]:
        """Return cross-entropy and both parts, means over the labeled points."""
        config = self.config
        geometry, targets = geometry_and_targets(student, teacher, batch, self.choice)
        logits = student(batch, geometry).logits
        theirs, ours, label = labeled_logits(targets.logits, logits, batch)
        if config.standardize:
            theirs, ours = standardized(theirs), standardized(ours)
        parts = decoupled_divergence(theirs, ours, label, config.temperature)
        terms = {"segmentation": segmentation_term(logits, batch, config.segmentation)}
        for name, value in zip(config.weights, parts, strict=True):
            weight = getattr(config, name)
            terms[name] = LossTerm(require_finite(name, value), weight, "labeled")
        return terms


def labeled_logits(
    teacher: Tensor, student: Tensor, batch: Mapping[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return both networks' (n, K) logits of labeled points, and their (n,) classes of the K."""
    theirs, ours = comparable(teacher, student)
    known = known_classes(teacher)
    segment = with_known_labels(batch, tuple(known.tolist()))["segment"]
    labeled = segment != IGNORE_INDEX
    place = known.cumsum(0) - 1
    return theirs[labeled], ours[labeled], place[segment[labeled]]


def standardized(logits: Tensor) -> Tensor:
    """Return (n, K) logits with mean 0 and standard deviation 1 in every row."""
    deviation, mean = torch.std_mean(logits, dim=1, keepdim=True, correction=0)
    return (logits - mean) / (deviation + 1e-7)


def decoupled_divergence(
    teacher: Tensor, student: Tensor, label: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Return the divergence of the true class against the rest, and that among the rest.

    Parameters
    ----------
    teacher, student
        (n, K) logits, floating point, K at least 2.
    label
        (n,) int64 the true class of each.
    temperature
        Of both softmaxes, above 0.

    Returns
    -------
    Tensor, Tensor
        () each, means over points times the squared temperature; 0 where there is no point.

    Notes
    -----
    Zhao et al., CVPR 2022, Eq. 7: TCKD and NCKD. Softened logits weigh the second by the teacher's
    doubt, 1 - p(true class), at each point; here nothing does.
    """
    if len(label) == 0:
        return student.sum() * 0.0, student.sum() * 0.0
    is_true = functional.one_hot(label, teacher.shape[1]).bool()
    theirs, ours = teacher.detach() / temperature, student / temperature
    binary = [_binary_log(each, is_true) for each in (theirs, ours)]
    rest = [each[~is_true].view(len(label), -1).log_softmax(dim=1) for each in (theirs, ours)]
    parts = [(a.exp() * (a - b)).sum(dim=1).mean() for a, b in (binary, rest)]
    return temperature**2 * parts[0], temperature**2 * parts[1]


def _binary_log(logits: Tensor, is_true: Tensor) -> Tensor:
    """Return (n, 2) log probabilities of the true class and of all others together."""
    log = logits.log_softmax(dim=1)
    others = log[~is_true].view(len(log), -1).logsumexp(dim=1)
    return torch.stack([log[is_true], others], dim=1)

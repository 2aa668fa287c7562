"""`--method dist`: Pearson correlation of class probabilities, over classes and over points.

Shape letters: n points of a cloud, K classes.
"""

from dataclasses import dataclass

from torch import Tensor

from train.methods.logit_term import LogitTerm, LogitTermConfig


@dataclass(frozen=True, kw_only=True)
class DISTConfig(LogitTermConfig):
    """Both correlations count alike, as in the paper's segmentation (beta = gamma = 1)."""


class DIST(LogitTerm):
    """The student's probabilities are to be a linear function of the teacher's.

    Notes
    -----
    T. Huang et al., "Knowledge Distillation from A Stronger Teacher", NeurIPS 2022. The relation
    within a class is taken over the points of one cloud; the authors take it over a whole batch.
    """

    Config = DISTConfig
    name = "dist"

    def compare(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return the term of one cloud."""
        return dist_loss(teacher, student, self.config.temperature)


def dist_loss(teacher: Tensor, student: Tensor, temperature: float = 1.0) -> Tensor:
    """Return one minus the correlation, of each point over classes and of each class over points.

    Parameters
    ----------
    teacher, student
        (n, K) logits, floating point.
    temperature
        Of the softmax, above 0.

    Returns
    -------
    Tensor
        () the two means' sum times the squared temperature, between 0 and 4 times that. A row or
        column that is constant in either network has correlation 0.

    Notes
    -----
    Huang et al., NeurIPS 2022, Eq. 7 (inter-class, over classes), Eq. 9 (intra-class).
    """
    theirs = (teacher.detach() / temperature).softmax(dim=1)
    ours = (student / temperature).softmax(dim=1)
    over_classes = 1 - _correlation(theirs, ours).mean()
    over_points = 1 - _correlation(theirs.mT, ours.mT).mean()
    return temperature**2 * (over_classes + over_points)


def _correlation(one: Tensor, other: Tensor) -> Tensor:
    """Return Pearson's correlation of the rows."""
    one = one - one.mean(dim=1, keepdim=True)
    other = other - other.mean(dim=1, keepdim=True)
    # Rows whose deviations are lost in rounding are constant: no direction, no gradient.
    scale = (one.square().sum(1) * other.square().sum(1)).clamp(min=1e-16).sqrt()
    return (one * other).sum(1) / scale

"""`--method cwd`: where in a cloud each class is most likely, matched class by class.

Shape letters: n points of a cloud, K classes.
"""

from dataclasses import dataclass

from torch import Tensor

from train.methods.logit_term import LogitTerm, LogitTermConfig


@dataclass(frozen=True, kw_only=True)
class CWDConfig(LogitTermConfig):
    """Weight and temperature of the paper's experiments on logits."""

    distillation: float = 3.0
    """Weight of the term on the logits."""
    temperature: float = 4.0
    """Temperature of the softened logits."""


class CWD(LogitTerm):
    """Each class's logits over a cloud's points are one distribution.

    Notes
    -----
    C. Shu et al., "Channel-wise Knowledge Distillation for Dense Prediction", ICCV 2021, with a
    cloud's points in the place of an image's pixels.
    """

    Config = CWDConfig
    name = "cwd"

    def compare(self, teacher: Tensor, student: Tensor) -> Tensor:
        """Return the term of one cloud."""
        return channel_wise_divergence(teacher, student, self.config.temperature)


def channel_wise_divergence(teacher: Tensor, student: Tensor, temperature: float) -> Tensor:
    """Return the divergence between the two networks' distributions of each class over points.

    Parameters
    ----------
    teacher, student
        (n, K) logits, floating point.
    temperature
        Of the softmax over points, above 0.

    Returns
    -------
    Tensor
        () KL divergence from the student's to the teacher's, summed over points, mean over
        classes, times the squared temperature; 0 or above.

    Notes
    -----
    Shu et al., ICCV 2021, Eq. 3 and 4.
    """
    log_theirs = (teacher.detach() / temperature).log_softmax(dim=0)
    log_ours = (student / temperature).log_softmax(dim=0)
    divergence = (log_theirs.exp() * (log_theirs - log_ours)).sum(dim=0)
    return temperature**2 * divergence.mean()

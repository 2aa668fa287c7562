"""The parts of the training loss, their sum (Eq. 8), and what happens when one is no number."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from train.core.errors import UserError
from train.data.frame import IGNORE_INDEX


class NonFiniteLoss(UserError):
    """A part of the loss became NaN or infinite; carries the part's name."""

    def __init__(self, part: str, value: float) -> None:
        super().__init__(f"the {part} part of the loss is {value}")
        self.part = part
        self.value = value


@dataclass(frozen=True)
class LossParts:
    """Every part of Eq. 8 before weighting, and the weighted sum.

    A part with weight 0 is not computed and is None.
    """

    segmentation: Tensor
    topology: Tensor | None
    saliency: Tensor | None
    distillation: Tensor | None
    total: Tensor

    def as_numbers(self) -> dict[str, float]:
        """Return the computed parts and the total by name."""
        named = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {name: float(part.detach()) for name, part in named.items() if part is not None}


def require_finite(part: str, value: Tensor) -> Tensor:
    """Return `value`, a scalar part of the loss, if it is a finite number.

    Raises
    ------
    NonFiniteLoss
        If it is NaN or infinite; a zero in its place would train on something else unseen.
    """
    if not torch.isfinite(value):
        raise NonFiniteLoss(part, float(value.detach()))
    return value


def segmentation_loss(logits: Tensor, segment: Tensor, kind: str = "ce") -> Tensor:
    """Return the loss against the labels (L_seg of Eq. 8).

    Parameters
    ----------
    logits
        (N, classes), floating point; computed in float32 at least.
    segment
        (N,), int64 training ids; `IGNORE_INDEX` marks points without a class, which count for
        nothing.
    kind
        "ce" for the paper's cross-entropy; "ce+lovasz" adds the Lovász-softmax of PTv3's recipe.

    Returns
    -------
    Tensor
        Scalar, mean over the labeled points; 0 (with a zero gradient) if none is labeled.
    """
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    labeled = segment != IGNORE_INDEX
    count = labeled.sum().clamp(min=1)
    summed = functional.cross_entropy(logits, segment, ignore_index=IGNORE_INDEX, reduction="sum")
    loss = summed / count
    if kind == "ce+lovasz":
        loss = loss + lovasz_softmax(logits[labeled].softmax(dim=1), segment[labeled])
    return loss


def lovasz_softmax(probabilities: Tensor, segment: Tensor) -> Tensor:
    """Return the Lovász extension of the Jaccard loss, mean over the classes present.

    Parameters
    ----------
    probabilities
        (N, classes), rows summing to 1.
    segment
        (N,), int64 class of every point, none ignored.

    Notes
    -----
    Berman, Triki and Blaschko, "The Lovász-Softmax loss", CVPR 2018, Eq. 8-9 and Algorithm 1.
    """
    present = torch.unique(segment)
    if present.numel() == 0:
        return probabilities.sum()
    losses = []
    for label in present:
        foreground = (segment == label).to(probabilities.dtype)
        errors, order = (foreground - probabilities[:, label]).abs().sort(descending=True)
        sorted_foreground = foreground[order]
        missed = sorted_foreground.cumsum(0)
        intersection = sorted_foreground.sum() - missed
        union = sorted_foreground.sum() + (1 - sorted_foreground).cumsum(0)
        jaccard = 1 - intersection / union
        increments = torch.diff(jaccard, prepend=jaccard.new_zeros(1))
        losses.append(errors @ increments)
    return torch.stack(losses).mean()

"""The loss against the labels, and what happens when a term is not a finite number."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from train.core.errors import UserError
from train.data.frame import IGNORE_INDEX
from train.methods.terms import LossTerm


class NonFiniteLoss(UserError):
    """A part of the loss became NaN or infinite; carries the part's name."""

    def __init__(self, part: str, value: float) -> None:
        super().__init__(f"the {part} part of the loss is {value}")
        self.part = part
        self.value = value


def require_finite(part: str, value: Tensor) -> Tensor:
    """Return `value`, a term of the loss, if it is finite; on a GPU without looking.

    There the host would have to wait: all numbers of a step are looked at together, before the
    weights are changed.

    Raises
    ------
    NonFiniteLoss
        If it is NaN or infinite; a zero in its place would train on something else unseen.
    """
    if value.device.type == "cpu" and not bool(torch.isfinite(value).all()):
        raise NonFiniteLoss(part, float(value.detach().sum()))
    return value


def segmentation_term(logits: Tensor, batch: Mapping[str, Any], kind: str) -> LossTerm:
    """Return the loss against the labels of a batch, of weight 1."""
    value = require_finite("segmentation", segmentation_loss(logits, batch["segment"], kind))
    return LossTerm(value, 1.0, "labeled")


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

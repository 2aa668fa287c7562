"""The means that terms on pixels are: over seen points alone, 0 with a zero gradient without any.

Shape letters: M points, K classes, C channels.
"""

import torch
from torch import Tensor
from torch.nn import functional

from train.methods.losses import require_finite
from train.methods.terms import LossTerm


def mean_term(name: str, values: Tensor, weight: float) -> LossTerm:
    """Return the mean over rows as a term that says how many there are.

    Parameters
    ----------
    name
        Of the term, for an error.
    values
        (M,), floating point; M may be 0.
    weight
        How much of it enters the total.

    Raises
    ------
    NonFiniteLoss
        If the mean is no number.
    """
    count = float(len(values))
    mean = require_finite(name, values.sum() / max(count, 1.0))
    return LossTerm(mean[None], weight, "points", count=values.new_tensor([count]))


def divergence_rows(probabilities: Tensor, logits: Tensor) -> Tensor:
    """Return the Kullback-Leibler divergence of predictions from targets, row by row.

    Parameters
    ----------
    probabilities
        (M, K): the targets, rows summing to 1; no gradient reaches them.
    logits
        (M, K): the predictions'.

    Returns
    -------
    Tensor
        (M,), 0 or above up to rounding, in float32 at least.
    """
    wide = torch.promote_types(logits.dtype, torch.float32)
    target, predicted = probabilities.detach().to(wide), logits.to(wide).log_softmax(dim=1)
    return functional.kl_div(predicted, target, reduction="none").sum(dim=1)


def cosine_rows(target: Tensor, features: Tensor) -> Tensor:
    """Return 1 - cosine, row by row, (M,) between 0 and 2; no gradient reaches the target.

    Parameters
    ----------
    target, features
        (M, C), computed in float32 at least.
    """
    wide = torch.promote_types(features.dtype, torch.float32)
    return 1 - functional.cosine_similarity(target.detach().to(wide), features.to(wide), dim=1)

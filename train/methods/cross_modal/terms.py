"""Terms on pixels: means over seen points, and the contrast of points with their pixels.

A mean over no point is 0, with a zero gradient. Shape letters: M points, K classes, C channels, P
pairs, D channels of a pair.
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


def info_nce(points: Tensor, pixels: Tensor, point: Tensor, temperature: float) -> Tensor:
    """Return the loss of each pair, for the mean over pairs; symmetric.

    A pair's pixel is to be found among the pixels of all pairs by its point, and its point among
    their points by its pixel. Other pairs of the same point are no negatives: what another view
    sees of a point is left out of both sums. Points that more views see do not count for more.

    Parameters
    ----------
    points, pixels
        (P, D): features of both sides; normalized here, in float32 at least.
    point
        (P,) int64: which point a pair is of.
    temperature
        Above 0.

    Returns
    -------
    Tensor
        (number of different points,): each the mean over the point's views. Nearly 0 where every
        pair is nearest to itself by far; ln P where nothing is known.

    Notes
    -----
    van den Oord, Li and Vinyals, "Representation Learning with Contrastive Predictive Coding",
    2018; between points and pixels at temperature 0.07 as in Liu et al., "PPKT", 2021. The several
    views are our reading of xModel-KD.
    """
    wide = torch.promote_types(points.dtype, torch.float32)
    if not len(point):  # both sides stay in the graph
        return points.new_zeros(0, dtype=wide) + (points.sum() + pixels.sum()) * 0.0
    ours, theirs = (functional.normalize(each.to(wide), dim=1) for each in (points, pixels))
    with torch.autocast(points.device.type, enabled=False):  # a product would have 16 bits
        similarity = ours @ theirs.t() / temperature
    own = similarity.diagonal()
    same = point[:, None] == point[None, :]
    same.fill_diagonal_(False)
    similarity = similarity.masked_fill(same, -torch.inf)
    of_pair = (similarity.logsumexp(dim=1) + similarity.logsumexp(dim=0)) / 2 - own
    _, place, views = torch.unique(point, return_inverse=True, return_counts=True)
    return of_pair.new_zeros(len(views)).index_add(0, place, of_pair / views[place])


def drawn_pairs(count: int, at_most: int, device: torch.device) -> Tensor:
    """Return rows of some pairs, drawn without replacement; all of them where there are no more.

    Parameters
    ----------
    count
        P.
    at_most
        How many are drawn.
    device
        Where the rows go; they are drawn on the CPU, by the run's random numbers.
    """
    if count <= at_most:
        return torch.arange(count, device=device)
    return torch.randperm(count)[:at_most].to(device)

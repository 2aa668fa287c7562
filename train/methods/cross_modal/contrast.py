"""The contrastive term between points and the pixels that see them, over several views.

Shape letters: P pairs, D channels.
"""

import torch
from torch import Tensor
from torch.nn import functional


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

"""The feature normalization of Algorithm 1 (lines 4-5), differentiable.

Shape letters: N points, C channels.
"""

from typing import Literal, get_args

import torch
from torch import Tensor

from fast.checks import as_choice, as_points

Normalisation = Literal["l2", "none", "center_maxnorm", "diameter", "rms"]

_BLOCK_ROWS = 1024  # rows of distances held at a time while the diameter is sought


def normalise(features: Tensor, normalisation: Normalisation = "l2") -> Tensor:
    """Return the features of one cloud on a common scale.

    Parameters
    ----------
    features
        (N, C), one row per point, at least one.
    normalisation
        "l2": each row divided by its length, so that distances lie in [0, 2]; a zero row stays
        zero. "none": unchanged. "center_maxnorm": the mean subtracted, then divided by the
        largest length. "diameter": divided by the largest distance, O(N^2 C). "rms": the mean
        subtracted, then divided by the root mean square of the lengths; a cloud without spread
        becomes all zeros. Elsewhere, where a divisor is 0 nothing is divided.

    Returns
    -------
    Tensor
        (N, C). Differentiable; where several lengths or distances are largest, the one of lowest
        index carries the gradient of the divisor, and a divisor of 0 counts as the constant 1. With
        "rms" a cloud without spread gets the gradient 0.

    Raises
    ------
    ValueError
        If `normalisation` is unknown, or `features` is no tensor of finite rows.

    Examples
    --------
    >>> normalise(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 1.0000]])
    """
    as_choice("normalise", "normalisation", normalisation, get_args(Normalisation))
    features = as_points("normalise", "features", features, least=1)
    if features.ndim != 2:
        raise ValueError(
            f"normalise: features has shape {tuple(features.shape)}; pass one cloud, (N, C)"
        )
    if normalisation == "l2":
        return features / _divisor(features)[:, None]
    if normalisation == "center_maxnorm":
        centered = features - features.mean(dim=0)
        farthest = centered.detach().square().sum(dim=1).sqrt().argmax()
        return centered / _divisor(centered[farthest])
    if normalisation == "diameter":
        i, j = _farthest_pair(features.detach())
        return features / _divisor(features[i] - features[j])
    if normalisation == "rms":
        # From the first row, so that equal rows are centered to 0 exactly, whatever the mean
        # rounds to. The shift cancels, so it needs no gradient.
        shifted = features - features[:1].detach()
        centered = shifted - shifted.mean(dim=0)
        mean_square = centered.square().sum(dim=1).mean()
        return centered / mean_square.where(mean_square > 0, torch.inf).sqrt()
    return features


def _divisor(rows: Tensor) -> Tensor:
    """Return the length of each row, 1 for a row of length 0."""
    squares = rows.square().sum(dim=-1)
    return squares.where(squares > 0, 1.0).sqrt()


def _farthest_pair(points: Tensor) -> tuple[Tensor, Tensor]:
    """Return the two points with the largest distance, of lowest indices at ties."""
    largest, at = [], []
    for block in torch.split(points, _BLOCK_ROWS):
        distances = torch.cdist(block, points, compute_mode="donot_use_mm_for_euclid_dist")
        where = distances.flatten().argmax()
        largest.append(distances.flatten()[where])
        at.append(where)
    block_index = torch.stack(largest).argmax()
    flat = torch.stack(at)[block_index]
    return block_index * _BLOCK_ROWS + flat // len(points), flat % len(points)

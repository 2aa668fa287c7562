"""Neighbors and samples of dense clouds in plain torch, for the networks that evaluate.

Shape letters: B clouds, N points, M centers, K neighbors, C channels.
"""

import torch
from torch import Tensor


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return (B, M, N) squared distances between (B, M, C) and (B, N, C), at least 0."""
    cross = a @ b.transpose(1, 2)
    found = a.square().sum(-1)[:, :, None] - 2 * cross + b.square().sum(-1)[:, None]
    return found.clamp_min(0.0)


def nearest(a: Tensor, b: Tensor, k: int) -> Tensor:
    """Return (B, M, K) which of `b` are nearest to each of `a`; all of them where b has fewer."""
    with torch.no_grad():
        return squared_distances(a, b).topk(min(k, b.shape[1]), dim=2, largest=False).indices


def gather_points(values: Tensor, index: Tensor) -> Tensor:
    """Return values (B, N, C) at index (B, M) or (B, M, K): (B, M, C) or (B, M, K, C)."""
    batch = torch.arange(len(values), device=values.device)
    return values[batch.view(-1, *[1] * (index.ndim - 1)), index]


def farthest_points(points: Tensor, number: int) -> Tensor:
    """Return (B, M) points, each the farthest from those before it; the first is point 0.

    Parameters
    ----------
    points
        (B, N, 3).
    number
        M, at most N.
    """
    if not 1 <= number <= points.shape[1]:
        raise ValueError(f"number is {number}; give 1 to {points.shape[1]}")
    with torch.no_grad():
        batch = torch.arange(len(points), device=points.device)
        chosen = torch.zeros(len(points), number, dtype=torch.int64, device=points.device)
        distance = torch.full(points.shape[:2], torch.inf, device=points.device)
        last = chosen[:, 0]
        for place in range(1, number):
            step = (points - points[batch, last][:, None]).square().sum(-1)
            distance = torch.minimum(distance, step)
            last = distance.argmax(dim=1)
            chosen[:, place] = last
        return chosen

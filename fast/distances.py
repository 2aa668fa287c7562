"""Distances between the points of each cloud, accurate near zero, differentiable at duplicates.

Shape letters: N points, C channels, E edges.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from fast.checks import as_clouds, as_points
from fast.dispatch import disable_compile, kernel
from fast.memory import refuse_distances_beyond_memory
from fast.rows import select_rows

_BLOCK_BYTES = 32 * 2**20  # of differences held at a time in the second derivative


@disable_compile  # numba cannot be traced
def pairwise_distances(points: Tensor) -> Tensor:
    """Return the Euclidean distance of every two points of each cloud.

    Parameters
    ----------
    points
        (..., N, C) positions or features, any unit; float32 or float64. float16 and bfloat16 are
        computed in float32, under autocast too.

    Returns
    -------
    Tensor
        (..., N, N), symmetric to the last bit, zero on the diagonal. Differentiable in `points`,
        any number of times; two points in one place send each other no gradient.

    Raises
    ------
    ValueError
        If `points` is no floating point tensor of rows, or (on the CPU) an entry is not finite or
        two points are farther apart than the largest float. On a GPU such a distance is infinite.
    MemoryError
        If the distances would not fit into the memory that is available; nothing has been
        allocated then. It says how much they would take.

    Notes
    -----
    Line 10 of Algorithm 1. Differences first, squares after: the expansion |a|^2 - 2ab + |b|^2
    would lose the small distances, which are H0's deaths. Where a square overflows or underflows
    the pair is scaled by a power of two, which is exact. O(N^2 C) time, O(N^2) memory.

    Examples
    --------
    >>> pairwise_distances(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    tensor([[0., 5.],
            [5., 0.]])
    """
    points = as_points("pairwise_distances", "points", points)
    refuse_distances_beyond_memory("pairwise_distances", points, matrices=1)
    with torch.autocast(points.device.type, enabled=False):
        distances: Tensor = _Distances.apply(points)  # type: ignore[no-untyped-call]
    return distances


def edge_lengths(points: Tensor, edges: Tensor) -> Tensor:
    """Return ||h_i - h_j|| for the given edges; where it is 0, so is its gradient.

    `points` (N, C), `edges` (E, 2) int64 -> (E,).
    """
    first, second = edges.unbind(dim=1)
    return lengths_of_rows(select_rows(points, first) - select_rows(points, second))


def edge_lengths_of_clouds(points: Tensor, edges: Tensor) -> Tensor:
    """Return `edge_lengths` of each cloud: `points` (B, N, C), `edges` (B, E, 2) -> (B, E)."""
    num_clouds, n, channels = points.shape
    shift = n * torch.arange(num_clouds, device=edges.device).view(-1, 1, 1)
    each = edge_lengths(points.reshape(-1, channels), (edges + shift).reshape(-1, 2))
    return each.view(edges.shape[:-1])


def lengths_of_rows(rows: Tensor) -> Tensor:
    """Return the lengths (N,) of rows (N, C), differentiable any number of times.

    Correctly rounded roots, and no square overflows or underflows. Where a length is 0, so is its
    gradient.
    """
    lengths, factors = measured_rows(rows.detach())
    return with_gradient(rows, lengths if factors is None else lengths / factors)


@disable_compile  # numba cannot be traced
def measured_rows(rows: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return lengths (N,) of rows (N, C) times factors (N,), powers of two; None: all are 1.

    On a GPU the factors are never None: they are not read.
    """
    lengths, factors = kernel("row_lengths", rows.device)(rows)
    if rows.device.type == "cpu" and bool((factors == 1).all()):
        return lengths, None
    return lengths, factors


def with_gradient(rows: Tensor, lengths: Tensor) -> Tensor:
    """Return `lengths` (N,) as a differentiable function of the rows (N, C) they belong to."""
    result: Tensor = _Lengths.apply(rows, lengths)  # type: ignore[no-untyped-call]
    return result


class _Lengths(torch.autograd.Function):
    """Lengths from a kernel; torch's own root is not correctly rounded on every machine."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, lengths: Tensor) -> Tensor:
        lengths = lengths.clone()  # an output that is an input would lose its gradient
        ctx.save_for_backward(rows, lengths)
        return lengths

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        rows, lengths = ctx.saved_tensors
        units = rows / lengths.where(lengths > 0, torch.inf)[:, None]
        return grad[:, None] * units, None


class _Distances(torch.autograd.Function):
    """Distances by direct differences; torch.cdist's own gradient has no second derivative."""

    @staticmethod
    def forward(ctx: Any, points: Tensor) -> Tensor:
        points = points.contiguous()
        distances = _direct(points.detach())
        ctx.save_for_backward(points, distances)
        return distances

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        points, distances = ctx.saved_tensors
        with torch.autocast(points.device.type, enabled=False):
            result: Tensor = _DistancesGradient.apply(points, distances, grad)  # type: ignore[no-untyped-call]
        return result


class _DistancesGradient(torch.autograd.Function):
    """grad_i = sum_j (G_ij + G_ji) (h_i - h_j) / D_ij, by direct differences."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, distances: Tensor, grad: Tensor) -> Tensor:
        ctx.save_for_backward(points, distances, grad)
        both = (grad + grad.mT).contiguous()
        result: Tensor = torch.ops.aten._cdist_backward(both, points, points, 2.0, distances)
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, direction: Tensor) -> tuple[Tensor, None, Tensor]:
        """Differentiate <direction, gradient> in points and grad (docs/numerics.md)."""
        points, distances, grad = ctx.saved_tensors
        return _second_derivative(points, distances, grad, direction)


def _direct(points: Tensor) -> Tensor:
    """Distances without the expansion that uses matrix products."""
    distances: Tensor = kernel("pairwise_distances", points.device)(as_clouds(points))
    return distances.view(*points.shape[:-1], points.shape[-2])


def _second_derivative(
    points: Tensor, distances: Tensor, grad: Tensor, direction: Tensor
) -> tuple[Tensor, None, Tensor]:
    """Block of rows by block of rows, so that memory stays bounded."""
    n = points.shape[-2]
    both = grad + grad.mT
    apart = distances > 0
    inverse = torch.where(apart, 1 / distances.where(apart, 1.0), 0.0)
    grad_points = torch.empty_like(points)
    grad_grad = torch.empty_like(distances)
    row_bytes = max(1, points[..., :1, :].numel() * n * points.element_size())
    step = max(1, _BLOCK_BYTES // row_bytes)
    for start in range(0, n, step):
        rows = slice(start, start + step)
        unit = (points[..., rows, None, :] - points[..., None, :, :]) * inverse[..., rows, :, None]
        moved = direction[..., rows, None, :] - direction[..., None, :, :]
        along = (moved * unit).sum(dim=-1)  # (..., rows, N)
        grad_grad[..., rows, :] = along
        across = moved - along[..., None] * unit
        weight = (both * inverse)[..., rows, :, None]
        grad_points[..., rows, :] = (weight * across).sum(dim=-2)
    return grad_points, None, grad_grad

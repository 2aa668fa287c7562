"""Backward as it is timed: given births' and deaths' gradients, the points' or the distances'.

And its check, by the definition (Theorem 1) in float64: a birth or death moves the two ends of its
critical edge apart or together.
"""

from collections.abc import Callable, Iterable

import numpy as np
import torch

import fast
import reference
from benchmarks.clouds import FloatArray, cotangents
from benchmarks.outputs import EXACT_POINTS, Diagram

Critical = tuple[np.ndarray, FloatArray]
"""Edges (K, 2), and a weight of each one's length."""

TOLERANCE = 1e-4
"""Of the largest entry: float32 differences of points that may be close together."""


def differentiate(
    columns: list[tuple[torch.Tensor, torch.Tensor]], leaf: torch.Tensor
) -> Callable[[], torch.Tensor]:
    """Return a call that sends fixed gradients of each dimension's births and deaths to `leaf`."""
    values, weights = [], []
    for births, deaths in columns:
        for column, weight in zip((births, deaths), cotangents(len(deaths)), strict=True):
            if column.requires_grad:  # the births of H0 are constant
                values.append(column)
                weights.append(torch.from_numpy(weight).to(column.device))

    def run() -> torch.Tensor:
        (grad,) = torch.autograd.grad(values, leaf, weights, retain_graph=True)
        return grad

    return run


def assert_routed(grad: FloatArray, points: FloatArray, diagrams: list[Diagram]) -> None:
    """Assert the gradient at the points."""
    exact = points.astype(np.float64)
    if len(points) <= EXACT_POINTS:
        want = reference.route_to_points(exact, on_distances(len(points), diagrams))
    else:
        want = moved_apart(exact, _critical(diagrams))
    np.testing.assert_allclose(grad, want, rtol=0, atol=TOLERANCE * np.abs(want).max())


def moved_apart(points: FloatArray, critical: Iterable[Critical]) -> FloatArray:
    """Return the gradient at the points (N, C) of weighted lengths of edges."""
    found = np.zeros_like(points)
    for edges, weights in critical:
        away = points[edges[:, 0]] - points[edges[:, 1]]
        away *= (weights / np.linalg.norm(away, axis=1))[:, None]
        np.add.at(found, edges[:, 0], away)
        np.add.at(found, edges[:, 1], -away)
    return found


def definition(points: FloatArray) -> list[Diagram]:
    """Diagrams by the reference; where it is too slow by `fast`, which other suites compare."""
    matrix = reference.pairwise_distances(points.astype(np.float64))
    if len(points) <= EXACT_POINTS:
        found = reference.rips_persistence(matrix)
    else:
        found = [each.cloud(0) for each in fast.rips_persistence(torch.from_numpy(matrix))]
    return [Diagram(d.pairs, d.birth_edges if d.dim else None, d.death_edges) for d in found]


def on_distances(num_points: int, diagrams: list[Diagram]) -> FloatArray:
    """Return the (N, N) gradient at the distances, D_ij and D_ji being one variable."""
    grad = np.zeros((num_points, num_points))
    for edges, weights in _critical(diagrams):
        np.add.at(grad, (edges[:, 0], edges[:, 1]), weights)
        np.add.at(grad, (edges[:, 1], edges[:, 0]), weights)
    return grad


def _critical(diagrams: list[Diagram]) -> list[Critical]:
    """Every column's critical edges with what `differentiate` gives them."""
    found = []
    for diagram in diagrams:
        births, deaths = cotangents(len(diagram.pairs)).astype(np.float64)
        for edges, weights in ((diagram.birth_edges, births), (diagram.death_edges, deaths)):
            if edges is not None:
                found.append((edges, weights))
    return found

"""The loss of topological autoencoders (M. Moor et al., 2020) between two spaces, and its gradient.

Shape letters: N points of both spaces, T and S channels.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float64

from reference.critical_edges import critical_edge_matching, critical_edge_matching_grad
from reference.diagram import Diagram
from reference.distances import pairwise_distances
from reference.rips import rips_persistence
from reference.routing import route_to_points
from reference.validation import as_choice, as_nonnegative

Metric = Literal["euclidean", "precomputed"]


def signature_loss(
    teacher: Float64[np.ndarray, "n t"],
    student: Float64[np.ndarray, "n s"],
    *,
    dim_weights: Sequence[float] = (1.0,),
    metric: Metric = "euclidean",
) -> float:
    """Return how far the student's space is from the teacher's where topology hangs on distances.

    Parameters
    ----------
    teacher, student
        The same points in both spaces (in an autoencoder: data and codes), or with "precomputed"
        their distances, (N, N), finite.
    dim_weights
        Weight of each dimension's term, from dimension 0 on; its length is how many there are.
        (1,) is the published loss.
    metric
        "euclidean" or "precomputed".

    Returns
    -------
    float
        sum over dimensions of the weight times `critical_edge_matching`, in squared units of the
        filtration.

    Raises
    ------
    ValueError
        If the spaces differ in their number of points, are no points or no distances, or an option
        is out of range.

    Notes
    -----
    M. Moor, M. Horn, B. Rieck, K. Borgwardt, "Topological Autoencoders" (ICML 2020) has half of
    the sums over the E critical edges of each space, here are means: in dimension 0, where both
    have N - 1 edges, theirs is (N - 1) / 2 times this.

    Examples
    --------
    Both merge along their one edge, 3 long and 5 long: 4 from either side.

    >>> signature_loss(np.array([[0.0], [3.0]]), np.array([[0.0], [5.0]]))
    8.0
    """
    total = 0.0
    weights, matrices, diagrams = _spaces("signature_loss", teacher, student, dim_weights, metric)
    for weight, pair in zip(weights, diagrams, strict=True):
        total += weight * critical_edge_matching(*pair, *matrices)
    return total


def signature_loss_grad(
    teacher: Float64[np.ndarray, "n t"],
    student: Float64[np.ndarray, "n s"],
    *,
    dim_weights: Sequence[float] = (1.0,),
    metric: Metric = "euclidean",
) -> Float64[np.ndarray, "n s"]:
    """Return the gradient of `signature_loss` for the student's points, or distances.

    Parameters
    ----------
    teacher, student, dim_weights, metric
        As in `signature_loss`.

    Returns
    -------
    Float64[np.ndarray, "n s"]
        dL/dh_i; with "precomputed" G with G_ij = G_ji = dL/dD_ij for the one variable D_ij.

    Raises
    ------
    ValueError
        As `signature_loss`.

    Notes
    -----
    Which edges are critical is held fixed.

    Examples
    --------
    >>> signature_loss_grad(np.array([[0.0], [3.0]]), np.array([[0.0], [5.0]]))
    array([[-8.],
           [ 8.]])
    """
    name = "signature_loss_grad"
    weights, matrices, diagrams = _spaces(name, teacher, student, dim_weights, metric)
    grad_distances = np.zeros_like(matrices[1])
    for weight, pair in zip(weights, diagrams, strict=True):
        grad_distances += weight * critical_edge_matching_grad(*pair, *matrices)
    if metric == "precomputed":
        return grad_distances
    return route_to_points(np.asarray(student, dtype=np.float64), grad_distances)


def _spaces(
    function: str,
    teacher: Float64[np.ndarray, "n t"],
    student: Float64[np.ndarray, "n s"],
    dim_weights: Sequence[float],
    metric: Metric,
) -> tuple[list[float], list[Float64[np.ndarray, "n n"]], list[tuple[Diagram, Diagram]]]:
    """Return the weights, both matrices, and both diagrams of each dimension."""
    as_choice(function, "metric", metric, ("euclidean", "precomputed"))
    weights = [as_nonnegative(function, "dim_weights", weight) for weight in dim_weights]
    if not weights:
        raise ValueError(f"{function}: dim_weights is empty; pass one per dimension, e.g. (1,)")
    matrices = [
        pairwise_distances(space) if metric == "euclidean" else np.asarray(space, dtype=np.float64)
        for space in (teacher, student)
    ]
    if matrices[0].shape != matrices[1].shape:
        raise ValueError(
            f"{function}: student has {len(matrices[1])} points; teacher has {len(matrices[0])}, "
            "pass the same points"
        )
    both = (rips_persistence(matrix, len(weights) - 1) for matrix in matrices)
    return weights, matrices, list(zip(*both, strict=True))

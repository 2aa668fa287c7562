"""Gradients from a diagram back to the distances, and on to the points (Theorem 1, Algorithm 3).

Shape letters: N points, C channels, K pairs.
"""

from itertools import combinations

import numpy as np
from jaxtyping import Float64

from reference.diagram import Diagram
from reference.validation import (
    as_distances,
    as_indices,
    as_nonnegative,
    as_points,
    as_vector,
)


def route_to_distances(
    diagram: Diagram,
    grad_births: Float64[np.ndarray, " k"],
    grad_deaths: Float64[np.ndarray, " k"],
    distances: Float64[np.ndarray, "n n"],
    tie_tolerance: float = 0.0,
) -> Float64[np.ndarray, "n n"]:
    """Return the gradient for the distances, given the gradient for births and deaths.

    Parameters
    ----------
    diagram
        Pairs with their critical edges, as `rips_persistence` returns them.
    grad_births, grad_deaths
        dL/db_k and dL/dd_k, one number per pair. In dimension 0 births are constant and
        `grad_births` goes nowhere.
    distances
        The matrix the diagram was computed from; only the edges of death simplices are read.
    tie_tolerance
        How much shorter than the longest an edge of the death simplex may be and still share its
        gradient; in the unit of the distances. 0 (the default) shares among exactly equal edges.
        A positive value averages unequal edges, which is no longer the gradient.

    Returns
    -------
    Float64[np.ndarray, "n n"]
        G with G_ij = G_ji = dL/dD_ij, where D_ij and D_ji are one variable: a change dD of the
        distances changes L by the sum over i < j of G_ij dD_ij.

    Raises
    ------
    ValueError
        If lengths disagree, an edge is out of range, or an argument is no distance matrix.

    Notes
    -----
    Eq. 1 and lines 7-27 of Algorithm 3. Deaths are shared evenly by the longest edges of the
    death simplex (beta = 1 / |E_d|); births go to the birth edge, which in dimension 1 is the
    whole birth simplex. Above dimension 1, where several edges of the birth simplex may be
    longest, the birth edge takes all (alpha = 1), which is a valid choice in Theorem 1 too.

    Examples
    --------
    >>> from reference.rips import rips_persistence
    >>> distances = np.array([[0.0, 3.0], [3.0, 0.0]])
    >>> route_to_distances(rips_persistence(distances)[0], np.zeros(1), np.ones(1), distances)
    array([[0., 1.],
           [1., 0.]])
    """
    distances = as_distances("route_to_distances", "distances", distances)
    grad_births = as_vector("route_to_distances", "grad_births", grad_births, len(diagram))
    grad_deaths = as_vector("route_to_distances", "grad_deaths", grad_deaths, len(diagram))
    tie_tolerance = as_nonnegative("route_to_distances", "tie_tolerance", tie_tolerance)
    n = len(distances)
    simplices = as_indices(
        "route_to_distances", "diagram.death_simplices", diagram.death_simplices, n
    )

    grad_distances = np.zeros_like(distances)
    if diagram.dim > 0:
        birth_edges = as_indices(
            "route_to_distances", "diagram.birth_edges", diagram.birth_edges, n
        )
        for k, (i, j) in enumerate(birth_edges):
            grad_distances[i, j] += grad_births[k]
    for k, simplex in enumerate(simplices):
        edges = list(combinations(simplex, 2))
        longest = max(distances[edge] for edge in edges)
        tied = [edge for edge in edges if longest - distances[edge] <= tie_tolerance]
        for edge in tied:
            grad_distances[edge] += grad_deaths[k] / len(tied)
    return grad_distances + grad_distances.T


def route_to_points(
    points: Float64[np.ndarray, "n c"],
    grad_distances: Float64[np.ndarray, "n n"],
    eps: float = 0.0,
) -> Float64[np.ndarray, "n c"]:
    """Return the gradient for the points, given the gradient for their distances.

    Parameters
    ----------
    points
        The points whose pairwise distances carry the gradient.
    grad_distances
        G with G_ij = G_ji = dL/dD_ij for the one variable D_ij (see `route_to_distances`).
    eps
        Added to every distance before dividing by it, as the paper does. The result is then short
        by the factor D / (D + eps); 0 (the default) gives the gradient itself.

    Returns
    -------
    Float64[np.ndarray, "n c"]
        dL/dh_i. Rows sum to zero: moving all points together changes no distance. Two points in
        one place send each other nothing, 0 being the subgradient of least norm there.

    Raises
    ------
    ValueError
        If the shapes disagree, G is not symmetric, an entry is not finite, or `eps` is negative.

    Notes
    -----
    The second half of Theorem 1; lines 29-37 of Algorithm 3. `eps` is the paper's eps_dist.

    Examples
    --------
    >>> route_to_points(np.array([[0.0], [3.0]]), np.array([[0.0, 1.0], [1.0, 0.0]]))
    array([[-1.],
           [ 1.]])
    """
    points = as_points("route_to_points", "points", points)
    grad_distances = as_points("route_to_points", "grad_distances", grad_distances)
    eps = as_nonnegative("route_to_points", "eps", eps)
    if grad_distances.shape != (len(points), len(points)):
        raise ValueError(
            f"route_to_points: grad_distances has shape {grad_distances.shape}; "
            f"{len(points)} points need ({len(points)}, {len(points)})"
        )
    if np.any(grad_distances != grad_distances.T):
        i, j = np.argwhere(grad_distances != grad_distances.T)[0]
        raise ValueError(
            f"route_to_points: grad_distances is not symmetric: {grad_distances[i, j]} at "
            f"({i}, {j}), {grad_distances[j, i]} at ({j}, {i}); pass G + G.T of an upper triangle"
        )

    grad_points = np.zeros_like(points)
    for i, j in np.argwhere(np.triu(grad_distances, k=1)):
        difference = points[i] - points[j]
        distance = np.sqrt(np.sum(difference**2))
        if distance > 0:
            pull = grad_distances[i, j] * difference / (distance + eps)
            grad_points[i] += pull
            grad_points[j] -= pull
    return grad_points

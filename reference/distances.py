"""Distances between the points of one cloud.

Shape letters: N points, C channels.
"""

import numpy as np
from jaxtyping import Float64

from reference.validation import as_distances, as_points


def pairwise_distances(points: Float64[np.ndarray, "n c"]) -> Float64[np.ndarray, "n n"]:
    """Return the Euclidean distance D_ij = ||h_i - h_j|| of every two points.

    Parameters
    ----------
    points
        Positions or features, any unit; the distances have the same. Any number of points.

    Returns
    -------
    Float64[np.ndarray, "n n"]
        Symmetric to the last bit, zero on the diagonal. Differences below 1e-162 square to zero.

    Raises
    ------
    ValueError
        If `points` is not two-dimensional, or has an entry that is NaN, infinite or beyond 1e150.

    Notes
    -----
    Theorem 1 and Algorithm 1, line 10, of the paper. Differences first, squares after: the
    expansion |a|^2 - 2ab + |b|^2 would lose the small distances. O(N^2 C).

    Examples
    --------
    >>> pairwise_distances(np.array([[0.0, 0.0], [3.0, 4.0]]))
    array([[0., 5.],
           [5., 0.]])
    """
    points = as_points("pairwise_distances", "points", points)
    squares = np.zeros((len(points), len(points)))
    for channel in points.T:  # one after another, as `fast` adds them: the same bits
        squares += np.subtract.outer(channel, channel) ** 2
    return np.sqrt(squares)


def enclosing_radius(distances: Float64[np.ndarray, "n n"]) -> float:
    """Return the smallest radius at which one of the points reaches all others.

    Parameters
    ----------
    distances
        Symmetric, zero diagonal; `inf` for two points that are never joined.

    Returns
    -------
    float
        min over points of the largest distance to any point; inf if no point reaches all.

    Raises
    ------
    ValueError
        If `distances` is no distance matrix or has no points.

    Notes
    -----
    At this filtration value the complex is a cone over the central point, so nothing of positive
    dimension is alive afterwards.

    Examples
    --------
    >>> enclosing_radius(np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 3.0], [4.0, 3.0, 0.0]]))
    3.0
    """
    distances = as_distances("enclosing_radius", "distances", distances)
    if not len(distances):
        raise ValueError("enclosing_radius: distances has shape (0, 0); pass at least one point")
    return float(distances.max(axis=1).min())

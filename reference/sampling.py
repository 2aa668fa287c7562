"""Which points are compared: topology-preserving sampling (Algorithm 5), its radius, random draws.

Shape letters: N points, C channels, M samples.
"""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float64, Int64

from reference.validation import as_choice, as_indices, as_integer, as_points

Sampling = Literal["farthest", "random", "mixed"]


def topology_preserving_sampling(
    points: Float64[np.ndarray, "n c"], num_samples: int, start: int = 0
) -> tuple[Int64[np.ndarray, " m"], Float64[np.ndarray, " m"]]:
    """Return indices of points that cover the cloud, each the farthest from those before it.

    Parameters
    ----------
    points
        Positions or features, any unit; the radii have the same.
    num_samples
        How many to take, from 1 to N.
    start
        Index of the first sample. The paper draws it at random; draw it with your own generator
        if you want that.

    Returns
    -------
    indices
        Rows of `points`, no two at the same place: once the covering radius is 0 every point left
        is a duplicate, and sampling stops with fewer than `num_samples` indices.
    covering_radii
        Entry k is the covering radius of the first k + 1 samples. Never increases.

    Raises
    ------
    ValueError
        If `num_samples` or `start` is out of range, or `points` is no array of finite rows.

    Notes
    -----
    Algorithm 5: the greedy 2-approximation of the k-center problem (T. F. Gonzalez, 1985), so the
    last radius is at most twice the best that any M points could reach. Of equally far points the
    one of lowest index is taken. O(N M C).

    Examples
    --------
    >>> indices, radii = topology_preserving_sampling(np.array([[0.0], [1.0], [5.0]]), 2)
    >>> indices, radii
    (array([0, 2]), array([5., 1.]))
    """
    name = "topology_preserving_sampling"
    points = as_points(name, "points", points)
    num_samples = as_integer(name, "num_samples", num_samples, least=1)
    if num_samples > len(points):
        raise ValueError(
            f"{name}: num_samples is {num_samples}; the cloud has only {len(points)} points"
        )
    start = as_integer(name, "start", start, least=0)
    as_indices(name, "start", [start], len(points))

    indices = [start]
    nearest = _distances_to(points, start)  # of every point to its nearest sample
    radii = [nearest.max()]
    while len(indices) < num_samples and radii[-1] > 0:
        indices.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, _distances_to(points, indices[-1]))
        radii.append(nearest.max())
    return np.array(indices), np.array(radii)


def covering_radius(points: Float64[np.ndarray, "n c"], indices: Int64[np.ndarray, " m"]) -> float:
    """Return how far the worst point is from its nearest sample.

    Parameters
    ----------
    points
        Positions or features, any unit; the radius has the same.
    indices
        Rows of `points` that were sampled, at least one.

    Returns
    -------
    float
        max over points of the distance to the nearest sample; 0 if every point is one.

    Raises
    ------
    ValueError
        If there are no indices or one is out of range.

    Notes
    -----
    Appendix A.2. The diagrams of the samples and of the whole cloud are within twice this value in
    bottleneck distance (Proposition 1; filtration value = diameter). O(N M C).

    Examples
    --------
    >>> covering_radius(np.array([[0.0], [1.0], [4.0]]), np.array([0]))
    4.0
    """
    points = as_points("covering_radius", "points", points)
    indices = as_indices("covering_radius", "indices", indices, len(points))
    if not indices.size:
        raise ValueError("covering_radius: indices is empty; pass at least one")
    return float(np.min([_distances_to(points, index) for index in indices.tolist()], axis=0).max())


def sample_points(
    points: Float64[np.ndarray, "n c"],
    num_samples: int,
    start: int = 0,
    *,
    sampling: Sampling = "farthest",
    generator: np.random.Generator | None = None,
) -> Int64[np.ndarray, " m"]:
    """Return indices of the points whose diagrams are compared.

    Parameters
    ----------
    points
        Positions or features, any unit.
    num_samples
        How many to take, from 1 to N.
    start
        Index of the first farthest point; "random" does not use it.
    sampling
        "farthest": `topology_preserving_sampling`. "random": uniform, without repetition. "mixed":
        the farthest points for half of the samples, rounded up, then points drawn uniformly among
        those left.
    generator
        What is drawn from; "farthest" does not use it.

    Returns
    -------
    Int64[np.ndarray, " m"]
        Different rows of `points`: `num_samples` of them, or with "farthest" fewer if the rest are
        duplicates.

    Raises
    ------
    ValueError
        If `num_samples` or `start` is out of range, `sampling` is unknown, `points` is no array of
        finite rows, or points are to be drawn without a generator.

    Notes
    -----
    Farthest points lie at least a covering radius apart, so no H0 death is below it. Random ones
    have near neighbors too, and are spread as the points are.

    Examples
    --------
    >>> points = np.array([[0.0], [1.0], [2.0], [9.0]])
    >>> sample_points(points, 3)
    array([0, 3, 2])
    >>> sample_points(points, 4, sampling="mixed", generator=np.random.default_rng(0))
    array([0, 3, 2, 1])
    """
    name = "sample_points"
    as_choice(name, "sampling", sampling, get_args(Sampling))
    points = as_points(name, "points", points, least=1)
    num_samples = as_integer(name, "num_samples", num_samples, least=1)
    if num_samples > len(points):
        raise ValueError(
            f"{name}: num_samples is {num_samples}; the cloud has only {len(points)} points"
        )
    if sampling == "farthest":
        return topology_preserving_sampling(points, num_samples, start)[0]
    if generator is None:
        raise ValueError(
            f"{name}: generator is None; sampling {sampling!r} draws points, "
            "pass numpy.random.default_rng(seed)"
        )
    drawn = generator.permutation(len(points))
    if sampling == "random":
        return drawn[:num_samples]
    farthest, _ = topology_preserving_sampling(points, (num_samples + 1) // 2, start)
    left = drawn[~np.isin(drawn, farthest)]
    return np.concatenate([farthest, left[: num_samples - len(farthest)]])


def _distances_to(points: Float64[np.ndarray, "n c"], index: int) -> Float64[np.ndarray, " n"]:
    squares = np.zeros(len(points))
    for channel in points.T:
        squares += (channel - channel[index]) ** 2
    return np.sqrt(squares)

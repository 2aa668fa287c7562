"""Distances that are made to be hard: very many births, or very many relations that kill nothing.

Shape letter: N points.
"""

from collections.abc import Callable

import numpy as np
from scipy.spatial.distance import pdist, squareform

FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.floating]]

_NOISE = 1e-4


def _symmetric(lengths: FloatArray) -> FloatArray:
    upper = np.triu(lengths, k=1)
    return np.asarray(upper + upper.T)


def _multipartite(rng: np.random.Generator, n: int, parts: int, noise: float) -> FloatArray:
    part = np.arange(n) * parts // n
    lengths = np.where(part[:, None] == part, 2.0, 1.0)
    return _symmetric(lengths + noise * rng.random((n, n)))


def _bipartite(rng: np.random.Generator, n: int) -> FloatArray:
    return _multipartite(rng, n, 2, 0.0)


def _noisy_bipartite(rng: np.random.Generator, n: int) -> FloatArray:
    return _multipartite(rng, n, 2, _NOISE)


def _random_bipartite(rng: np.random.Generator, n: int) -> FloatArray:
    return _multipartite(rng, n, 2, 1.0)


def _tripartite(rng: np.random.Generator, n: int) -> FloatArray:
    return _multipartite(rng, n, 3, 0.0)


def _simplices(rng: np.random.Generator, n: int) -> FloatArray:
    half = (n + 1) // 2
    corners = np.eye(half) - 1 / half
    points = np.zeros((2 * half, 2 * half))
    points[:half, :half] = points[half:, half:] = corners
    noise = _NOISE * rng.normal(size=(n, 2 * half))
    return np.asarray(squareform(pdist(points[:n] + noise)))


def _sphere(rng: np.random.Generator, n: int) -> FloatArray:
    points = rng.normal(size=(n, 1000))
    unit = points / np.linalg.norm(points, axis=1, keepdims=True)
    return np.asarray(squareform(pdist(unit)))


def _random_lengths(rng: np.random.Generator, n: int) -> FloatArray:
    return _symmetric(rng.random((n, n)))


MAKERS: dict[str, Callable[[np.random.Generator, int], FloatArray]] = {
    "bipartite": _bipartite,
    "tripartite": _tripartite,
    "simplices": _simplices,
    "noisy bipartite": _noisy_bipartite,
    "random bipartite": _random_bipartite,
    "sphere": _sphere,
    "random lengths": _random_lengths,
}
MANY_BIRTHS = ("bipartite", "tripartite", "simplices")
RANDOM = ("noisy bipartite", "random bipartite", "sphere", "random lengths")
HARD_TITLES = {
    "bipartite": "1 between two halves, 2 inside",
    "tripartite": "1 between three thirds, 2 inside",
    "simplices": f"two centered simplices in orthogonal spaces, noise {_NOISE:g}",
    "noisy bipartite": f"bipartite with noise {_NOISE:g}",
    "random bipartite": "bipartite, lengths uniform in [1, 2] between and [2, 3] inside",
    "sphere": "uniform on the sphere of R^1000",
    "random lengths": "independent, uniform in [0, 1]; no metric",
}

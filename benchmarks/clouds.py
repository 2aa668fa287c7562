"""The inputs of every benchmark: families of clouds, their distances, cotangents.

Shape letters: N points, C channels, K pairs.
"""

from collections.abc import Callable
from functools import lru_cache, partial

import numpy as np
from scipy.spatial.distance import pdist, squareform

FloatArray = np.ndarray[tuple[int, ...], np.dtype[np.floating]]

NUM_CENTRES = 16
NUM_CHANNELS = 64


def _features(rng: np.random.Generator, n: int) -> FloatArray:
    centres = rng.normal(size=(NUM_CENTRES, NUM_CHANNELS))
    own = centres[rng.integers(0, NUM_CENTRES, size=n)]
    spread = rng.random((n, 1))
    rows = np.maximum(own + 0.6 * rng.normal(size=(n, NUM_CHANNELS)) * spread, 0.0)
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


def _circle(rng: np.random.Generator, n: int) -> FloatArray:
    angle = 2 * np.pi * rng.random(n)
    return np.column_stack([np.cos(angle), np.sin(angle)]) + 0.05 * rng.normal(size=(n, 2))


def _torus(rng: np.random.Generator, n: int) -> FloatArray:
    around, across = 2 * np.pi * rng.random((2, n))
    reach = 1.0 + 0.4 * np.cos(across)
    surface = np.column_stack(
        [reach * np.cos(around), reach * np.sin(around), 0.4 * np.sin(across)]
    )
    return surface + 0.02 * rng.normal(size=(n, 3))


def _mixture(rng: np.random.Generator, n: int) -> FloatArray:
    centres = 2.0 * rng.normal(size=(NUM_CENTRES, 32))
    return np.asarray(centres[rng.integers(0, NUM_CENTRES, size=n)] + rng.normal(size=(n, 32)))


def _relu(rng: np.random.Generator, n: int) -> FloatArray:
    hidden = np.maximum(rng.normal(size=(n, 3)) @ rng.normal(size=(3, NUM_CHANNELS)), 0.0)
    weights = rng.normal(size=(NUM_CHANNELS, NUM_CHANNELS)) / np.sqrt(NUM_CHANNELS)
    return np.asarray(np.maximum(hidden @ weights, 0.0))


def _sphere3(rng: np.random.Generator, n: int) -> FloatArray:
    rows = rng.normal(size=(n, 3))
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True))


_MAKERS: dict[str, Callable[[np.random.Generator, int], FloatArray]] = {
    "cube": lambda rng, n: rng.random((n, 3)),
    "gaussian": lambda rng, n: rng.normal(size=(n, NUM_CHANNELS)),
    "features": _features,
    "circle": _circle,
    "torus": _torus,
    "mixture": _mixture,
    "cube8": lambda rng, n: rng.random((n, 8)),
    "relu": _relu,
    "sphere3": _sphere3,
}
FAMILIES = ("cube", "gaussian", "features", "circle")
"""Those that every table has."""
MORE_FAMILIES = ("torus", "mixture", "cube8", "relu")
"""Those of one more table, at N = 1024."""
TITLES = {
    "cube": "uniform in R^3",
    "gaussian": "Gaussian in R^64",
    "features": "clustered ReLU features on the sphere of R^64",
    "circle": "noisy circle in R^2",
    "sphere3": "uniform on the sphere of R^3",
    "torus": "noisy torus in R^3",
    "mixture": "mixture of 16 Gaussians in R^32",
    "cube8": "uniform in R^8",
    "relu": "outputs of two ReLU layers, 64 channels, of Gaussian points in R^3",
}


# Distances that are made to be hard: very many births, or relations that kill nothing.

_NOISE = 1e-4


def _symmetric(lengths: FloatArray) -> FloatArray:
    upper = np.triu(lengths, k=1)
    return np.asarray(upper + upper.T)


def _multipartite(rng: np.random.Generator, n: int, parts: int, noise: float) -> FloatArray:
    part = np.arange(n) * parts // n
    lengths = np.where(part[:, None] == part, 2.0, 1.0)
    return _symmetric(lengths + noise * rng.random((n, n)))


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


_HARD_MAKERS: dict[str, Callable[[np.random.Generator, int], FloatArray]] = {
    "bipartite": partial(_multipartite, parts=2, noise=0.0),
    "tripartite": partial(_multipartite, parts=3, noise=0.0),
    "simplices": _simplices,
    "noisy bipartite": partial(_multipartite, parts=2, noise=_NOISE),
    "random bipartite": partial(_multipartite, parts=2, noise=1.0),
    "sphere": _sphere,
    "random lengths": lambda rng, n: _symmetric(rng.random((n, n))),
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


def cloud(family: str, num_points: int, seed: int = 0) -> FloatArray:
    """Return (N, C) float32 points of a family, the same on every machine."""
    points = _MAKERS[family](np.random.default_rng(seed), num_points)
    return points.astype(np.float32)


@lru_cache(maxsize=8)
def distances(family: str, num_points: int, seed: int = 0) -> FloatArray:
    """Return (N, N) float32 distances: what every implementation is given.

    Euclidean by scipy for the clouds, else those made to be hard.
    """
    if family in _HARD_MAKERS:
        made = _HARD_MAKERS[family](np.random.default_rng(seed), num_points)
    else:
        made = squareform(pdist(cloud(family, num_points, seed).astype(np.float64)))
    square = made.astype(np.float32)
    square.setflags(write=True)
    return np.ascontiguousarray(square)


def cotangents(num_pairs: int, seed: int = 0) -> FloatArray:
    """Return (2, K) float32: what backward is given for the births and the deaths."""
    return np.random.default_rng(seed).normal(size=(2, num_pairs)).astype(np.float32)

"""Small clouds whose topology is known, the same for everyone."""

from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

Cloud = NDArray[np.float64]


def circle(rng: np.random.Generator) -> Cloud:
    """Return 60 points near a circle of radius 1: one loop."""
    return _ring(rng, 60, 1.0) + 0.03 * rng.normal(size=(60, 2))


def two_circles(rng: np.random.Generator) -> Cloud:
    """Return 50 and 30 points near circles of radius 1 and 0.5, apart: two loops."""
    large, small = _ring(rng, 50, 1.0), _ring(rng, 30, 0.5) + np.array([2.2, 0.3])
    return np.concatenate([large, small]) + 0.03 * rng.normal(size=(80, 2))


def sphere(rng: np.random.Generator) -> Cloud:
    """Return 90 points of the unit sphere: no loop that lasts."""
    points = rng.normal(size=(90, 3))
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))


def torus(rng: np.random.Generator) -> Cloud:
    """Return 180 points of a torus of radii 2 and 0.9: two loops."""
    around, across = rng.uniform(0, 2 * np.pi, (2, 180))
    from_axis = 2.0 + 0.9 * np.cos(across)
    return np.column_stack(
        [from_axis * np.cos(around), from_axis * np.sin(around), 0.9 * np.sin(across)]
    )


def clusters(rng: np.random.Generator) -> Cloud:
    """Return four tight clusters of 20 points: three merges that come late."""
    centers = np.array([[0.0, 0.0], [3.0, 0.0], [0.5, 2.5], [4.0, 3.0]])
    return np.repeat(centers, 20, axis=0) + 0.2 * rng.normal(size=(80, 2))


def noise(rng: np.random.Generator) -> Cloud:
    """Return 80 points of a cube: nothing that lasts."""
    return rng.random((80, 3))


def duplicates(rng: np.random.Generator) -> Cloud:
    """Return 25 points near a circle, each three times: distances of 0."""
    return np.repeat(_ring(rng, 25, 1.0), 3, axis=0)


def ties(rng: np.random.Generator) -> Cloud:
    """Return a grid of 8 x 8 whole numbers without a hole of 2 x 2: every length many times."""
    del rng
    x, y = np.meshgrid(np.arange(8.0), np.arange(8.0))
    points = np.column_stack([x.ravel(), y.ravel()])
    return points[~((points > 2) & (points < 5)).all(axis=1)]


def _ring(rng: np.random.Generator, count: int, radius: float) -> Cloud:
    angles = rng.uniform(0, 2 * np.pi, count)
    return radius * np.column_stack([np.cos(angles), np.sin(angles)])


SHAPES: Final[dict[str, Callable[[np.random.Generator], Cloud]]] = {
    "circle": circle,
    "two circles": two_circles,
    "sphere": sphere,
    "torus": torus,
    "clusters": clusters,
    "noise": noise,
    "duplicates": duplicates,
    "ties": ties,
}
"""Those that Figure 10 is made of, in its order."""


def shape(name: str, seed: int = 0) -> Cloud:
    """Return a cloud by name, (N, 2) or (N, 3)."""
    return SHAPES[name](np.random.default_rng([seed, list(SHAPES).index(name)]))

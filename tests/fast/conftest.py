"""Clouds that the tests of fast/ share."""

import numpy as np
import pytest


def _cube(rng, n):
    return rng.random((n, 3))


def _gaussian(rng, n):
    return rng.normal(size=(n, 64))


def _features(rng, n):
    """Clustered ReLU features on the unit sphere of R^64."""
    centres = rng.normal(size=(16, 64))
    spread = rng.random(n)[:, None]
    rows = centres[rng.integers(0, 16, n)] + 0.6 * rng.normal(size=(n, 64)) * spread
    rows = np.maximum(rows, 0.0)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _circle(rng, n):
    angle = rng.random(n) * 2 * np.pi
    return np.column_stack([np.cos(angle), np.sin(angle)]) + 0.05 * rng.normal(size=(n, 2))


def _grid(rng, n):
    """Cells of a square lattice, some twice: thousands of equal lengths, and lengths of 0."""
    side = int(np.ceil(np.sqrt(n)))
    return rng.integers(0, side, size=(n, 2)).astype(float)


FAMILIES = {f.__name__[1:]: f for f in (_cube, _gaussian, _features, _circle, _grid)}


@pytest.fixture(scope="session")
def make_cloud():
    """Return points (n, C) of a family by name: cube, gaussian, features, circle, grid."""
    return lambda family, n, seed=0: FAMILIES[family](np.random.default_rng(seed), n)

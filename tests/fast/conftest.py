"""Clouds and backends that the tests of fast/ share."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from fast.kernels import launch_gpu


def _cube(rng, n):
    return rng.random((n, 3))


def _gaussian(rng, n):
    return rng.normal(size=(n, 64))


def _features(rng, n):
    """Clustered ReLU features on the unit sphere of R^64."""
    centers = rng.normal(size=(16, 64))
    spread = rng.random(n)[:, None]
    rows = centers[rng.integers(0, 16, n)] + 0.6 * rng.normal(size=(n, 64)) * spread
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


@pytest.fixture
def set_threads():
    """Return what sets torch's number of threads; the number before comes back."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@dataclass(frozen=True)
class Kernels:
    """CUDA kernels under test: where tensors must be, and the backend that runs them there."""

    device: str
    backend: str


@pytest.fixture(params=[pytest.param("numba-cuda", marks=pytest.mark.gpu), "cuda-simulator"])
def gpu_kernels(request):
    """Return the CUDA kernels on a GPU, or in the simulator (test_simulator.py starts it)."""
    if request.param == "cuda-simulator":
        if not launch_gpu.is_simulated():
            pytest.skip("simulated by test_simulator.py, in a process of its own")
        return Kernels("cpu", "cuda-simulator")
    return Kernels(request.getfixturevalue("cuda"), "numba-cuda")


@pytest.fixture
def cuda():
    """Return the CUDA device's name; skip, saying so, where torch sees none."""
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    return "cuda"

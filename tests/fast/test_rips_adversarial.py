"""Clouds that are made to be hard: births by the square of N, relations by its cube."""

import subprocess
import sys

import numpy as np
import pytest
import torch

import fast
import reference
from fast.kernels.pairing import sparse_pairing_cpu
from fast.kernels.rips import cloud_cpu, rips_cpu
from tests.reference.checks import assert_same_diagram


def _symmetric(lengths):
    upper = np.triu(lengths, k=1)
    return upper + upper.T


def multipartite(n, parts, noise, seed=0):
    """Distances of about 1 between parts, of about 2 inside."""
    rng = np.random.default_rng(seed)
    part = np.arange(n) * parts // n
    lengths = np.where(part[:, None] == part, 2.0, 1.0) + noise * rng.random((n, n))
    return _symmetric(lengths)


def orthogonal_simplices(n, seed=0):
    """Two centered simplices in orthogonal spaces, with noise: nearer to each other's corners."""
    half = n // 2
    corners = np.eye(half) - 1 / half
    points = np.zeros((2 * half, 2 * half))
    points[:half, :half] = points[half:, half:] = corners
    noise = 1e-4 * np.random.default_rng(seed).normal(size=points.shape)
    return reference.pairwise_distances(points + noise)


def random_lengths(n, seed=0):
    return _symmetric(np.random.default_rng(seed).random((n, n)))


def sphere(n, seed=0):
    points = np.random.default_rng(seed).normal(size=(n, 1000))
    return reference.pairwise_distances(points / np.linalg.norm(points, axis=1, keepdims=True))


FAMILIES = {
    "bipartite": lambda n, seed=0: multipartite(n, 2, 0.0, seed),
    "bipartite-noise": lambda n, seed=0: multipartite(n, 2, 1e-4, seed),
    "bipartite-random": lambda n, seed=0: multipartite(n, 2, 1.0, seed),
    "tripartite": lambda n, seed=0: multipartite(n, 3, 0.0, seed),
    "simplices": orthogonal_simplices,
    "random": random_lengths,
    "sphere": sphere,
}


def _set_eliminations(monkeypatch, kind):
    monkeypatch.setattr(rips_cpu, "_MOST_POINTS_SMALL", -1)  # test_small_rips.py has that path
    if kind != "dense":
        monkeypatch.setattr(cloud_cpu, "_DENSE_SHARE", 0.0)
        monkeypatch.setattr(cloud_cpu, "_LEAST_DENSE", 0 if kind == "sparse" else 1024)
        monkeypatch.setattr(cloud_cpu, "_RELATIONS_PER_LENGTH", 0.0)
        monkeypatch.setattr(cloud_cpu, "_LEAST_RELATIONS", 2**18 if kind == "sparse" else 40)


@pytest.mark.parametrize("kind", ["dense", "sparse", "turning"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n", [12, 27])
def test_it_equals_the_definition(monkeypatch, family, n, kind):
    _set_eliminations(monkeypatch, kind)
    matrix = FAMILIES[family](n, seed=n)
    got = fast.rips_persistence(torch.tensor(matrix))
    for of_fast, of_reference in zip(got, reference.rips_persistence(matrix), strict=True):
        assert_same_diagram(of_fast.cloud(0), of_reference)


@pytest.mark.parametrize("kind", ["sparse", "turning"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_elimination_finds_the_same_pairs(monkeypatch, set_threads, family, kind):
    """At a size where random cocycles are drawn again and again."""
    distances = torch.tensor(FAMILIES[family](150))
    want = fast.rips_persistence(distances)
    drawn = []
    draw = sparse_pairing_cpu.reduce_relations
    monkeypatch.setattr(
        sparse_pairing_cpu, "reduce_relations", lambda *some: drawn.append(1) or draw(*some)
    )
    _set_eliminations(monkeypatch, kind)
    for threads in (1, 2):
        set_threads(threads)
        monkeypatch.setattr(cloud_cpu, "_MIN_EDGES_PER_THREAD", 50)
        got = fast.rips_persistence(distances)
        for sparse, dense in zip(got, want, strict=True):
            assert_same_diagram(sparse.cloud(0), dense.cloud(0))
    assert drawn  # the sparse columns have been used


@pytest.mark.oracle
@pytest.mark.parametrize("family", ["bipartite", "bipartite-random", "tripartite", "simplices"])
def test_ripser_finds_the_same_values(family):
    from ripser import ripser

    matrix = FAMILIES[family](60).astype(np.float32)
    want = [rows.astype(np.float32) for rows in ripser(matrix, distance_matrix=True)["dgms"]]
    got = [diagram.cloud(0).pairs for diagram in fast.rips_persistence(torch.tensor(matrix))]
    want[0] = want[0][np.isfinite(want[0][:, 1]) & (want[0][:, 1] > 0)]
    for ours, theirs in zip(got, want, strict=True):
        np.testing.assert_array_equal(ours[np.lexsort(ours.T)], theirs[np.lexsort(theirs.T)])


_PEAK = """
import resource, sys, torch, fast
from tests.fast.test_rips_adversarial import FAMILIES
matrix = torch.tensor(FAMILIES[sys.argv[1]](int(sys.argv[2])), dtype=torch.float32)
for size in (20, 180):  # compiles and loads all there is
    fast.rips_persistence(torch.tensor(FAMILIES["bipartite"](size), dtype=torch.float32))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
diagrams = fast.rips_persistence(matrix)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(1024 * (peak - before), int(diagrams[1].counts[0]))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss in kilobytes")
@pytest.mark.parametrize(("family", "n"), [("bipartite", 512), ("tripartite", 512)])
def test_memory_does_not_grow_with_births_squared(family, n):
    """65,025 births whose bitsets would take 1 GB; 4.9 million relations of 12 bytes."""
    told = subprocess.run(
        [sys.executable, "-c", _PEAK, family, str(n)], capture_output=True, text=True, check=True
    ).stdout
    extra_bytes, pairs = (int(word) for word in told.split())
    assert pairs == ((n // 2 - 1) ** 2 if family == "bipartite" else 0)
    matrix_bytes = 4 * n * n
    # Constant parts that a matrix of 1 MB does not outweigh, and the pairs and copies of them.
    assert extra_bytes <= 16 * 2**20 + 8 * matrix_bytes + 250 * pairs

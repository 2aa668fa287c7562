"""Rips pairs in blocks: equal to those of all edges in their order, and to the definition."""

import numpy as np
import pytest
import torch

import fast
import reference
from fast import rips
from fast.kernels.distances import lengths
from fast.kernels.edges import edge_keys_cpu, hubs_cpu
from fast.kernels.lunes import block_lunes_cpu, later_lunes_cpu
from fast.kernels.rips import large_cloud_cpu, rips_cpu
from fast.kernels.rips.large_cloud_cpu import LargeCloud
from tests.fast.test_point_cloud import assert_same
from tests.fast.test_rips import tied_matrix
from tests.reference.checks import assert_same_diagram

FAMILIES = ["cube", "gaussian", "features", "circle", "grid"]


@pytest.fixture
def all_clouds_are_large(monkeypatch):
    """Few edges in the first chunk, short chunks, and no cloud that is too small."""
    monkeypatch.setattr(rips_cpu, "_MOST_POINTS_SMALL", -1)
    monkeypatch.setattr(rips_cpu, "_LEAST_POINTS_LARGE", 0)
    monkeypatch.setattr(rips_cpu, "MOST_CHANNELS_OF_A_TREE", 0)
    monkeypatch.setattr(rips, "_LARGE_DISTANCES", 0)
    monkeypatch.setattr(large_cloud_cpu, "_FIRST_EDGES", 1)
    monkeypatch.setattr(large_cloud_cpu, "_MOST_TIES", 1000)
    monkeypatch.setattr(large_cloud_cpu, "_MOST_RELATIONS", 1000)
    monkeypatch.setattr(large_cloud_cpu, "_FEW_BIRTHS", 1000)
    monkeypatch.setattr(large_cloud_cpu, "_SEARCHES", 1000)
    monkeypatch.setattr(hubs_cpu, "LEAST_POINTS", 0)


def in_order(distances, threshold=np.inf):
    """Pairs by all edges in their order."""
    keys, row_max = rips_cpu._checked_keys(distances, 1)
    cutoff = min(int(row_max.min()), lengths.longest_key(distances.dtype, threshold))
    return rips_cpu.Cloud(keys, cutoff, 1).pairs()


def in_blocks(distances, threshold=np.inf, num_threads=1):
    keys, row_max = rips_cpu._checked_keys(distances, num_threads)
    cutoff = min(int(row_max.min()), lengths.longest_key(distances.dtype, threshold))
    return LargeCloud(edge_keys_cpu.of_distances(keys), cutoff, num_threads).pairs()


def by_blocks(points, threshold=np.inf, num_threads=1, max_dim=1):
    longest = lengths.longest_key(points.dtype, threshold)
    return rips_cpu._pairs_by_blocks(points, max_dim, longest, num_threads)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_equals_the_edges_in_their_order(make_cloud, monkeypatch, family, dtype):
    """Where chunks have the sizes that they have in use."""
    monkeypatch.setattr(hubs_cpu, "LEAST_POINTS", 0)
    points = make_cloud(family, 700, seed=1).astype(dtype)
    distances = fast.pairwise_distances(torch.from_numpy(points)).numpy()
    want = in_order(distances)
    assert len(want[1].death_edges) > 20
    for num_threads in (1, 2):
        assert_same(in_blocks(distances, np.inf, num_threads), want)
        assert_same(by_blocks(points, np.inf, num_threads), want)
    threshold = float(np.quantile(distances, 0.02))
    assert_same(in_blocks(distances, threshold), in_order(distances, threshold))


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("n", [2, 16, 65])
def test_it_equals_the_edges_in_their_order_where_lengths_tie(all_clouds_are_large, seed, n):
    matrix = tied_matrix(n, 2 + seed % 6, seed).astype(np.float32)
    if seed % 4 == 3 and n > 2:
        matrix[0, 1:] = matrix[1:, 0] = np.inf
    for threshold in (np.inf, 2.0):
        want = in_order(matrix, threshold)
        assert_same(in_blocks(matrix, threshold), want)
        assert_same(in_blocks(matrix, threshold, num_threads=3), want)


def test_a_threshold_beyond_the_longest_edge_leaves_a_chunk_empty(all_clouds_are_large):
    """Loops of edges between two halves that never die, and a last chunk without an edge."""
    side = np.arange(12) % 2
    matrix = np.where(side[:, None] == side, 5.0, 1.0).astype(np.float32)
    np.fill_diagonal(matrix, 0)
    got = in_blocks(matrix, threshold=3.0)
    assert got[1].num_essential == 25
    assert_same(got, in_order(matrix, threshold=3.0))


@pytest.mark.parametrize("seed", range(8))
def test_it_equals_the_definition_in_every_field(all_clouds_are_large, seed):
    matrix = tied_matrix(16, 2 + seed % 6, seed)
    got = fast.rips_persistence(torch.tensor(matrix))
    for of_fast, of_reference in zip(got, reference.rips_persistence(matrix), strict=True):
        assert_same_diagram(of_fast.cloud(0), of_reference)


@pytest.mark.parametrize("max_dim", [0, 1])
def test_points_on_a_lattice_need_no_distances(all_clouds_are_large, monkeypatch, max_dim):
    points = torch.from_numpy(np.random.default_rng(0).integers(0, 3, size=(2, 60, 4)) / 4)
    want = fast.rips_persistence(fast.pairwise_distances(points), max_dim, sizes=[60, 41])
    monkeypatch.setattr(rips, "pairwise_distances", None)
    got = fast.rips_persistence_of_points(points, max_dim, sizes=[60, 41])
    for one, other in zip(got, want, strict=True):
        for field in ("pairs", "birth_edges", "death_edges", "death_simplices", "num_essential"):
            assert torch.equal(getattr(one, field), getattr(other, field))


def test_tiny_coordinates_get_distances(all_clouds_are_large, monkeypatch):
    """Their squares underflow, and blocks of rows do not scale them."""
    points = torch.rand(20, 4)
    points[3] = 1e-30
    want = fast.rips_persistence(fast.pairwise_distances(points))
    got = fast.rips_persistence_of_points(points)
    assert torch.equal(got[1].pairs, want[1].pairs)
    monkeypatch.setattr(rips, "pairwise_distances", None)
    with pytest.raises(TypeError):
        fast.rips_persistence_of_points(points)


def test_computed_keys_have_the_bits_of_stored_ones():
    for dtype in (np.float32, np.float64):
        points = np.random.default_rng(0).normal(size=(300, 5)).astype(dtype)
        stored = fast.pairwise_distances(torch.from_numpy(points)).numpy()
        source = edge_keys_cpu.of_points(points)
        rows = np.empty((300, 300), dtype)
        edge_keys_cpu.fill_lengths(source.channels, 0, 300, 0, rows)
        np.testing.assert_array_equal(rows, stored)
        edges = np.stack(np.triu_indices(300, k=1), axis=1)
        keys = np.empty(len(edges), source.stored.dtype)
        edge_keys_cpu.keys_of_edges(source, edges, keys)
        np.testing.assert_array_equal(keys.view(dtype), stored[edges[:, 0], edges[:, 1]])


@pytest.mark.parametrize("limit", ["_MOST_TIES", "_MOST_RELATIONS"])
def test_lengths_that_are_no_cloud_s_are_taken_in_their_order(
    all_clouds_are_large, monkeypatch, limit
):
    matrix = tied_matrix(40, 2, 0).astype(np.float32)
    want = in_order(matrix)
    monkeypatch.setattr(large_cloud_cpu, limit, 0)
    assert in_blocks(matrix) is None
    assert_same(rips_cpu._pairs_of_cloud(matrix, 1, np.inf, 1), want)


# Broken on purpose: a comparison that stays green then proves nothing.


def _one_empty_lune_too_few(original):
    def broken(*arguments):
        empties, *rest = original(*arguments)
        return empties[1:], *rest

    return broken


def _one_relation_too_few(original):
    def broken(*arguments):
        empties, relations, *rest = original(*arguments)
        return empties, relations[1:], *rest

    return broken


def _nothing_is_born_later(original):
    def broken(*arguments):
        return original(*arguments)[0][:0], 0

    return broken


def _nothing_is_missing(original):
    def broken(adjacency, candidates, hubs):
        original(adjacency, candidates, hubs)
        hubs.counts[:] = 0

    return broken


@pytest.mark.parametrize(
    ("module", "kernel", "mutant"),
    [
        (block_lunes_cpu, "examine_lunes", _one_empty_lune_too_few),
        (block_lunes_cpu, "examine_lunes", _one_relation_too_few),
        (later_lunes_cpu, "later_empty_lunes", _nothing_is_born_later),
        (hubs_cpu, "choose_hubs", _nothing_is_missing),
    ],
)
def test_a_broken_kernel_is_caught(
    monkeypatch, make_cloud, all_clouds_are_large, module, kernel, mutant
):
    monkeypatch.setattr(module, kernel, mutant(getattr(module, kernel)))
    with pytest.raises((AssertionError, IndexError)):
        _compare_many(make_cloud)


def _compare_many(make_cloud):
    for seed in range(4):
        distances = fast.pairwise_distances(torch.from_numpy(make_cloud("circle", 90, seed)))
        assert_same(in_blocks(distances.numpy()), in_order(distances.numpy()))

"""Rips diagrams against code we did not write, and against definitions taken literally."""

from itertools import combinations, pairwise

import gudhi
import numpy as np
import pytest
import ripser
from hypothesis import given

import reference
from tests.reference import strategies
from tests.reference.checks import assert_same_points

MAX_DIM = 2


def finite(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    return points[np.isfinite(points[:, 1])]


def ripser_diagrams(distances: np.ndarray) -> list[np.ndarray]:
    found = ripser.ripser(distances, maxdim=MAX_DIM, distance_matrix=True)
    return [finite(points) for points in found["dgms"]]


def gudhi_tree(distances: np.ndarray, threshold: float = np.inf) -> gudhi.SimplexTree:
    complex_ = gudhi.RipsComplex(distance_matrix=distances, max_edge_length=threshold)
    tree = complex_.create_simplex_tree(max_dimension=MAX_DIM + 1)
    tree.compute_persistence(homology_coeff_field=2, min_persistence=0.0, persistence_dim_max=True)
    return tree


def gudhi_diagrams(distances: np.ndarray, threshold: float = np.inf) -> list[np.ndarray]:
    tree = gudhi_tree(distances, threshold)
    return [finite(tree.persistence_intervals_in_dimension(dim)) for dim in range(MAX_DIM + 1)]


def positive(points: np.ndarray) -> np.ndarray:
    return points[points[:, 1] > points[:, 0]]


@pytest.mark.oracle
@given(distances=strategies.tied_distances(min_points=2))
def test_diagrams_of_tied_matrices_equal_ripser(distances):
    for ours, theirs in zip(
        reference.rips_persistence(distances, MAX_DIM), ripser_diagrams(distances), strict=True
    ):
        assert_same_points(ours.pairs, positive(theirs))


@pytest.mark.oracle
@given(distances=strategies.tied_distances(min_points=1))
def test_diagrams_of_tied_matrices_equal_gudhi(distances):
    for ours, theirs in zip(
        reference.rips_persistence(distances, MAX_DIM), gudhi_diagrams(distances), strict=True
    ):
        assert_same_points(ours.pairs, positive(theirs))


@pytest.mark.oracle
@given(distances=strategies.tied_distances(min_points=1))
def test_truncated_diagrams_of_tied_matrices_equal_gudhi(distances):
    ours = reference.rips_persistence(distances, MAX_DIM, 3.0)
    tree = gudhi_tree(distances, 3.0)
    for dim, diagram in enumerate(ours):
        theirs = tree.persistence_intervals_in_dimension(dim).reshape(-1, 2)
        assert_same_points(diagram.pairs, positive(finite(theirs)))
        assert diagram.num_essential == np.isinf(theirs[:, 1]).sum()


def cloud(name: str, num_points: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    if name == "cube":
        return rng.random((num_points, 3))
    if name == "normal":
        return rng.normal(size=(num_points, 16))
    if name == "circle":
        angles = rng.uniform(0, 2 * np.pi, num_points)
        points = np.column_stack([np.cos(angles), np.sin(angles)])
        return points + 0.05 * rng.normal(size=points.shape)
    directions = rng.normal(size=(num_points, 3))  # a sphere
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


CLOUDS = [("cube", 20), ("normal", 20), ("circle", 24), ("sphere", 24)]


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "num_points"), CLOUDS)
def test_diagrams_of_clouds_equal_ripser(name, num_points):
    distances = reference.pairwise_distances(cloud(name, num_points))
    for ours, theirs in zip(
        reference.rips_persistence(distances, MAX_DIM), ripser_diagrams(distances), strict=True
    ):
        assert len(ours) > 0 or (name, ours.dim) == ("cube", 2)
        assert_same_points(ours.pairs, theirs, atol=1e-6)  # ripser.py keeps distances in float32


@pytest.mark.oracle
@pytest.mark.parametrize(("name", "num_points"), CLOUDS)
def test_diagrams_of_clouds_equal_gudhi_to_the_last_bit(name, num_points):
    distances = reference.pairwise_distances(cloud(name, num_points))
    for ours, theirs in zip(
        reference.rips_persistence(distances, MAX_DIM), gudhi_diagrams(distances), strict=True
    ):
        assert_same_points(ours.pairs, theirs)


@pytest.mark.oracle
@given(distances=strategies.tied_distances(min_points=1))
def test_critical_edges_equal_gudhi_on_the_ranks_of_the_edges(distances):
    """Replace lengths by ranks, which have no ties: the pairs name the critical edges."""
    i, j = np.triu_indices(len(distances), k=1)
    order = sorted(range(len(i)), key=lambda e: (distances[i[e], j[e]], i[e], j[e]))
    ranks = np.zeros_like(distances)
    for rank, edge in enumerate(order, start=1):
        ranks[i[edge], j[edge]] = ranks[j[edge], i[edge]] = rank
    length = np.array([0.0] + [distances[i[edge], j[edge]] for edge in order])

    theirs = gudhi_diagrams(ranks)
    for ours in reference.rips_persistence(distances, MAX_DIM):
        born, died = theirs[ours.dim].astype(int).T
        kept = length[died] > length[born]
        birth_ranks = ranks[tuple(ours.birth_edges.T)] if ours.dim else np.zeros(len(ours))
        got = np.column_stack([birth_ranks, ranks[tuple(ours.death_edges.T)]])
        assert_same_points(got, np.column_stack([born[kept], died[kept]]))
        in_order = np.lexsort((got[:, 0], got[:, 1]))
        assert_same_points(got[in_order], got)
        np.testing.assert_array_equal(got, got[in_order])


@pytest.mark.oracle
@given(distances=strategies.generic_distances(min_points=2, max_points=9))
def test_critical_simplices_of_generic_clouds_equal_gudhi(distances):
    pairs = gudhi_tree(distances).persistence_pairs()
    for ours in reference.rips_persistence(distances, MAX_DIM):
        theirs = {}
        for birth, death in pairs:
            if len(birth) == ours.dim + 1 and death:
                edges = [
                    max(combinations(sorted(s), 2), key=lambda e: distances[e], default=(-1, -1))
                    for s in (birth, death)
                ]
                if edges[0] == (-1, -1) or distances[edges[0]] < distances[edges[1]]:
                    theirs[tuple(edges)] = distances[edges[1]]
        got = {
            (tuple(map(int, birth)), tuple(map(int, death))): value
            for birth, death, value in zip(
                ours.birth_edges, ours.death_edges, ours.deaths, strict=True
            )
        }
        assert got == theirs


def rank_over_two(rows: list[int]) -> int:
    """Return the rank over Z/2 of rows given as bit masks."""
    basis: dict[int, int] = {}
    for row in rows:
        while row and row.bit_length() in basis:
            row ^= basis[row.bit_length()]
        if row:
            basis[row.bit_length()] = row
    return len(basis)


def simplices_in_order(distances: np.ndarray, max_size: int) -> list[tuple[int, ...]]:
    """Return all simplices by (longest edge in the order of edges, dimension, vertices)."""
    edges = sorted(combinations(range(len(distances)), 2), key=lambda e: (distances[e], e))
    rank = {edge: place for place, edge in enumerate(edges)}
    simplices = [
        simplex
        for size in range(1, max_size + 1)
        for simplex in combinations(range(len(distances)), size)
    ]

    def order(simplex):
        return max((rank[e] for e in combinations(simplex, 2)), default=-1), len(simplex), simplex

    return sorted(simplices, key=order)


def pairs_by_the_pairing_lemma(simplices: list[tuple[int, ...]]) -> list[tuple[int, int]]:
    """Return (birth, death) positions from ranks of lower left corners of the boundary matrix.

    Edelsbrunner and Harer, "Computational Topology" (2010), section VII.1: i is paired with j if
    r(i, j) - r(i+1, j) + r(i+1, j-1) - r(i, j-1) = 1, r(i, j) being the rank of the boundary
    matrix without the rows before i and the columns after j. No reduction is involved.
    """
    position = {simplex: p for p, simplex in enumerate(simplices)}
    columns = [
        sum(1 << position[facet] for facet in combinations(simplex, len(simplex) - 1) if facet)
        for simplex in simplices
    ]

    def corner(i, j):
        return rank_over_two([column >> i for column in columns[: j + 1]])

    found = []
    for j, simplex in enumerate(simplices):
        for i in range(j):
            if len(simplices[i]) + 1 == len(simplex):
                change = corner(i, j) - corner(i + 1, j)
                if change and change - (corner(i, j - 1) - corner(i + 1, j - 1)) == 1:
                    found.append((i, j))
    return found


@given(distances=strategies.tied_distances(min_points=1, max_points=6))
def test_every_pair_follows_from_the_ranks_of_corners(distances):
    simplices = simplices_in_order(distances, MAX_DIM + 2)
    value = {s: max((distances[e] for e in combinations(s, 2)), default=0.0) for s in simplices}
    rank = reference.rips.edge_ranks(distances)

    def longest_edge(simplex):
        return max(combinations(simplex, 2), key=lambda e: rank[e], default=(-1, -1))

    for ours in reference.rips_persistence(distances, MAX_DIM):
        want = [
            (rank[longest_edge(simplices[j])], rank[longest_edge(simplices[i])], simplices[i], j)
            for i, j in pairs_by_the_pairing_lemma(simplices)
            if len(simplices[i]) == ours.dim + 1 and value[simplices[j]] > value[simplices[i]]
        ]
        want.sort()
        assert ours.death_simplices.tolist() == [list(simplices[j]) for *_, j in want]
        assert ours.death_edges.tolist() == [list(longest_edge(simplices[j])) for *_, j in want]
        assert ours.birth_edges.tolist() == [list(longest_edge(i)) for *_, i, _ in want]
        assert ours.births.tolist() == [value[i] for *_, i, _ in want]
        assert ours.deaths.tolist() == [value[simplices[j]] for *_, j in want]


@given(distances=strategies.tied_distances(min_points=1, max_points=6))
def test_betti_numbers_equal_ranks_of_boundary_matrices(distances):
    """At each length: classes alive = simplices - rank of their boundary - rank of the next."""
    diagrams = reference.rips_persistence(distances, MAX_DIM)
    for length in np.unique(distances):
        present = [
            [
                simplex
                for simplex in combinations(range(len(distances)), size)
                if all(distances[edge] <= length for edge in combinations(simplex, 2))
            ]
            for size in range(1, MAX_DIM + 3)
        ]
        ranks = [0]
        for facets, simplices in pairwise(present):
            bit = {facet: 1 << place for place, facet in enumerate(facets)}
            ranks.append(
                rank_over_two(
                    [
                        sum(bit[facet] for facet in combinations(simplex, len(simplex) - 1))
                        for simplex in simplices
                    ]
                )
            )
        cut = reference.rips_persistence(distances, MAX_DIM, length)
        for dim, diagram in enumerate(diagrams):
            betti = len(present[dim]) - ranks[dim] - ranks[dim + 1]
            alive = np.sum((diagram.births <= length) & (length < diagram.deaths))
            assert alive + diagram.num_essential == betti
            assert cut[dim].num_essential == betti

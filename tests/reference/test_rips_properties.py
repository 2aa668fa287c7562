"""What every Rips diagram must satisfy, whatever computed it."""

from itertools import combinations

import gudhi.hera
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from tests.reference import strategies
from tests.reference.checks import assert_same_diagram, assert_same_points

MAX_DIM = 2


@given(distances=strategies.tied_distances(min_points=1), seed=strategies.seeds)
def test_permuting_points_keeps_the_diagram(distances, seed):
    order = np.random.default_rng(seed).permutation(len(distances))
    for before, after in zip(
        reference.rips_persistence(distances, MAX_DIM),
        reference.rips_persistence(distances[order][:, order], MAX_DIM),
        strict=True,
    ):
        assert_same_points(after.pairs, before.pairs)


@given(distances=strategies.generic_distances(), seed=strategies.seeds)
def test_permuting_generic_points_permutes_the_critical_edges(distances, seed):
    order = np.random.default_rng(seed).permutation(len(distances))
    permuted = reference.rips_persistence(distances[order][:, order])
    for before, after in zip(reference.rips_persistence(distances), permuted, strict=True):
        for name in ("death_edges", "birth_edges")[: 1 + before.dim]:
            moved = np.sort(order[getattr(after, name)], axis=1)
            np.testing.assert_array_equal(moved, getattr(before, name))


@given(points=strategies.clouds(max_channels=3), seed=strategies.seeds)
def test_rotating_and_moving_points_keeps_the_diagram_to_rounding(points, seed):
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(points.shape[1],) * 2))
    moved = points @ rotation + rng.normal(size=points.shape[1])
    for before, after in zip(
        reference.rips_persistence(reference.pairwise_distances(points)),
        reference.rips_persistence(reference.pairwise_distances(moved)),
        strict=True,
    ):
        assert_same_points(after.pairs, before.pairs, atol=1e-12)


@given(distances=strategies.tied_distances(), power=st.integers(-3, 3))
def test_scaling_distances_scales_the_diagram(distances, power):
    scale = 2.0**power  # exact
    for before, after in zip(
        reference.rips_persistence(distances),
        reference.rips_persistence(scale * distances),
        strict=True,
    ):
        np.testing.assert_array_equal(after.pairs, scale * before.pairs)
        np.testing.assert_array_equal(after.death_simplices, before.death_simplices)


@given(distances=strategies.tied_distances(min_points=1, max_points=6), data=st.data())
def test_a_duplicate_point_changes_nothing(distances, data):
    twin = data.draw(st.integers(0, len(distances) - 1))
    order = [*range(len(distances)), twin]
    for before, after in zip(
        reference.rips_persistence(distances, MAX_DIM),
        reference.rips_persistence(distances[order][:, order], MAX_DIM),
        strict=True,
    ):
        assert_same_points(after.pairs, before.pairs)


@given(distances=strategies.tied_distances(min_points=1))
def test_every_birth_and_death_is_the_length_of_its_edge(distances):
    for diagram in reference.rips_persistence(distances, MAX_DIM):
        np.testing.assert_array_equal(diagram.deaths, distances[tuple(diagram.death_edges.T)])
        if diagram.dim == 0:
            assert (diagram.birth_edges == -1).all()
            assert (diagram.births == 0).all()
        else:
            np.testing.assert_array_equal(diagram.births, distances[tuple(diagram.birth_edges.T)])
        for edge, simplex in zip(diagram.death_edges, diagram.death_simplices, strict=True):
            edges = list(combinations(simplex.tolist(), 2))
            assert tuple(edge) == max(edges, key=lambda e: (distances[e], e))
        assert (diagram.births < diagram.deaths).all()


@given(distances=strategies.tied_distances(min_points=1))
def test_components_die_along_a_minimum_spanning_tree(distances):
    """Prim's algorithm, which shares no code with a boundary matrix."""
    tree, outside = [], distances[0].copy()
    left = set(range(1, len(distances)))
    while left:
        nearest = min(left, key=lambda vertex: outside[vertex])
        tree.append(outside[nearest])
        outside = np.minimum(outside, distances[nearest])
        left.remove(nearest)
    components = reference.rips_persistence(distances, 0)[0]
    np.testing.assert_array_equal(components.deaths, sorted(each for each in tree if each > 0))


@given(distances=strategies.tied_distances(min_points=1))
def test_nothing_lives_past_the_enclosing_radius(distances):
    radius = reference.enclosing_radius(distances)
    everything = reference.rips_persistence(distances, MAX_DIM)
    for diagram, truncated in zip(
        everything, reference.rips_persistence(distances, MAX_DIM, radius), strict=True
    ):
        assert (diagram.deaths <= radius).all()
        assert_same_diagram(truncated, diagram)


@given(distances=strategies.tied_distances(min_points=1))
def test_one_component_never_dies_and_nothing_else(distances):
    essential = [each.num_essential for each in reference.rips_persistence(distances, MAX_DIM)]
    assert essential == [1, 0, 0]


@given(distances=strategies.tied_distances())
def test_lower_dimensions_do_not_depend_on_the_highest(distances):
    two = reference.rips_persistence(distances, 2)
    for max_dim in (0, 1):
        fewer = reference.rips_persistence(distances, max_dim)
        for diagram, same in zip(fewer, two[: max_dim + 1], strict=True):
            assert_same_diagram(diagram, same)


def bottleneck_distance(one: np.ndarray, two: np.ndarray) -> float:
    """Return Hera's exact distance: GUDHI's own is too large at times up to 3.13 (its #1367)."""
    return gudhi.hera.bottleneck_distance(one, two, delta=0.0)


def test_the_bottleneck_distance_of_the_oracle_is_exact():
    one = np.array([[0.0, 4.0], [0.0, 5.0], [0.0, 6.0], [0.0, 9.0]])
    two = np.array([[0.0, 7.0], [0.0, 9.0]])  # 9 to 9, 6 to 7, 5 and 4 to the diagonal
    assert bottleneck_distance(one, two) == 2.5


@pytest.mark.oracle
@given(distances=strategies.generic_distances(min_points=2), seed=strategies.seeds)
def test_a_diagram_moves_no_further_than_the_distances(distances, seed):
    """The stability theorem (Cohen-Steiner, Edelsbrunner, Harer 2007)."""
    noise = np.triu(np.random.default_rng(seed).uniform(-0.3, 0.3, distances.shape), k=1)
    moved = np.abs(distances + noise + noise.T)
    bound = np.abs(moved - distances).max()
    for before, after in zip(
        reference.rips_persistence(distances, MAX_DIM),
        reference.rips_persistence(moved, MAX_DIM),
        strict=True,
    ):
        assert bottleneck_distance(before.pairs, after.pairs) <= bound + 1e-12


@pytest.mark.oracle
@given(points=strategies.clouds(min_points=3, max_points=12), data=st.data())
def test_samples_have_the_diagram_of_the_cloud_to_twice_the_covering_radius(points, data):
    """Proposition 1, in diameters."""
    num_samples = data.draw(st.integers(1, len(points)))
    indices, radii = reference.topology_preserving_sampling(points, num_samples)
    for whole, sample in zip(
        reference.rips_persistence(reference.pairwise_distances(points)),
        reference.rips_persistence(reference.pairwise_distances(points[indices])),
        strict=True,
    ):
        assert bottleneck_distance(whole.pairs, sample.pairs) <= 2 * radii[-1] + 1e-12

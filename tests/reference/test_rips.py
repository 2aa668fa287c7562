"""Rips diagrams worked out by hand, and what the order, threshold and limit promise."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from reference.diagram import Diagram
from tests.reference import strategies
from tests.reference.checks import assert_same_diagram, assert_same_points


def diagram(dim, births, deaths, birth_edges, death_edges, death_simplices, num_essential=0):
    return Diagram(
        dim=dim,
        births=np.array(births, dtype=np.float64),
        deaths=np.array(deaths, dtype=np.float64),
        birth_edges=np.array(birth_edges, dtype=np.int64).reshape(-1, 2),
        death_edges=np.array(death_edges, dtype=np.int64).reshape(-1, 2),
        death_simplices=np.array(death_simplices, dtype=np.int64).reshape(-1, dim + 2),
        num_essential=num_essential,
    )


def components(deaths, edges, num_essential=1):
    """Return a diagram of dimension 0: born at 0 by no edge, killed by an edge."""
    none = [(-1, -1)] * len(edges)
    return diagram(0, [0.0] * len(edges), deaths, none, edges, edges, num_essential)


def regular_polygon(num_sides):
    angles = 2 * np.pi * np.arange(num_sides) / num_sides
    return np.column_stack([np.cos(angles), np.sin(angles)])


def chord(num_sides, steps):
    """Return the distance of two corners of a regular polygon of radius 1, `steps` apart."""
    return 2 * np.sin(np.pi * steps / num_sides)


def test_an_empty_cloud_has_empty_diagrams():
    diagrams = reference.rips_persistence(np.empty((0, 0)), max_dim=2)
    assert len(diagrams) == 3
    for dim, found in enumerate(diagrams):
        assert_same_diagram(found, diagram(dim, [], [], [], [], []))


def test_one_point_is_one_component_that_never_dies():
    found = reference.rips_persistence(np.zeros((1, 1)))
    assert_same_diagram(found[0], components([], []))
    assert_same_diagram(found[1], diagram(1, [], [], [], [], []))


def test_two_points_at_distance_3_merge_at_3():
    found = reference.rips_persistence(np.array([[0.0, 3.0], [3.0, 0.0]]))
    assert_same_diagram(found[0], components([3.0], [(0, 1)]))
    assert_same_diagram(found[1], diagram(1, [], [], [], [], []))


def test_a_rectangle_has_a_loop_from_its_long_side_to_its_diagonal():
    corners = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0], [0.0, 4.0]])
    found = reference.rips_persistence(reference.pairwise_distances(corners))
    assert_same_diagram(found[0], components([3, 3, 4], [(0, 1), (2, 3), (0, 3)]))
    # Both diagonals are 5; (0, 2) is first, and the triangle over corner 1 closes nothing.
    assert_same_diagram(found[1], diagram(1, [4.0], [5.0], [(1, 2)], [(0, 2)], [(0, 2, 3)]))


def test_equal_lengths_enter_by_smaller_then_larger_vertex():
    all_equal = np.ones((4, 4)) - np.eye(4)
    found = reference.rips_persistence(all_equal)
    assert_same_diagram(found[0], components([1, 1, 1], [(0, 1), (0, 2), (0, 3)]))
    assert len(found[1]) == 0
    distances = np.array([[0, 2, 2, 1], [2, 0, 1, 2], [2, 1, 0, 2], [1, 2, 2, 0]], dtype=float)
    found = reference.rips_persistence(distances)
    assert_same_diagram(found[0], components([1, 1, 2], [(0, 3), (1, 2), (0, 1)]))
    np.testing.assert_array_equal(
        reference.rips.edge_ranks(distances),
        [[-1, 2, 3, 0], [2, -1, 1, 4], [3, 1, -1, 5], [0, 4, 5, -1]],
    )


def test_two_clusters_merge_last():
    line = np.array([[0.0], [1.0], [3.0], [10.0], [11.5]])
    found = reference.rips_persistence(reference.pairwise_distances(line))
    merges = [(0, 1), (3, 4), (1, 2), (2, 3)]
    assert_same_diagram(found[0], components([1.0, 1.5, 2.0, 7.0], merges))


@pytest.mark.parametrize("num_sides", range(3, 13))
def test_a_regular_polygon_has_a_loop_until_a_triangle_holds_its_center(num_sides):
    distances = reference.pairwise_distances(regular_polygon(num_sides))
    side, closing = chord(num_sides, 1), chord(num_sides, -(-num_sides // 3))
    found = reference.rips_persistence(distances)
    assert_same_points(found[0].pairs, [(0.0, side)] * (num_sides - 1), atol=1e-12)
    expected = [(side, closing)] if num_sides > 3 else []
    # Sides that differ in the last bit can leave pairs of no more persistence than that.
    real = found[1].pairs[found[1].deaths - found[1].births > 1e-12]
    assert_same_points(real, expected, atol=1e-12)


def cross_polytope(dim):
    """Return the distances of the unit vectors and their negatives, times 1 / sqrt(2)."""
    num_points = 2 * dim
    distances = np.ones((num_points, num_points)) - np.eye(num_points)
    for vertex in range(dim):
        distances[vertex, vertex + dim] = distances[vertex + dim, vertex] = 2.0
    return distances


def test_an_octahedron_is_a_sphere_until_opposite_points_meet():
    found = reference.rips_persistence(cross_polytope(3), max_dim=2)
    assert_same_diagram(found[0], components([1] * 5, [(0, 1), (0, 2), (0, 4), (0, 5), (1, 3)]))
    assert len(found[1]) == 0
    # The first opposite pair, {0, 3}, closes it; 0, 1, 2, 3 alone would close nothing.
    assert_same_points(found[2].pairs, [(1.0, 2.0)])
    assert found[2].death_edges.tolist() == [[0, 3]]
    assert found[2].birth_edges.tolist() == [[4, 5]]
    assert found[2].num_essential == 0


def test_a_four_dimensional_cross_polytope_is_a_three_sphere():
    found = reference.rips_persistence(cross_polytope(4), max_dim=3)
    assert [len(each) for each in found] == [7, 0, 0, 1]
    assert_same_points(found[3].pairs, [(1.0, 2.0)])


def test_a_regular_hexagon_turns_into_an_octahedron():
    distances = np.round(reference.pairwise_distances(regular_polygon(6)), 12)
    found = reference.rips_persistence(distances, max_dim=2)
    assert_same_points(found[1].pairs, [(1.0, np.round(np.sqrt(3), 12))])
    assert_same_points(found[2].pairs, [(np.round(np.sqrt(3), 12), 2.0)])


def test_zero_persistence_is_left_out_in_every_dimension():
    points = np.array([[0.0], [0.0], [2.0]])
    found = reference.rips_persistence(reference.pairwise_distances(points))
    assert_same_diagram(found[0], components([2.0], [(0, 2)]))
    triangle = np.ones((3, 3)) - np.eye(3)
    assert len(reference.rips_persistence(triangle)[1]) == 0


def test_infinite_distances_are_never_joined():
    distances = np.full((4, 4), np.inf)
    distances[0, 1] = distances[1, 0] = 1.0
    distances[2, 3] = distances[3, 2] = 2.0
    np.fill_diagonal(distances, 0.0)
    found = reference.rips_persistence(distances)
    assert_same_diagram(found[0], components([1.0, 2.0], [(0, 1), (2, 3)], num_essential=2))
    assert found[1].num_essential == 0
    square = np.array([[0, 1, np.inf, 1], [1, 0, 1, np.inf], [np.inf, 1, 0, 1], [1, np.inf, 1, 0]])
    assert reference.rips_persistence(square)[1].num_essential == 1
    assert reference.rips_persistence(square, threshold=5.0)[1].num_essential == 1


@pytest.mark.parametrize(
    ("threshold", "merges", "loops", "open_components", "open_loops"),
    [
        (np.inf, 3, 1, 1, 0),
        (5.0, 3, 1, 1, 0),
        (np.nextafter(5.0, 0.0), 3, 0, 1, 1),
        (4.0, 3, 0, 1, 1),
        (3.5, 2, 0, 2, 0),
        (0.0, 0, 0, 4, 0),
    ],
)
def test_the_threshold_is_inclusive_and_counts_what_it_cuts_off(
    threshold, merges, loops, open_components, open_loops
):
    distances = np.array([[0, 3, 5, 4], [3, 0, 4, 5], [5, 4, 0, 3], [4, 5, 3, 0]], dtype=float)
    found = reference.rips_persistence(distances, 1, threshold)
    assert [len(each) for each in found] == [merges, loops]
    assert [each.num_essential for each in found] == [open_components, open_loops]


@given(distances=strategies.tied_distances(), threshold=st.sampled_from([0.0, 1.0, 3.0, 4.5, 5.0]))
def test_a_threshold_is_the_same_as_infinite_distances_beyond_it(distances, threshold):
    cut = np.where(distances > threshold, np.inf, distances)
    for with_threshold, with_inf in zip(
        reference.rips_persistence(distances, 1, threshold),
        reference.rips_persistence(cut, 1),
        strict=True,
    ):
        assert_same_diagram(with_threshold, with_inf)


@pytest.mark.parametrize(("max_dim", "count"), [(0, 5 + 10), (1, 5 + 10 + 10), (2, 30), (9, 31)])
def test_the_limit_counts_the_simplices_that_are_needed(max_dim, count):
    distances = np.ones((5, 5)) - np.eye(5)
    assert len(reference.rips_persistence(distances, max_dim, max_simplices=count)) == max_dim + 1
    with pytest.raises(ValueError, match=f"more than {count - 1} simplices"):
        reference.rips_persistence(distances, max_dim, max_simplices=count - 1)


def test_the_limit_counts_what_the_threshold_leaves():
    square = np.array([[0, 1, 2, 1], [1, 0, 1, 2], [2, 1, 0, 1], [1, 2, 1, 0]], dtype=float)
    reference.rips_persistence(square, threshold=1.0, max_simplices=4 + 4)
    with pytest.raises(ValueError, match="more than 7 simplices"):
        reference.rips_persistence(square, threshold=1.0, max_simplices=4 + 3)


def test_too_many_simplices_are_refused_before_they_are_stored():
    distances = reference.pairwise_distances(np.random.default_rng(0).random((100, 3)))
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than 50000 simplices"):
            reference.rips_persistence(distances, max_simplices=50_000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 1_000_000  # 50,000 stored triangles would take 3 MB


def test_the_default_limit_refuses_a_large_cloud_at_once():
    distances = np.ones((2000, 2000)) - np.eye(2000)  # 1,333,335,000 simplices
    with pytest.raises(ValueError, match="more than 1000000 simplices"):
        reference.rips_persistence(distances)


def test_a_diagram_has_a_length_and_points():
    found = reference.rips_persistence(cross_polytope(2))[1]
    assert len(found) == 1
    assert found.pairs.tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize("num_sides", range(4, 10))
def test_the_cycle_of_a_regular_polygon_is_its_sides(num_sides):
    distances = np.round(reference.pairwise_distances(regular_polygon(num_sides)), 12)
    cycles = reference.representative_cycles(reference.rips_persistence(distances)[1], distances)
    sides = sorted(sorted((k, (k + 1) % num_sides)) for k in range(num_sides))
    assert [cycle.tolist() for cycle in cycles] == [sides]


@given(distances=st.one_of(strategies.tied_distances(), strategies.generic_distances(min_points=4)))
def test_a_cycle_is_closed_and_as_old_as_its_birth_edge(distances):
    loops = reference.rips_persistence(distances)[1]
    cycles = reference.representative_cycles(loops, distances)
    assert len(cycles) == len(loops)
    for cycle, edge, birth in zip(cycles, loops.birth_edges, loops.births, strict=True):
        assert edge.tolist() in cycle.tolist()
        assert distances[tuple(cycle.T)].max() == birth
        assert not np.any(np.bincount(cycle.ravel()) % 2)


def test_cycles_of_another_dimension_or_matrix_are_refused():
    square = reference.pairwise_distances(regular_polygon(4))
    merges, loops = reference.rips_persistence(square)
    for diagram, distances, said in (
        (merges, square, "loops are of dimension 0; pass dimension 1"),
        (
            loops,
            np.zeros((2, 2)),
            f"loops have the death simplex {loops.death_simplices[0].tolist()}",
        ),
    ):
        with pytest.raises(ValueError) as error:  # noqa: PT011
            reference.representative_cycles(diagram, distances)
        assert str(error.value).startswith(f"representative_cycles: {said}")

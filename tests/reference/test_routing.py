"""Routing of gradients to distances and points: Theorem 1 and Algorithm 3."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import linprog

import reference
from tests.reference import strategies
from tests.reference.checks import STEP, assert_gradient, smallest_gap

RECTANGLE = np.array([[0, 3, 5, 4], [3, 0, 4, 5], [5, 4, 0, 3], [4, 5, 3, 0]], dtype=float)

# A square of side 2 and diagonal 4 below an apex, vertex 4, at distance 3 from each corner.
PYRAMID = np.array(
    [[0, 2, 4, 2, 3], [2, 0, 2, 4, 3], [4, 2, 0, 2, 3], [2, 4, 2, 0, 3], [3, 3, 3, 3, 0]],
    dtype=float,
)


def upper(num_points: int, entries: dict[tuple[int, int], float]) -> np.ndarray:
    """Return a symmetric matrix with these entries, given for i < j, and zeros elsewhere."""
    matrix = np.zeros((num_points, num_points))
    for (i, j), entry in entries.items():
        matrix[i, j] = matrix[j, i] = entry
    return matrix


def test_components_send_their_death_to_the_merging_edge_and_their_birth_nowhere():
    components = reference.rips_persistence(RECTANGLE)[0]
    assert components.death_edges.tolist() == [[0, 1], [2, 3], [0, 3]]
    routed = reference.route_to_distances(
        components, np.array([7.0, 8.0, 9.0]), np.array([1.0, 2.0, 4.0]), RECTANGLE
    )
    np.testing.assert_array_equal(routed, upper(4, {(0, 1): 1.0, (2, 3): 2.0, (0, 3): 4.0}))


def test_a_loop_sends_its_birth_to_its_last_side_and_its_death_to_the_diagonal():
    loop = reference.rips_persistence(RECTANGLE)[1]
    routed = reference.route_to_distances(loop, np.array([2.0]), np.array([3.0]), RECTANGLE)
    np.testing.assert_array_equal(routed, upper(4, {(1, 2): 2.0, (0, 2): 3.0}))


def test_equal_longest_edges_of_the_death_triangle_share_alike():
    loop = reference.rips_persistence(PYRAMID)[1]
    assert loop.death_simplices.tolist() == [[2, 3, 4]]
    routed = reference.route_to_distances(loop, np.array([1.0]), np.array([5.0]), PYRAMID)
    expected = upper(5, {tuple(loop.birth_edges[0]): 1.0, (2, 4): 2.5, (3, 4): 2.5})
    np.testing.assert_array_equal(routed, expected)


def test_three_equal_edges_of_a_death_tetrahedron_share_alike():
    octahedron = np.where(np.abs(np.subtract.outer(range(6), range(6))) == 3, 2.0, 1.0)
    np.fill_diagonal(octahedron, 0.0)
    void = reference.rips_persistence(octahedron, 2)[2]
    edges = list(combinations(void.death_simplices[0].tolist(), 2))
    longest = [edge for edge in edges if octahedron[edge] == 2.0]
    assert longest == [(0, 3)]
    routed = reference.route_to_distances(void, np.array([4.0]), np.array([1.0]), octahedron)
    np.testing.assert_array_equal(routed, upper(6, {(4, 5): 4.0, (0, 3): 1.0}))
    # With a tolerance of 1 all six edges of the tetrahedron count as longest.
    routed = reference.route_to_distances(void, np.zeros(1), np.array([6.0]), octahedron, 1.0)
    np.testing.assert_allclose(routed, upper(6, dict.fromkeys(edges, 1.0)))


@pytest.mark.parametrize(
    ("tolerance", "shares"),
    [
        (0.0, {(0, 2): 6.0}),
        (0.999, {(0, 2): 6.0}),
        (1.0, {(0, 2): 3.0, (0, 3): 3.0}),
        (2.0, {(0, 2): 2.0, (0, 3): 2.0, (2, 3): 2.0}),
    ],
)
def test_the_tie_tolerance_is_inclusive(tolerance, shares):
    loop = reference.rips_persistence(RECTANGLE)[1]
    assert loop.death_simplices.tolist() == [[0, 2, 3]]
    routed = reference.route_to_distances(
        loop, np.zeros(1), np.array([6.0]), RECTANGLE, tie_tolerance=tolerance
    )
    np.testing.assert_allclose(routed, upper(4, shares), rtol=1e-15)


@pytest.mark.parametrize("dim", [0, 1])
def test_pairs_on_one_edge_add_up(dim):
    twice = reference.Diagram(
        dim=dim,
        births=np.full(2, 4.0),
        deaths=np.full(2, 5.0),
        birth_edges=np.array([[0, 3], [0, 3]]),
        death_edges=np.array([[0, 2], [0, 2]]),
        death_simplices=np.array([[0, 2, 3], [0, 2, 3]])[:, : dim + 2],
    )
    grad_births, grad_deaths = np.array([4.0, 8.0]), np.array([1.0, 2.0])
    routed = reference.route_to_distances(twice, grad_births, grad_deaths, RECTANGLE)
    births = {(0, 3): 12.0} if dim else {}
    np.testing.assert_array_equal(routed, upper(4, {(0, 2): 3.0} | births))


def weighted_sum(distances: np.ndarray, weights: np.ndarray) -> tuple[float, np.ndarray]:
    """Return a function of births and deaths that tells all pairs apart, and its gradient."""
    value, gradient, used = 0.0, np.zeros_like(distances), 0
    for diagram in reference.rips_persistence(distances, 2):
        grad_births, grad_deaths = weights[:, used : used + len(diagram)]
        used += len(diagram)
        value += float(grad_births @ diagram.births + grad_deaths @ diagram.deaths)
        gradient += reference.route_to_distances(diagram, grad_births, grad_deaths, distances)
    return value, gradient


@given(distances=strategies.generic_distances(min_points=2, max_points=7), seed=strategies.seeds)
def test_routing_to_distances_is_the_derivative(distances, seed):
    rows, columns = np.triu_indices(len(distances), k=1)
    assume(smallest_gap(distances[rows, columns]) > 4 * STEP)
    weights = np.random.default_rng(seed).normal(size=(2, 50))

    def value(lengths):
        changed = np.zeros_like(distances)
        changed[rows, columns] = lengths
        return weighted_sum(changed + changed.T, weights)[0]

    _, gradient = weighted_sum(distances, weights)
    np.testing.assert_array_equal(gradient, gradient.T)
    np.testing.assert_array_equal(np.diagonal(gradient), 0.0)
    assert_gradient(value, distances[rows, columns], gradient[rows, columns])


@given(points=strategies.clouds(min_points=1, max_points=5), seed=strategies.seeds)
def test_routing_to_points_is_the_derivative(points, seed):
    assume(smallest_gap(np.append(reference.pairwise_distances(points)[0], -1.0)) > 4 * STEP)
    weights = np.triu(np.random.default_rng(seed).normal(size=(len(points),) * 2), k=1)

    def value(moved):
        return float(np.sum(weights * reference.pairwise_distances(moved)))

    assert_gradient(value, points, reference.route_to_points(points, weights + weights.T))


def test_the_stabilizer_shortens_the_gradient_by_its_share():
    points = np.array([[0.0, 0.0], [3.0, 4.0]])
    grad_distances = upper(2, {(0, 1): 10.0})
    exact = reference.route_to_points(points, grad_distances)
    np.testing.assert_array_equal(exact, [[-6.0, -8.0], [6.0, 8.0]])
    np.testing.assert_allclose(
        reference.route_to_points(points, grad_distances, eps=5.0), exact / 2, rtol=1e-15
    )


@pytest.mark.parametrize("eps", [0.0, 1.0])
def test_points_in_one_place_send_each_other_nothing(eps):
    points = np.array([[1.0, 2.0], [1.0, 2.0], [1.0, 3.0]])
    grad_distances = upper(3, {(0, 1): 5.0, (1, 2): 1.0 + eps})
    routed = reference.route_to_points(points, grad_distances, eps)
    np.testing.assert_array_equal(routed, [[0.0, 0.0], [0.0, -1.0], [0.0, 1.0]])


@given(points=strategies.clouds(min_points=2), seed=strategies.seeds)
def test_gradients_of_points_sum_to_zero_and_leave_uncritical_points_alone(points, seed):
    distances = reference.pairwise_distances(points)
    diagram = reference.rips_persistence(distances)[1]
    weights = np.random.default_rng(seed).normal(size=(2, len(diagram)))
    routed = reference.route_to_points(
        points, reference.route_to_distances(diagram, *weights, distances)
    )
    np.testing.assert_allclose(routed.sum(axis=0), 0.0, atol=1e-12)
    critical = np.concatenate([diagram.birth_edges, diagram.death_edges]).ravel()
    np.testing.assert_array_equal(np.delete(routed, critical, axis=0), 0.0)


@given(points=strategies.clouds(min_points=2))
def test_euler_identity_for_total_persistence(points):
    """Total persistence scales with the points, so sum(point . gradient) is its value."""
    distances = reference.pairwise_distances(points)
    for diagram in reference.rips_persistence(distances, 2):
        ones = np.ones(len(diagram))
        gradient = reference.route_to_points(
            points, reference.route_to_distances(diagram, -ones, ones, distances)
        )
        total = np.sum(diagram.deaths - diagram.births)
        np.testing.assert_allclose(np.sum(points * gradient), total, atol=1e-12)


def death_gradient(distances: np.ndarray) -> np.ndarray:
    """Return the routed gradient of the last loop's death."""
    loops = reference.rips_persistence(distances)[1]
    last = np.zeros(len(loops))
    last[-1] = 1.0
    return reference.route_to_distances(loops, np.zeros(len(loops)), last, distances)


def one_sided_limits(distances: np.ndarray, count: int) -> np.ndarray:
    """Return the distinct gradients at `count` generic points next to `distances`, one per row."""
    rng = np.random.default_rng(0)
    rows, columns = np.triu_indices(len(distances), k=1)
    limits = []
    for _ in range(count):
        noise = np.triu(rng.uniform(0, 1e-6, distances.shape), k=1)
        limits.append(death_gradient(distances + noise + noise.T)[rows, columns])
    return np.unique(limits, axis=0)


def is_convex_combination(vector: np.ndarray, rows: np.ndarray) -> bool:
    """Return whether non-negative coefficients with sum 1 make `vector` from `rows`."""
    equations = np.vstack([rows.T, np.ones(len(rows))])
    solution = linprog(np.zeros(len(rows)), A_eq=equations, b_eq=np.append(vector, 1.0))
    return bool(solution.status == 0)


@pytest.mark.parametrize(
    "distances",
    [
        pytest.param(RECTANGLE, id="either diagonal closes the rectangle"),
        pytest.param(PYRAMID, id="the last edge to the apex closes the base"),
        pytest.param(
            np.array(
                [
                    [0, 3, 3, 4, 4],
                    [3, 0, 4, 4, 3],
                    [3, 4, 0, 3, 4],
                    [4, 4, 3, 0, 3],
                    [4, 3, 4, 3, 0],
                ],
                dtype=float,
            ),
            id="two diagonals from one corner close the pentagon",
        ),
    ],
)
def test_at_ties_the_gradient_is_a_convex_combination_of_its_one_sided_limits(distances):
    limits = one_sided_limits(distances, 200)
    assert len(limits) > 1
    rows, columns = np.triu_indices(len(distances), k=1)
    routed = death_gradient(distances)[rows, columns]
    np.testing.assert_allclose(routed.sum(), 1.0)
    assert is_convex_combination(routed, limits)
    assert not is_convex_combination(2 * routed, limits)


@given(num_corners=st.integers(4, 7), seed=strategies.seeds)
def test_a_tie_within_a_lasting_death_triangle_averages_its_two_sides(num_corners, seed):
    """A generic pyramid whose two longest edges to the apex are equal and neighbors.

    The two corners have the largest numbers, so theirs is the death triangle on either side of
    the tie, as Theorem 1 asks.
    """
    rng = np.random.default_rng(seed)
    apex, *others, second, longest = range(num_corners + 1)
    ring = [*rng.permutation(others), second, longest]
    tied = rng.uniform(10.0, 11.0, (num_corners + 1,) * 2)  # diagonals of the base
    for corner, following in zip(ring, ring[1:] + ring[:1], strict=True):
        tied[corner, following] = tied[following, corner] = rng.uniform(1.0, 2.0)
        tied[apex, corner] = tied[corner, apex] = rng.uniform(3.0, 3.9)
    tied[apex, [second, longest]] = tied[[second, longest], apex] = 4.0
    tied = np.triu(tied, k=1) + np.triu(tied, k=1).T

    sides = []
    for corner in (second, longest):
        moved = tied.copy()
        moved[apex, corner] = moved[corner, apex] = np.nextafter(4.0, 5.0)
        sides.append(death_gradient(moved))
    assert sides[0][apex, second] == sides[1][apex, longest] == 1.0
    np.testing.assert_array_equal(death_gradient(tied), (sides[0] + sides[1]) / 2)


def test_averaging_is_no_subgradient_where_the_tie_changes_the_death_triangle():
    """The limit of Theorem 1, recorded in docs/conventions.md.

    The loop 0, 1, 3, 4 dies when its diagonal (0, 3) enters, whatever (0, 2) does: the triangle
    {0, 3, 4} would do it too. But {0, 2, 3} comes first, and its edge (0, 2) is as long.
    """
    distances = upper(
        5,
        {
            (0, 1): 3.0,
            (1, 3): 3.0,
            (3, 4): 3.0,
            (0, 4): 3.0,
            (2, 3): 3.0,
            (2, 4): 3.0,
            (0, 2): 4.0,
            (0, 3): 4.0,
            (1, 2): 5.0,
            (1, 4): 5.0,
        },
    )
    loop = reference.rips_persistence(distances)[1]
    assert loop.pairs.tolist() == [[3.0, 4.0]]
    assert loop.death_edges.tolist() == [[0, 3]]
    assert loop.death_simplices.tolist() == [[0, 2, 3]]
    np.testing.assert_array_equal(death_gradient(distances), upper(5, {(0, 2): 0.5, (0, 3): 0.5}))
    rows, columns = np.triu_indices(5, k=1)
    limits = one_sided_limits(distances, 200)
    np.testing.assert_array_equal(limits, [upper(5, {(0, 3): 1.0})[rows, columns]])

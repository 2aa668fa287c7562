"""Exact Wasserstein-2 distance between diagrams of dimension 0."""

import gudhi.wasserstein
import hypothesis.extra.numpy as npst
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

import reference
from tests.reference import strategies
from tests.reference.checks import STEP, assert_gradient

tied_deaths = npst.arrays(np.float64, st.integers(0, 6), elements=st.integers(0, 6))


@st.composite
def generic_deaths(draw, max_deaths: int = 7) -> np.ndarray:
    """Return deaths of many sizes, so that some are left to the diagonal."""
    rng = np.random.default_rng(draw(strategies.seeds))
    return np.exp(1.2 * rng.normal(size=draw(st.integers(0, max_deaths))))


def completed_cost(teacher: np.ndarray, student: np.ndarray) -> np.ndarray:
    """Return what everything costs: matches, each death's own diagonal point, 0 between those."""
    m, k = len(teacher), len(student)
    cost = np.zeros((m + k, k + m))
    cost[:m, :k] = (teacher[:, None] - student) ** 2
    cost[:m, k:] = (teacher**2 / 2)[:, None]
    cost[m:, :k] = student**2 / 2
    return cost


@pytest.mark.oracle
@given(
    teacher=st.one_of(tied_deaths, generic_deaths()),
    student=st.one_of(tied_deaths, generic_deaths()),
)
def test_it_equals_scipys_assignment_and_gudhi(teacher, student):
    got = reference.sorted_wasserstein(teacher, student)
    cost = completed_cost(teacher, student)
    size = max(len(cost), 1)
    np.testing.assert_allclose(got, cost[linear_sum_assignment(cost)].sum() / size, atol=1e-12)
    diagrams = [np.column_stack([np.zeros(len(each)), each]) for each in (teacher, student)]
    theirs = gudhi.wasserstein.wasserstein_distance(*diagrams, order=2, internal_p=2)
    np.testing.assert_allclose(got, theirs**2 / size, atol=1e-9)


@pytest.mark.parametrize(
    ("teacher", "student", "value", "gradient"),
    [
        ([], [], 0.0, []),
        ([2.0], [], 2.0, []),
        ([], [2.0, 4.0], (2 + 8) / 2, [1.0, 2.0]),
        ([1.0], [3.0], 4 / 2, [2.0]),
        ([1.0], [4.0], (0.5 + 8) / 2, [2.0]),  # 4 > 2 + sqrt(3): apart is cheaper
        ([3.0, 1.0], [2.0, 4.0], (1 + 1) / 4, [0.5, 0.5]),
        ([1.0, 10.0], [9.0], (1 + 0.5) / 3, [-2 / 3]),
        ([10.0, 1.0], [1.0], 50 / 3, [0.0]),  # the larger one is left over
        ([5.0], [1.0, 4.0, 20.0], (1 + 0.5 + 200) / 4, [0.25, -0.5, 5.0]),
    ],
)
def test_values_and_gradients_by_hand(teacher, student, value, gradient):
    teacher, student = np.array(teacher), np.array(student)
    np.testing.assert_allclose(reference.sorted_wasserstein(teacher, student), value)
    np.testing.assert_allclose(reference.sorted_wasserstein_grad(teacher, student), gradient)


def test_equal_deaths_of_which_one_is_matched():
    """The first of the two partners of 2 in the order of the deaths is taken, the rest is left."""
    teacher, student = np.array([2.0]), np.array([3.0, 3.0])
    gradient = reference.sorted_wasserstein_grad(teacher, student)
    np.testing.assert_allclose(gradient, [2 / 3, 1.0])


@given(teacher=generic_deaths(), student=generic_deaths())
def test_the_gradient_is_the_derivative(teacher, student):
    near = reference.sorted_wasserstein_grad(teacher, student)
    for step in (-20 * STEP, 20 * STEP):  # on one side of every change of the matching
        for j in range(len(student)):
            moved = student.copy()
            moved[j] += step
            assume(moved[j] > 0)
            there = reference.sorted_wasserstein_grad(teacher, moved)
            assume(np.abs(there - near).max() < 100 * STEP)
    assert_gradient(lambda moved: reference.sorted_wasserstein(teacher, moved), student, near)


@given(teacher=generic_deaths(), student=generic_deaths(), seed=strategies.seeds)
def test_order_does_not_matter_sides_are_alike_and_units_are_squared(teacher, student, seed):
    rng = np.random.default_rng(seed)
    got = reference.sorted_wasserstein(teacher, student)
    shuffled = rng.permutation(teacher), rng.permutation(student)
    np.testing.assert_allclose(reference.sorted_wasserstein(*shuffled), got)
    np.testing.assert_allclose(reference.sorted_wasserstein(student, teacher), got)
    np.testing.assert_allclose(reference.sorted_wasserstein(4 * teacher, 4 * student), 16 * got)
    assert reference.sorted_wasserstein(student, student) == 0.0
    np.testing.assert_array_equal(reference.sorted_wasserstein_grad(student, student), 0 * student)


def test_entropic_transport_tends_to_it():
    rng = np.random.default_rng(0)
    teacher, student = rng.random(6) + 0.5, rng.random(5) + 0.5
    pairs = [np.column_stack([np.zeros(len(each)), each]) for each in (teacher, student)]
    exact = reference.sorted_wasserstein(teacher, student)
    gaps = []
    for eps in (0.1, 0.01, 0.002):
        _, plan = reference.entropic_transport(*pairs, eps, tolerance=1e-6)
        gaps.append(np.sum(plan * completed_cost(teacher, student)) - exact)
    assert gaps[0] > gaps[1] > gaps[2] > -1e-9
    assert gaps[2] < 0.05 * exact


@given(seed=strategies.seeds, num_points=st.integers(2, 7))
def test_the_loss_of_algorithm_1_has_the_derivative_of_its_value(seed, num_points):
    rng = np.random.default_rng(seed)
    teacher, student = rng.normal(size=(num_points, 3)), rng.normal(size=(num_points, 4))
    options = {"loss": "wasserstein", "normalisation": "rms", "dim_weights": (2.0, 0.0)}
    value, gradient = reference.topological_loss(teacher, student, **options)
    deaths = [
        reference.rips_persistence(
            reference.pairwise_distances(reference.normalise(cloud, "rms")), 0
        )[0].deaths
        for cloud in (teacher, student)
    ]
    np.testing.assert_allclose(value, 2 * reference.sorted_wasserstein(*deaths))
    alone, _ = reference.topological_loss(
        teacher, student, **(options | {"max_dim": 0, "dim_weights": (2.0,)})
    )
    assert alone == value
    for step in (-20 * STEP, 20 * STEP):
        moved = student + step * rng.normal(size=student.shape)
        there = reference.topological_loss(teacher, moved, **options)[1]
        assume(np.abs(there - gradient).max() < 1000 * STEP)  # no edge or match has changed
    direction = rng.normal(size=student.shape)
    sides = [
        reference.topological_loss(teacher, student + step * direction, **options)[0]
        for step in (-STEP, STEP)
    ]
    slope = (sides[1] - sides[0]) / (2 * STEP)
    np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-4, atol=1e-6)

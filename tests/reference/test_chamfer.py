"""Persistence-weighted Chamfer distance: Eq. 2-3, Algorithms 2 and 4."""

from math import log

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import reference
from tests.reference import strategies
from tests.reference.checks import STEP, assert_gradient, partner_margin

NOTHING = np.empty((0, 2))
EPS = 1e-8


def algorithm_2(teacher, student, eps, scale):
    """Return Algorithm 2 as printed, line by line; `scale` is the factor of line 14."""
    weights = [log(1 + max(d - b, 0)) for b, d in teacher]
    total = sum(weights) + eps

    def to_diagonal(pair):
        return (pair[1] - pair[0]) ** 2 / 2

    def nearest(pair, others):
        return min(
            (scale * ((pair[0] - b) ** 2 + (pair[1] - d) ** 2) for b, d in others),
            default=float("inf"),
        )

    recall = precision = 0.0
    for weight, pair in zip(weights, teacher, strict=True):
        recall += weight / total * min(nearest(pair, student), to_diagonal(pair))
    for pair in student:
        precision += min(nearest(pair, teacher), to_diagonal(pair)) / len(student)
    return recall + precision


def algorithm_4(teacher, student, eps):
    """Return Algorithm 4 as printed, line by line."""
    grad_births, grad_deaths = [0.0] * len(student), [0.0] * len(student)
    weights = [log(1 + max(d - b, 0)) for b, d in teacher]
    total = eps + sum(weights)

    def squared(p, q):
        return (p[0] - q[0]) ** 2 + (p[1] - q[1]) ** 2

    if len(teacher) and len(student):
        for weight, (b, d) in zip(weights, teacher, strict=True):
            k = min(range(len(student)), key=lambda k: squared(student[k], (b, d)))
            if squared(student[k], (b, d)) <= (d - b) ** 2 / 2:
                grad_births[k] += 2 * weight / total * (student[k][0] - b)
                grad_deaths[k] += 2 * weight / total * (student[k][1] - d)
    for k, (b, d) in enumerate(student):
        matched = False
        if len(teacher):
            i = min(range(len(teacher)), key=lambda i: squared(teacher[i], (b, d)))
            if squared(teacher[i], (b, d)) <= (d - b) ** 2 / 2:
                grad_births[k] += 2 / len(student) * (b - teacher[i][0])
                grad_deaths[k] += 2 / len(student) * (d - teacher[i][1])
                matched = True
        if not matched:
            grad_births[k] -= (d - b) / len(student)
            grad_deaths[k] += (d - b) / len(student)
    return grad_births, grad_deaths


@given(
    teacher=strategies.tied_diagrams(),
    student=strategies.tied_diagrams(),
    scale=st.sampled_from([1.0, 0.5]),
)
def test_the_value_is_that_of_algorithm_2(teacher, student, scale):
    got = reference.persistence_weighted_chamfer(teacher, student, 0.25, cost_scale=scale)
    np.testing.assert_allclose(got, algorithm_2(teacher, student, 0.25, scale), rtol=1e-12)


@given(teacher=strategies.tied_diagrams(), student=strategies.tied_diagrams())
def test_the_gradient_is_that_of_algorithm_4_ties_included(teacher, student):
    got = reference.persistence_weighted_chamfer_grad(teacher, student, 0.25)
    np.testing.assert_allclose(got, algorithm_4(teacher, student, 0.25), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("teacher", "student", "recall", "precision"),
    [
        pytest.param([], [], 0.0, 0.0, id="both empty"),
        pytest.param([(1, 3), (0, 7)], [], (2 * log(3) + 24.5 * log(8)) / (log(3) + log(8)), 0.0,
                     id="empty student"),
        pytest.param([], [(1, 3), (0, 4)], 0.0, (2 + 8) / 2, id="empty teacher"),
        pytest.param([(1, 3)], [(1, 4)], 1.0, 1.0, id="matched both ways"),
        pytest.param([(0, 2)], [(3, 9)], 2.0, 18.0, id="both nearer to the diagonal"),
        pytest.param([(0, 2)], [(0, 4)], 2.0, 4.0, id="recall diagonal, precision match"),
        pytest.param([(0, 8)], [(0, 8), (5, 6)], 0.0, 0.25, id="noise is weighed 1 / K"),
        pytest.param([(0, 8), (5, 6)], [(0, 8)], 0.5 * log(2) / (log(9) + log(2)), 0.0,
                     id="noise is weighed log(1 + persistence)"),
        pytest.param([(0, 8), (0, 4)], [(0, 7)], (1 * log(9) + 8 * log(5)) / log(45), 1.0,
                     id="two teachers, one student"),
    ],
)  # fmt: skip
def test_values_by_hand(teacher, student, recall, precision):
    got = reference.persistence_weighted_chamfer(
        np.array(teacher, dtype=float).reshape(-1, 2),
        np.array(student, dtype=float).reshape(-1, 2),
        1e-300,
    )
    np.testing.assert_allclose(got, recall + precision, rtol=1e-13)


def test_the_default_stabilizer_is_a_hundred_millionth():
    teacher = np.array([[0.0, 1e-8]])  # a weight of 1e-8, so the stabilizer halves its share
    got = reference.persistence_weighted_chamfer(teacher, NOTHING)
    np.testing.assert_allclose(got, 0.5 * 0.5e-16, rtol=1e-7)
    student = np.array([[0.0, 1.5e-8]])
    grad_births, grad_deaths = reference.persistence_weighted_chamfer_grad(teacher, student)
    np.testing.assert_allclose(grad_deaths, [0.5e-8 * (2 * 0.5 + 2)], rtol=1e-7)
    np.testing.assert_array_equal(grad_births, [0.0])


def test_half_the_cost_also_moves_the_point_where_the_diagonal_is_nearer():
    teacher, student = np.array([[0.0, 2.0]]), np.array([[0.0, 3.75]])
    # Squared distance 3.0625; the diagonal is at 2 for the teacher, 7.03 for the student.
    full = reference.persistence_weighted_chamfer(teacher, student, 1e-300)
    half = reference.persistence_weighted_chamfer(teacher, student, 1e-300, cost_scale=0.5)
    np.testing.assert_allclose([full, half], [2 + 3.0625, 2 * 1.53125])
    _, full_grad = reference.persistence_weighted_chamfer_grad(teacher, student, 1e-300)
    _, half_grad = reference.persistence_weighted_chamfer_grad(
        teacher, student, 1e-300, cost_scale=0.5
    )
    np.testing.assert_allclose([full_grad, half_grad], [[3.5], [3.5]])


def test_uniform_precision_keeps_noise_that_weighted_precision_suppresses():
    teacher, student = np.array([[0.0, 8.0]]), np.array([[0.0, 8.0], [5.0, 6.0]])
    weighted = reference.persistence_weighted_chamfer(
        teacher, student, 1e-300, precision_weight="persistence"
    )
    np.testing.assert_allclose(weighted, 0.5 * log(2) / (log(9) + log(2)))
    empty = reference.persistence_weighted_chamfer(
        teacher, NOTHING, 1e-300, precision_weight="persistence"
    )
    np.testing.assert_allclose(empty, 32.0)


def test_a_least_persistence_silences_teacher_noise():
    teacher, student = np.array([[0.0, 8.0], [5.0, 6.0]]), np.array([[0.0, 8.0]])
    kept = reference.persistence_weighted_chamfer(teacher, student, min_persistence=1.0)
    assert kept > 0.1
    assert reference.persistence_weighted_chamfer(teacher, student, min_persistence=1.5) == 0.0
    near = np.array([[5.0, 6.1], [0.0, 8.0]])
    grad = reference.persistence_weighted_chamfer_grad(teacher, near, min_persistence=1.5)
    np.testing.assert_allclose(grad, [[0.0, 0.0], [0.1, 0.0]])  # precision alone


def test_a_diagram_that_is_all_noise_keeps_its_full_weight():
    """Lemma 1 is pointwise: the weights are relative."""
    teacher = np.array([[1.0, 1.01], [2.0, 2.01]])
    got = reference.persistence_weighted_chamfer(teacher, NOTHING, 1e-300)
    np.testing.assert_allclose(got, 0.01**2 / 2)
    assert reference.persistence_weighted_chamfer(teacher, NOTHING, min_persistence=0.1) == 0.0


@pytest.mark.parametrize("pair", [(3.0, 1.0), (1.0, 1.0)])
def test_pairs_on_or_below_the_diagonal_have_no_weight(pair):
    assert reference.persistence_weighted_chamfer(np.array([pair]), NOTHING) == 0.0
    grad = reference.persistence_weighted_chamfer_grad(
        NOTHING, np.array([pair, (0.0, 1.0)]), 1e-300, precision_weight="persistence"
    )
    # The second pair has all the weight, so its own weight changes nothing.
    np.testing.assert_allclose(grad, [[0.0, -1.0], [0.0, 1.0]], atol=1e-15)


def test_equally_near_pairs_go_to_the_first_or_share():
    teacher = np.array([[0.0, 4.0]])
    student = np.array([[0.0, 5.0], [0.0, 3.0], [1.0, 4.0]])
    first = reference.persistence_weighted_chamfer_grad(teacher, student, 1e-300)
    np.testing.assert_allclose(first, [[0, 0, 2 / 3], [2 + 2 / 3, -2 / 3, 0]])
    shared = reference.persistence_weighted_chamfer_grad(teacher, student, 1e-300, ties="average")
    np.testing.assert_allclose(shared, [[0, 0, 2 / 3 + 2 / 3], [4 / 3, -4 / 3, 0]])


def test_a_match_as_far_as_the_diagonal_goes_to_the_match_or_shares():
    teacher, student = np.array([[0.0, 6.0]]), np.array([[3.0, 9.0]])
    # Squared distance 18 = half the squared persistence of both.
    first = reference.persistence_weighted_chamfer_grad(teacher, student, 1e-300)
    np.testing.assert_allclose(first, [[6.0 + 6.0], [6.0 + 6.0]])
    shared = reference.persistence_weighted_chamfer_grad(teacher, student, 1e-300, ties="average")
    np.testing.assert_allclose(shared, [[3.0 + (6.0 - 6.0) / 2], [3.0 + (6.0 + 6.0) / 2]])


@given(teacher=strategies.tied_diagrams(1), student=strategies.tied_diagrams(1))
def test_averaged_ties_are_the_mean_over_the_two_extreme_choices_of_index(teacher, student):
    """With at most two nearest, first and last choice average to the shared one."""
    cost = np.column_stack(
        [
            ((teacher[:, None] - student) ** 2).sum(axis=2),
            (teacher[:, 1] - teacher[:, 0]) ** 2 / 2,
        ]
    )
    assume((np.sum(cost == cost.min(axis=1, keepdims=True), axis=1) <= 2).all())
    shares = reference.chamfer._assign(cost, "average")
    np.testing.assert_allclose(shares.sum(axis=1), 1.0)
    first = np.eye(cost.shape[1])[cost.argmin(axis=1)]
    last = np.eye(cost.shape[1])[cost.shape[1] - 1 - cost[:, ::-1].argmin(axis=1)]
    np.testing.assert_array_equal(shares, (first + last) / 2)


@given(
    teacher=strategies.generic_diagrams(),
    student=strategies.generic_diagrams(),
    options=st.fixed_dictionaries(
        {
            "eps": st.sampled_from([EPS, 0.5]),
            "cost_scale": st.sampled_from([1.0, 0.5]),
            "precision_weight": st.sampled_from(["uniform", "persistence"]),
            "min_persistence": st.sampled_from([0.0, 0.3]),
        }
    ),
    ties=st.sampled_from(["lowest", "average"]),
)
def test_the_gradient_is_the_derivative(teacher, student, options, ties):
    assume(partner_margin(teacher, student, options["cost_scale"]) > 20 * STEP)
    gradient = reference.persistence_weighted_chamfer_grad(teacher, student, ties=ties, **options)
    assert_gradient(
        lambda moved: reference.persistence_weighted_chamfer(teacher, moved, **options),
        student,
        np.column_stack(gradient),
    )


@given(diagram=strategies.tied_diagrams())
def test_equal_diagrams_have_no_distance_and_no_gradient(diagram):
    assert reference.persistence_weighted_chamfer(diagram, diagram) == 0.0
    gradient = reference.persistence_weighted_chamfer_grad(diagram, diagram)
    np.testing.assert_array_equal(gradient, np.zeros((2, len(diagram))))


@given(
    teacher=strategies.generic_diagrams(),
    student=strategies.generic_diagrams(),
    seed=strategies.seeds,
)
def test_the_order_of_pairs_does_not_matter(teacher, student, seed):
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(student))
    shuffled = rng.permutation(teacher), student[order]
    np.testing.assert_allclose(
        reference.persistence_weighted_chamfer(*shuffled),
        reference.persistence_weighted_chamfer(teacher, student),
        rtol=1e-12,
    )
    np.testing.assert_allclose(
        reference.persistence_weighted_chamfer_grad(*shuffled),
        np.array(reference.persistence_weighted_chamfer_grad(teacher, student))[:, order],
        rtol=1e-12,
    )


@given(teacher=strategies.tied_diagrams(), student=strategies.tied_diagrams())
def test_the_distance_is_no_more_than_that_to_the_diagonal(teacher, student):
    distance = reference.persistence_weighted_chamfer(teacher, student)
    to_nothing = reference.persistence_weighted_chamfer(teacher, NOTHING)
    from_nothing = reference.persistence_weighted_chamfer(NOTHING, student)
    assert 0 <= distance <= to_nothing + from_nothing + 1e-12

"""Exact Wasserstein distance of diagrams: scipy's assignment, GUDHI, Hera, POT, by hand."""

import gudhi
import gudhi.hera
import gudhi.wasserstein
import numpy as np
import ot
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

import reference
from tests.reference import strategies
from tests.reference.checks import STEP

diagrams = st.one_of(strategies.tied_diagrams(), strategies.generic_diagrams())
orders = st.sampled_from([1.0, 1.5, 2.0, 3.0])
grounds = st.sampled_from([2.0, np.inf])
NONE = np.empty((0, 2))


def completed_cost(first, second, order, ground):
    """Return what everything costs: matches, each pair's own diagonal point, 0 between those."""
    m, k = len(first), len(second)
    cost = np.zeros((m + k, k + m))
    cost[:m, :k] = np.linalg.norm(first[:, None] - second, ord=ground, axis=-1) ** order
    for block, pairs in ((cost[:m, k:].T, first), (cost[m:, :k], second)):
        middle = pairs.mean(axis=1, keepdims=True)
        block[:] = np.linalg.norm(pairs - middle, ord=ground, axis=1) ** order
    return cost


def cost_of(matching, first, second, order, ground):
    """Return what a matching costs in all."""
    m, k = len(first), len(second)
    cost = completed_cost(first, second, order, ground)
    matched = matching[matching >= 0]
    assert len(set(matched.tolist())) == len(matched)
    total = sum(cost[i, j if j >= 0 else k] for i, j in enumerate(matching))
    return total + sum(cost[m, j] for j in set(range(k)) - set(matched.tolist()))


def assert_slope(value, gradients, pair, seed):
    """Assert the derivative for both diagrams in a direction, where no choice changes nearby."""
    rng = np.random.default_rng(seed)
    directions = [rng.normal(size=each.shape) for each in pair]
    near = gradients(pair)
    sides, grads = [], []
    for step in (-20 * STEP, -STEP, STEP, 20 * STEP):
        there = [each + step * along for each, along in zip(pair, directions, strict=True)]
        changes = zip(gradients(there), near, strict=True)
        assume(all(np.abs(here - then).max(initial=0) < 0.01 for here, then in changes))
        sides.append(value(there))
        grads.append(gradients(there))
    # Even a small jump to one side makes the gradient bend.
    for before, here, after in zip(grads[0], near, grads[-1], strict=True):
        assume(np.abs(before + after - 2 * here).max(initial=0) < 1e-5)
    slope = sum(np.sum(grad * along) for grad, along in zip(near, directions, strict=True))
    np.testing.assert_allclose(slope, (sides[2] - sides[1]) / (2 * STEP), rtol=1e-5, atol=1e-7)


@pytest.mark.oracle
@given(first=diagrams, second=diagrams, order=orders, ground=grounds)
def test_it_equals_scipys_assignment_gudhi_and_pot(first, second, order, ground):
    got = reference.wasserstein_distance(first, second, order=order, ground=ground)
    cost = completed_cost(first, second, order, ground)
    np.testing.assert_allclose(got**order, cost[linear_sum_assignment(cost)].sum(), atol=1e-12)
    theirs = gudhi.wasserstein.wasserstein_distance(first, second, order=order, internal_p=ground)
    np.testing.assert_allclose(got, theirs, rtol=1e-9, atol=1e-9)
    if len(cost):
        masses = np.ones(len(cost))
        np.testing.assert_allclose(got**order, ot.emd2(masses, masses, cost), atol=1e-9)


@pytest.mark.oracle
def test_it_equals_hera_on_diagrams_of_a_cloud():
    rng = np.random.default_rng(0)
    pair = [
        reference.rips_persistence(reference.pairwise_distances(rng.normal(size=(20, 2))))
        for _ in range(2)
    ]
    for of_one, of_other in zip(*pair, strict=True):
        got = reference.wasserstein_distance(of_one.pairs, of_other.pairs, order=2.0)
        theirs = gudhi.hera.wasserstein_distance(
            of_one.pairs, of_other.pairs, order=2.0, internal_p=np.inf, delta=1e-6
        )
        assert got == pytest.approx(theirs, rel=1e-5)


@given(first=diagrams, second=diagrams, order=orders, ground=grounds)
def test_the_matching_is_one_that_costs_least(first, second, order, ground):
    matching = reference.wasserstein_matching(first, second, order=order, ground=ground)
    cost = completed_cost(first, second, order, ground)
    least = cost[linear_sum_assignment(cost)].sum()
    np.testing.assert_allclose(cost_of(matching, first, second, order, ground), least, atol=1e-12)


@pytest.mark.parametrize(
    ("first", "second", "options", "value", "grad_first", "grad_second"),
    [
        ([[0, 4]], [[1, 6]], {}, 2.0, [[0, -1]], [[0, 1]]),
        ([[0, 4]], [[1, 6]], {"ground": 2}, 5**0.5, [[-1, -2]], [[1, 2]]),
        ([[0, 4]], [[1, 5]], {}, 1.0, [[-0.5, -0.5]], [[0.5, 0.5]]),  # both are the largest
        ([[0, 4]], NONE, {}, 2.0, [[-0.5, 0.5]], NONE),
        ([[0, 4]], NONE, {"ground": 2}, 8**0.5, [[-(0.5**0.5), 0.5**0.5]], NONE),
        ([[0, 6]], [[0, 9], [1, 3]], {"order": 1}, 4.0, [[0, -1]], [[0, 1], [-0.5, 0.5]]),
        ([[0, 6], [3, 11]], NONE, {}, 5.0, [[-0.3, 0.3], [-0.4, 0.4]], NONE),
        ([[2, 2]], [[5, 5]], {}, 0.0, [[0, 0]], [[0, 0]]),
        (NONE, NONE, {}, 0.0, NONE, NONE),
    ],
)
def test_values_and_gradients_by_hand(first, second, options, value, grad_first, grad_second):
    first, second = np.array(first, dtype=float), np.array(second, dtype=float)
    got = reference.wasserstein_distance(first, second, **options)
    np.testing.assert_allclose(got, value, rtol=1e-14)
    grads = reference.wasserstein_distance_grad(first, second, **options)
    if options.get("ground") == 2 and len(second):
        grad_first, grad_second = (np.array(g) / 5**0.5 for g in (grad_first, grad_second))
    np.testing.assert_allclose(grads[0], grad_first, rtol=1e-14, atol=0)
    np.testing.assert_allclose(grads[1], grad_second, rtol=1e-14, atol=0)


@given(
    first=strategies.generic_diagrams(),
    second=strategies.generic_diagrams(),
    order=orders,
    ground=grounds,
    seed=strategies.seeds,
)
def test_the_gradient_is_the_derivative(first, second, order, ground, seed):
    options = {"order": order, "ground": ground}
    assume(reference.wasserstein_distance(first, second, **options) > 0.05)
    assert_slope(
        lambda pair: reference.wasserstein_distance(*pair, **options),
        lambda pair: reference.wasserstein_distance_grad(*pair, **options),
        (first, second),
        seed,
    )


@given(first=diagrams, second=diagrams, order=orders, ground=grounds, seed=strategies.seeds)
def test_it_is_a_distance_in_the_unit_of_the_filtration(first, second, order, ground, seed):
    def distance(one, other):
        return reference.wasserstein_distance(one, other, order=order, ground=ground)

    got = distance(first, second)
    rng = np.random.default_rng(seed)
    np.testing.assert_allclose(distance(rng.permutation(first), rng.permutation(second)), got)
    np.testing.assert_allclose(distance(second, first), got)
    np.testing.assert_allclose(distance(4 * first, 4 * second), 4 * got)
    np.testing.assert_allclose(distance(1e100 * first, 1e100 * second), 1e100 * got)
    assert distance(first, rng.permutation(first)) == 0
    third = rng.random((3, 2)).cumsum(axis=1)
    assert got <= distance(first, third) + distance(third, second) + 1e-12


def test_a_matching_held_fixed_gives_its_own_gradient():
    first, second = np.array([[0.0, 4.0]]), np.array([[0.0, 5.0]])
    alone = reference.wasserstein_distance_grad(first, second, matching=np.array([-1]), order=1)
    np.testing.assert_array_equal(alone, [[[-0.5, 0.5]], [[-0.5, 0.5]]])


@pytest.mark.oracle
@given(first=diagrams, second=diagrams)
def test_the_bottleneck_is_gudhi_s_and_the_limit_of_high_orders(first, second):
    got = reference.bottleneck_distance(first, second)
    theirs = gudhi.bottleneck_distance(first, second)
    np.testing.assert_allclose(got, theirs, rtol=1e-12, atol=1e-15)
    near = reference.wasserstein_distance(first, second, order=400.0)
    assert got <= near * (1 + 1e-9)
    assert near <= got * (len(first) + len(second) + 1) ** (1 / 400) * (1 + 1e-9)


@given(
    first=strategies.generic_diagrams(), second=strategies.generic_diagrams(), seed=strategies.seeds
)
def test_the_bottleneck_s_gradient_is_its_slope(first, second, seed):
    assert_slope(
        lambda pair: reference.bottleneck_distance(*pair),
        lambda pair: reference.bottleneck_distance_grad(*pair),
        (first, second),
        seed,
    )


@pytest.mark.parametrize(
    ("first", "second", "want"),
    [
        (NONE, NONE, 0.0),
        (NONE, np.array([[1.0, 4.0]]), 1.5),
        (np.array([[0.0, 2.0], [0.0, 8.0]]), np.array([[0.0, 8.5], [0.0, 7.0]]), 3.5),
        (np.array([[0.0, 5.0], [0.0, 6.0]]), np.array([[0.0, 5.5]]), 2.5),
    ],
)
def test_bottlenecks_by_hand(first, second, want):
    assert reference.bottleneck_distance(first, second) == want
    assert reference.bottleneck_distance(second, first) == want


def test_equally_long_lengths_share_the_bottleneck_s_gradient():
    grads = reference.bottleneck_distance_grad(np.array([[0.0, 2.0], [5.0, 7.0], [1.0, 2.0]]), NONE)
    np.testing.assert_array_equal(grads[0], [[-0.25, 0.25], [-0.25, 0.25], [0.0, 0.0]])


def test_the_default_order_of_a_matching_is_2():
    first, second = np.array([[4.0, 10.0]]), np.array([[2.0, 10.0], [1.0, 10.0]])
    assert reference.wasserstein_matching(first, second) == [0]  # of order 3: [1]

"""Sliced Wasserstein distance of diagrams: persim, GUDHI, values by hand, finite differences."""

import numpy as np
import persim
import pytest
from gudhi.representations import SlicedWassersteinDistance
from hypothesis import assume, example, given
from hypothesis import strategies as st

import reference
from tests.reference import strategies
from tests.reference.test_wasserstein_distance import assert_slope

diagrams = st.one_of(strategies.tied_diagrams(), strategies.generic_diagrams())
NONE = np.empty((0, 2))


@pytest.mark.oracle
@given(first=diagrams, second=diagrams, num_directions=st.integers(1, 20))
def test_it_equals_persim(first, second, num_directions):
    """persim's directions are float32, and half a turn further on: the same lines."""
    got = reference.sliced_wasserstein(first, second, num_directions=num_directions)
    theirs = persim.sliced_wasserstein(first, second, M=num_directions)
    np.testing.assert_allclose(got, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.oracle
@given(first=diagrams, second=diagrams, num_directions=st.integers(2, 20))
def test_gudhi_leaves_out_the_last_of_the_lines(first, second, num_directions):
    got = reference.sliced_wasserstein(first, second, num_directions=num_directions)
    theirs = SlicedWassersteinDistance(num_directions=num_directions)(first, second)
    angle = np.pi / 2 - np.pi / num_directions
    line = np.array([np.cos(angle), np.sin(angle)])
    completed = (
        np.sort([*own @ line, *(other.mean(axis=1) * line.sum())])
        for own, other in ((first, second), (second, first))
    )
    last = np.abs(np.subtract(*completed)).sum()
    np.testing.assert_allclose(
        num_directions * got, (num_directions - 1) * theirs + last, rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(
    ("first", "second", "order", "value", "grad"),
    [
        # Two lines: down along deaths, and along births.
        ([[0.0, 4.0]], NONE, 1.0, (2 + 2) / 2, [[-0.5, 0.5]]),
        ([[0.0, 4.0]], NONE, 2.0, ((4 + 4) / 2) ** 0.5, [[-0.5, 0.5]]),
        ([[0.0, 6.0], [2.0, 2.0]], NONE, 1.0, (3 + 3) / 2, [[-0.5, 0.5], [-0.25, 0.25]]),
        ([[1.0, 3.0]], [[1.0, 3.0]], 1.0, 0.0, [[0.0, 0.0]]),
        (NONE, NONE, 1.0, 0.0, NONE),
    ],
)
def test_values_and_gradients_by_hand(first, second, order, value, grad):
    first, second = np.array(first), np.array(second)
    options = {"num_directions": 2, "order": order}
    np.testing.assert_allclose(reference.sliced_wasserstein(first, second, **options), value)
    got, _ = reference.sliced_wasserstein_grad(first, second, **options)
    np.testing.assert_allclose(got, grad, atol=1e-15)


@given(
    first=strategies.generic_diagrams(),
    second=strategies.generic_diagrams(),
    order=st.sampled_from([1.0, 2.0, 2.5]),
    seed=strategies.seeds,
)
@example(first=np.array([[0.0, 3.0], [1.0, 2.5]]), second=np.array([[0.2, 2.0]]), order=2.5, seed=0)
def test_the_gradient_is_the_derivative(first, second, order, seed):
    options = {"num_directions": 7, "order": order}
    assume(reference.sliced_wasserstein(first, second, **options) > 0.05)
    assert_slope(
        lambda pair: reference.sliced_wasserstein(*pair, **options),
        lambda pair: reference.sliced_wasserstein_grad(*pair, **options),
        (first, second),
        seed,
    )


@given(first=diagrams, second=diagrams, order=st.sampled_from([1.0, 2.0]), seed=strategies.seeds)
def test_order_does_not_matter_sides_are_alike_and_units_are_kept(first, second, order, seed):
    def distance(one, other):
        return reference.sliced_wasserstein(one, other, order=order, num_directions=9)

    got = distance(first, second)
    rng = np.random.default_rng(seed)
    np.testing.assert_allclose(distance(rng.permutation(first), second), got, atol=1e-12)
    np.testing.assert_allclose(distance(second, first), got, atol=1e-12)
    np.testing.assert_allclose(distance(1e100 * first, 1e100 * second), 1e100 * got, atol=1e88)
    assert distance(first, first) == 0
    # Theorem 3.4 of the paper: no more than 2 sqrt(2) times the Wasserstein-1 distance.
    if order == 1:
        exact = reference.wasserstein_distance(first, second, order=1.0)
        assert got <= 2 * 2**0.5 * exact + 1e-12

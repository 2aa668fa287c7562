"""The normalization of Algorithm 1 and its gradient."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import reference
from tests.reference import strategies
from tests.reference.checks import STEP, assert_gradient, smallest_gap

ALL = ["l2", "none", "center_maxnorm", "diameter", "rms"]


@pytest.mark.parametrize(
    ("normalisation", "expected"),
    [
        ("l2", [[0.6, 0.8], [0.0, 0.0], [0.0, 1.0]]),
        ("none", [[6.0, 8.0], [0.0, 0.0], [0.0, 1.0]]),
        ("center_maxnorm", np.array([[4.0, 5.0], [-2.0, -3.0], [-2.0, -2.0]]) / np.sqrt(41)),
        ("diameter", [[0.6, 0.8], [0.0, 0.0], [0.0, 0.1]]),
        ("rms", np.array([[4.0, 5.0], [-2.0, -3.0], [-2.0, -2.0]]) / np.sqrt((41 + 13 + 8) / 3)),
    ],
)
def test_values_by_hand(normalisation, expected):
    features = np.array([[6.0, 8.0], [0.0, 0.0], [0.0, 1.0]])
    np.testing.assert_allclose(reference.normalise(features, normalisation), expected, rtol=1e-15)


def test_rows_of_length_1_are_the_default():
    features = np.array([[3.0, 4.0]])
    np.testing.assert_array_equal(reference.normalise(features), [[0.6, 0.8]])
    np.testing.assert_allclose(
        reference.normalise_grad(features, np.array([[1.0, 0.0]])), [[0.128, -0.096]]
    )


@pytest.mark.parametrize("normalisation", ALL)
@given(features=strategies.clouds(max_points=5), seed=strategies.seeds)
def test_the_gradient_is_the_derivative(normalisation, features, seed):
    centered = features - features.mean(axis=0)
    distances = reference.pairwise_distances(features)
    assume(np.linalg.norm(features, axis=1).min() > 0.03)  # curvature grows towards 0
    assume(len(features) == 1 or distances.max() > 0.1)
    assume(smallest_gap(np.linalg.norm(centered, axis=1)) > 10 * STEP)
    assume(smallest_gap(distances[np.triu_indices(len(features), k=1)]) > 10 * STEP)
    # A single point has no spread to divide by, and moving it makes none.
    weights = np.random.default_rng(seed).normal(size=features.shape)
    assert_gradient(
        lambda moved: float(np.sum(weights * reference.normalise(moved, normalisation))),
        features,
        reference.normalise_grad(features, weights, normalisation),
    )


@pytest.mark.parametrize("normalisation", ALL)
@given(features=strategies.clouds(min_points=2), seed=strategies.seeds)
def test_the_gradient_has_no_part_along_scaling_or_moving(normalisation, features, seed):
    weights = np.random.default_rng(seed).normal(size=features.shape)
    gradient = reference.normalise_grad(features, weights, normalisation)
    along = np.sum(features * gradient, axis=1)
    if normalisation == "l2":
        np.testing.assert_allclose(along, 0.0, atol=1e-10)
    elif normalisation in ("center_maxnorm", "rms"):
        np.testing.assert_allclose(gradient.sum(axis=0), 0.0, atol=1e-10)
        np.testing.assert_allclose(along.sum(), 0.0, atol=1e-10)
    elif normalisation == "diameter":
        np.testing.assert_allclose(along.sum(), 0.0, atol=1e-10)
    else:
        np.testing.assert_array_equal(gradient, weights)


@given(features=strategies.clouds(min_points=2), power=st.integers(-4, 4))
def test_distances_do_not_depend_on_the_scale_and_have_the_bounds_that_are_promised(
    features, power
):
    for normalisation, bound in (("l2", 2.0), ("center_maxnorm", 2.0), ("diameter", 1.0)):
        normalised = reference.normalise(features, normalisation)
        np.testing.assert_allclose(
            reference.normalise(2.0**power * features, normalisation), normalised, rtol=1e-15
        )
        assert reference.pairwise_distances(normalised).max() <= bound + 1e-15


@pytest.mark.parametrize(
    ("normalisation", "expected", "expected_gradient"),
    [
        ("l2", [[0.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [3.0, 6.0]]),
        ("center_maxnorm", [[0.0, 0.0], [0.0, 0.0]], [[-1.0, -2.0], [1.0, 2.0]]),
        ("diameter", [[0.0, 0.0], [0.0, 0.0]], [[1.0, 2.0], [3.0, 6.0]]),
    ],
)
def test_a_divisor_of_0_counts_as_the_constant_1(normalisation, expected, expected_gradient):
    features, weights = np.zeros((2, 2)), np.array([[1.0, 2.0], [3.0, 6.0]])
    np.testing.assert_array_equal(reference.normalise(features, normalisation), expected)
    np.testing.assert_array_equal(
        reference.normalise_grad(features, weights, normalisation), expected_gradient
    )


@pytest.mark.parametrize("value", [0.0, 0.1, -7e6])
def test_rms_of_a_cloud_without_spread_is_0_and_so_is_its_gradient(value):
    features, weights = np.full((3, 2), value), np.array([[1.0, 2.0], [3.0, 6.0], [5.0, -1.0]])
    np.testing.assert_array_equal(reference.normalise(features, "rms"), 0.0)
    np.testing.assert_array_equal(reference.normalise_grad(features, weights, "rms"), 0.0)


@given(features=strategies.clouds(min_points=2))
def test_rms_makes_the_mean_0_and_the_mean_square_length_1(features):
    normalised = reference.normalise(1000 * features + 5, "rms")
    np.testing.assert_allclose(normalised.mean(axis=0), 0.0, atol=1e-12)
    np.testing.assert_allclose(np.sum(normalised**2), len(features))


@pytest.mark.parametrize(
    ("normalisation", "carriers"),
    [("center_maxnorm", [0]), ("diameter", [0, 2])],
)
def test_of_equally_long_rows_the_first_carries_the_divisor(normalisation, carriers):
    """A square: four equal lengths, two equal diagonals, of which (0, 2) is first."""
    square = np.array([[1.0, 1.0], [-1.0, 1.0], [-1.0, -1.0], [1.0, -1.0]])
    scale = reference.normalise(square, normalisation)[0, 0]
    gradient = reference.normalise_grad(square, square, normalisation)
    expected = scale * square
    expected[carriers] -= 4 * scale * square[carriers] * (2 if len(carriers) == 1 else 1) / 2
    if normalisation == "center_maxnorm":
        expected -= expected.mean(axis=0)
    np.testing.assert_allclose(gradient, expected, atol=1e-15)

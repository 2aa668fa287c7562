"""Saliency maps and their alignment: Eq. 4-7."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from tests.reference import strategies

FEATURES = np.array([[1.0, 2.0], [-3.0, 0.5], [0.0, 4.0]])
GRADIENTS = np.array([[1.0, 0.0], [-2.0, 3.0], [3.0, -3.0]])


def test_channel_weights_by_hand():
    np.testing.assert_array_equal(reference.channel_weights(GRADIENTS), [2.0, 2.0])


def test_a_map_by_hand():
    # Eq. 5 with both weights 2: 2 * (3, 3.5, 4); signs would give 2 * (3, -2.5, 4).
    np.testing.assert_array_equal(reference.saliency_map(FEATURES, GRADIENTS), [0.0, 0.5, 1.0])


def test_channels_count_by_their_weight():
    gradients = np.array([[3.0, 0.0], [3.0, 0.0], [3.0, 0.0]])
    expected = np.array([1.0, 3.0, 0.0]) / 3
    np.testing.assert_allclose(reference.saliency_map(FEATURES, gradients), expected)


def test_the_stabilizer_is_added_to_the_spread():
    # The map of Eq. 5 is (6, 7, 8), so its spread is 2.
    np.testing.assert_array_equal(
        reference.saliency_map(FEATURES, GRADIENTS, eps=2.0), [0.0, 0.25, 0.5]
    )


@pytest.mark.parametrize("eps", [0.0, 1.0])
def test_a_constant_map_is_all_zeros(eps):
    ones = np.ones((3, 2))
    np.testing.assert_array_equal(reference.saliency_map(ones, ones, eps=eps), np.zeros(3))
    np.testing.assert_array_equal(reference.saliency_map(ones[:1], ones[:1]), [0.0])


@given(features=strategies.clouds(min_points=2), seed=strategies.seeds, power=st.integers(-6, 6))
def test_a_map_lies_in_0_to_1_and_does_not_move_with_scale(features, seed, power):
    gradients = np.random.default_rng(seed).normal(size=features.shape)
    found = reference.saliency_map(features, gradients)
    assert found.min() == 0.0
    assert found.max() == 1.0
    scale = 2.0**power  # exact
    np.testing.assert_array_equal(reference.saliency_map(scale * features, gradients), found)
    np.testing.assert_array_equal(reference.saliency_map(features, -scale * gradients), found)


@given(features=strategies.clouds(), seed=strategies.seeds)
def test_permuting_points_permutes_the_map(features, seed):
    rng = np.random.default_rng(seed)
    gradients = rng.normal(size=features.shape)
    order = rng.permutation(len(features))
    np.testing.assert_allclose(
        reference.saliency_map(features[order], gradients[order]),
        reference.saliency_map(features, gradients)[order],
        atol=1e-12,
    )


def test_the_loss_by_hand():
    teacher = [np.array([0.0, 1.0]), np.array([0.0, 0.5, 1.0, 1.0])]
    student = [np.array([0.5, 1.0]), np.array([1.0, 0.5, 1.0, 0.0])]
    assert reference.saliency_loss(teacher, student) == 0.25 + 0.5
    assert reference.saliency_loss(teacher, student, layers="mean") == 0.375
    apart = reference.saliency_loss(teacher, student, layers="none")
    np.testing.assert_array_equal(apart, [0.25, 0.5])
    assert reference.saliency_loss(student, teacher) == 0.75
    assert reference.saliency_loss(teacher, teacher) == 0.0


@pytest.mark.parametrize("layers", ["sum", "mean"])
def test_no_layers_have_no_loss(layers):
    assert reference.saliency_loss([], [], layers=layers) == 0.0
    assert reference.saliency_loss([], [], layers="none").shape == (0,)


@given(num_layers=st.integers(1, 20), seed=strategies.seeds)
def test_layers_apart_add_up_to_the_sum(num_layers, seed):
    teacher, student = np.random.default_rng(seed).random((2, num_layers, 5))
    apart = reference.saliency_loss(teacher, student, layers="none")
    assert apart.sum() == reference.saliency_loss(teacher, student)

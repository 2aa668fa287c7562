"""Total persistence and persistent entropy: GUDHI, values by hand, finite differences."""

import numpy as np
import pytest
from gudhi.representations import Entropy
from hypothesis import given
from hypothesis import strategies as st

import reference
from tests.reference import strategies
from tests.reference.checks import assert_gradient

diagrams = st.one_of(strategies.tied_diagrams(), strategies.generic_diagrams())
NONE = np.empty((0, 2))


@pytest.mark.oracle
@given(pairs=st.one_of(strategies.tied_diagrams(1), strategies.generic_diagrams(1)))
def test_the_entropy_equals_gudhis(pairs):
    (theirs,) = Entropy(mode="scalar").fit_transform([pairs])
    np.testing.assert_allclose(reference.persistent_entropy(pairs), theirs[0], atol=1e-12)


@pytest.mark.parametrize(
    ("pairs", "total", "of_squares", "entropy"),
    [
        (NONE, 0, 0, 0),
        ([[1, 4]], 3, 9, 0),
        ([[1, 1]], 0, 0, 0),
        ([[0, 2], [5, 7], [3, 3]], 4, 8, np.log(2)),
        ([[0, 3], [1, 2]], 4, 10, -0.75 * np.log(0.75) - 0.25 * np.log(0.25)),
    ],
)
def test_values_by_hand(pairs, total, of_squares, entropy):
    pairs = np.array(pairs, dtype=float)
    assert reference.total_persistence(pairs) == total
    assert reference.total_persistence(pairs, order=2.0) == of_squares
    np.testing.assert_allclose(reference.persistent_entropy(pairs), entropy, rtol=1e-14)


@pytest.mark.oracle
@given(pairs=diagrams, order=st.sampled_from([1.0, 1.5, 2.0]))
def test_total_persistence_is_numpys_norm_and_the_way_to_the_diagonal(pairs, order):
    """The distance to an empty diagram, for which every pair goes its persistence / 2."""
    to_none = reference.wasserstein_distance(pairs, NONE, order=order)
    total = reference.total_persistence(pairs, order=order)
    np.testing.assert_allclose(total, (2 * to_none) ** order, atol=1e-12)
    np.testing.assert_allclose(total, np.linalg.norm(np.diff(pairs).ravel(), order) ** order)


@given(pairs=diagrams, order=st.sampled_from([1.0, 1.5, 3.0]))
def test_the_gradients_are_the_derivatives(pairs, order):
    pairs = pairs + np.array([0.0, 0.1])
    assert_gradient(
        lambda moved: reference.total_persistence(moved, order=order),
        pairs,
        reference.total_persistence_grad(pairs, order=order),
    )
    assert_gradient(reference.persistent_entropy, pairs, reference.persistent_entropy_grad(pairs))


def test_a_pair_without_persistence_gets_no_gradient():
    pairs = np.array([[0.0, 2.0], [1.0, 1.0], [0.0, 1.0]])
    np.testing.assert_array_equal(reference.persistent_entropy_grad(pairs)[1], [0.0, 0.0])
    np.testing.assert_array_equal(reference.total_persistence_grad(pairs, order=1.5)[1], [0, 0])
    np.testing.assert_array_equal(reference.total_persistence_grad(pairs)[1], [-1, 1])
    np.testing.assert_array_equal(reference.persistent_entropy_grad(pairs[1:2]), [[0.0, 0.0]])

"""Distances and the enclosing radius."""

import numpy as np
import pytest
from hypothesis import given
from scipy.spatial.distance import cdist

import reference
from tests.reference import strategies


def test_a_3_4_5_triangle():
    points = np.array([[0.0, 0.0], [3.0, 0.0], [3.0, 4.0]])
    expected = [[0.0, 3.0, 5.0], [3.0, 0.0, 4.0], [5.0, 4.0, 0.0]]
    np.testing.assert_array_equal(reference.pairwise_distances(points), expected)


@pytest.mark.parametrize("shape", [(0, 3), (0, 0), (2, 0), (1, 3)])
def test_few_points_and_no_channels(shape):
    distances = reference.pairwise_distances(np.zeros(shape))
    np.testing.assert_array_equal(distances, np.zeros((shape[0], shape[0])))


def test_near_points_far_from_the_origin_keep_their_distance():
    """|a|^2 - 2ab + |b|^2 would give 0 here."""
    points = np.array([[1e8, 0.0], [1e8 + 2.0**-10, 0.0]])
    assert reference.pairwise_distances(points)[0, 1] == 2.0**-10


@pytest.mark.oracle
@given(points=strategies.clouds(max_channels=6))
def test_distances_equal_scipy(points):
    distances = reference.pairwise_distances(points)
    np.testing.assert_allclose(distances, cdist(points, points), rtol=1e-14)
    np.testing.assert_array_equal(distances, distances.T)


@pytest.mark.parametrize(
    ("distances", "radius"),
    [
        ([[0.0]], 0.0),
        ([[0.0, 3.0], [3.0, 0.0]], 3.0),
        ([[0.0, 1.0, 4.0], [1.0, 0.0, 3.0], [4.0, 3.0, 0.0]], 3.0),
        ([[0.0, np.inf], [np.inf, 0.0]], np.inf),
    ],
)
def test_the_enclosing_radius_is_that_of_the_best_center(distances, radius):
    assert reference.enclosing_radius(np.array(distances)) == radius

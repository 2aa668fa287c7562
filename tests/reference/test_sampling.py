"""Topology-preserving sampling: Algorithm 5 and the covering radius."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reference
from tests.reference import strategies

LINE = np.array([[0.0], [1.0], [3.0], [10.0], [11.5]])


def test_samples_of_a_line_by_hand():
    indices, radii = reference.topology_preserving_sampling(LINE, 5)
    np.testing.assert_array_equal(indices, [0, 4, 2, 3, 1])
    np.testing.assert_array_equal(radii, [11.5, 3.0, 1.5, 1.0, 0.0])
    assert indices.dtype == np.int64


def test_the_start_is_the_first_sample():
    indices, radii = reference.topology_preserving_sampling(LINE, 2, start=2)
    np.testing.assert_array_equal(indices, [2, 4])
    np.testing.assert_array_equal(radii, [8.5, 3.0])


def test_of_equally_far_points_the_first_is_taken():
    corners = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    indices, _ = reference.topology_preserving_sampling(corners, 4)
    np.testing.assert_array_equal(indices, [0, 2, 1, 3])


def test_duplicates_stop_the_sampling_early():
    points = np.array([[0.0], [2.0], [0.0], [2.0], [0.0]])
    indices, radii = reference.topology_preserving_sampling(points, 5)
    np.testing.assert_array_equal(indices, [0, 1])
    np.testing.assert_array_equal(radii, [2.0, 0.0])
    indices, radii = reference.topology_preserving_sampling(np.zeros((3, 2)), 3, start=1)
    np.testing.assert_array_equal(indices, [1])
    np.testing.assert_array_equal(radii, [0.0])


@given(points=strategies.clouds(), data=st.data())
def test_radii_never_increase_and_are_covering_radii(points, data):
    start = data.draw(st.integers(0, len(points) - 1))
    indices, radii = reference.topology_preserving_sampling(points, len(points), start)
    assert indices[0] == start
    assert sorted(indices) == list(range(len(points)))
    assert (np.diff(radii) <= 0).all()
    assert radii[-1] == 0
    for count, radius in enumerate(radii, start=1):
        assert radius == reference.covering_radius(points, indices[:count])


@given(points=strategies.clouds(max_points=7), data=st.data())
def test_the_radius_is_within_twice_the_optimum(points, data):
    num_samples = data.draw(st.integers(1, len(points)))
    _, radii = reference.topology_preserving_sampling(points, num_samples)
    best = min(
        reference.covering_radius(points, np.array(choice))
        for choice in combinations(range(len(points)), num_samples)
    )
    assert best <= radii[-1] <= 2 * best + 1e-12


@given(points=strategies.clouds(), data=st.data())
def test_the_covering_radius_by_definition(points, data):
    indices = data.draw(st.lists(st.integers(0, len(points) - 1), min_size=1))
    distances = reference.pairwise_distances(points)
    worst = max(min(distances[i, j] for j in indices) for i in range(len(points)))
    assert reference.covering_radius(points, np.array(indices)) == worst


@pytest.mark.parametrize("num_samples", [1, 4])
def test_num_samples_may_be_one_or_all(num_samples):
    indices, radii = reference.topology_preserving_sampling(LINE[:4], num_samples)
    assert len(indices) == len(radii) == num_samples

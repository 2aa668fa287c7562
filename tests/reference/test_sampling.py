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


@given(points=strategies.clouds(), seed=strategies.seeds, data=st.data())
def test_random_points_are_different_and_do_not_depend_on_the_cloud(points, seed, data):
    num_samples = data.draw(st.integers(1, len(points)))

    def drawn(cloud, sampling):
        generator = np.random.default_rng(seed)
        return reference.sample_points(cloud, num_samples, sampling=sampling, generator=generator)

    random, mixed = (drawn(points, sampling) for sampling in ("random", "mixed"))
    assert len(set(random.tolist())) == len(set(mixed.tolist())) == num_samples
    np.testing.assert_array_equal(drawn(points[::-1] ** 2, "random"), random)
    farthest, _ = reference.topology_preserving_sampling(points, (num_samples + 1) // 2)
    np.testing.assert_array_equal(mixed[: len(farthest)], farthest)
    new = [index for index in random if index not in farthest]
    assert mixed[len(farthest) :].tolist() == new[: num_samples - len(farthest)]


def test_mixed_samples_fill_up_with_duplicates_where_only_those_are_left():
    points = np.array([[1.0], [1.0], [0.0], [1.0], [1.0]])
    mixed = reference.sample_points(
        points, 4, 1, sampling="mixed", generator=np.random.default_rng(0)
    )
    assert mixed[:2].tolist() == [1, 2]
    assert len(set(mixed.tolist())) == 4
    alike = reference.sample_points(
        points[:2], 2, sampling="mixed", generator=np.random.default_rng(0)
    )
    assert sorted(alike) == [0, 1]


def test_the_farthest_points_are_the_default():
    points = np.array([[0.0], [1.0], [5.0]])
    np.testing.assert_array_equal(reference.sample_points(points, 2, 1), [1, 2])


def test_every_point_is_drawn_as_often():
    generator = np.random.default_rng(0)
    counts = np.zeros((2, 6))
    for row, sampling in zip(counts, ("random", "mixed"), strict=True):
        for _ in range(3000):
            row[
                reference.sample_points(np.zeros((6, 1)), 3, sampling=sampling, generator=generator)
            ] += 1
    np.testing.assert_allclose(counts[0], 1500, atol=150)
    # All in one place: the farthest is the first, and the rest are drawn among the others.
    np.testing.assert_allclose(counts[1], [3000] + [1200] * 5, atol=150)

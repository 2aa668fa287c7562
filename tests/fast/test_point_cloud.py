"""Rips pairs without a distance matrix: equal to those with one, and to the definition."""

import dataclasses

import numpy as np
import pytest
import torch

import fast
import reference
from fast import memory, rips
from fast.kernels.distances import lengths
from fast.kernels.edges import point_tree_cpu
from fast.kernels.lunes import disconnected_lunes_cpu, relative_neighbors_cpu
from fast.kernels.pairing import point_pairing_cpu
from fast.kernels.rips import point_cloud_cpu, rips_cpu
from fast.kernels.rips.point_cloud_cpu import PointCloud

FIELDS = ["birth_edges", "death_edges", "death_simplices", "num_essential"]


def circle(rng, n):
    angles = 2 * np.pi * rng.random(n)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1) + 0.05 * rng.normal(size=(n, 2))


def clusters(rng, n):
    return rng.random((6, 3))[rng.integers(0, 6, size=n)] + 0.01 * rng.normal(size=(n, 3))


def tiny(rng, n):
    """A cloud with a part whose squared distances underflow in float32."""
    return np.where(rng.random((n, 1)) < 0.3, 1e-21, 1.0) * rng.integers(1, 9, size=(n, 3))


FAMILIES = {
    "line": lambda rng, n: rng.random((n, 1)),
    "square": lambda rng, n: rng.random((n, 2)),
    "cube": lambda rng, n: rng.random((n, 3)),
    "lattice in the plane": lambda rng, n: rng.integers(0, round(n**0.5), size=(n, 2)) / 4,
    "lattice": lambda rng, n: rng.integers(0, round(n ** (1 / 3)), size=(n, 3)) / 4,
    "duplicates": lambda rng, n: rng.random((n // 3, 3))[rng.integers(0, n // 3, size=n)],
    "one place": lambda rng, n: np.full((n, 2), -0.0),
    "circle": circle,
    "clusters": clusters,
    "tiny": tiny,
}


def points_of(family, n, seed=0, dtype=np.float32):
    return FAMILIES[family](np.random.default_rng(seed), n).astype(dtype)


def with_distances(points, threshold=np.inf, max_dim=1):
    distances = fast.pairwise_distances(torch.from_numpy(points)).numpy()
    return rips_cpu._pairs_of_cloud(distances, max_dim, threshold, 1)


def without(points, threshold=np.inf, max_dim=1, num_threads=1):
    return PointCloud(points, float(points.dtype.type(threshold)), num_threads).pairs(max_dim)


def assert_same(got, want):
    """Assert that diagrams of all dimensions agree in every field, in order."""
    assert len(got) == len(want)
    for one, other in zip(got, want, strict=True):
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(one, field), getattr(other, field), err_msg=field)


@pytest.fixture
def all_clouds_are_large(monkeypatch):
    monkeypatch.setattr(rips, "_LARGE_DISTANCES", 0)
    monkeypatch.setattr(rips_cpu, "_MOST_WORK", np.inf)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n", [2, 40, 300])
def test_it_equals_the_path_with_distances(family, n):
    points = points_of(family, max(n, 3), seed=n)[:n]
    lengths_there = fast.pairwise_distances(torch.from_numpy(points)).numpy()
    # With the median as threshold, some classes are alive in the end, and lengths tie with it.
    for threshold in (np.inf, float(np.median(lengths_there)), 0.0):
        assert_same(without(points, threshold), with_distances(points, threshold))
    assert_same(without(points, max_dim=0), with_distances(points, max_dim=0))


@pytest.mark.slow
@pytest.mark.parametrize("family", ["cube", "lattice in the plane", "circle", "clusters", "tiny"])
def test_it_equals_the_path_with_distances_in_float64(family):
    points = points_of(family, 250, dtype=np.float64)
    if family == "tiny":
        points[points < 1e-3] *= 1e-150  # squares underflow in float64, too
    assert_same(without(points), with_distances(points))


def test_it_equals_the_path_with_distances_far_from_the_origin():
    # Neighbors are a few units in the last place apart, and the middle of an edge is rounded.
    steps = np.random.default_rng(0).integers(0, 24, size=(400, 3))
    points = 1e6 + steps * 2.0**-33
    assert_same(without(points), with_distances(points))


@pytest.mark.parametrize("family", ["cube", "circle", "lattice", "clusters"])
def test_it_equals_the_path_with_distances_where_there_are_many_points(family):
    points = points_of(family, 2000)
    want = with_distances(points)
    assert len(want[1].death_edges) > 50
    assert_same(without(points, num_threads=1), want)
    assert_same(without(points, num_threads=2), want)


@pytest.mark.parametrize("family", ["line", "square", "cube", "lattice", "duplicates", "circle"])
def test_it_equals_the_definition_in_every_field(family, all_clouds_are_large):
    for seed in range(3):
        points = points_of(family, 18, seed, np.float64)
        got = fast.rips_persistence_of_points(torch.from_numpy(points))
        want = reference.rips_persistence(reference.pairwise_distances(points))
        for one, other in zip(got, want, strict=True):
            diagram = one.cloud(0)
            for field in (*FIELDS, "births", "deaths"):
                np.testing.assert_array_equal(getattr(diagram, field), getattr(other, field))


def test_chunks_that_take_too_much_are_cut_and_change_nothing(monkeypatch):
    points = points_of("circle", 400)
    want = without(points)
    refused = []
    relations = PointCloud._relations

    def counted(self, *arguments):
        result = relations(self, *arguments)
        refused.append(result[0] is None)
        return result

    monkeypatch.setattr(PointCloud, "_relations", counted)
    monkeypatch.setattr(point_cloud_cpu, "_LEAST_WORK", 4)
    monkeypatch.setattr(point_cloud_cpu, "_DEAR", 0.25)
    assert_same(without(points), want)
    assert 0 < sum(refused) < len(refused)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_have_the_bits_of_the_path_with_distances(
    dtype, monkeypatch, set_threads
):
    clouds = np.stack([FAMILIES["circle"](np.random.default_rng(seed), 150) for seed in (0, 1)])
    results = []
    monkeypatch.setattr(rips_cpu, "_MOST_WORK", np.inf)
    for least, num_threads in ((2**60, 1), (0, 1), (0, 2)):
        monkeypatch.setattr(rips, "_LARGE_DISTANCES", least)
        set_threads(num_threads)
        points = torch.tensor(clouds, dtype=dtype, requires_grad=True)
        found = fast.rips_persistence_of_points(points, sizes=[150, 120])
        constant = fast.rips_persistence_of_points(points.detach(), sizes=[150, 120])
        sum((d.deaths.square() - 3 * d.births).sum() for d in found).backward()
        results.append((found, constant, points.grad))
    for got in results[1:]:
        assert torch.equal(got[2], results[0][2])
        for one, other in zip(got[0] + got[1], results[0][0] + results[0][1], strict=True):
            for field in dataclasses.fields(one):
                first, second = getattr(one, field.name), getattr(other, field.name)
                assert first == second if field.name == "dim" else torch.equal(first, second)


def test_the_gradient_is_right_to_second_order(all_clouds_are_large):
    points = torch.from_numpy(points_of("circle", 12, dtype=np.float64)).requires_grad_()

    def values(points):
        diagrams = fast.rips_persistence_of_points(points)
        return torch.cat([diagram.pairs.flatten() ** 2 for diagram in diagrams])

    assert torch.autograd.gradcheck(values, points)
    assert torch.autograd.gradgradcheck(values, points)


def test_no_distances_are_computed_where_they_would_be_large(monkeypatch):
    def refuse(*_):
        raise AssertionError("distances were computed")

    monkeypatch.setattr(rips, "pairwise_distances", refuse)
    points = torch.zeros(16_384, 2)
    points[1, 0] = 1
    components, loops = fast.rips_persistence_of_points(points)
    assert components.deaths.tolist() == [[1.0]]
    assert loops.counts.tolist() == [0]
    for others in (points[:16_000], torch.zeros(2, 4), 1e30 * points):
        with pytest.raises(AssertionError, match="distances were computed"):
            fast.rips_persistence_of_points(others)


def test_dense_clusters_get_distances_if_these_fit(monkeypatch):
    given_up = []
    pairs = PointCloud.pairs
    monkeypatch.setattr(rips, "_LARGE_DISTANCES", 0)
    monkeypatch.setattr(
        PointCloud, "pairs", lambda *some: given_up.append(found := pairs(*some)) or found
    )
    clusters = torch.from_numpy(points_of("clusters", 300))
    found = fast.rips_persistence_of_points(clusters, sizes=None)
    assert given_up == [None]
    monkeypatch.setattr(rips, "distances_fit", lambda *_, **__: False)
    same = fast.rips_persistence_of_points(clusters)
    assert len(given_up) == 2
    assert given_up[1] is not None
    for one, other in zip(found, same, strict=True):
        assert torch.equal(one.pairs, other.pairs)
        assert torch.equal(one.death_simplices, other.death_simplices)


def test_what_does_not_fit_is_refused_with_its_size(monkeypatch, all_clouds_are_large):
    monkeypatch.setattr(memory, "_WORTH_ASKING", 0)
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**16)
    with pytest.raises(MemoryError, match=r"so many rows that 0\.0 GiB are needed.*Pass fewer"):
        fast.rips_persistence_of_points(torch.rand(100, 2))
    monkeypatch.setattr(point_cloud_cpu, "_BYTES_PER_POINT", 0)
    with pytest.raises(MemoryError, match=r"made of so many edges.*Pass a smaller threshold"):
        fast.rips_persistence_of_points(torch.from_numpy(points_of("cube", 1500)))


# Broken on purpose: a comparison that stays green then proves nothing.


def _one_neighbor_too_few(original):
    def broken(*arguments):
        found_lengths, edges = original(*arguments)
        return found_lengths[1:], edges[1:]

    return broken


def _first_apex_swapped(original):
    def broken(*arguments):
        found_lengths, relations, work = original(*arguments)
        return found_lengths, relations[:, [0, 1, 3, 2]], work

    return broken


def _last_relation_forgotten(original):
    def broken(*arguments):
        found_lengths, relations, work = original(*arguments)
        return found_lengths[:-1], relations[:-1], work

    return broken


def _relations_in_another_order(original):
    def broken(sides, *rest):
        kills, *others = original(sides[::-1].copy(), *rest)
        kills[:, 1] = len(sides) - 1 - kills[:, 1]
        return kills, *others

    return broken


def _radius_too_small(original):
    return lambda *arguments: 0.5 * original(*arguments)


MUTANTS = [
    (relative_neighbors_cpu, "empty_lunes", _one_neighbor_too_few),
    (disconnected_lunes_cpu, "disconnected_lunes", _first_apex_swapped),
    (disconnected_lunes_cpu, "disconnected_lunes", _last_relation_forgotten),
    (point_pairing_cpu, "reduce_relations", _relations_in_another_order),
    (point_tree_cpu, "enclosing_radius", _radius_too_small),
]


@pytest.mark.parametrize(("module", "kernel", "mutant"), MUTANTS)
def test_a_broken_kernel_is_caught(monkeypatch, module, kernel, mutant):
    points = points_of("circle", 200)
    want = with_distances(points)
    assert_same(without(points), want)
    monkeypatch.setattr(module, kernel, mutant(getattr(module, kernel)))
    with pytest.raises(AssertionError):
        assert_same(without(points), want)


# Bounds: what they settle is settled for the computed distances.


def test_bounds_hold_for_computed_distances():
    points = np.concatenate([points_of("cube", 100), 1e-3 * points_of("lattice", 100, 1)])
    tree = point_tree_cpu.build(points)
    got = np.array([[point_tree_cpu.distance(tree, v, w) for w in range(200)] for v in range(200)])
    want = fast.pairwise_distances(torch.from_numpy(tree.points)).numpy()
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(tree.points, points[tree.ids])
    for a in range(len(tree.start)):
        inside = slice(tree.start[a], tree.stop[a])
        for v in range(0, 200, 7):
            assert point_tree_cpu.nearest_to_box(tree, a, v) <= want[v, inside].min()
            assert point_tree_cpu.farthest_from_box(tree, a, v) >= want[v, inside].max()
        for b in range(a, len(tree.start), 5):
            near, far = point_tree_cpu.between_boxes(tree, a, b)
            block = want[inside, tree.start[b] : tree.stop[b]]
            assert near <= block.min()
            assert block.max() <= far


def test_the_threshold_is_rounded_down():
    key = lengths.longest_key(np.dtype(np.float32), 0.1)
    assert np.array(key, np.int32).view(np.float32) < 0.1
    points = torch.tensor([[0.0], [0.1]])  # 0.1 in float32 is above 0.1
    found = rips_cpu.rips_pairs_of_points(points[None], None, 1, 0.1)
    assert found[0]["counts"].tolist() == [0]
    assert found[0]["num_essential"].tolist() == [2]

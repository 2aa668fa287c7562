"""H2 by fast.rips_persistence: the definition in every field, other libraries, gradients, limits.

What can only be wrong together with H0 and H1 is in test_rips.py.
"""

import functools
import itertools

import numpy as np
import pytest
import torch

import fast
import reference
from fast import plot
from fast.kernels.rips import voids_cpu
from tests.reference.checks import assert_same_diagram, assert_same_points
from tests.train.processes import run_bare
from topodistill.transformers import RipsPersistence, RipsVectorizer

INF = np.inf


def tied_matrix(seed):
    """Return up to 14 points' small integers; not even a metric, some 0, some never joined."""
    rng = np.random.default_rng(seed)
    n, largest = int(rng.integers(4, 15)), int(rng.integers(1, 9)) if seed % 3 else 10**6
    upper = rng.integers(seed % 2, largest + 1, size=(n, n)).astype(float)
    if seed % 5 == 0:
        upper[rng.random((n, n)) < 0.15] = INF
    upper[np.tril_indices(n)] = 0
    return upper + upper.T, [INF, largest / 2, largest * 0.8, 3.0][seed % 4]


def sphere(n, seed=0):
    points = np.random.default_rng(seed).normal(size=(n, 3))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def lattice(*sides):
    return np.array(list(itertools.product(*map(range, sides))), dtype=float)


OCTAHEDRON = np.concatenate([np.eye(3), -np.eye(3)])
SHAPES = {
    "octahedron": OCTAHEDRON,
    "octahedron, every point twice": np.repeat(OCTAHEDRON, 2, axis=0),
    "octahedra, two": np.concatenate([OCTAHEDRON, OCTAHEDRON + 9]),
    "cross-polytope in 4 dimensions": np.concatenate([np.eye(4), -np.eye(4)]),
    "cube": lattice(2, 2, 2),
    "lattice": lattice(3, 3, 2),
    "sphere": sphere(18),
    "sphere, rounded": np.round(3 * sphere(18)),
    "collinear": np.arange(7.0)[:, None] ** 2,
    "copies": np.ones((6, 3)),
    "ten dimensions": np.random.default_rng(0).normal(size=(16, 10)),
    **{f"{n} points": lattice(n).reshape(n, 1) for n in range(5)},
}


@pytest.fixture(params=["lists", "bits"])
def coboundary(request, monkeypatch):
    """Hold columns' coboundaries in lists, or all in bits of triangles."""
    if request.param == "bits":
        monkeypatch.setattr(voids_cpu, "_MOST_WAITING", 0)


def assert_defined(matrix, threshold=INF, dtype=torch.float64):
    """Assert the definition's H0 to H2, and return H2."""
    want = reference.rips_persistence(matrix, 2, threshold)
    got = fast.rips_persistence(torch.tensor(matrix, dtype=dtype), 2, threshold)
    for of_fast, of_reference in zip(got, want, strict=True):
        assert_same_diagram(of_fast.cloud(0), of_reference)
    return want[2]


def test_it_equals_the_definition_where_lengths_tie(coboundary):
    found = [
        assert_defined(*tied_matrix(seed), [torch.float32, torch.float64][seed // 2 % 2])
        for seed in range(200)
    ]
    assert sum(map(len, found)) > 30  # enough to prove something
    assert sum(each.num_essential for each in found) > 5


@pytest.mark.parametrize("shape", SHAPES)
def test_it_equals_the_definition_on_shapes(shape, coboundary):
    matrix = reference.pairwise_distances(SHAPES[shape])
    for threshold in (INF, 1.5):
        assert_defined(matrix, threshold)


def test_an_octahedron_bears_one_void_until_opposite_points_meet():
    """Worked out by hand, with the gradient: all 12 edges have the length of the birth."""
    points = torch.tensor(OCTAHEDRON, requires_grad=True)
    voids = fast.rips_persistence_of_points(points, max_dim=2)[2]
    assert_same_points(voids.to_list()[0].detach().numpy(), [(2**0.5, 2.0)], atol=1e-15)
    assert voids.birth_edges.tolist() == [[[4, 5]]]
    assert voids.death_edges.tolist() == [[[0, 3]]]
    assert voids.death_simplices.tolist() == [[[0, 3, 4, 5]]]  # the last side of the hole
    assert voids.num_essential.tolist() == [0]
    voids.deaths.sum().backward()
    want = torch.zeros(6, 3, dtype=torch.float64)
    want[0, 0], want[3, 0] = 1, -1
    assert torch.equal(points.grad, want)


# Other libraries, at sizes that the definition cannot reach.


def cloud_of(family, make_cloud, n):
    points = sphere(n) if family == "sphere" else make_cloud(family, n)
    return fast.pairwise_distances(torch.tensor(points, dtype=torch.float32))


@pytest.mark.oracle
@pytest.mark.parametrize("family", ["cube", "gaussian", "features", "circle", "grid", "sphere"])
def test_ripser_finds_the_same_pairs(make_cloud, family, coboundary):
    from ripser import ripser

    distances = cloud_of(family, make_cloud, 100)
    theirs = ripser(distances.numpy(), maxdim=2, distance_matrix=True)["dgms"][2]
    voids = fast.rips_persistence(distances, 2)[2]
    assert_same_points(voids.cloud(0).pairs, theirs.astype(np.float32))


@pytest.mark.oracle
@pytest.mark.parametrize("family", ["gaussian", "sphere"])
def test_gudhi_finds_the_same_pairs(make_cloud, family):
    import gudhi

    distances = cloud_of(family, make_cloud, 50)
    tree = gudhi.RipsComplex(distance_matrix=distances.numpy()).create_simplex_tree(3)
    tree.compute_persistence(homology_coeff_field=2)
    theirs = tree.persistence_intervals_in_dimension(2)
    assert_same_points(fast.rips_persistence(distances, 2)[2].cloud(0).pairs, theirs)


@pytest.mark.oracle
@pytest.mark.parametrize("family", ["gaussian", "features", "sphere"])
def test_giotto_ph_s_critical_edges_are_as_long(make_cloud, family):
    gph = pytest.importorskip("gph", reason="giotto-ph is among the peers")
    distances = cloud_of(family, make_cloud, 150)
    matrix = distances.numpy()
    theirs = gph.ripser_parallel(
        matrix, maxdim=2, metric="precomputed", n_threads=1, return_generators=True
    )["gens"][1][1].T
    voids = fast.rips_persistence(distances, 2)[2].cloud(0)
    ends = np.concatenate([voids.birth_edges, voids.death_edges], axis=1).T
    lengths = [
        np.column_stack([matrix[each[0], each[1]], matrix[each[2], each[3]]])
        for each in (ends, theirs)
    ]
    assert len(voids) > 0
    assert_same_points(*lengths)


# Batches, gradients, limits.


def test_clouds_of_a_batch_are_as_if_alone(set_threads):
    points = torch.tensor(np.stack([sphere(40, seed) for seed in range(5)]))
    distances, sizes = fast.pairwise_distances(points), [40, 3, 0, 31, 40]
    alone = [
        fast.rips_persistence(each[:size, :size], 2)
        for each, size in zip(distances, sizes, strict=True)
    ]
    for num_threads in (1, 2, 3):
        set_threads(num_threads)
        for dim, batch in enumerate(fast.rips_persistence(distances, 2, sizes=sizes)):
            for cloud, each in enumerate(alone):
                assert_same_diagram(batch.cloud(cloud), each[dim].cloud(0))


@pytest.mark.parametrize("of_points", [False, True])
def test_the_gradient_of_voids_is_that_of_finite_differences(of_points):
    points = torch.tensor(sphere(12, seed=2), requires_grad=True)

    def voids(points):
        if of_points:
            return fast.rips_persistence_of_points(points, 2)[2].pairs
        return fast.rips_persistence(fast.pairwise_distances(points), 2)[2].pairs

    assert voids(points).numel() > 0
    assert torch.autograd.gradcheck(voids, points)
    assert torch.autograd.gradgradcheck(voids, points)


@pytest.mark.parametrize(
    ("function", "shape"),
    [(fast.rips_persistence, (1025, 1025)), (fast.rips_persistence_of_points, (20_000, 3))],
)
def test_too_many_points_are_refused_before_anything_is_computed(function, shape):
    with pytest.raises(ValueError, match=r"has [\d,]+ points, up to .* pass at most 1,024, e\.g\."):
        function(torch.zeros(1).expand(shape), 2)


@pytest.mark.parametrize("limit", ["_MOST_KEPT", "_MOST_RELATIONS"])
def test_too_many_columns_are_refused_in_one_line(monkeypatch, limit):
    monkeypatch.setattr(voids_cpu, limit, 0)
    distances = fast.pairwise_distances(torch.tensor(sphere(30)))
    with pytest.raises(MemoryError, match=r"voids of a cloud of 30 points take more than 1 GiB; "):
        fast.rips_persistence(distances, 2)


def test_nobody_compiles_it_who_does_not_ask_for_it():
    program = (
        "import sys, torch, fast; fast.rips_persistence(torch.zeros(4, 4)); "
        "print('fast.kernels.rips.voids_cpu' in sys.modules)"
    )
    assert run_bare(program).stdout == "False\n"


# Whoever takes a diagram takes this one, or says in a line that it does not.

CLOUDS = torch.tensor(np.stack([sphere(20, seed) for seed in (0, 3)]))


@functools.cache
def dimensions():
    return fast.rips_persistence_of_points(CLOUDS, 2)


def image(voids):
    return fast.persistence_image(voids, fast.fit_persistence_image(voids, weight="linear"))


TAKERS = {
    "persistence_weighted_chamfer": lambda d: fast.persistence_weighted_chamfer(d, d),
    "wasserstein_distance": lambda d: fast.wasserstein_distance(d, d),
    "wasserstein_matching": lambda d: fast.wasserstein_matching(d, d),
    "bottleneck_distance": lambda d: fast.bottleneck_distance(d, d),
    "sliced_wasserstein": lambda d: fast.sliced_wasserstein(d, d),
    "entropic_transport": lambda d: fast.entropic_transport(d, d).value,
    "critical_edge_matching": lambda d: fast.critical_edge_matching(
        d, d, *[fast.pairwise_distances(CLOUDS)] * 2
    ),
    "persistence_image": image,
    "persistence_landscape": fast.persistence_landscape,
    "betti_curve": fast.betti_curve,
    "total_persistence": fast.total_persistence,
    "persistent_entropy": fast.persistent_entropy,
    "diagrams_to_giotto": lambda d: torch.tensor(fast.diagrams_to_giotto([d])),
    "diagrams_from_torch_topological": lambda d: (
        fast.diagrams_from_torch_topological(
            fast.diagrams_to_torch_topological([*dimensions()[:2], d])
        )[2].birth_edges
    ),
    "plot_diagram": lambda d: torch.tensor(
        plot.plot_diagram([*dimensions()[:2], d], cloud=0).get_xlim()
    ),
    "plot_barcode": lambda d: torch.tensor(
        plot.plot_barcode([*dimensions()[:2], d], cloud=0).get_xlim()
    ),
    "plot_critical_edges": lambda d: torch.tensor(
        plot.plot_critical_edges(CLOUDS[0], d, cloud=0).get_xlim()
    ),
}


@pytest.mark.parametrize("name", TAKERS)
def test_functions_of_diagrams_take_voids(name):
    voids = dimensions()[2]
    assert voids.counts.min() > 0
    assert TAKERS[name](voids).isfinite().all()


@pytest.mark.parametrize(
    ("refused", "message"),
    [
        (lambda loops, voids: fast.sorted_wasserstein(voids, voids), "2; pass dimension 0"),
        (
            lambda loops, voids: fast.representative_cycles(voids, torch.zeros(2, 20, 20)),
            "dimension 2; pass",
        ),
        (
            lambda loops, voids: fast.persistence_weighted_chamfer(loops, voids),
            "is of dimension 2 and teacher of dimension 1",
        ),
        (
            lambda loops, voids: fast.topological_loss(
                CLOUDS, CLOUDS, max_dim=2, dim_weights=(1, 1, 1)
            ),
            "max_dim is 2; pass 0 or 1",
        ),
        (
            lambda loops, voids: fast.signature_loss(CLOUDS, CLOUDS, dim_weights=(1, 1, 1)),
            "3 entries; pass 1 .H0. or 2",
        ),
    ],
)
def test_functions_that_do_not_take_voids_say_so(refused, message):
    with pytest.raises(ValueError, match=message) as told:
        refused(*dimensions()[1:])
    assert "\n" not in str(told.value)


def test_transformers_have_voids_too():
    clouds = list(CLOUDS.numpy())
    (pairs,) = RipsPersistence([2]).fit_transform(clouds[:1])[0]
    assert_same_points(pairs, dimensions()[2].cloud(0).pairs)
    rows = RipsVectorizer("betti", max_dim=2, resolution=10).fit_transform(clouds)
    assert rows.shape == (2, 30)
    assert fast.RipsLayer(2)(CLOUDS)[2].dim == 2

"""Diagrams of giotto, GUDHI, ripser.py and torch-topological, read and written.

Layouts are also written by hand, for those that are not installed.
"""

import gudhi
import gudhi.representations
import numpy as np
import pytest
import ripser
import torch
from gudhi.sklearn import RipsPersistence

import fast
from fast import PersistenceInformation
from tests.reference.checks import assert_same_points

CLOUDS = np.random.default_rng(0).normal(size=(3, 18, 2))


def ours(clouds=CLOUDS):
    return fast.rips_persistence_of_points(torch.tensor(clouds))


def assert_same_batches(got, want, atol=0.0):
    assert [each.dim for each in got] == [each.dim for each in want]
    for one, other in zip(got, want, strict=True):
        assert len(one) == len(other)
        for cloud in range(len(one)):
            assert_same_points(one.cloud(cloud).pairs, other.cloud(cloud).pairs, atol=atol)


def test_a_batch_of_other_pairs_is_caught():
    with pytest.raises(AssertionError):
        assert_same_batches(ours(), ours(CLOUDS[::-1].copy()))


@pytest.mark.oracle
def test_a_simplex_tree_s_persistence_is_read():
    found = []
    for cloud in CLOUDS:
        tree = gudhi.RipsComplex(points=cloud).create_simplex_tree(max_dimension=2)
        found.append(tree.persistence())
    got = fast.diagrams_from_gudhi(found)
    assert_same_batches(got, ours(), atol=1e-12)
    assert got[0].num_essential.tolist() == [1, 1, 1]
    (loops,) = fast.diagrams_from_gudhi(found, dims=[1])
    assert_same_batches([loops], ours()[1:], atol=1e-12)


@pytest.mark.oracle
def test_the_arrays_of_gudhi_s_rips_persistence_are_read():
    both = RipsPersistence(homology_dimensions=[0, 1]).fit_transform(CLOUDS)
    assert_same_batches(fast.diagrams_from_gudhi(both), ours(), atol=1e-6)
    loops = RipsPersistence(homology_dimensions=[1]).fit_transform(CLOUDS)
    assert_same_batches(fast.diagrams_from_gudhi(loops, dims=[1]), ours()[1:], atol=1e-6)
    alone = RipsPersistence(homology_dimensions=1).fit_transform(CLOUDS)
    assert_same_batches([fast.BatchedDiagram.from_list(alone, 1)], ours()[1:], atol=1e-6)


@pytest.mark.oracle
def test_what_is_written_for_gudhi_is_read_by_gudhi_and_by_us():
    batches = ours()
    for layout in ("persistence", "arrays"):
        written = fast.diagrams_to_gudhi(batches, layout)
        assert_same_batches(fast.diagrams_from_gudhi(written), batches)
    loops = [cloud[1] for cloud in fast.diagrams_to_gudhi(batches, "arrays")]
    theirs = gudhi.representations.Entropy().fit_transform(loops)[:, 0]
    mine = fast.persistent_entropy(batches[1].pairs, mask=batches[1].mask)
    np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    assert fast.diagrams_to_gudhi(batches)[0][0] == (0, tuple(batches[0].pairs[0, 0].tolist()))


def test_a_list_of_classes_by_hand():
    inf = float("inf")
    found = [[(1, (1.0, 1.5)), (0, (0.0, inf)), (0, (0.0, 1.0))], []]
    components, loops = fast.diagrams_from_gudhi(found)
    assert [each.tolist() for each in components.to_list()] == [[[0.0, 1.0]], []]
    assert [each.tolist() for each in loops.to_list()] == [[[1.0, 1.5]], []]
    assert components.num_essential.tolist() == [1, 0]
    assert fast.diagrams_to_gudhi([loops]) == [[(1, (1.0, 1.5))], []]


@pytest.mark.oracle
def test_dictionaries_of_diagrams_are_read():
    """ripser.py's layout is that of giotto-ph's ripser_parallel."""
    found = [ripser.ripser(cloud) for cloud in CLOUDS]
    assert_same_batches(fast.diagrams_from_giotto(found), ours(), atol=1e-6)
    first = [each[0] for each in ours()]
    assert_same_batches(fast.diagrams_from_giotto(found[0]), first, atol=1e-6)


@pytest.mark.oracle
def test_giotto_ph_s_diagrams_are_read():
    gph = pytest.importorskip("gph", reason="giotto-ph is among the peers")
    found = [gph.ripser_parallel(cloud, n_threads=1) for cloud in CLOUDS]
    assert_same_batches(fast.diagrams_from_giotto(found), ours(), atol=1e-6)


@pytest.mark.oracle
def test_giotto_ph_finds_the_same_in_clouds_of_several_sizes():
    """One thread: with more, some of its birth edges are wrong."""
    gph = pytest.importorskip("gph", reason="giotto-ph is among the peers")
    sizes = [200, 317, 400]
    clouds = torch.tensor(np.random.default_rng(1).normal(size=(3, 400, 3)), dtype=torch.float32)
    distances = fast.pairwise_distances(clouds)
    got = fast.rips_persistence(distances, sizes=sizes)
    for cloud, size in enumerate(sizes):
        matrix = distances[cloud, :size, :size].numpy()
        theirs = gph.ripser_parallel(
            matrix, metric="precomputed", n_threads=1, return_generators=True
        )
        components, loops = (each.cloud(cloud) for each in got)
        ends = theirs["gens"][0][:, 1:]
        deaths = np.sort(matrix[ends[:, 0], ends[:, 1]])
        np.testing.assert_array_equal(deaths, np.sort(components.deaths))
        ends = theirs["gens"][1][0]
        critical = [
            np.column_stack([matrix[ends[:, 0], ends[:, 1]], matrix[ends[:, 2], ends[:, 3]]]),
            np.column_stack([
                matrix[tuple(edges.T)] for edges in (loops.birth_edges, loops.death_edges)
            ]),
        ]  # fmt: skip
        for pairs in critical:
            assert_same_points(pairs, theirs["dgms"][1], atol=0)


def test_giotto_tda_s_array_goes_both_ways():
    batches = ours()
    array = fast.diagrams_to_giotto(batches)
    assert array.shape == (3, sum(each.births.shape[1] for each in batches), 3)
    assert array.dtype == np.float64
    assert_same_batches(fast.diagrams_from_giotto(array), batches)
    assert_same_batches(fast.diagrams_from_giotto(torch.tensor(array)), batches)
    one = fast.diagrams_from_giotto(array[0])
    assert_same_batches(one, [each[0] for each in batches])
    loops = fast.BatchedDiagram.from_list([[(1.0, 1.5)], []], dim=1)
    assert fast.diagrams_to_giotto([loops]).tolist() == [[[1.0, 1.5, 1.0]], [[0.0, 0.0, 1.0]]]


@pytest.mark.oracle
def test_torch_topological_s_diagrams_go_both_ways():
    topological = pytest.importorskip("torch_topological.nn", reason="it is among the peers")
    points = torch.tensor(CLOUDS, requires_grad=True)
    complex_ = topological.VietorisRipsComplex(dim=1)
    got = fast.diagrams_from_torch_topological(complex_(points))
    want = fast.rips_persistence_of_points(points.detach())
    assert_same_batches(got, want, atol=1e-5)
    for one, other in zip(got, want, strict=True):
        for cloud in range(3):  # their rows are in another order
            edges = [
                {tuple(edge) for edge in each.death_edges[cloud][each.mask[cloud]].tolist()}
                for each in (one, other)
            ]
            assert edges[0] == edges[1]
    (gradient,) = torch.autograd.grad(got[0].deaths.sum(), points)
    assert gradient.any()
    (alone,) = fast.diagrams_from_torch_topological(complex_(points[0])[:1])
    assert_same_batches([alone], [want[0][0]], atol=1e-5)

    loss = topological.SignatureLoss(normalise=False, dimensions=(0, 1))
    both = [[], []]
    for cloud in points.detach():
        other = cloud.flip(-1) * torch.tensor([1.0, 0.3], dtype=torch.float64)
        for made, informations in (
            (both[0], lambda x: complex_(x)),
            (
                both[1],
                lambda x: fast.diagrams_to_torch_topological(fast.rips_persistence_of_points(x))[0],
            ),
        ):
            made.append(loss((cloud, informations(cloud)), (other, informations(other))))
    torch.testing.assert_close(*map(torch.stack, both), rtol=1e-5, atol=0)


def test_torch_topological_s_layout_by_hand():
    points = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], requires_grad=True)
    batches = fast.rips_persistence_of_points(points)
    ((components, loops),) = fast.diagrams_to_torch_topological(batches)
    assert (components.dimension, loops.dimension) == (0, 1)
    assert components.pairing.tolist() == [[-1, 0, 1], [-1, 0, 2], [-1, 1, 3]]
    assert loops.pairing.shape == (1, 4)
    assert loops.diagram.requires_grad
    back = fast.diagrams_from_torch_topological([components, loops])
    for one, other in zip(back, batches, strict=True):
        for name in ("births", "deaths", "mask", "birth_edges", "death_edges"):
            assert torch.equal(getattr(one, name), getattr(other, name)), name
        assert one.death_simplices.eq(-1).all()
    endless = components._replace(
        pairing=np.concatenate([components.pairing, [[0, -1, -1]]]),
        diagram=torch.cat([components.diagram, torch.tensor([[0.0, torch.inf]])]),
    )
    (kept,) = fast.diagrams_from_torch_topological([[endless]])
    assert (kept.counts.tolist(), kept.num_essential.tolist()) == ([3], [1])
    assert kept.death_edges.min() == 0


_INFORMATION = PersistenceInformation(np.zeros((1, 4), int), torch.tensor([[0.0, 1.0]]), 1)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        ("diagrams_from_gudhi", ([],), "diagrams is empty"),
        ("diagrams_from_gudhi", ([[(0, (0.0, 1.0))], [np.zeros((1, 2))]],), "one layout for all"),
        (
            "diagrams_from_gudhi",
            ([[np.zeros((1, 2))]], [0, 1]),
            r"has 1 dimension.*dims says",
        ),
        ("diagrams_from_gudhi", ([[np.zeros((1, 2))], []],), r"diagrams\[1\] has 0 dimension"),
        ("diagrams_from_gudhi", ([[np.zeros((1, 3))]],), r"has shape \(1, 3\)"),
        ("diagrams_to_gudhi", ([],), r"diagrams are of \[\] clouds"),
        ("diagrams_to_gudhi", (ours(), "lists"), "layout is 'lists'; pass one of"),
        ("diagrams_to_gudhi", ([ours()[0], ours()[1][:2]],), r"diagrams are of \[3, 2\] clouds"),
        ("diagrams_from_giotto", (np.zeros((2, 4)),), r"has shape \(2, 4\); pass \(birth, death"),
        ("diagrams_from_giotto", ([{"gens": []}],), "diagrams is a list; pass an array"),
        ("diagrams_to_giotto", ([],), r"diagrams are of \[\] clouds"),
        (
            "diagrams_from_torch_topological",
            ([[_INFORMATION], [_INFORMATION._replace(dimension=0)]],),
            r"a cloud of dimensions \[0\] beside one of \[1\]",
        ),
        (
            "diagrams_from_torch_topological",
            ([_INFORMATION._replace(pairing=np.zeros((1, 2), int))],),
            r"\[0\]\[0\].pairing has shape \(1, 2\); 1 pairs of dimension 1 .* have \(1, 4\)",
        ),
        ("diagrams_to_torch_topological", ([],), r"diagrams are of \[\] clouds"),
    ],
)
def test_another_layout_is_refused(function, arguments, message):
    with pytest.raises(ValueError, match=message):
        getattr(fast, function)(*arguments)

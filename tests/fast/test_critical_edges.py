"""fast.critical_edge_matching and the loss made of it, against the definition."""

import re

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fast
import reference
from fast import critical_edges
from tests.reference import strategies


def assert_equals_the_definition(teachers, students):
    """Compare value and gradient of a batch, in both dimensions, with one cloud at a time."""
    of_teachers = torch.tensor(np.stack(teachers))
    of_students = torch.tensor(np.stack(students), requires_grad=True)
    diagrams = [fast.rips_persistence(each.detach()) for each in (of_teachers, of_students)]
    for dim, both in enumerate(zip(*diagrams, strict=True)):
        got = fast.critical_edge_matching(*both, of_teachers, of_students)
        (grad,) = torch.autograd.grad(got.sum(), of_students)
        for cloud, pair in enumerate(zip(teachers, students, strict=True)):
            each = [reference.rips_persistence(distances)[dim] for distances in pair]
            want = reference.critical_edge_matching(*each, *pair)
            assert got[cloud].item() == pytest.approx(want, rel=1e-12, abs=1e-15)
            # Half goes to D_ij and half to D_ji; the definition writes the whole to both.
            both_ways = reference.critical_edge_matching_grad(*each, *pair) / 2
            np.testing.assert_allclose(grad[cloud], both_ways, rtol=1e-12, atol=1e-14)


@given(data=st.data(), num_points=st.integers(1, 7), num_clouds=st.integers(1, 3))
def test_it_equals_the_definition_at_ties_and_duplicates(data, num_points, num_clouds):
    draw = strategies.symmetric_integers(num_points, 0, 4)
    teachers, students = ([data.draw(draw) for _ in range(num_clouds)] for _ in range(2))
    assert_equals_the_definition(teachers, students)


@pytest.mark.parametrize("num_points", [2, 9, 24])
def test_it_equals_the_definition_on_clouds(make_cloud, num_points):
    clouds = [
        [reference.pairwise_distances(make_cloud(family, num_points, seed)) for seed in range(3)]
        for family in ("circle", "gaussian")
    ]
    assert_equals_the_definition(*clouds)


def test_a_step_left_out_is_caught(monkeypatch):
    honest = critical_edges._critical_edges

    def without_births(diagram):
        edges, mask = honest(diagram)
        return edges[:, : diagram.mask.shape[1]], mask[:, : diagram.mask.shape[1]]

    rng = np.random.default_rng(0)
    clouds = [[reference.pairwise_distances(rng.normal(size=(12, 3)))] for _ in range(2)]
    assert_equals_the_definition(*clouds)
    monkeypatch.setattr(critical_edges, "_critical_edges", without_births)
    with pytest.raises(AssertionError):
        assert_equals_the_definition(*clouds)


def test_the_way_over_points_is_the_way_over_distances(make_cloud):
    teacher, student = (
        torch.tensor(np.stack([make_cloud(family, 40, seed) for seed in range(3)]))
        for family in ("grid", "features")
    )
    student.requires_grad_()
    diagrams = [fast.rips_persistence_of_points(each.detach()) for each in (teacher, student)]
    for both in zip(*diagrams, strict=True):
        short = critical_edges.critical_edge_matching_of_points(*both, teacher, student)
        long = fast.critical_edge_matching(
            *both, fast.pairwise_distances(teacher), fast.pairwise_distances(student)
        )
        torch.testing.assert_close(short, long, rtol=1e-12, atol=0)
        grads = [torch.autograd.grad(each.sum(), student)[0] for each in (short, long)]
        torch.testing.assert_close(*grads, rtol=1e-9, atol=1e-13)
        assert grads[0].abs().max() > 0


def test_only_the_student_s_critical_edges_get_a_gradient():
    rng = np.random.default_rng(1)
    teacher, student = (
        fast.pairwise_distances(torch.tensor(rng.normal(size=(1, 10, 3)))).requires_grad_()
        for _ in range(2)
    )
    diagrams = [fast.rips_persistence(each.detach())[1] for each in (teacher, student)]
    fast.critical_edge_matching(*diagrams, teacher, student).sum().backward()
    assert teacher.grad is None
    critical = {
        tuple(edge)
        for diagram in diagrams
        for edges in (diagram.birth_edges, diagram.death_edges)
        for edge in edges[0][diagram.mask[0]].tolist()
    }
    assert {tuple(edge) for edge in student.grad[0].triu().nonzero().tolist()} == critical


def test_the_gradient_is_right_to_second_order():
    rng = np.random.default_rng(2)
    teacher = torch.tensor(rng.normal(size=(8, 3)))
    student = torch.tensor(rng.normal(size=(8, 2)), requires_grad=True)

    def loss(student):
        return fast.topological_loss(teacher, student, loss="edges", normalisation="rms")

    assert torch.autograd.gradcheck(loss, student)
    assert torch.autograd.gradgradcheck(loss, student)


def test_steps_along_the_gradient_bring_the_student_s_distances_near_the_teacher_s(make_cloud):
    """Diagrams alone leave the student free: the paper's distance moves no distances together."""
    teacher = torch.tensor(make_cloud("features", 40))
    above = torch.triu_indices(40, 40, 1).unbind()
    correlation = {}
    for loss in ("edges", "pwcd"):
        student = torch.tensor(make_cloud("gaussian", 40)).requires_grad_()
        optimizer = torch.optim.Adam([student], lr=5e-2)
        for _ in range(150):
            optimizer.zero_grad()
            fast.topological_loss(teacher, student, loss=loss, normalisation="rms").backward()
            optimizer.step()
        both = [fast.pairwise_distances(each.detach())[above] for each in (teacher, student)]
        correlation[loss] = float(torch.corrcoef(torch.stack(both))[0, 1])
    assert correlation["edges"] > 0.8
    assert abs(correlation["pwcd"]) < 0.2


def square(num_points=3, num_clouds=1, dtype=torch.float32):
    return fast.pairwise_distances(torch.rand(num_clouds, num_points, 2, dtype=dtype))


_DISTANCES = square()
_COMPONENTS, _LOOPS = fast.rips_persistence(_DISTANCES)


def test_distances_rounded_since_are_still_those_of_their_diagram():
    exact = square(9, 2, torch.float64)
    components = fast.rips_persistence(exact)[0]
    got = fast.critical_edge_matching(components, components, exact, exact.float())
    assert got.max() < 1e-12


def test_one_matrix_is_a_batch_of_one():
    doubled = 2 * _DISTANCES[0].double()
    got = fast.critical_edge_matching(
        _COMPONENTS, fast.rips_persistence(doubled)[0], _DISTANCES[0], doubled
    )
    assert got.dtype == torch.float64
    deaths = _COMPONENTS.deaths[0].double()
    torch.testing.assert_close(got, 2 * deaths.square().mean()[None])


# ---- representative cycles ----------------------------------------------------------------------


def assert_cycles_are_the_definition_s(matrices):
    batch = torch.tensor(np.stack(matrices))
    loops = fast.rips_persistence(batch)[1]
    for cloud, found in enumerate(fast.representative_cycles(loops, batch)):
        diagram = loops.cloud(cloud)
        wanted = reference.representative_cycles(diagram, matrices[cloud])
        assert len(found) == len(wanted) == len(diagram.births)
        for edges, want, birth in zip(found, wanted, diagram.birth_edges, strict=True):
            np.testing.assert_array_equal(edges, want)
            times = np.unique(edges, return_counts=True)[1]
            assert (times % 2 == 0).all()
            assert birth.tolist() in edges.tolist()
            lengths = matrices[cloud][edges[:, 0], edges[:, 1]]
            assert lengths.max() == matrices[cloud][tuple(birth)]


@given(data=st.data(), num_points=st.integers(4, 9), most=st.sampled_from([2, 3, 6, 40]))
def test_cycles_are_the_definition_s_at_ties(data, num_points, most):
    draw = strategies.symmetric_integers(num_points, 1, most)
    assert_cycles_are_the_definition_s([data.draw(draw) for _ in range(2)])


@pytest.mark.parametrize("family", ["circle", "cube", "features"])
def test_cycles_are_the_definition_s_on_clouds(make_cloud, family):
    cloud = np.asarray(make_cloud(family, 26), dtype=np.float64)
    grid = np.stack(np.meshgrid([0.0, 1, 2, 3], [0.0, 1, 2, 3]), axis=-1).reshape(-1, 2)
    ring = np.delete(grid, [5, 6, 9, 10], axis=0)  # all lengths are equal somewhere
    for points in (cloud, ring, np.concatenate([ring, ring[:3]])):
        assert_cycles_are_the_definition_s([reference.pairwise_distances(points)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda loops, distances: (fast.rips_persistence(distances)[0], distances), "dimension 0"),
        (lambda loops, distances: (loops.pairs, distances), "loops are of <class 'torch.Tensor'>"),
        (lambda loops, distances: (loops, distances[0, :4]), "distances has shape (4, 12); pass"),
        (lambda loops, distances: (loops, distances + 1), "whose length in distances is"),
        (lambda loops, distances: (loops, distances[:, :4, :4]), "the distances are of 4 points"),
        (
            lambda loops, distances: (fast.BatchedDiagram.from_list(loops.to_list(), 1), distances),
            "loops have pairs without death simplices",
        ),
    ],
)
def test_cycles_of_other_distances_are_refused(make_cloud, change, said):
    points = torch.tensor(make_cloud("circle", 12))[None]
    distances = fast.pairwise_distances(points)
    loops = fast.rips_persistence(distances)[1]
    with pytest.raises(ValueError, match=re.escape(said)):
        fast.representative_cycles(*change(loops, distances))
    diagram, matrix = loops.cloud(0), distances[0].double().numpy()
    if "dimension 0" in said:
        components = reference.rips_persistence(matrix)[0]
        with pytest.raises(ValueError, match="loops are of dimension 0; pass dimension 1"):
            reference.representative_cycles(components, matrix)
        with pytest.raises(ValueError, match="which is none of distances; pass the matrix that"):
            reference.representative_cycles(diagram, matrix[:3, :3])

"""fast.critical_edge_matching and the loss made of it, against the definition."""

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

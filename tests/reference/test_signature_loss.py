"""The loss of topological autoencoders: torch-topological, values by hand, finite differences."""

import numpy as np
import pytest
from hypothesis import assume, given

import reference
from tests.reference import strategies
from tests.reference.checks import STEP


def test_values_and_gradients_by_hand():
    """On two lines: teacher's edges are 01 (1) and 12 (3); the student's 02 (2) and 01 (5)."""
    teacher = np.array([[0.0], [1.0], [4.0]])
    student = np.array([[0.0], [5.0], [-2.0]])
    of_teachers = ((5 - 1) ** 2 + (7 - 3) ** 2) / 2
    of_students = ((2 - 4) ** 2 + (5 - 1) ** 2) / 2
    got = reference.signature_loss(teacher, student)
    assert got == of_teachers + of_students
    by_edge = {"01": (5 - 1) + (5 - 1), "12": 7 - 3, "02": 2 - 4}  # twice the gap over two edges
    want = [
        -by_edge["01"] + by_edge["02"],  # 2 is below 0, which 02 moves up
        by_edge["01"] + by_edge["12"],
        -by_edge["02"] - by_edge["12"],
    ]
    gradient = reference.signature_loss_grad(teacher, student)
    np.testing.assert_allclose(gradient.ravel(), want)
    distances = [reference.pairwise_distances(each) for each in (teacher, student)]
    assert reference.signature_loss(*distances, metric="precomputed") == got
    gradient = reference.signature_loss_grad(*distances, metric="precomputed")
    np.testing.assert_allclose(gradient[np.triu_indices(3, 1)], [8, -2, 4])
    np.testing.assert_array_equal(gradient, gradient.T)


@pytest.mark.oracle
@given(seed=strategies.seeds)
def test_it_equals_torch_topologicals_edges_and_distances(seed):
    """Their edges and lengths of dimension 0, with means of squares for their halved norms."""
    topological = pytest.importorskip("torch_topological.nn")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(seed)
    spaces = rng.normal(size=(12, 4)), rng.normal(size=(12, 2))
    complex_ = topological.VietorisRipsComplex(dim=0)
    loss = topological.SignatureLoss(normalise=False)
    loss._partial_distance = lambda some, others: [
        (a - b).square().mean() for a, b in zip(some, others, strict=True)
    ]
    theirs = loss(*((torch.tensor(each), complex_(torch.tensor(each))) for each in spaces))
    assert reference.signature_loss(*spaces) == pytest.approx(theirs.item(), rel=1e-5)


@given(seed=strategies.seeds)
def test_the_gradient_is_the_derivative(seed):
    rng = np.random.default_rng(seed)
    teacher, student = rng.normal(size=(6, 3)), rng.normal(size=(6, 2))
    options = {"dim_weights": (1.0, 0.5)}
    gradient = reference.signature_loss_grad(teacher, student, **options)
    for step in (-20 * STEP, 20 * STEP):
        moved = student + step * rng.normal(size=student.shape)
        there = reference.signature_loss_grad(teacher, moved, **options)
        assume(np.abs(there - gradient).max() < 1000 * STEP)  # no edge has changed
    direction = rng.normal(size=student.shape)
    ahead, behind = (
        reference.signature_loss(teacher, student + step * direction, **options)
        for step in (STEP, -STEP)
    )
    slope = (ahead - behind) / (2 * STEP)
    np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-4, atol=1e-6)


def test_dimensions_are_weighed_and_added():
    rng = np.random.default_rng(3)
    teacher, student = rng.normal(size=(14, 2)), rng.normal(size=(14, 2))
    components, both = (
        reference.signature_loss(teacher, student, dim_weights=weights)
        for weights in ((1.0,), (1.0, 1.0))
    )
    loops = both - components
    assert loops > 0
    weighed = reference.signature_loss(teacher, student, dim_weights=(2.0, 3.0))
    assert weighed == pytest.approx(2 * components + 3 * loops)
    assert reference.signature_loss(teacher, teacher, dim_weights=(1.0, 1.0)) == 0

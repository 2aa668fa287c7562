"""fast.signature_loss against the definition, over points and over distances."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import fast
import reference
from tests.reference import strategies

weights = st.sampled_from([(1.0,), (1.0, 1.0), (0.5, 2.0), (0.0, 1.0)])


@given(seed=strategies.seeds, num_points=st.integers(1, 9), dim_weights=weights, tied=st.booleans())
def test_it_equals_the_definition(seed, num_points, dim_weights, tied):
    rng = np.random.default_rng(seed)

    def clouds(channels):
        shape = (2, num_points, channels)
        return rng.integers(0, 3, shape).astype(float) if tied else rng.normal(size=shape)

    teachers, students = clouds(3), clouds(2)
    student = torch.tensor(students, requires_grad=True)
    got = fast.signature_loss(torch.tensor(teachers), student, dim_weights=dim_weights)
    (grad,) = torch.autograd.grad(got.sum(), student)
    over = torch.tensor(
        np.stack([reference.pairwise_distances(each) for each in students]), requires_grad=True
    )
    under = torch.tensor(np.stack([reference.pairwise_distances(each) for each in teachers]))
    of_matrices = fast.signature_loss(under, over, dim_weights=dim_weights, metric="precomputed")
    (grad_distances,) = torch.autograd.grad(of_matrices.sum(), over)
    for cloud, pair in enumerate(zip(teachers, students, strict=True)):
        want = reference.signature_loss(*pair, dim_weights=dim_weights)
        assert got[cloud].item() == pytest.approx(want, rel=1e-10, abs=1e-14)
        assert of_matrices[cloud].item() == pytest.approx(want, rel=1e-10, abs=1e-14)
        gradient = reference.signature_loss_grad(*pair, dim_weights=dim_weights)
        np.testing.assert_allclose(grad[cloud], gradient, rtol=1e-8, atol=1e-11)
        matrices = [reference.pairwise_distances(each) for each in pair]
        gradient = reference.signature_loss_grad(
            *matrices, dim_weights=dim_weights, metric="precomputed"
        )
        # Half goes to D_ij and half to D_ji; the definition writes the whole to both.
        np.testing.assert_allclose(grad_distances[cloud], gradient / 2, rtol=1e-8, atol=1e-11)


def test_clouds_of_unequal_sizes_are_those_clouds_alone():
    rng = np.random.default_rng(0)
    teacher, student = (torch.tensor(rng.normal(size=(2, 9, c))) for c in (3, 2))
    student.requires_grad_()
    both = fast.signature_loss(teacher, student, dim_weights=(1, 1), sizes=[9, 5])
    alone = fast.signature_loss(teacher[1, :5], student[1, :5], dim_weights=(1, 1))
    torch.testing.assert_close(both[1:], alone, rtol=1e-12, atol=0)
    (grad,) = torch.autograd.grad(both.sum(), student)
    assert not grad[1, 5:].any()
    assert grad[1, :5].any()


def test_no_gradient_reaches_the_teacher():
    teacher, student = torch.rand(2, 8, 3).unbind()
    teacher.requires_grad_()
    student.requires_grad_()
    fast.signature_loss(teacher, student).sum().backward()
    assert teacher.grad is None
    assert student.grad.any()

"""Affinities: the loss against values worked out by hand."""

import pytest
import torch

from train.methods.affinity import affinity_loss


def test_similarities_of_two_points():
    # Cosine 0 against 3/5: of the four pairs two differ, by 3/5.
    teacher = torch.tensor([[2.0, 0.0], [0.0, 5.0]])
    student = torch.tensor([[1.0, 0.0, 0.0], [3.0, 4.0, 0.0]])
    assert affinity_loss(teacher, student).item() == pytest.approx(2 * 0.36 / 4)


def test_lengths_do_not_count():
    points = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    lengths = torch.arange(1.0, 7, dtype=torch.float64)[:, None]
    assert affinity_loss(points, lengths * points).item() == pytest.approx(0, abs=1e-15)
    assert affinity_loss(points, lengths + points) > 1e-3


def test_the_gradient_is_the_students_and_matches_finite_differences():
    generator = torch.Generator().manual_seed(1)
    teacher = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True)
    student = torch.randn(5, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(lambda points: affinity_loss(teacher, points), (student,))
    affinity_loss(teacher, student).backward()
    assert teacher.grad is None
    assert student.grad.abs().max() > 1e-3


def test_a_row_of_zeros_is_similar_to_nothing():
    # The cosines of the first row are all 0, its own with itself too; the teacher's are 1, 0, 0, 1.
    student = torch.tensor([[0.0, 0.0], [1.0, 0.0]], requires_grad=True)
    value = affinity_loss(torch.eye(2), student)
    value.backward()
    assert value.item() == pytest.approx(1 / 4)
    assert student.grad.isfinite().all()

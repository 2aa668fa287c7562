"""fast.persistence_weighted_chamfer against the definition and Algorithm 4's gradient."""

import itertools

import numpy as np
import pytest
import torch

import fast
import reference
from fast import chamfer

OPTIONS = [
    {},
    {"cost_scale": 0.5},
    {"eps": 0.1},
    {"precision_weight": "persistence"},
    {"min_persistence": 0.6},
]
SIZES = [(0, 0), (0, 4), (5, 0), (1, 1), (7, 5), (20, 30)]


def make_pairs(rng, size, tied):
    births = rng.integers(0, 4, size) if tied else rng.random(size)
    lengths = rng.integers(1, 4, size) if tied else 0.1 + rng.random(size)
    return np.column_stack([births, births + lengths]).astype(float).reshape(size, 2)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("sizes", SIZES, ids=str)
@pytest.mark.parametrize("tied", [False, True])
def test_value_and_gradient_equal_the_definition(options, sizes, tied):
    rng = np.random.default_rng(sum(sizes))
    for _ in range(10):
        teacher, student = (make_pairs(rng, size, tied) for size in sizes)
        want = reference.persistence_weighted_chamfer(teacher, student, **options)
        grads = reference.persistence_weighted_chamfer_grad(teacher, student, **options)
        leaf = torch.tensor(student, requires_grad=True)
        got = fast.persistence_weighted_chamfer(torch.tensor(teacher), leaf, **options)
        assert got.shape == ()
        assert got.item() == pytest.approx(want, rel=1e-13, abs=1e-13)
        got.backward()
        np.testing.assert_allclose(leaf.grad, np.column_stack(grads), rtol=1e-12, atol=1e-13)


def _diagonal_wins_ties(pairs, others, others_mask, cost_scale):
    to_diagonal = (pairs[..., 1] - pairs[..., 0]).square() / 2
    if 0 in (pairs.shape[-2], others.shape[-2]):
        return to_diagonal
    nearest = chamfer._nearest(pairs.detach(), others.detach(), others_mask)
    matched = others.gather(-2, nearest[..., None].expand(*nearest.shape, 2))
    to_match = cost_scale * (pairs - matched).square().sum(dim=-1)
    return torch.where(to_match < to_diagonal, to_match, to_diagonal)


def _always_matched(pairs, others, others_mask, cost_scale):
    if 0 in (pairs.shape[-2], others.shape[-2]):
        return (pairs[..., 1] - pairs[..., 0]).square() / 2
    nearest = chamfer._nearest(pairs.detach(), others.detach(), others_mask)
    matched = others.gather(-2, nearest[..., None].expand(*nearest.shape, 2))
    return cost_scale * (pairs - matched).square().sum(dim=-1)


def _highest_index(pairs, others, others_mask):
    cost = (pairs[..., :, None, :] - others[..., None, :, :]).square().sum(dim=-1)
    return cost.shape[-1] - 1 - cost.flip(-1).argmin(dim=-1)


@pytest.mark.parametrize(
    ("name", "mutant"),
    [
        ("_nearest_cost", _diagonal_wins_ties),
        ("_nearest_cost", _always_matched),
        ("_nearest", _highest_index),
        ("_weights", lambda pairs, mask, least: (pairs[..., 1] - pairs[..., 0]).where(mask, 0.0)),
    ],
    ids=["diagonal-wins-ties", "always-matched", "highest-index", "weight-without-log"],
)
def test_a_broken_variant_is_caught(monkeypatch, name, mutant):
    monkeypatch.setattr(chamfer, name, mutant)
    with pytest.raises(AssertionError):
        _compare_many()


def _compare_many():
    for options, tied in itertools.product(OPTIONS, [False, True]):
        test_value_and_gradient_equal_the_definition(options, (20, 30), tied)


def test_a_batch_is_its_diagrams_one_by_one():
    rng = np.random.default_rng(0)
    sizes = [(0, 3), (4, 0), (6, 7), (0, 0), (7, 2)]
    teachers, students = torch.full((5, 7, 2), 9.0), torch.full((5, 7, 2), 9.0)
    masks = torch.zeros(2, 5, 7, dtype=torch.bool)
    want = []
    for cloud, (m, k) in enumerate(sizes):
        teacher, student = make_pairs(rng, m, False), make_pairs(rng, k, False)
        teachers[cloud, :m], students[cloud, :k] = torch.tensor(teacher), torch.tensor(student)
        masks[0, cloud, :m], masks[1, cloud, :k] = True, True
        want.append(reference.persistence_weighted_chamfer(teacher, student))
    students.requires_grad_()
    for options in ({}, {"precision_weight": "persistence"}):
        got = fast.persistence_weighted_chamfer(
            teachers, students, teacher_mask=masks[0], student_mask=masks[1], **options
        )
        if not options:
            assert got.tolist() == pytest.approx(want, rel=1e-5)
        (gradient,) = torch.autograd.grad(got.sum(), students)
        assert (gradient[~masks[1]] == 0).all()
        assert (gradient[masks[1]] != 0).any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_the_kernel_finds_what_an_argmin_of_all_costs_finds(dtype):
    rng = np.random.default_rng(0)
    pairs, others = (
        torch.tensor(np.stack([make_pairs(rng, size, True) for _ in range(3)]), dtype=dtype)
        for size in (40, 133)
    )
    mask = torch.tensor(rng.random((3, 133)) < 0.7)
    mask[1] = False
    got = chamfer._nearest(pairs, others, mask)
    cost = (pairs[:, :, None] - others[:, None]).square().sum(dim=-1)
    want = cost.masked_fill(~mask[:, None], torch.inf).argmin(dim=-1)  # the lowest of equals
    assert torch.equal(got[[0, 2]], want[[0, 2]])
    assert got[1].tolist() == [0] * 40


def test_gradients_are_right_to_second_order():
    rng = np.random.default_rng(0)
    teacher = torch.tensor(make_pairs(rng, 6, False))
    student = torch.tensor(make_pairs(rng, 5, False), requires_grad=True)

    def loss(student):
        return fast.persistence_weighted_chamfer(teacher, student, precision_weight="persistence")

    assert torch.autograd.gradcheck(loss, student)
    assert torch.autograd.gradgradcheck(loss, student)


def test_equal_diagrams_cost_nothing_in_any_order():
    pairs = torch.tensor(make_pairs(np.random.default_rng(0), 12, False))
    assert fast.persistence_weighted_chamfer(pairs, pairs.flip(0)).item() == 0

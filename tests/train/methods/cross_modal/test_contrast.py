"""InfoNCE: its two limits, several views by hand, and what it leaves alone."""

import math

import pytest
import torch

from train.methods.cross_modal.terms import drawn_pairs, info_nce


def test_aligned_pairs_have_a_loss_of_nearly_zero():
    features = torch.eye(64)
    assert info_nce(features, features, torch.arange(64), 0.07).max() < 1e-4


def test_features_that_know_nothing_have_the_logarithm_of_the_number_of_pairs():
    both = torch.eye(128)
    loss = info_nce(both[:64], both[64:], torch.arange(64), 0.07)  # orthogonal to every pixel
    torch.testing.assert_close(loss, torch.full((64,), math.log(64)))


def test_shuffled_features_tend_to_the_same():
    generator = torch.Generator().manual_seed(0)
    points, pixels = torch.randn(2, 48, 20_000, generator=generator)
    loss = info_nce(points, pixels, torch.arange(48), 0.07).mean()
    assert float(loss) == pytest.approx(math.log(48), abs=0.05)


def test_two_views_of_a_point_by_hand():
    points = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    pixels = torch.tensor([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
    point = torch.tensor([5, 5, 2])
    e = math.exp

    def lost(own, *others):
        return -math.log(e(own) / (e(own) + sum(e(each) for each in others)))

    # The other view of point 5 is in neither sum.
    first = (lost(1, 0) + lost(1, 0)) / 2
    second = (lost(0.6, 0) + lost(0.6, 0.8)) / 2
    third = (lost(1, 0, 0.8) + lost(1, 0, 0)) / 2
    found = info_nce(points, pixels, point, 1.0)
    assert found.tolist() == pytest.approx([third, (first + second) / 2])


def test_scale_does_not_count_and_one_pair_has_nothing_to_tell_it_from():
    torch.manual_seed(0)
    points, pixels = torch.randn(2, 6, 4)
    same = info_nce(7 * points, pixels / 3, torch.arange(6), 0.1)
    torch.testing.assert_close(same, info_nce(points, pixels, torch.arange(6), 0.1))
    assert info_nce(points[:1], pixels[:1], torch.zeros(1, dtype=torch.int64), 0.1).tolist() == [0]


def test_without_pairs_nothing_is_lost_and_all_stays_in_the_graph():
    points, pixels = (torch.zeros(0, 4, requires_grad=True) for _ in range(2))
    loss = info_nce(points, pixels, torch.zeros(0, dtype=torch.int64), 0.1)
    assert loss.shape == (0,)
    loss.sum().backward()
    assert points.grad is not None
    assert pixels.grad is not None


def test_pairs_are_drawn_once_each():
    cpu = torch.device("cpu")
    assert drawn_pairs(5, 5, cpu).tolist() == [0, 1, 2, 3, 4]
    torch.manual_seed(0)
    rows = drawn_pairs(50, 20, cpu)
    assert len(set(rows.tolist())) == 20
    assert max(rows) < 50
    assert rows.tolist() != sorted(rows.tolist())

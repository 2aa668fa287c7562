"""The fusion encoder against a plain loop over points, and what it does not depend on."""

import pytest
import torch

from train.methods.cross_modal.fusion import FusionEncoder, attend_to_views


def plain(query, key, value, point, none_key, none_value):
    """Attention of each point over its own keys, one point and one head after the other."""
    found = torch.zeros_like(query)
    for row in range(len(query)):
        mine = (point == row).nonzero()[:, 0]
        for head in range(query.shape[1]):
            keys = torch.cat([none_key[head][None], key[mine, head]])
            values = torch.cat([none_value[head][None], value[mine, head]])
            scores = keys @ query[row, head] / query.shape[2] ** 0.5
            found[row, head] = scores.softmax(dim=0) @ values
    return found


def case(seed=0, points=7, pairs=12, scale=1.0):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return scale * torch.randn(*shape, generator=generator, dtype=torch.float64)

    point = torch.randint(0, points - 1, (pairs,), generator=generator)  # the last is unseen
    return (
        normal(points, 2, 3), normal(pairs, 2, 3), normal(pairs, 2, 3), point,
        normal(2, 3), normal(2, 3),
    )  # fmt: skip


@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_attention_is_that_of_each_point_over_its_own_views(scale):
    arguments = case(scale=scale)
    torch.testing.assert_close(attend_to_views(*arguments), plain(*arguments))


def test_its_gradient_is_that_of_the_plain_one():
    arguments = case(1)
    numbers = [each for each in arguments if each.is_floating_point()]
    weights = torch.randn(7, 2, 3, dtype=torch.float64)
    found = []
    for attend in (attend_to_views, plain):
        leaves = [each.clone().requires_grad_() for each in numbers]
        output = attend(leaves[0], leaves[1], leaves[2], arguments[3], leaves[3], leaves[4])
        found.append(torch.autograd.grad((output * weights).sum(), leaves))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return FusionEncoder(8, layers=2, heads=2)


def test_the_order_of_views_does_not_count_and_other_points_are_not_seen(encoder):
    torch.manual_seed(1)
    tokens, views = torch.randn(5, 8), torch.randn(6, 8)
    point = torch.tensor([0, 0, 1, 3, 3, 3])
    fused = encoder(tokens, views, point)
    order = torch.tensor([5, 1, 2, 0, 4, 3])
    torch.testing.assert_close(encoder(tokens, views[order], point[order]), fused)
    changed = views.clone()
    changed[2] = -changed[2]
    rows = (encoder(tokens, changed, point) - fused).abs().amax(dim=1) > 1e-6
    assert rows.tolist() == [False, True, False, False, False]


def test_a_point_without_a_view_has_its_token_and_the_learned_one_alone(encoder):
    torch.manual_seed(1)
    tokens = torch.randn(3, 8)
    none = encoder(tokens, torch.zeros(0, 8), torch.zeros(0, dtype=torch.int64))
    some = encoder(tokens, torch.randn(2, 8), torch.tensor([1, 1]))
    torch.testing.assert_close(none[[0, 2]], some[[0, 2]])
    none.sum().backward()
    assert encoder.no_view.grad is not None


def test_heads_must_divide_the_width():
    with pytest.raises(ValueError, match="width 8 is no multiple of the 3 heads"):
        FusionEncoder(8, heads=3)

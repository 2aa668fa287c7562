"""The modules of the methods: fusion, self-calibrated convolution, gradient reversal."""

import math

import pytest
import torch
from torch.nn import functional

from train.methods.cross_modal.adaptation import (
    Discriminator,
    Ramp,
    maximum_mean_discrepancy,
    reverse_gradient,
)
from train.methods.cross_modal.fusion import FusionEncoder, attend_to_views
from train.methods.cross_modal.self_calibrated import (
    AdaptationModule,
    SelfCalibratedConv,
    calibration_grid,
    mean_of_cells,
)


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


# ---- the self-calibrated convolution -------------------------------------------------------------


SIDE, CHANNELS = 8, 3


def full_grid(side=SIDE):
    axis = torch.arange(side)
    return torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1).view(-1, 3)


def dense(module, volume, pooling):
    """The same formula with torch's dense convolutions; volume [C, X, Y, Z]."""

    def convolve(part, x):
        weight = part.conv.weight.permute(0, 4, 1, 2, 3)  # [O, I, k, k, k]
        found = functional.conv3d(x[None], weight, padding=1)[0]
        return functional.layer_norm(
            found.permute(1, 2, 3, 0), (len(found),), part.norm.weight, part.norm.bias, 1e-5
        ).permute(3, 0, 1, 2)

    coarse = convolve(module.k2, functional.avg_pool3d(volume[None], pooling)[0])
    up = functional.interpolate(coarse[None], scale_factor=pooling, mode="nearest")[0]
    gate = torch.sigmoid(volume + up)
    return convolve(module.k4, convolve(module.k3, volume) * gate)


@pytest.mark.parametrize("pooling", [2, 4])
def test_it_equals_a_dense_one_on_a_full_grid(pooling):
    torch.manual_seed(0)
    module = SelfCalibratedConv(CHANNELS).double()
    for part in (module.k2, module.k3, module.k4):
        torch.nn.init.normal_(part.norm.bias)
    coord = full_grid()
    order = torch.randperm(len(coord))
    features = torch.randn(len(coord), CHANNELS, dtype=torch.float64)
    grid = calibration_grid(coord[order], torch.tensor([len(coord)]), pooling)
    found = module(features[order], grid)
    volume = features.t().reshape(CHANNELS, SIDE, SIDE, SIDE)
    want = dense(module, volume, pooling).reshape(CHANNELS, -1).t()
    torch.testing.assert_close(found, want[order])


def test_the_mean_is_over_the_voxels_that_are_there():
    coord = torch.tensor([[0, 0, 0], [1, 3, 2], [4, 0, 0]])
    grid = calibration_grid(coord, torch.tensor([3]), 4)
    assert mean_of_cells(torch.tensor([[1.0], [5.0], [7.0]]), grid).tolist() == [[3.0], [7.0]]
    assert grid.cell.tolist() == [0, 0, 1]


@pytest.mark.parametrize("self_calibrated", [True, False])
def test_clouds_do_not_see_each_other(self_calibrated):
    torch.manual_seed(0)
    module = AdaptationModule(5, 8, pooling=2, self_calibrated=self_calibrated)
    coord = full_grid(4)
    features = torch.randn(2 * len(coord), 5)
    offset = torch.tensor([len(coord), 2 * len(coord)])
    joint = module(features, coord.repeat(2, 1), offset)
    assert joint.shape == (2 * len(coord), 8)
    alone = module(features[len(coord) :], coord, offset[:1])
    torch.testing.assert_close(joint[len(coord) :], alone)


def test_with_it_a_voxel_sees_its_neighborhood_and_without_it_does_not():
    features = torch.randn(64, 5)
    changed = features.clone()
    changed[0] += 1
    for self_calibrated, reached in ((True, 64), (False, 1)):
        torch.manual_seed(0)
        module = AdaptationModule(5, 8, pooling=4, self_calibrated=self_calibrated)
        place = (full_grid(4), torch.tensor([64]))
        rows = (module(features, *place) - module(changed, *place)).abs().amax(dim=1) > 1e-6
        assert int(rows.sum()) <= reached
        assert int(rows.sum()) > reached // 2


# ---- adaptation ----------------------------------------------------------------------------------


@pytest.mark.parametrize("strength", [1.0, 0.25, 0.0])
def test_reversal_leaves_features_and_flips_the_sign_exactly(strength):
    torch.manual_seed(0)
    features = torch.randn(6, 4, requires_grad=True)
    weights = torch.randn(6, 4)
    found = reverse_gradient(features, torch.tensor(strength))
    assert torch.equal(found, features)
    (gradient,) = torch.autograd.grad((found.sin() * weights).sum(), features)
    (plain,) = torch.autograd.grad((features.sin() * weights).sum(), features)
    assert torch.equal(gradient, -strength * plain)


def test_the_ramp_begins_at_zero_ends_at_its_limit_and_is_kept():
    ramp = Ramp(0.1, 20)
    values = []
    for _ in range(21):
        values.append(float(ramp.value()))
        ramp.advance()
    assert values[0] == 0
    assert values == sorted(values)
    assert values[10] == pytest.approx(0.1 * (2 / (1 + math.exp(-5)) - 1))
    assert values[20] == pytest.approx(0.1, rel=1e-3)
    other = Ramp(0.1, 20)
    other.load_state_dict(ramp.state_dict())
    assert torch.equal(other.value(), ramp.value())


def test_a_discriminator_that_knows_nothing_is_at_the_logarithm_of_two():
    discriminator = Discriminator(4)
    torch.nn.init.zeros_(discriminator.layers[-1].weight)
    torch.nn.init.zeros_(discriminator.layers[-1].bias)
    found = discriminator(torch.randn(5, 4), torch.randn(5, 4))
    torch.testing.assert_close(found, torch.full((5,), math.log(2)))


def test_a_discriminator_is_right_about_points():
    """Points are its first class: a high logit is right for them and wrong for pixels."""
    discriminator = Discriminator(4)
    torch.nn.init.zeros_(discriminator.layers[-1].weight)
    torch.nn.init.constant_(discriminator.layers[-1].bias, 3.0)
    found = discriminator(torch.randn(1, 4), torch.randn(1, 4))
    want = (math.log1p(math.exp(-3)) + math.log1p(math.exp(3))) / 2
    assert found.tolist() == pytest.approx([want])


def test_the_discrepancy_is_zero_for_equal_samples_and_grows_with_a_shift():
    torch.manual_seed(0)
    sample = torch.randn(40, 3, dtype=torch.float64)
    order = torch.randperm(40)
    assert float(maximum_mean_discrepancy(sample, sample[order])) == pytest.approx(0, abs=1e-12)
    shifts = [float(maximum_mean_discrepancy(sample, sample + s)) for s in (0.1, 0.5, 2.0)]
    assert shifts == sorted(shifts)
    assert shifts[0] > 0


def test_the_discrepancy_of_two_points_by_hand():
    # Squared distances 0, 4, 4, 0: their (lower) median is 0, so take three points.
    points, pixels = torch.tensor([[0.0], [1.0]]), torch.tensor([[3.0], [3.0]])
    squares = {0: 6, 1: 2, 4: 4, 9: 4}  # how often each occurs among the 16
    assert sum(squares.values()) == 16
    scale = 1.0  # the eighth of 16, from below

    def kernel(square):
        return sum(math.exp(-square / (factor * scale)) for factor in (1, 2, 4)) / 3

    want = (2 + 2 * kernel(1)) / 4 + 1 - 2 * (2 * kernel(9) + 2 * kernel(4)) / 4
    assert float(maximum_mean_discrepancy(points, pixels)) == pytest.approx(want, rel=1e-5)


def test_without_points_the_discrepancy_is_zero_and_in_the_graph():
    nothing = torch.zeros(0, 3, requires_grad=True)
    value = maximum_mean_discrepancy(nothing, nothing)
    value.backward()
    assert float(value.detach()) == 0
    assert nothing.grad is not None

"""RipsNet: the paper's sizes and costs, and that a cloud has no order."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from train.methods.topkd.ripsnet import IMAGE_UNITS, RipsNet, unit_list


@pytest.mark.parametrize(
    ("channels", "points"),
    [
        (16, (16, 16, 16)),
        (32, (32, 16, 16)),
        (64, (64, 32, 32)),
        (128, (128, 64, 64)),
        (256, (256, 128, 128)),
        (512, (512, 256, 256)),
        (1024, (512, 256, 256)),
        (2048, (1024, 512, 256)),
    ],
)
def test_the_papers_unit_lists(channels, points):
    assert unit_list(channels) == (channels, *points, 50, 100, 200, 400)


def test_widths_between_and_beyond_the_papers():
    assert unit_list(10) == (10, 16, 16, 16, *IMAGE_UNITS)
    assert unit_list(48) == (48, 64, 32, 32, *IMAGE_UNITS)
    assert unit_list(3000) == (3000, 1024, 512, 256, *IMAGE_UNITS)
    with pytest.raises(ValueError, match="channels is 0"):
        unit_list(0)


def test_the_papers_number_of_parameters():
    assert sum(parameter.numel() for parameter in RipsNet(64).parameters()) == 113_896


@pytest.mark.parametrize(
    ("points", "channels", "flops", "told"), [(64, 64, 1_130_704, 1.131), (256, 512, 0, 235.1)]
)
def test_the_papers_flops_are_two_per_multiply_accumulate(points, channels, flops, told):
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        RipsNet(channels)(torch.zeros(1, points, channels))
    counted = counter.get_total_flops()
    assert counted == flops or not flops
    assert counted / 1e6 == pytest.approx(told, abs=0.05 if told > 2 else 0.0005)


@pytest.mark.parametrize("operator", ["mean", "sum"])
def test_the_order_of_points_does_not_count(operator):
    torch.manual_seed(0)
    ripsnet = RipsNet(16, operator)
    # Small integers: their sums are exact, so the order cannot change the last bit.
    clouds = torch.randint(-3, 4, (5, 30, 16)).float()
    for layer in ripsnet.point_layers:
        layer.weight.data = (8 * layer.weight.data).round() / 8
    order = torch.randperm(30)
    assert torch.equal(ripsnet(clouds), ripsnet(clouds[:, order]))
    assert not torch.allclose(ripsnet(clouds), ripsnet(clouds + 1))


def test_the_mean_does_not_see_a_doubled_cloud_and_the_sum_does():
    torch.manual_seed(0)
    clouds = torch.randn(3, 20, 16)
    doubled = torch.cat([clouds, clouds], dim=1)
    mean, summed = (RipsNet(16, operator) for operator in ("mean", "sum"))
    torch.testing.assert_close(mean(doubled), mean(clouds))
    assert not torch.allclose(summed(doubled), summed(clouds), atol=1e-3)


def test_images_are_between_0_and_1_in_float32_under_autocast_too():
    clouds = torch.randn(2, 20, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        images = RipsNet(16)(clouds.bfloat16())
    assert images.shape == (2, 400)
    assert images.dtype == torch.float32
    assert 0 < images.min() <= images.max() < 1


def test_frozen_it_has_no_parameter_and_passes_gradients():
    torch.manual_seed(0)
    ripsnet = RipsNet(16)
    clouds = torch.randn(2, 20, 16, requires_grad=True)
    want = ripsnet(clouds)
    frozen = ripsnet.frozen()
    assert torch.equal(frozen(clouds), want)
    assert (list(frozen.parameters()), frozen.state_dict()) == ([], {})
    frozen(clouds).sum().backward()
    assert clouds.grad.abs().max() > 0
    again = RipsNet(16)
    again.load_state_dict(frozen.weights())
    assert torch.equal(again(clouds), want)
    assert frozen.double()(clouds).dtype == torch.float64


def test_what_is_no_cloud_is_refused():
    for shape in ((3, 20, 15), (16,), (3, 0, 16)):
        with pytest.raises(ValueError, match=r"pass \(..., points, 16\)"):
            RipsNet(16)(torch.zeros(shape))
    with pytest.raises(ValueError, match="operator is 'max'"):
        RipsNet(16, "max")


def test_a_standardization_is_absorbed():
    torch.manual_seed(0)
    ripsnet, clouds = RipsNet(16), torch.randn(3, 20, 16)
    shift, spread = 5 * torch.randn(16), 0.1 + torch.rand(16)
    want = ripsnet(clouds)
    ripsnet.absorb(shift, spread)
    assert torch.allclose(ripsnet(clouds * spread + shift), want, atol=1e-5)
    assert not torch.allclose(ripsnet(clouds), want, atol=1e-2)

"""RipsNet: its sizes and costs, how far it is from the truth, and a regression in its place."""

import gudhi
import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from tests.train.methods.topkd.test_fit import blobs_and_circles, targets_of
from train.methods.topkd.artifacts import ImageMaker, load_maker
from train.methods.topkd.diagnostics import component_bottleneck, fidelity
from train.methods.topkd.oracle import distance_statistics, fit_distance_regression
from train.methods.topkd.ripsnet import IMAGE_UNITS, RipsNet, unit_list
from train.methods.topkd.targets import exact_images


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


# ---- against GUDHI and by hand -------------------------------------------------------------------


@pytest.mark.oracle
def test_the_bottleneck_of_components_is_gudhis():
    rng = np.random.default_rng(0)
    for _ in range(200):
        one, other = (
            rng.exponential(1.0, rng.integers(0, 7)).round(int(rng.integers(1, 4))) + 0.001
            for _ in range(2)
        )
        want = gudhi.bottleneck_distance(*(np.c_[0 * d, d] for d in (one, other)))
        found = component_bottleneck(torch.tensor(one), torch.tensor(other))
        assert float(found) == pytest.approx(want, abs=1e-9)


def test_equal_clouds_are_at_no_distance_and_moved_ones_are(prepared):
    _, path = prepared()
    maker = load_maker(path)
    torch.manual_seed(0)
    clouds = torch.rand(5, 16, 10)
    same = fidelity(maker, clouds, clouds)
    assert (same.image_distance, same.bottleneck) == (0, 0)
    assert same.teacher_error == same.student_error
    exact = exact_images(clouds, maker.card.scale, (0,))
    want = (maker.ripsnet(clouds) - exact).square().mean().item()
    assert same.teacher_error == pytest.approx(want, rel=1e-5)
    other = fidelity(maker, clouds, 3 * clouds)
    assert other.teacher_error == same.teacher_error
    assert other.student_error != same.student_error
    assert min(other.image_distance, other.bottleneck) > 0


def test_what_cannot_be_compared_is_refused(prepared):
    _, path = prepared()
    maker = load_maker(path)
    clouds = torch.rand(2, 16, 10)
    with pytest.raises(ValueError, match="pass the same points of both networks"):
        fidelity(maker, clouds, clouds[:, :15])
    with pytest.raises(ValueError, match="no RipsNet"):
        fidelity(ImageMaker(card=maker.card, ripsnet=None), clouds, clouds)


# ---- the regression on distances -----------------------------------------------------------------


def test_the_statistics_are_numpys_quantiles_of_the_distances():
    clouds = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(0))
    for cloud, found in zip(clouds.double().numpy(), distance_statistics(clouds), strict=True):
        table = np.linalg.norm(cloud[:, None] - cloud[None], axis=-1)
        ordered = np.sort(table, axis=1)
        groups = [table[np.triu_indices(9, 1)], *(ordered[:, place] for place in (1, 2, 3))]
        levels = np.linspace(0, 1, 21)
        want = np.concatenate([np.quantile(group, levels) for group in groups])
        assert np.allclose(found.numpy(), want, atol=1e-6)


def test_of_two_points_there_is_one_neighbor():
    assert distance_statistics(torch.tensor([[[0.0], [3.0]]])).tolist() == [[3.0] * 42]


def test_it_predicts_the_components_of_clouds_that_it_never_saw():
    targets = targets_of(blobs_and_circles(400, points=24))
    seen, other = slice(0, 300), slice(300, 400)
    regression = fit_distance_regression(targets.clouds[seen], targets.images[seen])
    wanted = targets.images[other].double()
    constant = (wanted - regression.mean_image).square().mean()
    assert (wanted - regression(targets.clouds[other])).square().mean() < constant / 1.5


def test_of_images_without_a_relation_to_clouds_it_predicts_the_mean():
    generator = torch.Generator().manual_seed(0)
    clouds = torch.randn(200, 8, 2, generator=generator)
    images = torch.rand(200, 5, generator=generator, dtype=torch.float64)
    regression = fit_distance_regression(clouds, images)
    assert regression.penalty == 1.0
    other = torch.rand(200, 5, generator=generator, dtype=torch.float64)
    constant = (other - regression.mean_image).square().mean()
    assert (other - regression(clouds.flip(0))).square().mean() > constant


@pytest.mark.parametrize(("clouds", "images"), [(7, 7), (9, 8)])
def test_too_few_clouds_or_other_images_are_refused(clouds, images):
    with pytest.raises(ValueError, match=f"{clouds} clouds and {images} images"):
        fit_distance_regression(torch.rand(clouds, 4, 2), torch.rand(images, 5))

"""RipsNet beside the mean image and the regression on distances, on the same clouds."""

import numpy as np
import pytest
import torch

from benchmarks.studies.topkd_predictors import predictors
from tests.train.methods.topkd.test_fit import targets_of
from train.methods.topkd.artifacts import ImageMaker, Targets
from train.methods.topkd.fit import FitOptions, fit_ripsnet
from train.methods.topkd.oracle import fit_distance_regression
from train.methods.topkd.targets import exact_images


@pytest.fixture(scope="module")
def clouds():
    """Of very different sizes, in random order."""
    torch.manual_seed(0)
    return torch.linspace(0.2, 3, 60)[torch.randperm(60), None, None] * torch.rand(60, 16, 10)


@pytest.fixture(scope="module")
def targets(clouds):
    return targets_of(clouds[:40])


@pytest.fixture(scope="module")
def maker(targets):
    return fit_ripsnet(targets, FitOptions(epochs=6), device=torch.device("cpu"))


def test_all_are_compared_on_the_same_clouds(maker, targets, clouds):
    """Were a cloud's own image among those of the mean, the constant's error would be 0."""
    images = exact_images(clouds[40:], maker.card.scale, maker.card.dims)
    found = predictors(maker, targets, clouds[40:])
    errors, gains = found["teacher"]["errors"], found["teacher"]["gains"]
    constant = (images - targets.images.mean(dim=0)).square().mean()
    assert errors["constant"] == pytest.approx(float(constant), rel=1e-5)
    predicted = maker.ripsnet(clouds[40:]).detach()
    assert errors["ripsnet"] == pytest.approx(float((predicted - images).square().mean()), rel=1e-5)
    regression = fit_distance_regression(targets.clouds, targets.images)
    predicted = regression(clouds[40:])
    assert errors["distances"] == pytest.approx(float((predicted - images).square().mean()))
    assert errors["distances"] < errors["constant"]
    for name in ("ripsnet", "distances"):
        assert gains[name] == pytest.approx(errors["constant"] / errors[name])
    assert "intervals" not in found["teacher"]


def test_validation_is_of_the_clouds_that_chose(maker, targets):
    """The quarter of both is the same: the regression's error there is found again."""
    errors = predictors(maker, targets, targets.clouds)["validation"]["errors"]
    assert errors["constant"] == maker.losses["constant"]
    assert errors["ripsnet"] == min(maker.losses["mean"], maker.losses["sum"])
    held = torch.randperm(40, generator=torch.Generator().manual_seed(0))[:10]
    regression = fit_distance_regression(targets.clouds, targets.images)
    error = (regression(targets.clouds[held]) - targets.images[held]).square().mean()
    assert errors["distances"] == pytest.approx(float(error))
    rest = torch.ones(40, dtype=torch.bool)
    rest[held] = False
    constant = (targets.images[rest].mean(dim=0) - targets.images[held]).square().mean()
    assert errors["constant"] == pytest.approx(float(constant), rel=1e-5)


def test_the_interval_is_over_groups(maker, targets, clouds):
    """By numpy, with draws of its own; and of groups that are all alike there is no width."""
    names = ["a", "b", "c", "d"] * 5
    found = predictors(maker, targets, clouds[40:], names)["teacher"]
    images = exact_images(clouds[40:], maker.card.scale, maker.card.dims).numpy()
    own = np.square(images - maker.ripsnet(clouds[40:]).detach().numpy()).mean(axis=1)
    mean = np.square(images - targets.images.mean(dim=0).numpy()).mean(axis=1)
    own, mean = (each.reshape(5, 4).sum(axis=0) for each in (own, mean))
    drawn = np.random.default_rng(0).integers(4, size=(20_000, 4))
    gains = mean[drawn].sum(axis=1) / own[drawn].sum(axis=1)
    want = np.quantile(gains, [0.025, 0.975])
    low, high = found["intervals"]["ripsnet"]
    assert high - low == pytest.approx(want[1] - want[0], rel=0.15)
    assert low < found["gains"]["ripsnet"] < high
    twice = predictors(maker, targets, clouds[[41, 41]], ["a", "b"])["teacher"]
    assert twice["intervals"]["ripsnet"] == pytest.approx([twice["gains"]["ripsnet"]] * 2)


def test_without_a_ripsnet_it_is_refused(maker, targets, clouds):
    empty = Targets(card=maker.card, clouds=targets.clouds, images=targets.images)
    with pytest.raises(ValueError, match="has no RipsNet"):
        predictors(ImageMaker(card=maker.card, ripsnet=None), empty, clouds)

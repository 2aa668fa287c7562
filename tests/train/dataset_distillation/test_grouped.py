"""All classes at once give what each class gives alone, and a step the gradients of the sum."""

import dataclasses

import pytest
import torch

from tests.train.dataset_distillation.test_distill import distance
from tests.train.dataset_distillation.toys import toy_clouds
from train.dataset_distillation import matcher as matcher_module
from train.dataset_distillation.distill import Distillation
from train.dataset_distillation.matching import (
    class_distances,
    class_gradient,
    class_gradients,
    gradient_distance,
    mean_features,
)
from train.dataset_distillation.networks.pointnet import PointNet
from train.dataset_distillation.options import DistillOptions, RotatorOptions

OPTIONS = DistillOptions(
    points=20, iterations=2, outer=2, inner=1, real_batch=3, width=8, widths=(4, 8, 16)
)


def network(classes=5):
    torch.manual_seed(0)
    return PointNet(classes, widths=(4, 8, 16)).double()


def clouds(*shape, seed=0):
    return torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("each", [1, 4])
def test_gradients_are_those_of_each_class_alone(each):
    """Points that are there twice included: the largest value is then at two places."""
    points = clouds(3, each, 12)
    points[:, :, 6:] = points[:, :, :6]
    labels = torch.tensor([4, 0, 2])
    got = class_gradients(network(), points, labels, differentiable=False)
    for k, label in enumerate(labels):
        want = class_gradient(network(), points[k], label.repeat(each), differentiable=False)
        assert len(want) == len(got) == 4
        for ours, theirs in zip(got, want, strict=True):
            torch.testing.assert_close(ours[k], theirs.flatten(1))


def test_distances_are_those_of_each_class_alone():
    labels = torch.tensor([1, 3])
    made = class_gradients(network(), clouds(2, 1, 9, seed=1), labels, differentiable=False)
    real = class_gradients(network(), clouds(2, 4, 15, seed=2), labels, differentiable=False)
    got = class_distances(made, real)
    assert got.shape == (2,)
    for k in range(2):
        want = gradient_distance([g[k] for g in made], [g[k] for g in real])
        torch.testing.assert_close(got[k], want)


def test_the_gradient_with_respect_to_the_clouds_by_finite_differences():
    net, labels = network(3), torch.tensor([0, 2])
    real = class_gradients(net, clouds(2, 3, 10, seed=3), labels, differentiable=False)

    def distances(points):
        return class_distances(class_gradients(net, points, labels, differentiable=True), real)

    assert torch.autograd.gradcheck(
        distances, (clouds(2, 2, 5, seed=4).requires_grad_(),), atol=1e-6
    )


def test_mean_features_are_those_of_each_class_alone():
    points = clouds(3, 2, 7)
    for k in range(3):
        torch.testing.assert_close(
            mean_features(network(), points)[k], network().features(points[k]).mean(dim=0)
        )


@pytest.mark.parametrize(
    "other", [PointNet(3, segments=True), PointNet(3, norm="batch")], ids=["segments", "batch"]
)
def test_networks_whose_clouds_touch_each_other_are_refused(other):
    with pytest.raises(ValueError, match="class by class"):
        class_gradients(other, clouds(1, 1, 4).float(), torch.tensor([0]), differentiable=False)


@pytest.mark.parametrize("method", ["dd3d", "gradient-matching", "distribution-matching"])
@pytest.mark.parametrize("rotator", ["none", "straight-through"])
def test_a_step_has_the_gradients_of_the_sum_of_distances(method, rotator):
    """In groups of any size, against a graph that holds everything at once."""
    options = dataclasses.replace(
        OPTIONS, method=method, clouds_per_class=2, rotator=RotatorOptions(mode=rotator)
    )
    distillation = Distillation(toy_clouds(4, 0), options, torch.device("cpu"))
    matcher = distillation.matcher
    net = matcher.network(0)
    chance = torch.Generator().manual_seed(5)
    real = [matcher.batch(k, chance) for k in range(4)]
    made = distillation.synthetic.of_classes(range(4), 20, chance)
    total = sum(distance(matcher, net, k, made[k], real[k]) for k in range(4))
    want = torch.autograd.grad(total, distillation.learned, allow_unused=True)
    for limit in (1, 2 * 3 * 20, 1 << 16):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(matcher_module, "GROUP_POINTS", limit)
            chance = torch.Generator().manual_seed(5)
            sum_, got = matcher.step(net, distillation.synthetic, chance, local=False)
        torch.testing.assert_close(sum_, total.detach()[None], rtol=1e-4, atol=1e-5)
        for ours, theirs in zip(got, want, strict=True):
            theirs = torch.zeros_like(ours) if theirs is None else theirs
            torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=1e-4)
        assert sum(g.abs().sum() for g in got) > 0


def test_a_class_of_fewer_clouds_has_a_group_of_its_own():
    clouds_ = toy_clouds(4, 0)
    few = clouds_.take([*range(4), 4, 5, *range(8, 16)])  # two of the second class
    distillation = Distillation(few, OPTIONS, torch.device("cpu"))
    matcher, chance = distillation.matcher, torch.Generator().manual_seed(0)
    real = [matcher.batch(k, chance) for k in range(4)]
    found = dict(enumerate(distillation.synthetic.of_classes(range(4), 20, chance)))
    assert list(matcher._groups(range(4), real, found)) == [[0], [1], [2, 3]]
    distillation.run()
    assert len(distillation.losses) == 2

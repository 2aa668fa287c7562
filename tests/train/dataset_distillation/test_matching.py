"""Matching: distances by hand, gradients by finite differences, masked labels."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.train.dataset_distillation.conftest import hammers, toy_clouds
from tests.train.dataset_distillation.test_distill import distance
from train.dataset_distillation import matcher as matcher_module
from train.dataset_distillation.distill import Distillation
from train.dataset_distillation.generator import GeneratorSpec, build_generator
from train.dataset_distillation.matching import (
    class_distances,
    class_gradient,
    class_gradients,
    gradient_distance,
    labeled_loss,
    masked_labels,
    matched_weights,
    mean_features,
)
from train.dataset_distillation.networks.pointnet import PointNet
from train.dataset_distillation.options import LEARNED, DistillOptions, RotatorOptions
from train.dataset_distillation.rotator import Rotator


@pytest.fixture
def network():
    torch.manual_seed(0)
    return PointNet(3, widths=(6, 8, 10)).double()


def clouds(seed, number=4, points=12):
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(number, points, 3)))


def test_the_distance_is_one_minus_cosine_of_each_row():
    a = [torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 4.0]])]
    b = [torch.tensor([[0.0, 5.0], [0.0, -1.0]]), torch.tensor([[6.0, 8.0]])]
    assert gradient_distance(a, b) == pytest.approx(1 + 2 + 0, abs=1e-5)
    assert gradient_distance(a, a) == pytest.approx(0, abs=1e-5)
    wide = [torch.ones(2, 3, 1)]  # a convolution's weight is rows too
    assert gradient_distance(wide, [-wide[0]]) == pytest.approx(4, abs=1e-5)


def test_a_row_of_zeros_counts_one_and_has_a_finite_gradient():
    a = torch.zeros(1, 3, requires_grad=True)
    gradient_distance([a], [torch.ones(1, 3)]).backward()
    assert a.grad.isfinite().all()


def test_gradients_of_other_weights_are_refused():
    with pytest.raises(ValueError, match="same weights"):
        gradient_distance([torch.ones(2, 2)], [torch.ones(2, 3)])


def test_vectors_are_not_matched(network):
    assert all(weight.ndim >= 2 for weight in matched_weights(network))
    assert len(matched_weights(network)) == 4  # three layers and the head


def test_the_gradient_with_respect_to_the_clouds_by_finite_differences(network):
    labels = torch.tensor([1, 1])
    real = class_gradient(network, clouds(1), torch.full((4,), 1), differentiable=False)

    def distance(points):
        found = class_gradient(network, points, labels, differentiable=True)
        return gradient_distance(found, real)

    made = clouds(2, number=2, points=5).requires_grad_()
    assert torch.autograd.gradcheck(distance, (made,), atol=1e-6)


def test_the_gradient_with_respect_to_the_generator_by_finite_differences(network):
    """Through generator, frozen rotator, network and its gradient, at some of its weights."""
    spec = GeneratorSpec(classes=("a", "b", "c"), clouds_per_class=1, width=8, w0=5.0)
    generator = build_generator(spec, 0).double()
    rotator = Rotator("frozen")
    noise = torch.rand(1, 9, generator=torch.Generator().manual_seed(0)).double()
    real = class_gradient(network, clouds(3), torch.full((4,), 2), differentiable=False)

    def distance():
        made = rotator(generator(noise, torch.tensor([2])), align=False)
        found = class_gradient(network, made, torch.tensor([2]), differentiable=True)
        return gradient_distance(found, real)

    for weight in (
        generator.siren[1].weight,
        generator.decoder.weight,
        generator.modulator[0].bias,
    ):
        got = torch.autograd.grad(distance(), weight)[0].flatten()
        at = int(got.abs().argmax())
        flat = weight.data.view(-1)
        kept, step = float(flat[at]), 1e-6
        flat[at] = kept + step
        above = float(distance().detach())
        flat[at] = kept - step
        below = float(distance().detach())
        flat[at] = kept
        assert float(got[at]) == pytest.approx((above - below) / (2 * step), rel=1e-4)
        assert abs(float(got[at])) > 1e-6


def test_the_learned_rotator_gets_a_gradient_from_real_and_generated_clouds(network):
    rotator = Rotator("straight-through", periods=3).double()
    labels = torch.full((4,), 1)
    real = class_gradient(network, rotator(clouds(4), align=False), labels, differentiable=True)
    made = class_gradient(network, rotator(clouds(5), align=False), labels, differentiable=True)
    for one, other in ((real, [g.detach() for g in made]), (made, [g.detach() for g in real])):
        found = torch.autograd.grad(
            gradient_distance(one, other), rotator.weights, retain_graph=True
        )[0]
        assert found.abs().sum() > 0


def test_masked_labels_give_no_gradient_from_other_parts():
    logits = torch.randn(2, 4, 6, requires_grad=True)
    parts = torch.tensor([[0, 0, 1, 1, 2, 3], [3, 2, 2, 1, 0, 0]])
    labeled_loss(logits, masked_labels(parts, 1)).backward()
    per_point = logits.grad.abs().sum(dim=1)
    assert (per_point[parts != 1] == 0).all()
    assert (per_point[parts == 1] > 0).all()


def test_a_part_that_is_not_there_has_loss_zero_and_gradient_zero():
    logits = torch.randn(1, 4, 6, requires_grad=True)
    loss = labeled_loss(logits, masked_labels(torch.zeros(1, 6, dtype=torch.int64), 2))
    loss.backward()
    assert loss == 0
    assert (logits.grad == 0).all()


def test_the_loss_is_torch_own_where_all_is_labeled():
    logits, labels = torch.randn(5, 3), torch.tensor([0, 1, 2, 1, 0])
    torch.testing.assert_close(
        labeled_loss(logits, labels), torch.nn.functional.cross_entropy(logits, labels)
    )


OPTIONS = DistillOptions(
    points=20, iterations=2, outer=2, inner=1, real_batch=3, width=8, widths=(4, 8, 16)
)


def network_of(classes=5):
    torch.manual_seed(0)
    return PointNet(classes, widths=(4, 8, 16)).double()


def groups(*shape, seed=0):
    return torch.randn(*shape, 3, generator=torch.Generator().manual_seed(seed)).double()


@pytest.mark.parametrize("each", [1, 4])
def test_gradients_are_those_of_each_class_alone(each):
    """Points that are there twice included: the largest value is then at two places."""
    points = groups(3, each, 12)
    points[:, :, 6:] = points[:, :, :6]
    labels = torch.tensor([4, 0, 2])
    got = class_gradients(network_of(), points, labels, differentiable=False)
    for k, label in enumerate(labels):
        want = class_gradient(network_of(), points[k], label.repeat(each), differentiable=False)
        assert len(want) == len(got) == 4
        for ours, theirs in zip(got, want, strict=True):
            torch.testing.assert_close(ours[k], theirs.flatten(1))


def test_distances_are_those_of_each_class_alone():
    labels = torch.tensor([1, 3])
    made = class_gradients(network_of(), groups(2, 1, 9, seed=1), labels, differentiable=False)
    real = class_gradients(network_of(), groups(2, 4, 15, seed=2), labels, differentiable=False)
    got = class_distances(made, real)
    assert got.shape == (2,)
    for k in range(2):
        want = gradient_distance([g[k] for g in made], [g[k] for g in real])
        torch.testing.assert_close(got[k], want)


def test_the_gradients_of_a_group_by_finite_differences():
    net, labels = network_of(3), torch.tensor([0, 2])
    real = class_gradients(net, groups(2, 3, 10, seed=3), labels, differentiable=False)

    def distances(points):
        return class_distances(class_gradients(net, points, labels, differentiable=True), real)

    assert torch.autograd.gradcheck(
        distances, (groups(2, 2, 5, seed=4).requires_grad_(),), atol=1e-6
    )


def test_mean_features_are_those_of_each_class_alone():
    points = groups(3, 2, 7)
    for k in range(3):
        torch.testing.assert_close(
            mean_features(network_of(), points)[k], network_of().features(points[k]).mean(dim=0)
        )


@pytest.mark.parametrize(
    "other", [PointNet(3, segments=True), PointNet(3, norm="batch")], ids=["segments", "batch"]
)
def test_networks_whose_clouds_touch_each_other_are_refused(other):
    with pytest.raises(ValueError, match="class by class"):
        class_gradients(other, groups(1, 1, 4).float(), torch.tensor([0]), differentiable=False)


PARTS = DistillOptions(task="parts", points=30, real_batch=4, width=32, w0=5.0, widths=(8, 16, 32))


@pytest.mark.parametrize(
    ("clouds", "options", "local"),
    [
        *(
            (
                toy_clouds(4, 0),
                dataclasses.replace(
                    OPTIONS, method=method, clouds_per_class=2, rotator=RotatorOptions(mode=mode)
                ),
                False,
            )
            for method in LEARNED
            for mode in ("none", "straight-through")
        ),
        (hammers(4, 0), PARTS, False),
        (hammers(4, 0), PARTS, True),
    ],
)
def test_a_step_has_the_gradients_of_the_sum_of_distances(clouds, options, local):
    """In groups of any size, against a graph that holds everything at once."""
    distillation = Distillation(clouds, options, torch.device("cpu"))
    matcher, classes = distillation.matcher, range(len(clouds.classes))
    net = matcher.network(0)
    chance = torch.Generator().manual_seed(5)
    real = [matcher.batch(k, chance) for k in classes]
    only = [None] * len(classes)
    if local:
        only = [own[int(torch.randint(2, (1,), generator=chance))] for own in matcher.parts_of]
    made = distillation.synthetic.of_classes(classes, options.points, chance)
    total = sum(distance(matcher, net, k, made[k], real[k], only[k]) for k in classes)
    whole = matcher.parts is None
    want = torch.autograd.grad(total, distillation.learned, allow_unused=whole)
    for limit in (1, 2 * 3 * 20, 1 << 16):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(matcher_module, "GROUP_POINTS", limit)
            chance = torch.Generator().manual_seed(5)
            sum_, got = matcher.step(net, distillation.synthetic, chance, local=local)
        torch.testing.assert_close(sum_, total.detach()[None], rtol=1e-4, atol=1e-5)
        for ours, theirs in zip(got, want, strict=True):
            theirs = torch.zeros_like(ours) if theirs is None else theirs
            atol = 1e-4 if whole else 1e-3 * float(theirs.abs().max())
            torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=atol)
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

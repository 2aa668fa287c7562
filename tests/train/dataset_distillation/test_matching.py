"""Matching: distances by hand, gradients by finite differences, masked labels."""

import numpy as np
import pytest
import torch

from train.dataset_distillation.generator import GeneratorSpec, build_generator
from train.dataset_distillation.matching import (
    class_gradient,
    gradient_distance,
    labeled_loss,
    masked_labels,
    matched_weights,
)
from train.dataset_distillation.networks.pointnet import PointNet
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

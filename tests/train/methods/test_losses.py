"""The segmentation losses against values worked out by hand and by brute force."""

import itertools
import math

import pytest
import torch
from torch.nn import functional

from train.methods.losses import (
    NonFiniteLoss,
    lovasz_softmax,
    require_finite,
    segmentation_loss,
)


def test_cross_entropy_is_the_mean_over_labeled_points():
    logits = torch.tensor([[0.0, math.log(3.0)], [5.0, -2.0], [0.0, 0.0]])
    segment = torch.tensor([0, -1, 1])
    # -ln(1/4) for the first point, -ln(1/2) for the third, nothing for the ignored one.
    want = (math.log(4.0) + math.log(2.0)) / 2
    assert segmentation_loss(logits, segment).item() == pytest.approx(want)


def test_a_batch_without_labels_costs_nothing_and_moves_nothing():
    logits = torch.randn(4, 3, requires_grad=True)
    loss = segmentation_loss(logits, torch.full((4,), -1), "ce+lovasz")
    loss.backward()
    assert loss.item() == 0.0
    assert not logits.grad.any()


def _jaccard_loss(truth: list[int], wrong: tuple[int, ...], label: int) -> float:
    """One minus the Jaccard index of a class when exactly the points `wrong` are misjudged."""
    predicted = {i for i, name in enumerate(truth) if (name == label) != (i in wrong)}
    true = {i for i, name in enumerate(truth) if name == label}
    return 1 - len(predicted & true) / len(predicted | true)


def test_lovasz_equals_the_jaccard_loss_at_hard_predictions():
    truth = [0, 0, 1, 1, 1]
    for hard in itertools.product((0, 1), repeat=5):
        probabilities = functional.one_hot(torch.tensor(hard), 2).double()
        wrong = tuple(i for i in range(5) if hard[i] != truth[i])
        want = sum(_jaccard_loss(truth, wrong, label) for label in (0, 1)) / 2
        got = lovasz_softmax(probabilities, torch.tensor(truth))
        assert got.item() == pytest.approx(want, abs=1e-12)


def test_lovasz_counts_present_classes_only():
    probabilities = torch.tensor([[0.2, 0.3, 0.5], [0.9, 0.05, 0.05]]).double()
    # Only class 0 is present: errors 0.8 and 0.1, both foreground, so 0.8 * 1/2 + 0.1 * 1/2.
    got = lovasz_softmax(probabilities, torch.tensor([0, 0]))
    assert got.item() == pytest.approx(0.45)


def test_lovasz_gradient_matches_finite_differences():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    segment = torch.tensor([0, 1, 2, 0, 1, 1])
    torch.autograd.gradcheck(lambda x: lovasz_softmax(x.softmax(1), segment), (logits,))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_part_that_is_no_number_is_named(value):
    with pytest.raises(NonFiniteLoss, match="saliency part of the loss is"):
        require_finite("saliency", torch.tensor(value))


def test_a_finite_part_passes_unchanged():
    value = torch.tensor(1.5)
    assert require_finite("topology", value) is value

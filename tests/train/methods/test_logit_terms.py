"""Losses on logits: the published formulas on toy values, by other libraries."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.special import softmax
from scipy.stats import entropy, pearsonr
from torch.nn import functional

from train.core.errors import UserError
from train.data.batch import Batch
from train.data.frame import IGNORE_INDEX
from train.methods.cwd import CWDConfig, channel_wise_divergence
from train.methods.dist import DISTConfig, dist_loss
from train.methods.dkd import DKDConfig, decoupled_divergence, labeled_logits, standardized
from train.methods.losses import (
    NonFiniteLoss,
    lovasz_softmax,
    require_finite,
    segmentation_loss,
)
from train.networks.protocol import UNKNOWN_LOGIT

POINTS, CLASSES = 9, 5


def toy(seed=0):
    rng = np.random.default_rng(seed)
    return (torch.from_numpy(rng.normal(0, 2, (POINTS, CLASSES))) for _ in range(2))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_dist_is_one_minus_pearsons_correlation_of_rows_and_of_columns(temperature):
    teacher, student = toy()
    one, other = (softmax(each.numpy() / temperature, axis=1) for each in (teacher, student))
    rows = np.mean([1 - pearsonr(*pair).statistic for pair in zip(one, other, strict=True)])
    columns = np.mean([1 - pearsonr(*pair).statistic for pair in zip(one.T, other.T, strict=True)])
    found = dist_loss(teacher, student, temperature).item()
    assert found == pytest.approx(temperature**2 * (rows + columns))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_cwd_is_the_divergence_of_each_class_over_points(temperature):
    teacher, student = toy()
    one, other = (softmax(each.numpy() / temperature, axis=0) for each in (teacher, student))
    want = temperature**2 * np.mean(entropy(one, other, axis=0))
    assert channel_wise_divergence(teacher, student, temperature).item() == pytest.approx(want)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_dkd_weighed_by_the_teachers_doubt_is_the_divergence_of_softened_logits(temperature):
    teacher, student = toy()
    label = torch.arange(POINTS) % CLASSES
    one, other = (softmax(each.numpy() / temperature, axis=1) for each in (teacher, student))
    true = np.arange(POINTS), label.numpy()
    binary = [np.stack([each[true], 1 - each[true]]) for each in (one, other)]
    rest = []
    for each in (one, other):
        others = np.stack([np.delete(row, k) for row, k in zip(each, label, strict=True)])
        rest.append(others / others.sum(axis=1, keepdims=True))
    target, among = entropy(*binary, axis=0), entropy(*rest, axis=1)
    found = decoupled_divergence(teacher, student, label, temperature)
    wanted = [temperature**2 * part.mean() for part in (target, among)]
    assert [part.item() for part in found] == pytest.approx(wanted)
    # Equation 6 of the paper: both together are Hinton's divergence.
    assert (target + (1 - one[true]) * among).mean() == pytest.approx(
        entropy(one, other, axis=1).mean()
    )


def test_standardized_rows_have_mean_0_and_deviation_1_whatever_their_scale():
    teacher, _ = toy()
    found = standardized(7 * teacher + 3)
    torch.testing.assert_close(found, standardized(teacher))
    assert found.mean(dim=1).numpy() == pytest.approx(np.zeros(POINTS), abs=1e-6)
    assert found.numpy().std(axis=1) == pytest.approx(np.ones(POINTS), rel=1e-6)


def test_constant_logits_have_no_correlation_and_a_finite_gradient():
    student = torch.zeros(4, 3, requires_grad=True)
    value = dist_loss(torch.eye(4, 3), student)
    value.backward()
    assert value.item() == pytest.approx(2)
    assert student.grad.isfinite().all()


def test_classes_that_the_teacher_never_learned_are_left_out():
    teacher, student = toy()
    teacher[:, 2] = UNKNOWN_LOGIT
    batch = Batch({"segment": torch.tensor([0, 1, 2, 3, 4, IGNORE_INDEX, 2, 3, 0])})
    theirs, ours, label = labeled_logits(teacher, student, batch)
    kept = [0, 1, 3, 4, 7, 8]
    assert label.tolist() == [0, 1, 2, 3, 2, 0]
    torch.testing.assert_close(theirs, teacher[kept][:, [0, 1, 3, 4]])
    torch.testing.assert_close(ours, student[kept][:, [0, 1, 3, 4]])


def test_points_without_a_label_give_dkd_nothing():
    parts = decoupled_divergence(torch.ones(0, 3), torch.ones(0, 3), torch.ones(0).long(), 4.0)
    assert [part.item() for part in parts] == [0, 0]


@pytest.mark.parametrize(
    ("config", "named"),
    [
        (lambda: DISTConfig(distillation=0.0), "--method.distillation is 0.0"),
        (lambda: CWDConfig(temperature=-1.0), "--method.temperature is -1.0"),
        (lambda: DKDConfig(others=-1.0), "--method.others is -1.0"),
        (lambda: DKDConfig(temperature=0.0), "--method.temperature is 0.0"),
    ],
)
def test_options_that_make_no_sense_are_refused(config, named):
    with pytest.raises(UserError, match=named):
        config()


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

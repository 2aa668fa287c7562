"""Networks trained on small sets: what they learn, how they repeat, and what is counted."""

import dataclasses
import math
import time

import numpy as np
import pytest
import torch

from tests.train.dataset_distillation.conftest import toy_clouds
from tests.train.dataset_distillation.frames.toy_scenes import scenes
from train.core.errors import UserError
from train.core.iou import ClassCounts
from train.dataset_distillation import training
from train.dataset_distillation.training import (
    ClassTraining,
    FrameTraining,
    augmented,
    augmented_frames,
    count_frames,
    descend,
    fixed_draw,
    tempered_loss,
    total,
    train_and_score,
)

CPU = torch.device("cpu")
FRAMES = FrameTraining(network="pointnet", epochs=12, batch_size=4, test_every=4)
OPTIONS = ClassTraining(network="pointnet", epochs=6, batch_size=16, test_every=2)


@pytest.fixture(autouse=True)
def small_pointnet(monkeypatch):
    """A PointNet that trains in a moment."""
    from train.dataset_distillation.networks.pointnet import PointNet

    monkeypatch.setattr(
        training, "build_network", lambda name, classes: PointNet(classes, widths=(16, 32, 64))
    )


@pytest.fixture(scope="module")
def test_set():
    return toy_clouds(6, seed=9)


def test_it_learns_and_wrong_labels_do_not(test_set):
    train = toy_clouds(10, seed=1)
    options = dataclasses.replace(OPTIONS, epochs=30)
    right, _ = train_and_score(fixed_draw(train), test_set, options, CPU)
    assert right.last > 0.8
    mixed = dataclasses.replace(train, labels=np.roll(train.labels, 10))
    wrong, _ = train_and_score(fixed_draw(mixed), test_set, options, CPU)
    assert wrong.last < 0.2


@pytest.mark.parametrize(
    ("training", "train", "held_out"),
    [
        (OPTIONS, toy_clouds(4, seed=1), toy_clouds(6, seed=9)),
        (dataclasses.replace(FRAMES, network="ptv3", epochs=3), scenes(2), scenes(3, first=70)),
    ],
    ids=["objects", "frames"],
)
def test_it_repeats_itself_and_the_seed_matters(training, train, held_out):
    runs = [
        train_and_score(fixed_draw(train), held_out, dataclasses.replace(training, seed=seed), CPU)
        for seed in (3, 3, 4)
    ]
    weights = [list(network.parameters())[-1] for _, network in runs]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert (runs[0][0].last, runs[0][0].best) == (runs[1][0].last, runs[1][0].best)


def counted(right):
    counts = np.array([right, 0, 0, 0])
    return ClassCounts(counts, np.array([6, 6, 6, 6]), counts)


def test_last_and_best_are_kept_apart(test_set, monkeypatch):
    """It scores now and then and after the last epoch; the first of equals is the best."""
    scores = iter([5, 9, 9, 7])
    monkeypatch.setattr(training, "count_clouds", lambda *_: counted(next(scores)))
    options = dataclasses.replace(OPTIONS, epochs=7)
    found, _ = train_and_score(fixed_draw(toy_clouds(2, seed=1)), test_set, options, CPU)
    assert next(scores, None) is None
    assert found.last == 7 / 24
    assert (found.best, found.best_epoch) == (9 / 24, 4)
    assert found.found.right.tolist() == [7, 0, 0, 0]


def test_the_time_of_scoring_is_not_counted(test_set, monkeypatch):
    monkeypatch.setattr(training, "count_clouds", lambda *_: time.sleep(2) or counted(1))
    options = dataclasses.replace(OPTIONS, epochs=1)
    train = fixed_draw(toy_clouds(2, seed=1))
    assert train_and_score(train, test_set, options, CPU)[0].seconds < 1


def test_an_epoch_gets_its_own_draw_and_a_rate_that_falls_by_a_cosine(test_set):
    asked = []
    train = fixed_draw(toy_clouds(2, seed=1))
    train_and_score(lambda epoch: asked.append(epoch) or train(epoch), test_set, OPTIONS, CPU)
    assert asked == [1, 2, 3, 4, 5, 6]
    rates = ClassTraining(epochs=5, lr=1.0, last_lr=0.2)
    assert [rates.rate(epoch) for epoch in (1, 3, 5)] == pytest.approx([1.0, 0.6, 0.2])
    assert dataclasses.replace(rates, epochs=1).rate(1) == 1.0


def test_augmentation_scales_and_shifts_within_its_bounds():
    points = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]]).repeat(500, 1, 1)
    made = augmented(points, torch.Generator().manual_seed(0))
    scale, shift = (made[:, 1] - made[:, 0]) / 2, made.mean(dim=1)
    assert 2 / 3 <= scale.min() < 0.68
    assert 1.48 < scale.max() <= 3 / 2
    assert -0.2001 <= shift.min() < -0.19
    assert 0.19 < shift.max() <= 0.2001


def test_one_cloud_is_refused(test_set):
    one = toy_clouds(1, seed=0).take([0])
    with pytest.raises(UserError, match="one cloud to learn from; pointnet needs at least 2"):
        train_and_score(fixed_draw(one), test_set, OPTIONS, CPU)


def test_a_loss_that_is_not_finite_moves_nothing():
    weight = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    with pytest.raises(UserError, match="epoch 3: the loss is not finite"):
        descend(optimizer, weight.sum() * torch.inf, "epoch 3")
    assert weight.item() == 1.0
    descend(optimizer, weight.sum(), "epoch 4")
    assert weight.item() == 0.0


@pytest.fixture(scope="module")
def held_out():
    return scenes(3, first=70)


def counts(right, true, found):
    return ClassCounts(*(np.array(each) for each in (right, true, found)))


def test_the_mean_iou_by_hand():
    one = counts([3, 0, 2, 0], [4, 0, 2, 1], [3, 1, 3, 0])
    assert one.iou() == [3 / 4, None, 2 / 3, 0.0]
    assert one.miou() == pytest.approx((3 / 4 + 2 / 3) / 3)
    assert one.accuracy() == 5 / 7
    both = one + counts([1, 0, 0, 0], [1, 0, 0, 0], [2, 0, 0, 0])
    assert both.right.tolist() == [4, 0, 2, 0]
    assert both.iou()[0] == 4 / (5 + 5 - 4)


def test_counts_are_of_labeled_points_frame_by_frame(held_out):
    class Says(torch.nn.Module):
        """Everything is a wall."""

        def forward(self, points, strength):
            logits = torch.zeros(len(points), 4, points.shape[1])
            logits[:, 1] = 1.0
            return logits

    found = count_frames(Says(), held_out, CPU)
    assert list(found) == list(held_out.names)
    for row, name in enumerate(held_out.names):
        segment = held_out.parts[row]
        assert found[name].right.tolist() == [0, (segment == 1).sum(), 0, 0]
        assert found[name].found.tolist() == [0, (segment >= 0).sum(), 0, 0]
        assert found[name].true.tolist() == [(segment == k).sum() for k in range(4)]


@pytest.mark.parametrize(("network", "epochs"), [("pointnet-small", 60), ("ptv3", 15)])
def test_frames_are_learned_and_wrong_labels_are_not(network, epochs, held_out):
    train = scenes(4)
    options = dataclasses.replace(FRAMES, network=network, epochs=epochs, test_every=epochs)
    right, _ = train_and_score(fixed_draw(train), held_out, options, CPU)
    assert right.last > 0.7
    assert total(right.found.values()).accuracy() > 0.8
    if network == "ptv3":  # once is enough
        return
    mixed = np.where(train.parts >= 0, (train.parts + 1) % 3, -1)
    wrong = dataclasses.replace(train, parts=mixed)
    found, _ = train_and_score(fixed_draw(wrong), held_out, options, CPU)
    assert found.last < 0.2


def test_frames_are_turned_about_the_origin_and_never_tilted():
    points = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    made = augmented_frames(points.repeat(400, 1, 1), 30.0, torch.Generator().manual_seed(0))
    assert not made[:, 0].any()
    length = made[:, 1].norm(dim=1)
    assert 0.95 <= length.min() < 0.96 < 1.04 < length.max() <= 1.05
    torch.testing.assert_close(made[:, 3], torch.stack([0 * length, 0 * length, length], dim=1))
    angle = torch.atan2(made[:, 1, 1], made[:, 1, 0])
    assert math.radians(29) < angle.abs().max() <= math.radians(30.001)
    left = made[:, 1, 0] * made[:, 2, 1] - made[:, 1, 1] * made[:, 2, 0] > 0
    assert 0.4 < left.double().mean() < 0.6  # the others are mirrored
    assert (made[:, 1] * made[:, 2]).sum(dim=1).abs().max() < 1e-6


def test_frames_that_cannot_be_scored_are_refused(held_out):
    nothing = np.full_like(held_out.parts, -1)
    bare = dataclasses.replace(held_out, parts=nothing)
    with pytest.raises(UserError, match="nothing to score"):
        train_and_score(fixed_draw(scenes(2)), bare, FRAMES, CPU)


def test_the_tempered_loss_by_hand():
    """Four points: three of class 0 and one of class 2, at power 0.5."""
    torch.manual_seed(0)
    logits = torch.randn(1, 3, 5)
    labels = torch.tensor([[0, 0, 2, 0, -1]])
    losses = -logits.log_softmax(dim=1)[0, labels[0].clamp_min(0), torch.arange(5)]
    often, rare = 0.75**-0.5, 0.25**-0.5
    wanted = (often * losses[[0, 1, 3]].sum() + rare * losses[2]) / (3 * often + rare)
    torch.testing.assert_close(tempered_loss(logits, labels, 0.5), wanted)
    torch.testing.assert_close(tempered_loss(logits, labels, 1.0), losses[:4].mean())
    nothing = torch.full_like(labels, -1)
    assert tempered_loss(logits, nothing, 0.5) == 0

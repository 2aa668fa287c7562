"""Scores of frames: counts by hand, learning, repeats, and turns about z that keep the origin."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from tests.train.dataset_distillation.lidar.toy_streets import streets
from train.core.errors import UserError
from train.dataset_distillation.lidar.evaluate import (
    ClassCounts,
    FrameTraining,
    augmented_frames,
    score_frames,
    tempered_loss,
    train_and_score_frames,
)
from train.dataset_distillation.lidar.make import fixed_draw

CPU = torch.device("cpu")
OPTIONS = FrameTraining(network="pointnet", epochs=12, batch_size=4, test_every=4)


@pytest.fixture(scope="module")
def held_out():
    return streets(3, first=70)


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

    found = score_frames(Says(), held_out, CPU)
    assert list(found) == list(held_out.names)
    for row, name in enumerate(held_out.names):
        segment = held_out.segment[row]
        assert found[name].right.tolist() == [0, (segment == 1).sum(), 0, 0]
        assert found[name].found.tolist() == [0, (segment >= 0).sum(), 0, 0]
        assert found[name].true.tolist() == [(segment == k).sum() for k in range(4)]


@pytest.mark.parametrize(("network", "epochs"), [("pointnet-small", 60), ("ptv3", 15)])
def test_it_learns_and_wrong_labels_do_not(network, epochs, held_out):
    train = streets(4)
    options = dataclasses.replace(OPTIONS, network=network, epochs=epochs, test_every=epochs)
    right, _ = train_and_score_frames(fixed_draw(train), held_out, options, CPU)
    assert right.last > 0.7
    assert right.counts.accuracy() > 0.8
    if network == "ptv3":  # once is enough
        return
    mixed = np.where(train.segment >= 0, (train.segment + 1) % 3, -1)
    wrong = dataclasses.replace(train, clouds=dataclasses.replace(train.clouds, parts=mixed))
    found, _ = train_and_score_frames(fixed_draw(wrong), held_out, options, CPU)
    assert found.last < 0.2


def test_it_repeats_itself_and_the_seed_matters(held_out):
    draw = fixed_draw(streets(2))
    runs = [
        train_and_score_frames(
            draw, held_out, dataclasses.replace(OPTIONS, network="ptv3", epochs=3, seed=seed), CPU
        )
        for seed in (3, 3, 4)
    ]
    weights = [next(network.parameters()) for _, network in runs]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert runs[0][0].last == runs[1][0].last


def test_the_best_epoch_is_one_of_those_looked_at(held_out):
    asked = []
    draw = fixed_draw(streets(2))
    score, _ = train_and_score_frames(
        lambda epoch: asked.append(epoch) or draw(epoch), held_out, OPTIONS, CPU
    )
    assert asked == list(range(1, 13))
    assert score.best >= score.last
    assert score.best_epoch in (4, 8, 12)


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
    nothing = np.full_like(held_out.segment, -1)
    bare = dataclasses.replace(held_out, clouds=dataclasses.replace(held_out.clouds, parts=nothing))
    with pytest.raises(UserError, match="nothing to score"):
        train_and_score_frames(fixed_draw(streets(2)), bare, OPTIONS, CPU)
    with pytest.raises(UserError, match="epochs 0"):
        FrameTraining(epochs=0)
    with pytest.raises(UserError, match="turn_deg 200"):
        FrameTraining(turn_deg=200)
    with pytest.raises(UserError, match="share_power -1"):
        FrameTraining(share_power=-1)


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

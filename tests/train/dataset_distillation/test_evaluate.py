"""Evaluation: learns what can be learned, repeats itself, and keeps last and best apart."""

import dataclasses

import numpy as np
import pytest
import torch

from tests.train.dataset_distillation.toys import toy_clouds
from train.core.errors import UserError
from train.dataset_distillation import evaluate
from train.dataset_distillation.evaluate import EvaluationOptions, augmented, train_and_score

CPU = torch.device("cpu")
OPTIONS = EvaluationOptions(network="pointnet", epochs=6, batch_size=16, test_every=2)


@pytest.fixture(autouse=True)
def small_pointnet(monkeypatch):
    """A PointNet that trains in a moment."""
    from train.dataset_distillation.networks.pointnet import PointNet

    monkeypatch.setattr(
        evaluate, "build_network", lambda name, classes: PointNet(classes, widths=(16, 32, 64))
    )


@pytest.fixture(scope="module")
def test_set():
    return toy_clouds(6, seed=9)


def _draw(clouds):
    points, labels = torch.from_numpy(clouds.points), torch.from_numpy(clouds.labels)
    return lambda epoch: (points, labels)


def test_it_learns_and_wrong_labels_do_not(test_set):
    train = toy_clouds(10, seed=1)
    options = dataclasses.replace(OPTIONS, epochs=30)
    right, _ = train_and_score(_draw(train), test_set, options, CPU)
    assert right.last > 0.8
    mixed = dataclasses.replace(train, labels=np.roll(train.labels, 10))
    wrong, _ = train_and_score(_draw(mixed), test_set, options, CPU)
    assert wrong.last < 0.2


def test_it_repeats_itself_and_the_seed_matters(test_set):
    train = toy_clouds(4, seed=1)
    runs = [
        train_and_score(_draw(train), test_set, dataclasses.replace(OPTIONS, seed=seed), CPU)
        for seed in (3, 3, 4)
    ]
    weights = [network.head.weight for _, network in runs]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert dataclasses.replace(runs[0][0], seconds=0) == dataclasses.replace(runs[1][0], seconds=0)


def test_last_and_best_are_kept_apart(test_set, monkeypatch):
    scores = iter([5, 9, 7])
    monkeypatch.setattr(
        evaluate, "count_right", lambda *_: np.array([next(scores), 0, 0, 0], dtype=np.int64)
    )
    found, _ = train_and_score(_draw(toy_clouds(2, seed=1)), test_set, OPTIONS, CPU)
    assert found.last == 7 / 24
    assert (found.best, found.best_epoch) == (9 / 24, 4)
    assert found.right == (7, 0, 0, 0)
    assert found.clouds == (6, 6, 6, 6)


def test_an_epoch_gets_its_own_draw(test_set):
    asked = []
    train = _draw(toy_clouds(2, seed=1))
    train_and_score(lambda epoch: asked.append(epoch) or train(epoch), test_set, OPTIONS, CPU)
    assert asked == [0, 1, 2, 3, 4, 5]


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
    with pytest.raises(UserError, match="one cloud to learn from"):
        train_and_score(_draw(one), test_set, OPTIONS, CPU)

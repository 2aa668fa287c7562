"""The loop that all evaluations share: when it scores, what it keeps, and the falling rate."""

import time
from types import SimpleNamespace

import pytest
import torch

from train.core.errors import UserError
from train.dataset_distillation.epochs import descend, set_rate, train_epochs


def trained(epochs, test_every, scores):
    seen, given = [], iter(scores)
    done = train_epochs(
        SimpleNamespace(epochs=epochs, test_every=test_every),
        seen.append,
        lambda: (next(given), f"after {seen[-1]}"),
    )
    assert next(given, None) is None
    return seen, done


def test_it_scores_now_and_then_and_after_the_last_epoch():
    seen, done = trained(7, 3, [0.2, 0.9, 0.5])
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    assert (done.last, done.best, done.best_epoch, done.found) == (0.5, 0.9, 6, "after 7")


def test_the_last_epoch_is_scored_once_and_the_first_of_equals_is_the_best():
    _, done = trained(4, 2, [0.0, 0.0])
    assert (done.last, done.best, done.best_epoch) == (0.0, 0.0, 2)


def _slow_score():
    time.sleep(0.3)
    return 0.0, None


def test_the_time_of_scoring_is_not_counted():
    done = train_epochs(SimpleNamespace(epochs=1, test_every=1), lambda epoch: None, _slow_score)
    assert done.seconds < 0.2


def test_the_rate_falls_by_a_cosine():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=9.0)
    rates = SimpleNamespace(epochs=5, test_every=1, lr=1.0, last_lr=0.2)
    found = []
    for epoch in (1, 3, 5):
        set_rate(optimizer, rates, epoch)
        found.append(optimizer.param_groups[0]["lr"])
    assert found == pytest.approx([1.0, 0.6, 0.2])
    set_rate(optimizer, SimpleNamespace(epochs=1, test_every=1, lr=1.0, last_lr=0.2), 1)
    assert optimizer.param_groups[0]["lr"] == 1.0


def test_a_loss_that_is_not_finite_moves_nothing():
    weight = torch.ones(1, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=1.0)
    with pytest.raises(UserError, match="epoch 3: the loss is not finite"):
        descend(optimizer, weight.sum() * torch.inf, "epoch 3")
    assert weight.item() == 1.0
    descend(optimizer, weight.sum(), "epoch 4")
    assert weight.item() == 0.0

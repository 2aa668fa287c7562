"""Trains for epochs and keeps the last score and the best, as every evaluation of a set does."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import torch
from torch import Tensor

from train.core.errors import UserError

Found = TypeVar("Found")


class Length(Protocol):
    """How long a network is trained, and how often it is scored."""

    @property
    def epochs(self) -> int:
        """Passes over the small set."""

    @property
    def test_every(self) -> int:
        """Epochs between two scores, of which the best is kept."""


class Rates(Length, Protocol):
    """Learning rates that fall by a cosine."""

    @property
    def lr(self) -> float:
        """Of the first epoch."""

    @property
    def last_lr(self) -> float:
        """Of the last epoch."""


@dataclass(frozen=True)
class Epochs(Generic[Found]):
    """What a training gave.

    Attributes
    ----------
    last, best
        Scores after the last epoch and at the best of those looked at.
    best_epoch
        From 1; the first of equal ones.
    found
        What was scored after the last epoch.
    seconds
        Wall time of the training, tests not counted.
    """

    last: float
    best: float
    best_epoch: int
    found: Found
    seconds: float


def train_epochs(
    length: Length, train: Callable[[int], None], score: Callable[[], tuple[float, Found]]
) -> Epochs[Found]:
    """Train for as many epochs as are wanted, and score now and then, and after the last.

    Parameters
    ----------
    length
        At least one epoch.
    train
        Called with the epoch, from 1.
    score
        Returns a score, the higher the better, and what it was computed from.
    """
    best, best_epoch, seconds = -math.inf, 0, 0.0
    for epoch in range(1, length.epochs + 1):
        begin = time.monotonic()
        train(epoch)
        seconds += time.monotonic() - begin
        if epoch < length.epochs and epoch % length.test_every:
            continue
        last, found = score()
        if last > best:
            best, best_epoch = last, epoch
    return Epochs(last, best, best_epoch, found, seconds)


def set_rate(optimizer: torch.optim.Optimizer, rates: Rates, epoch: int) -> None:
    """Give an optimizer the rate of an epoch, from 1."""
    share = (epoch - 1) / max(rates.epochs - 1, 1)
    for group in optimizer.param_groups:
        group["lr"] = rates.last_lr + (rates.lr - rates.last_lr) * (
            (1 + math.cos(math.pi * share)) / 2
        )


def refuse_counts_below_one(options: object, *names: str) -> None:
    """Raise UserError if one of the named options is below 1."""
    for name in names:
        if getattr(options, name) < 1:
            raise UserError(f"{name.replace('_', ' ')} {getattr(options, name)}: at least 1")


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, where: str) -> None:
    """Take a step; UserError, which begins with `where`, if the loss is not finite."""
    if not bool(torch.isfinite(loss)):
        raise UserError(f"{where}: the loss is not finite; lower the rate")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()

"""Trains a network from scratch on a small set, and scores it on held-out clouds.

As in the authors' code: Adam, cosine to a tenth, augmented clouds. They report the best epoch by
its test score; here the last epoch is the score, and the best one stands beside it.

Shape letters: B clouds, N points.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from train.core.errors import UserError
from train.dataset_distillation.chance import generator_for, weights_from
from train.dataset_distillation.epochs import (
    descend,
    refuse_counts_below_one,
    set_rate,
    train_epochs,
)
from train.dataset_distillation.matching import labeled_loss
from train.dataset_distillation.networks.build import build_network
from train.dataset_distillation.objects.clouds import ObjectClouds

_NETWORK, _DRAWS = 11, 12
_SCALES: Final = (2 / 3, 3 / 2)
_SHIFT: Final = 0.2

Draw = Callable[[int], tuple[Tensor, Tensor]]
"""From an epoch's number to clouds (B, N, 3) and labels (B,)."""


@dataclass(frozen=True, kw_only=True)
class EvaluationOptions:
    """How a network is trained and scored.

    Attributes
    ----------
    network
        A name of `NETWORKS`.
    epochs
        The authors take 200.
    batch_size
        Clouds of a step; the authors take 256.
    lr, last_lr, weight_decay
        Of Adam; the rate falls by a cosine.
    augment
        Scale each axis by 2/3 to 3/2 and shift it by at most 0.2.
    test_every
        Epochs between two scores, of which the best is kept; the authors score every epoch.
    seed
        Of weights and draws.
    """

    network: str = "pointnet"
    epochs: int = 200
    batch_size: int = 256
    lr: float = 1e-3
    last_lr: float = 1e-4
    weight_decay: float = 5e-4
    augment: bool = True
    test_every: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that nothing can be trained with."""
        refuse_counts_below_one(self, "epochs", "batch_size", "test_every")


@dataclass(frozen=True)
class Score:
    """What a trained network got right.

    Attributes
    ----------
    last, best
        Shares of the test clouds, after the last epoch and at the best of those looked at.
    best_epoch
        From 1.
    right, clouds
        Test clouds of each class, right after the last epoch, and all.
    seconds
        Wall time, tests not counted.
    """

    last: float
    best: float
    best_epoch: int
    right: tuple[int, ...]
    clouds: tuple[int, ...]
    seconds: float


def train_and_score(
    draw: Draw, test: ObjectClouds, options: EvaluationOptions, device: torch.device
) -> tuple[Score, nn.Module]:
    """Train a network from scratch and score it.

    Parameters
    ----------
    draw
        Gives an epoch's clouds, in the orientation of the test clouds.
    test
        Held out.
    options
        How.
    device
        Where to compute.

    Returns
    -------
    score
        On the test clouds.
    network
        After the last epoch, in evaluation mode.

    Raises
    ------
    UserError
        If there is only one cloud to learn from, or the loss is not finite.
    """
    with weights_from(options.seed, _NETWORK):
        network = build_network(options.network, len(test.classes)).to(device)
    optimizer = torch.optim.Adam(
        network.parameters(), lr=options.lr, weight_decay=options.weight_decay
    )
    chance = generator_for(options.seed, _DRAWS)

    def train(epoch: int) -> None:
        set_rate(optimizer, options, epoch)
        _train_epoch(network, optimizer, draw(epoch - 1), options, chance, device)

    def score() -> tuple[float, NDArray[np.int64]]:
        right = count_right(network, test, device)
        return float(right.sum()) / len(test), right

    with weights_from(options.seed, _DRAWS):  # dropout draws from torch's own generator
        done = train_epochs(options, train, score)
    found = Score(
        last=done.last,
        best=done.best,
        best_epoch=done.best_epoch,
        right=tuple(done.found.tolist()),
        clouds=tuple(test.counts().tolist()),
        seconds=done.seconds,
    )
    return found, network.eval()


def count_right(
    network: nn.Module, test: ObjectClouds, device: torch.device, *, batch_size: int = 32
) -> NDArray[np.int64]:
    """Return how many clouds of each class a network names rightly, (classes,)."""
    network.eval()
    right = np.zeros(len(test.classes), dtype=np.int64)
    with torch.no_grad():
        for begin in range(0, len(test), batch_size):
            labels = test.labels[begin : begin + batch_size]
            points = torch.from_numpy(test.points[begin : begin + batch_size]).to(device)
            found = network(points).argmax(dim=1).cpu().numpy()
            right += np.bincount(labels[found == labels], minlength=len(right))
    return right


def embed(network: nn.Module, clouds: ObjectClouds, device: torch.device) -> NDArray[np.float64]:
    """Return a PointNet's features of all clouds, (B, C) float64."""
    rows = []
    with torch.no_grad():
        for begin in range(0, len(clouds), 32):
            points = torch.from_numpy(clouds.points[begin : begin + 32]).to(device)
            rows.append(network.features(points).double().cpu().numpy())  # type: ignore[operator]
    return np.concatenate(rows)


def augmented(points: Tensor, chance: torch.Generator) -> Tensor:
    """Return clouds (B, N, 3) scaled and shifted along each axis, every cloud in its own way."""
    low, high = _SCALES
    scale = low + (high - low) * torch.rand(len(points), 1, 3, generator=chance)
    shift = _SHIFT * (2 * torch.rand(len(points), 1, 3, generator=chance) - 1)
    return points * scale.to(points.device) + shift.to(points.device)


def _train_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    drawn: tuple[Tensor, Tensor],
    options: EvaluationOptions,
    chance: torch.Generator,
    device: torch.device,
) -> None:
    network.train()
    points, labels = drawn
    if len(points) < 2:
        raise UserError("there is one cloud to learn from; a classifier needs at least two")
    order = torch.randperm(len(points), generator=chance)
    for rows in torch.split(order, options.batch_size):
        if len(rows) < 2:  # batch norm has nothing to say about a cloud alone
            continue
        clouds = points[rows].to(device)
        if options.augment:
            clouds = augmented(clouds, chance)
        loss = labeled_loss(network(clouds), labels[rows].to(device))
        descend(optimizer, loss, f"network {options.network}")

"""Trains a segmenter from scratch on a small set, and scores the parts of held-out clouds.

As in the authors' code: SGD, a PointNet with batch norms. The last epoch is the score; the best
stands beside it.

Shape letters: B clouds, N points, P parts.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from train.core.errors import UserError
from train.dataset_distillation.chance import generator_for, weights_from
from train.dataset_distillation.epochs import descend, refuse_counts_below_one, train_epochs
from train.dataset_distillation.evaluate import augmented
from train.dataset_distillation.matching import labeled_loss
from train.dataset_distillation.networks.pointnet import WIDTHS, PointNet
from train.dataset_distillation.objects.clouds import ObjectClouds
from train.dataset_distillation.tasks import mean_part_iou

_NETWORK, _DRAWS = 21, 22


@dataclass(frozen=True, kw_only=True)
class PartOptions:
    """How a segmenter is trained and scored.

    Attributes
    ----------
    epochs
        The authors take 1,000.
    batch_size
        Clouds of a step.
    lr, momentum, weight_decay
        Of SGD.
    test_every
        Epochs between two scores.
    widths
        Of the PointNet.
    seed
        Of weights and draws.
    """

    epochs: int = 200
    batch_size: int = 32
    lr: float = 1e-2
    momentum: float = 0.9
    weight_decay: float = 1e-2
    test_every: int = 20
    widths: tuple[int, ...] = WIDTHS
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that nothing can be trained with."""
        refuse_counts_below_one(self, "epochs", "batch_size", "test_every")


@dataclass(frozen=True)
class PartScore:
    """How well parts are found.

    Attributes
    ----------
    last, best
        Mean over classes of the part IoU, after the last epoch and at the best of those looked at.
    best_epoch
        From 1.
    classes
        The same of each class, after the last epoch.
    seconds
        Wall time, tests not counted.
    """

    last: float
    best: float
    best_epoch: int
    classes: tuple[float, ...]
    seconds: float


def train_and_score_parts(
    train: ObjectClouds, test: ObjectClouds, options: PartOptions, device: torch.device
) -> tuple[PartScore, nn.Module]:
    """Train a segmenter from scratch and score it.

    Parameters
    ----------
    train, test
        With parts of the same names, in one orientation.
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
        If clouds have no parts or other ones, there is one cloud to learn from, or the loss is not
        finite.
    """
    if train.parts is None or test.parts is None or train.part_names != test.part_names:
        raise UserError("clouds to learn from and to be scored on need parts of the same names")
    if len(train) < 2:
        raise UserError("there is one cloud to learn from; batch norms need at least two")
    with weights_from(options.seed, _NETWORK):
        network = PointNet(
            len(train.part_names), widths=options.widths, norm="batch", segments=True
        ).to(device)
    optimizer = torch.optim.SGD(
        network.parameters(),
        lr=options.lr,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
    )
    chance = generator_for(options.seed, _DRAWS)
    points, parts = torch.from_numpy(train.points), torch.from_numpy(train.parts)

    def train_epoch(epoch: int) -> None:
        network.train()
        order = torch.randperm(len(points), generator=chance)
        for rows in torch.split(order, options.batch_size):
            clouds = augmented(points[rows].to(device), chance)
            loss = labeled_loss(network(clouds), parts[rows].to(device))
            descend(optimizer, loss, f"epoch {epoch}")

    done = train_epochs(
        options,
        train_epoch,
        lambda: mean_part_iou(predict_parts(network, test, device), test),
    )
    found = PartScore(done.last, done.best, done.best_epoch, tuple(done.found), done.seconds)
    return found, network.eval()


def predict_parts(
    network: nn.Module, clouds: ObjectClouds, device: torch.device
) -> list[NDArray[np.int64]]:
    """Return for each cloud the part of every point, (N,), of the parts that its class has.

    As in PointNet's protocol: what class a cloud is of is known.
    """
    network.eval()
    assert clouds.parts is not None
    found: list[NDArray[np.int64]] = []
    with torch.no_grad():
        for begin in range(0, len(clouds), 32):
            rows = slice(begin, begin + 32)
            logits = network(torch.from_numpy(clouds.points[rows]).to(device)).cpu()
            for scores, label in zip(logits, clouds.labels[rows], strict=True):
                own = clouds.parts[clouds.rows_of(int(label))]
                allowed = np.unique(own[own >= 0])
                found.append(allowed[scores[torch.from_numpy(allowed)].argmax(dim=0).numpy()])
    return found

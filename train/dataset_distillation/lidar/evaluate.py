"""Trains a network from scratch on a small set of frames, and scores it on held-out frames.

The last epoch is the score; the best of those looked at stands beside it. All sets are trained on
in the same number of steps of as many points.

Shape letters: B frames, N points of each, C classes.
"""

import functools
import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from train.core.errors import UserError
from train.dataset_distillation.chance import generator_for, weights_from
from train.dataset_distillation.epochs import (
    descend,
    refuse_counts_below_one,
    set_rate,
    train_epochs,
)
from train.dataset_distillation.lidar.frames import FrameClouds
from train.dataset_distillation.matching import labeled_loss
from train.dataset_distillation.networks.segmenters import build_segmenter

_NETWORK, _DRAWS = 41, 42
_SCALE: Final = (0.95, 1.05)
_TEST_FRAMES: Final = 16

FrameDraw = Callable[[int], tuple[Tensor, Tensor, Tensor]]
"""From an epoch's number to points (B, N, 3) in the unit range, strengths (B, N) and train ids
(B, N)."""


@dataclass(frozen=True, kw_only=True)
class FrameTraining:
    """How a network is trained on frames and scored.

    Attributes
    ----------
    network
        A name of `SEGMENTERS`.
    epochs
        Passes over the small set.
    batch_size
        Frames of a step.
    lr, last_lr, weight_decay
        Of AdamW; the rate falls by a cosine.
    share_power
        A class counts in the loss as its share of a step's points to this power: 1 is the plain
        loss, below it rare classes count for more.
    turn_deg
        Largest turn about z of a training frame, either way; each is also mirrored left to right
        half of the time, and scaled by at most 5%.
    grid_size_m
        Edge of a voxel, for networks on voxels.
    test_every
        Epochs between two scores.
    seed
        Of weights and draws.
    """

    network: str = "ptv3"
    epochs: int = 200
    batch_size: int = 8
    lr: float = 2e-3
    last_lr: float = 2e-4
    weight_decay: float = 5e-3
    share_power: float = 1.0
    turn_deg: float = 15.0
    grid_size_m: float = 0.5
    test_every: int = 50
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that nothing can be trained with."""
        refuse_counts_below_one(self, "epochs", "batch_size", "test_every")
        if not 0 <= self.share_power <= 1:
            raise UserError(f"share_power {self.share_power}: 0 to 1")
        if not 0 <= self.turn_deg <= 180:
            raise UserError(f"turn_deg {self.turn_deg}: 0 to 180 degrees")


@dataclass(frozen=True, eq=False)
class ClassCounts:
    """Points of each class on some frames; adds up with ``+``.

    Attributes
    ----------
    right, true, found
        (C,) int64: points named rightly, points of the class, points named so.
    """

    right: NDArray[np.int64]
    true: NDArray[np.int64]
    found: NDArray[np.int64]

    def __add__(self, other: "ClassCounts") -> "ClassCounts":
        return ClassCounts(
            self.right + other.right, self.true + other.true, self.found + other.found
        )

    def iou(self) -> list[float | None]:
        """Return intersection over union of each class that has points; None for others."""
        union = self.true + self.found - self.right
        return [
            float(right / whole) if true else None
            for right, true, whole in zip(self.right, self.true, union, strict=True)
        ]

    def miou(self) -> float:
        """Return the mean IoU over the classes that have points: the same for every network."""
        known = [value for value in self.iou() if value is not None]
        return float(np.mean(known)) if known else 0.0

    def accuracy(self) -> float:
        """Return the share of points that are named rightly."""
        return float(self.right.sum() / max(int(self.true.sum()), 1))


@dataclass(frozen=True)
class FrameScore:
    """How well a trained network names the points of held-out frames.

    Attributes
    ----------
    last, best
        Mean IoU over the classes that the frames have, after the last epoch and at the best of
        those looked at.
    best_epoch
        From 1.
    frames
        Counts of each frame after the last epoch, by its name.
    seconds
        Wall time, tests not counted.
    """

    last: float
    best: float
    best_epoch: int
    frames: dict[str, ClassCounts]
    seconds: float

    @property
    def counts(self) -> ClassCounts:
        """Return the counts of all frames."""
        return total(self.frames.values())


def total(counts: Iterable[ClassCounts]) -> ClassCounts:
    """Return the sum of counts, at least one."""
    return functools.reduce(operator.add, counts)


def train_and_score_frames(
    draw: FrameDraw,
    test: FrameClouds,
    options: FrameTraining,
    device: torch.device,
) -> tuple[FrameScore, nn.Module]:
    """Train a network from scratch and score it.

    Parameters
    ----------
    draw
        Gives an epoch's frames, in the unit and orientation of the test frames.
    test
        Held out.
    options
        How.
    device
        Where to compute.

    Returns
    -------
    score
        On the test frames.
    network
        After the last epoch, in evaluation mode.

    Raises
    ------
    UserError
        If no test point has a class that counts, or the loss is not finite.
    """
    if not test.class_counts().any():
        raise UserError("no point of the held-out frames has a class that counts: nothing to score")
    with weights_from(options.seed, _NETWORK):
        network = build_segmenter(
            options.network, len(test.class_names), options.grid_size_m, test.meters
        ).to(device)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=options.lr, weight_decay=options.weight_decay
    )
    chance = generator_for(options.seed, _DRAWS)

    def train(epoch: int) -> None:
        set_rate(optimizer, options, epoch)
        _train_epoch(network, optimizer, draw(epoch), options, chance, device)

    def score() -> tuple[float, dict[str, ClassCounts]]:
        counts = score_frames(network, test, device)
        return total(counts.values()).miou(), counts

    with weights_from(options.seed, _DRAWS):  # drop path and shuffled curves draw from torch's own
        done = train_epochs(options, train, score)
    found = FrameScore(done.last, done.best, done.best_epoch, done.found, done.seconds)
    return found, network.eval()


def score_frames(
    network: nn.Module, test: FrameClouds, device: torch.device
) -> dict[str, ClassCounts]:
    """Return what a network gets right on each frame, by the frame's name."""
    network.eval()
    size = len(test.class_names)
    found = {}
    with torch.no_grad():
        for begin in range(0, len(test), _TEST_FRAMES):
            rows = slice(begin, begin + _TEST_FRAMES)
            points = torch.from_numpy(test.clouds.points[rows]).to(device)
            strength = torch.from_numpy(test.strength[rows]).to(device)
            named = network(points, strength).argmax(dim=1).cpu().numpy()
            for name, ours, true in zip(test.names[rows], named, test.segment[rows], strict=True):
                counted = true >= 0
                found[name] = ClassCounts(
                    np.bincount(true[counted & (ours == true)], minlength=size),
                    np.bincount(true[counted], minlength=size),
                    np.bincount(ours[counted], minlength=size),
                )
    return found


def augmented_frames(points: Tensor, turn_deg: float, chance: torch.Generator) -> Tensor:
    """Return frames (B, N, 3) turned about z, half of them mirrored, and scaled a little.

    Parameters
    ----------
    points
        Any unit; the origin stays where it is.
    share_power
        A class counts in the loss as its share of a step's points to this power: 1 is the plain
        loss, below it rare classes count for more.
    turn_deg
        Largest turn, either way.
    chance
        On the CPU.
    """
    size = len(points)
    angle = math.radians(turn_deg) * (2 * torch.rand(size, generator=chance) - 1)
    mirror = torch.where(torch.rand(size, generator=chance) < 0.5, -1.0, 1.0)
    low, high = _SCALE
    scale = low + (high - low) * torch.rand(size, generator=chance)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    zero = torch.zeros(size)
    # Rows are x, y, z before, columns after: y changes its sign first, then the frame is turned.
    turn = torch.stack(
        [cos, sin, zero, -mirror * sin, mirror * cos, zero, zero, zero, scale], dim=1
    )
    return points @ turn.view(size, 3, 3).to(points)


def tempered_loss(logits: Tensor, labels: Tensor, power: float) -> Tensor:
    """Return the cross-entropy in which a class weighs as its share of the points to a power.

    Parameters
    ----------
    logits
        (B, C, N).
    labels
        (B, N) train ids; -1 counts for nothing.
    power
        1 is the plain mean, 0 counts all classes that are there alike.
    """
    counts = torch.bincount(labels[labels >= 0], minlength=logits.shape[1])
    shares = counts / counts.sum().clamp_min(1)
    weight = torch.where(counts > 0, shares.clamp_min(1e-9) ** (power - 1), 0.0)
    total = functional.cross_entropy(logits, labels, weight, ignore_index=-1, reduction="sum")
    return total / (weight * counts).sum().clamp_min(1e-9)


def _train_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    drawn: tuple[Tensor, Tensor, Tensor],
    options: FrameTraining,
    chance: torch.Generator,
    device: torch.device,
) -> None:
    network.train()
    points, strength, segment = drawn
    order = torch.randperm(len(points), generator=chance)
    for rows in torch.split(order, options.batch_size):
        frames = augmented_frames(points[rows].to(device), options.turn_deg, chance)
        logits = network(frames, strength[rows].to(device))
        labels = segment[rows].to(device)
        loss = (
            labeled_loss(logits, labels)
            if options.share_power == 1
            else tempered_loss(logits, labels, options.share_power)
        )
        descend(optimizer, loss, f"network {options.network}")

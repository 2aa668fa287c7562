"""Trains a network from scratch on a small set, and scores it on held-out clouds.

Three ways, as in the authors' code for classes and parts, and ours for LiDAR frames: what a network
names (classes of clouds, parts of their points, classes of a frame's points), how clouds are
augmented, and what is counted. The authors report the best epoch by its test score; here the last
epoch is the score, and the best one stands beside it.

Shape letters: B clouds, N points, C classes or parts, K classes of clouds.
"""

import functools
import math
import operator
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from train.core.errors import UserError
from train.core.iou import ClassCounts
from train.dataset_distillation.chance import Stream, generator_for, weights_from
from train.dataset_distillation.clouds import NO_PART, PointClouds
from train.dataset_distillation.matching import labeled_loss
from train.dataset_distillation.networks.classifiers import build_network
from train.dataset_distillation.networks.pointnet import WIDTHS, PointNet
from train.dataset_distillation.networks.segmenters import PointSegmenter, build_segmenter
from train.dataset_distillation.options import refuse_below

_SCALES: Final = (2 / 3, 3 / 2)
_SHIFT: Final = 0.2
_FRAME_SCALES: Final = (0.95, 1.05)
_TESTED_CLOUDS: Final = 32
_TESTED_FRAMES: Final = 16

Found = TypeVar("Found")


class Sample(NamedTuple):
    """What a network sees in one epoch."""

    points: Tensor
    """(B, N, 3)."""
    labels: Tensor
    """(B,) classes."""
    parts: Tensor | None = None
    """(B, N)."""
    strength: Tensor | None = None
    """(B, N)."""

    def taken(self, rows: Tensor, device: torch.device) -> "Sample":
        """Return some of the clouds, on a device."""
        known = {name: values for name, values in self._asdict().items() if values is not None}
        return Sample(**{name: values[rows].to(device) for name, values in known.items()})


Draw = Callable[[int], Sample]
"""From an epoch's number, from 1, to its clouds."""


def sample_of(clouds: PointClouds) -> Sample:
    """Return clouds as tensors."""
    found = {name: getattr(clouds, name) for name in Sample._fields}
    return Sample(**{name: torch.from_numpy(v) for name, v in found.items() if v is not None})


def fixed_draw(clouds: PointClouds) -> Draw:
    """Return what gives the same clouds in every epoch."""
    sample = sample_of(clouds)
    return lambda epoch: sample


@dataclass(frozen=True)
class Score(Generic[Found]):
    """How well a trained network does on held-out clouds.

    Attributes
    ----------
    last, best
        After the last epoch and at the best of those looked at: the share of clouds named rightly,
        or a mean IoU.
    best_epoch
        From 1; the first of equal ones.
    found
        What `last` is computed from.
    seconds
        Wall time of the training, tests not counted.
    """

    last: float
    best: float
    best_epoch: int
    found: Found
    seconds: float


def total(counts: Iterable[ClassCounts]) -> ClassCounts:
    """Return the sum of counts, at least one."""
    return functools.reduce(operator.add, counts)


@dataclass(frozen=True, kw_only=True)
class Training(ABC, Generic[Found]):
    """How a network is trained and scored.

    Attributes
    ----------
    network
        Its name.
    epochs
        Passes over the small set.
    batch_size
        Clouds of a step.
    lr, last_lr, weight_decay
        Of the optimizer; the rate falls by a cosine.
    test_every
        Epochs between two scores, of which the best is kept.
    seed
        Of weights and draws.
    """

    network: str = "pointnet"
    epochs: int = 200
    batch_size: int = 32
    lr: float = 1e-3
    last_lr: float = 1e-4
    weight_decay: float = 5e-4
    test_every: int = 20
    seed: int = 0

    measure: ClassVar[str]
    """What `Score.last` is, for messages."""
    unit: ClassVar[str] = ""
    """What stands behind its number."""
    weights: ClassVar[Stream]
    draws: ClassVar[Stream]
    steps: ClassVar[Callable[..., torch.optim.Optimizer]]
    """What moves the weights."""
    fewest: ClassVar[int] = 1
    """Clouds that a set has at least: batch norms say nothing about one alone."""
    fewest_in_step: ClassVar[int] = 1
    """Smaller rests of an epoch are left out."""

    def __post_init__(self) -> None:
        """Refuse numbers that nothing can be trained with."""
        names = ("epochs", "batch_size", "test_every")
        refuse_below(1, {name.replace("_", " "): getattr(self, name) for name in names})

    @abstractmethod
    def build(self, test: PointClouds) -> nn.Module:
        """Return an untrained network for the classes of held-out clouds; may refuse them."""

    def augmented(self, points: Tensor, chance: torch.Generator) -> Tensor:
        """Return clouds (B, N, 3) as a step sees them."""
        return augmented(points, chance)

    @abstractmethod
    def loss(self, network: nn.Module, clouds: Sample) -> Tensor:
        """Return the loss of a step."""

    @abstractmethod
    def score(
        self, network: nn.Module, test: PointClouds, device: torch.device
    ) -> tuple[float, Found]:
        """Return the score on held-out clouds, the higher the better, and what it stands on."""

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, from 1."""
        share = (epoch - 1) / max(self.epochs - 1, 1)
        return self.last_lr + (self.lr - self.last_lr) * ((1 + math.cos(math.pi * share)) / 2)


def train_and_score(
    draw: Draw, test: PointClouds, training: Training[Found], device: torch.device
) -> tuple[Score[Found], nn.Module]:
    """Train a network from scratch and score it now and then, and after the last epoch.

    What is drawn for an epoch is in the unit and orientation of the held-out clouds. Returns the
    score, and the network after the last epoch, in evaluation mode. UserError if there are too few
    clouds to learn from, nothing to score, or the loss is not finite.
    """
    with weights_from(training.seed, training.weights):
        network = training.build(test).to(device)
    optimizer = training.steps(
        network.parameters(), lr=training.lr, weight_decay=training.weight_decay
    )
    chance = generator_for(training.seed, training.draws)
    best, best_epoch, seconds = -math.inf, 0, 0.0
    # Dropout, drop path and shuffled curves draw from torch's own generator.
    with weights_from(training.seed, training.draws):
        for epoch in range(1, training.epochs + 1):
            begin = time.monotonic()
            for group in optimizer.param_groups:
                group["lr"] = training.rate(epoch)
            _train_epoch(network, optimizer, draw(epoch), training, chance, device)
            seconds += time.monotonic() - begin
            if epoch < training.epochs and epoch % training.test_every:
                continue
            last, found = training.score(network.eval(), test, device)
            if last > best:
                best, best_epoch = last, epoch
    return Score(last, best, best_epoch, found, seconds), network.eval()


def _train_epoch(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    drawn: Sample,
    training: Training[Found],
    chance: torch.Generator,
    device: torch.device,
) -> None:
    if len(drawn.points) < training.fewest:
        raise UserError(
            f"there is one cloud to learn from; {training.network} needs at least {training.fewest}"
        )
    network.train()
    order = torch.randperm(len(drawn.points), generator=chance)
    for rows in torch.split(order, training.batch_size):
        if len(rows) < training.fewest_in_step:
            continue
        clouds = drawn.taken(rows, device)
        clouds = clouds._replace(points=training.augmented(clouds.points, chance))
        descend(optimizer, training.loss(network, clouds), f"network {training.network}")


def descend(optimizer: torch.optim.Optimizer, loss: Tensor, where: str) -> None:
    """Take a step; UserError, which begins with `where`, if the loss is not finite."""
    if not bool(torch.isfinite(loss)):
        raise UserError(f"{where}: the loss is not finite; lower the rate")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


@dataclass(frozen=True, kw_only=True)
class ClassTraining(Training[ClassCounts]):
    """Classes of clouds are learned: by Adam, of a network of `NETWORKS`."""

    batch_size: int = 256  # as the authors take

    measure, unit = "right", " %"
    weights, draws = Stream.CLASSIFIER, Stream.CLASSIFIER_TRAINING
    steps = torch.optim.Adam
    fewest = fewest_in_step = 2

    def build(self, test: PointClouds) -> nn.Module:
        """See `Training`."""
        return build_network(self.network, len(test.classes))

    def loss(self, network: nn.Module, clouds: Sample) -> Tensor:
        """See `Training`."""
        return labeled_loss(network(clouds.points), clouds.labels)

    def score(
        self, network: nn.Module, test: PointClouds, device: torch.device
    ) -> tuple[float, ClassCounts]:
        """Return the share of clouds that are named rightly, and the counts of each class."""
        counts = count_clouds(network, test, device)
        return counts.accuracy(), counts


@dataclass(frozen=True, kw_only=True)
class PartTraining(Training[list[float]]):
    """Parts of a cloud's points are learned: by SGD at one rate, of a PointNet with batch norms.

    The authors take 1,000 epochs.
    """

    lr: float = 1e-2
    last_lr: float = 1e-2
    weight_decay: float = 1e-2
    widths: tuple[int, ...] = WIDTHS

    measure = "mean part IoU"
    weights, draws = Stream.PARTS_NETWORK, Stream.PARTS_TRAINING
    steps = staticmethod(functools.partial(torch.optim.SGD, momentum=0.9))
    fewest = 2

    def build(self, test: PointClouds) -> nn.Module:
        """See `Training`."""
        return PointNet(len(test.part_names), widths=self.widths, norm="batch", segments=True)

    def loss(self, network: nn.Module, clouds: Sample) -> Tensor:
        """See `Training`."""
        assert clouds.parts is not None
        return labeled_loss(network(clouds.points), clouds.parts)

    def score(
        self, network: nn.Module, test: PointClouds, device: torch.device
    ) -> tuple[float, list[float]]:
        """Return the mean over classes of their part IoU, and that of each class."""
        return mean_part_iou(predict_parts(network, test, device), test)


@dataclass(frozen=True, kw_only=True)
class FrameTraining(Training[dict[str, ClassCounts]]):
    """Classes of a LiDAR frame's points are learned: by AdamW, of a network of `SEGMENTERS`.

    Attributes
    ----------
    share_power
        A class counts in the loss as its share of a step's points to this power: 1 is the plain
        loss, below it rare classes count for more.
    turn_deg
        Largest turn about z of a training frame, either way; each is also mirrored left to right
        half of the time, and scaled by at most 5%.
    grid_size_m
        Edge of a voxel, for networks on voxels.
    """

    network: str = "ptv3"
    batch_size: int = 8
    lr: float = 2e-3
    last_lr: float = 2e-4
    weight_decay: float = 5e-3
    test_every: int = 50
    share_power: float = 1.0
    turn_deg: float = 15.0
    grid_size_m: float = 0.5

    measure = "mIoU"
    weights, draws = Stream.FRAME_NETWORK, Stream.FRAME_TRAINING
    steps = torch.optim.AdamW

    def __post_init__(self) -> None:
        """Refuse numbers that nothing can be trained with."""
        super().__post_init__()
        if not 0 <= self.share_power <= 1:
            raise UserError(f"share_power {self.share_power}: 0 to 1")
        if not 0 <= self.turn_deg <= 180:
            raise UserError(f"turn_deg {self.turn_deg}: 0 to 180 degrees")

    def build(self, test: PointClouds) -> nn.Module:
        """See `Training`; refuses frames without a point that counts."""
        assert test.meters is not None
        if not test.part_counts().any():
            raise UserError(
                "no point of the held-out frames has a class that counts: nothing to score"
            )
        return build_segmenter(self.network, len(test.part_names), self.grid_size_m, test.meters)

    def augmented(self, points: Tensor, chance: torch.Generator) -> Tensor:
        """See `Training`."""
        return augmented_frames(points, self.turn_deg, chance)

    def loss(self, network: nn.Module, clouds: Sample) -> Tensor:
        """See `Training`."""
        assert clouds.parts is not None
        logits = network(clouds.points, clouds.strength)
        if self.share_power == 1:
            return labeled_loss(logits, clouds.parts)
        return tempered_loss(logits, clouds.parts, self.share_power)

    def score(
        self, network: nn.Module, test: PointClouds, device: torch.device
    ) -> tuple[float, dict[str, ClassCounts]]:
        """Return the mean IoU over the classes that are there, and each frame's counts by name."""
        counts = count_frames(network, test, device)
        return total(counts.values()).miou(), counts


@torch.no_grad()
def count_clouds(network: nn.Module, test: PointClouds, device: torch.device) -> ClassCounts:
    """Return how many clouds of each class a network in evaluation mode names rightly."""
    named = [
        network(points.to(device)).argmax(dim=1).cpu().numpy()
        for points in torch.split(torch.from_numpy(test.points), _TESTED_CLOUDS)
    ]
    return ClassCounts.of(np.concatenate(named), test.labels, len(test.classes))


@torch.no_grad()
def predict_parts(
    network: nn.Module, clouds: PointClouds, device: torch.device
) -> list[NDArray[np.int64]]:
    """Return for each cloud the part of every point, (N,), of the parts that its class has.

    As in PointNet's protocol: what class a cloud is of is known.
    """
    assert clouds.parts is not None
    found: list[NDArray[np.int64]] = []
    for begin in range(0, len(clouds), _TESTED_CLOUDS):
        rows = slice(begin, begin + _TESTED_CLOUDS)
        logits = network(torch.from_numpy(clouds.points[rows]).to(device)).cpu()
        for scores, label in zip(logits, clouds.labels[rows], strict=True):
            own = clouds.parts[clouds.rows_of(int(label))]
            allowed = np.unique(own[own >= 0])
            found.append(allowed[scores[torch.from_numpy(allowed)].argmax(dim=0).numpy()])
    return found


def mean_part_iou(
    predicted: Sequence[NDArray[np.int64]], clouds: PointClouds
) -> tuple[float, list[float]]:
    """Return the mean over classes of the shapes' mean part IoU, and the classes' own.

    Of parts (N,) that are predicted for each cloud. A shape's IoU is the mean over the parts that
    its class has; a part that is neither there nor predicted counts 1 (Qi et al., "PointNet",
    Section 5.1).
    """
    assert clouds.parts is not None
    shares = clouds.part_shares()
    per_class: list[list[float]] = [[] for _ in clouds.classes]
    for found, parts, label in zip(predicted, clouds.parts, clouds.labels, strict=True):
        labeled = parts != NO_PART
        scores = []
        for part in shares[label]:
            ours, true = (found == part) & labeled, parts == part
            union = (ours | true).sum()
            scores.append(1.0 if union == 0 else float((ours & true).sum() / union))
        per_class[label].append(float(np.mean(scores)))
    means = [float(np.mean(own)) for own in per_class if own]
    return float(np.mean(means)), means


@torch.no_grad()
def count_frames(
    network: nn.Module, test: PointClouds, device: torch.device
) -> dict[str, ClassCounts]:
    """Return what a network in evaluation mode gets right on each frame, by the frame's name."""
    assert test.parts is not None
    assert test.strength is not None
    found = {}
    for begin in range(0, len(test), _TESTED_FRAMES):
        rows = slice(begin, begin + _TESTED_FRAMES)
        points = torch.from_numpy(test.points[rows]).to(device)
        strength = torch.from_numpy(test.strength[rows]).to(device)
        named = network(points, strength).argmax(dim=1).cpu().numpy()
        for name, ours, true in zip(test.names[rows], named, test.parts[rows], strict=True):
            counted = true >= 0
            found[name] = ClassCounts.of(ours[counted], true[counted], len(test.part_names))
    return found


@torch.no_grad()
def embed(network: nn.Module, clouds: PointClouds, device: torch.device) -> NDArray[np.float64]:
    """Return the features of all clouds, (B, C) float64, by a PointNet in evaluation mode."""
    pointnet = network.network if isinstance(network, PointSegmenter) else network
    assert isinstance(pointnet, PointNet)
    rows = []
    for points in torch.split(torch.from_numpy(clouds.points), _TESTED_CLOUDS):
        seen = points.to(device)
        if isinstance(network, PointSegmenter):
            seen = network.seen(seen)
        rows.append(pointnet.features(seen).double().cpu().numpy())
    return np.concatenate(rows)


def augmented(points: Tensor, chance: torch.Generator) -> Tensor:
    """Return clouds (B, N, 3) scaled and shifted along each axis, every cloud in its own way.

    By 2/3 to 3/2, and by at most 0.2.
    """
    low, high = _SCALES
    scale = low + (high - low) * torch.rand(len(points), 1, 3, generator=chance)
    shift = _SHIFT * (2 * torch.rand(len(points), 1, 3, generator=chance) - 1)
    return points * scale.to(points.device) + shift.to(points.device)


def augmented_frames(points: Tensor, turn_deg: float, chance: torch.Generator) -> Tensor:
    """Return frames (B, N, 3) turned about z, half of them mirrored, and scaled a little.

    The turn is at most `turn_deg`, either way; the origin stays where it is.
    """
    size = len(points)
    angle = math.radians(turn_deg) * (2 * torch.rand(size, generator=chance) - 1)
    mirror = torch.where(torch.rand(size, generator=chance) < 0.5, -1.0, 1.0)
    low, high = _FRAME_SCALES
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

    Of logits (B, C, N) and labels (B, N), -1 for none. A power of 1 is the plain mean, 0 counts all
    classes that are there alike.
    """
    counts = torch.bincount(labels[labels >= 0], minlength=logits.shape[1])
    shares = counts / counts.sum().clamp_min(1)
    weight = torch.where(counts > 0, shares.clamp_min(1e-9) ** (power - 1), 0.0)
    loss = functional.cross_entropy(logits, labels, weight, ignore_index=-1, reduction="sum")
    return loss / (weight * counts).sum().clamp_min(1e-9)

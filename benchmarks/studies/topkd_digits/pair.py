"""A small convolutional pair, and how a network of it is trained.

Shape letters: B images.
"""

import time
from dataclasses import dataclass
from typing import Final, Literal

import torch
from torch import nn

from benchmarks.studies.topkd_digits.data import NUM_CLASSES, Images
from train.methods.protocol import DistillationMethod
from train.networks.image_classifier import ImageClassifier, image_batch
from train.networks.protocol import Network

EMBEDDING: Final = 64
"""Width of both embeddings, that of the paper's first pair: there is no adapter."""
Role = Literal["teacher", "student"]

_CONVOLUTIONS: Final[dict[Role, tuple[int, int, int]]] = {
    "teacher": (16, 32, 3),  # 24,058 parameters
    "student": (2, 4, 1),  # 1,136
}
"""Channels after the first and the second convolution, and the kernel of the third."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """SGD as the paper has it, shorter.

    Attributes
    ----------
    epochs
        The rate falls to a tenth after 5/8, 3/4 and 7/8 of them, as after 150, 180 and 210 of 240.
    batch_size
        Also the points of a cloud. What is left over of an epoch is not used.
    lr, momentum, weight_decay
        Of SGD.
    """

    epochs: int = 20
    batch_size: int = 64
    lr: float = 0.05
    momentum: float = 0.9
    weight_decay: float = 5e-4


def build(role: Role, seed: int) -> ImageClassifier:
    """Return an untrained network; its weights are a function of the seed alone.

    Parameters
    ----------
    role
        Which of the pair.
    seed
        Of the weights.
    """
    first, second, last_kernel = _CONVOLUTIONS[role]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        backbone = nn.Sequential(
            *_layers(1, first),
            nn.MaxPool2d(2),
            *_layers(first, second),
            nn.MaxPool2d(2),
            *_layers(second, EMBEDDING, last_kernel),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        return ImageClassifier(
            backbone,
            nn.Linear(EMBEDDING, NUM_CLASSES),
            channels=EMBEDDING,
            num_classes=NUM_CLASSES,
            in_channels=1,
        )


def _layers(before: int, after: int, kernel: int = 3) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
    return convolution, nn.BatchNorm2d(after), nn.ReLU()


@dataclass(frozen=True)
class Training:
    """What a training took.

    Attributes
    ----------
    steps
        How many.
    seconds
        Of the processor, not of the clock on the wall.
    terms
        Means over the last epoch, by loss term.
    """

    steps: int
    seconds: float
    terms: dict[str, float]


def train_network(
    network: Network,
    method: DistillationMethod,
    teacher: Network | None,
    training: Images,
    schedule: Schedule,
    seed: int,
) -> Training:
    """Train a network by a method, in place, and leave it in evaluation mode.

    Parameters
    ----------
    network
        The student; or a teacher, with a method that needs none.
    method
        Its own parameters are trained too.
    teacher
        Frozen; None if the method needs none.
    training
        What to learn from.
    schedule
        How.
    seed
        Of the order of the images: the same in all variants.
    """
    network.train()
    optimizer = torch.optim.SGD(
        [*network.parameters(), *method.parameters()],
        lr=schedule.lr,
        momentum=schedule.momentum,
        weight_decay=schedule.weight_decay,
    )
    falls = [schedule.epochs * eighths // 8 for eighths in (5, 6, 7)]
    rates = torch.optim.lr_scheduler.MultiStepLR(optimizer, falls, gamma=0.1)
    generator = torch.Generator().manual_seed(seed)
    number = len(training.labels) // schedule.batch_size
    sums: dict[str, float] = {}
    begin = time.process_time()
    for _ in range(schedule.epochs):
        sums = {}
        order = torch.randperm(len(training.labels), generator=generator)
        for rows in torch.split(order, schedule.batch_size)[:number]:
            batch = image_batch(training.images[rows], training.labels[rows])
            terms = method(network, teacher, batch)
            loss = torch.stack([term.weight * term.value for term in terms.values()]).sum()
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            for name, term in terms.items():
                sums[name] = sums.get(name, 0.0) + float(term.value.detach())
        rates.step()
    network.eval()
    return Training(
        steps=schedule.epochs * number,
        seconds=time.process_time() - begin,
        terms={name: value / number for name, value in sums.items()},
    )

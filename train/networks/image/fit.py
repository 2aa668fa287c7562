"""Train an image network on pairs that are held in memory, and score it on others.

Shape letters: K pairs, H x W pixels.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from train.config import require
from train.core.console import Progress
from train.core.errors import UserError
from train.core.iou import ClassCounts, count_pairs
from train.networks.image.network import ImageNetwork
from train.networks.image.pairs import IGNORED

Colors = Literal["natural", "any"]


@dataclass(frozen=True, kw_only=True)
class ImageFitOptions:
    """How a network is trained.

    Attributes
    ----------
    epochs
        Passes over the pairs.
    batch_size
        Pairs in a step.
    lr
        Peak learning rate, of AdamW; it rises over a tenth of the steps and falls by a cosine.
    seed
        Of order and augmentation.
    augment
        Mirror images, and change their colors.
    colors
        How: "natural" changes brightness and contrast; "any" besides exchanges red, green and blue
        and scales each.
    """

    epochs: int = 8
    batch_size: int = 8
    lr: float = 4e-3
    seed: int = 0
    augment: bool = True
    colors: Colors = "natural"

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "epochs", self.epochs, "at least 1 pass over the pairs")
        require(self.batch_size >= 1, "batch-size", self.batch_size, "at least 1 pair a step")
        require(0 < self.lr < math.inf, "lr", self.lr, "above 0, 0.004 is usual")
        require(self.seed >= 0, "seed", self.seed, "0 or more")


def fit_image_network(
    network: ImageNetwork,
    images: Tensor,
    labels: Tensor,
    options: ImageFitOptions,
    *,
    device: torch.device | None = None,
    title: str = "image network",
) -> list[float]:
    """Train a network in place, by the cross-entropy of its pixels; return each epoch's mean loss.

    Equal seeds give equal networks, and the caller's random numbers are not drawn from.

    Parameters
    ----------
    network
        Is moved to `device`, and left in evaluation mode. Only what requires a gradient changes.
    images, labels
        [K, 3, H, W] and [K, H, W] uint8, `IGNORED` where a pixel does not count.
    options
        See there.
    device
        Where to compute; None: a CPU.
    title
        What the progress bar says.

    Raises
    ------
    UserError
        If no pixel has a label, or the loss is no number.
    """
    device = device or torch.device("cpu")
    if not bool((labels != IGNORED).any()):
        raise UserError(f"{title}: none of the {len(labels)} label images has a labeled pixel")
    network.to(device).train()
    trained = [each for each in network.parameters() if each.requires_grad]
    steps = options.epochs * math.ceil(len(images) / options.batch_size)
    optimizer = torch.optim.AdamW(trained, lr=options.lr, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=options.lr, total_steps=max(steps, 2), pct_start=0.1
    )
    generator = torch.Generator().manual_seed(options.seed)
    progress = Progress(f"{title} training", steps)
    losses: list[float] = []
    try:
        for _ in range(options.epochs):
            summed = 0.0
            batches = torch.split(
                torch.randperm(len(images), generator=generator), options.batch_size
            )
            for rows in batches:
                some, ids = images[rows], labels[rows].long()
                if options.augment:
                    some, ids = _augmented(some, ids, options.colors, generator)
                loss = _loss(network(some.to(device)), ids.to(device))
                optimizer.zero_grad(set_to_none=True)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                scheduler.step()
                value = float(loss.detach())
                if not math.isfinite(value):
                    raise UserError(f"{title}: the loss is {value}; train it with a lower --lr")
                summed += value
                progress.advance({"loss": value})
            losses.append(summed / len(batches))
    finally:
        progress.close()
        network.eval()
    return losses


def _loss(logits: Tensor, ids: Tensor) -> Tensor:
    """Return the mean over labeled pixels; 0 where a batch has none."""
    summed = functional.cross_entropy(logits, ids, ignore_index=IGNORED, reduction="sum")
    return summed / (ids != IGNORED).sum().clamp(min=1)


def _augmented(
    images: Tensor, labels: Tensor, colors: Colors, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Return pairs, half of them mirrored, with other colors."""
    count = len(images)
    flip = torch.rand(count, generator=generator) < 0.5
    images = torch.where(flip[:, None, None, None], images.flip(3), images)
    labels = torch.where(flip[:, None, None], labels.flip(2), labels)
    if colors == "any":
        order = torch.rand(count, 3, generator=generator).argsort(dim=1)
        images = images[torch.arange(count)[:, None], order]
    # Of each image, or of each of its channels: how far from the middle, and how bright.
    channels = 3 if colors == "any" else 1
    contrast, brightness = (
        1 + 0.4 * (torch.rand(count, channels, 1, 1, generator=generator) - 0.5) for _ in range(2)
    )
    changed = (images.float() - 128) * contrast + 128 * brightness
    return changed.round().clamp(0, 255).to(torch.uint8), labels


def image_confusion(
    network: ImageNetwork, images: Tensor, labels: Tensor, *, device: torch.device | None = None
) -> Tensor:
    """Return how many pixels of each class are taken for each, truth by prediction.

    Parameters
    ----------
    network, images, labels, device
        As for `image_scores`.

    Returns
    -------
    Tensor
        (classes, classes) int64.
    """
    size = network.num_classes
    counts = torch.zeros(size, size, dtype=torch.int64)
    with torch.no_grad():
        for some, ids in zip(torch.split(images, 8), torch.split(labels, 8), strict=True):
            found = network(some.to(device or torch.device("cpu"))).argmax(dim=1).cpu()
            labeled = ids != IGNORED
            pairs = count_pairs(ids[labeled].numpy(), found[labeled].numpy(), size)
            counts += torch.from_numpy(pairs)
    return counts


def image_scores(
    network: ImageNetwork, images: Tensor, labels: Tensor, *, device: torch.device | None = None
) -> dict[str, float]:
    """Return the share of pixels that are right, and the mean IoU of the classes that occur.

    Parameters
    ----------
    network
        In evaluation mode, on `device`.
    images, labels
        [K, 3, H, W] and [K, H, W] uint8.
    device
        As of `fit_image_network`.

    Returns
    -------
    dict
        "accuracy" and "miou", between 0 and 1; 0 where no pixel is labeled.
    """
    matrix = image_confusion(network, images, labels, device=device).double()
    counts = ClassCounts.of_matrix(matrix.numpy())
    union, present = torch.from_numpy(counts.union), torch.from_numpy(counts.true > 0)
    if not bool(present.any()):
        return {"accuracy": 0.0, "miou": 0.0}
    return {
        "accuracy": counts.accuracy(),
        "miou": float((matrix.diagonal() / union.clamp(min=1))[present].mean()),
    }

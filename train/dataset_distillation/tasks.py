"""What a network is to learn from clouds: the class of each, or the part of every point.

Shape letters: B clouds, N points, K classes, P parts.
"""

from collections.abc import Sequence
from typing import Final, Literal

import numpy as np
import torch
from torch import Tensor, nn

from train.core.errors import UserError
from train.dataset_distillation.clouds import NO_PART, PointClouds
from train.dataset_distillation.networks.pointnet import PointNet

Task = Literal["classes", "parts"]
TASKS: Final[tuple[Task, ...]] = ("classes", "parts")

STATISTICS_CLOUDS: Final = 8
"""Real clouds per class on which a segmenter's batch norms are set, as in the authors' code."""

PartIntervals = tuple[tuple[int, float, float], ...]
"""Of one class: part, begin and end of its noise, one after the other from 0 to 1."""


def check_task(task: Task, real: PointClouds) -> None:
    """Refuse clouds without parts where parts are to be learned.

    Raises
    ------
    UserError
        If there are no parts, or a class has none.
    """
    if task == "classes":
        return
    if real.parts is None:
        raise UserError("--task parts: the clouds have no parts; give others, or --task classes")
    for label, name in enumerate(real.classes):
        if not (real.parts[real.rows_of(label)] != NO_PART).any():
            raise UserError(f"--task parts: no point of class {name} has a part; leave it out")


def part_shares(real: PointClouds) -> list[dict[int, float]]:
    """Return for each class its parts and their shares of the points that have one."""
    assert real.parts is not None
    found = []
    for label in range(len(real.classes)):
        parts = real.parts[real.rows_of(label)]
        numbers, counts = np.unique(parts[parts != NO_PART], return_counts=True)
        total = counts.sum()
        found.append({int(n): float(c / total) for n, c in zip(numbers, counts, strict=True)})
    return found


def noise_intervals(real: PointClouds) -> tuple[PartIntervals, ...]:
    """Return where each part's noise begins and ends, as wide as the part's share of the points.

    Parameters
    ----------
    real
        With parts.
    """
    found = []
    for shares in part_shares(real):
        ends = np.cumsum(list(shares.values()))
        ends[-1] = 1.0  # whatever the sum's rounding
        begins = [0.0, *ends[:-1]]
        found.append(
            tuple(
                (part, float(begin), float(end))
                for part, begin, end in zip(shares, begins, ends, strict=True)
            )
        )
    return tuple(found)


def matched_network(task: Task, real: PointClouds, widths: Sequence[int]) -> PointNet:
    """Return an untrained PointNet: instance norms for classes, batch norms for parts."""
    if task == "classes":
        return PointNet(len(real.classes), widths=widths)
    return PointNet(len(real.part_names), widths=widths, norm="batch", segments=True)


def settle_norms(network: nn.Module, points: Tensor) -> None:
    """Set a network's batch norms to the statistics of some clouds, and freeze them there.

    Gradients of clouds can be compared only if the norms do not depend on what else is in a batch.

    Parameters
    ----------
    network
        Is left in evaluation mode.
    points
        (B, N, 3).
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over what is seen: one batch here
    network.train()
    with torch.no_grad():
        network(points)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    network.eval()


def mean_part_iou(
    predicted: Sequence[np.ndarray[tuple[int, ...], np.dtype[np.int64]]],
    clouds: PointClouds,
) -> tuple[float, list[float]]:
    """Return the mean over classes of the shapes' mean part IoU, and the classes' own.

    A shape's IoU is the mean over the parts that its class has; a part that is neither there nor
    predicted counts 1 (Qi et al., "PointNet", Section 5.1).

    Parameters
    ----------
    predicted
        For each cloud (N,) parts.
    clouds
        With the true parts.
    """
    assert clouds.parts is not None
    shares = part_shares(clouds)
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

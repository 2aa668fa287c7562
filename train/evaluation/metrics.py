"""Semantic segmentation scores from a confusion matrix over raw points."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from train.core.distributed import sum_over_processes
from train.core.iou import ClassCounts, count_pairs
from train.data.dataset_spec import BenchmarkRule
from train.data.frame import IGNORE_INDEX


class ConfusionMatrix:
    """Count (truth, prediction) pairs of labeled points over many frames.

    Parameters
    ----------
    class_names
        Names of the training ids 0, 1, ...
    rule
        The benchmark's.
    """

    def __init__(self, class_names: Sequence[str], rule: BenchmarkRule) -> None:
        self.class_names = tuple(class_names)
        self.rule = rule
        size = len(self.class_names)
        self.counts = torch.zeros(size, size, dtype=torch.int64)
        self.abstentions = torch.zeros(size, dtype=torch.int64)
        self.frames = torch.zeros(1, dtype=torch.int64)
        self.frames_with = torch.zeros(size, dtype=torch.int64)

    def add(self, truth: Tensor, prediction: Tensor) -> None:
        """Count a frame.

        Parameters
        ----------
        truth
            (N,), int64 training ids; `IGNORE_INDEX` points count for nothing, not
            even as a false alarm.
        prediction
            (N,), int64 training ids; `IGNORE_INDEX` where no class was predicted.

        Raises
        ------
        ValueError
            If the lengths differ or an id is out of range.
        """
        size = len(self.class_names)
        if truth.shape != prediction.shape:
            raise ValueError(
                f"ConfusionMatrix.add: {len(truth)} labels for {len(prediction)} predictions"
            )
        labeled = truth != IGNORE_INDEX
        truth, prediction = truth[labeled].cpu(), prediction[labeled].cpu()
        for name, ids, least in (("truth", truth, 0), ("prediction", prediction, IGNORE_INDEX)):
            if len(ids) and not (int(ids.min()) >= least and int(ids.max()) < size):
                raise ValueError(
                    f"ConfusionMatrix.add: {name} has ids from {int(ids.min())} to "
                    f"{int(ids.max())}, outside 0 to {size - 1}"
                )
        named = prediction != IGNORE_INDEX
        self.abstentions += torch.bincount(truth[~named], minlength=size)
        pairs = count_pairs(truth[named].numpy(), prediction[named].numpy(), size)
        self.counts += torch.from_numpy(pairs)
        self.frames += 1
        self.frames_with += torch.bincount(truth, minlength=size) > 0

    def merge(self, other: "ConfusionMatrix") -> None:
        """Add the counts of other frames, of the same classes."""
        if other.class_names != self.class_names:
            raise ValueError("ConfusionMatrix.merge: the other matrix has other classes")
        self.counts += other.counts
        self.abstentions += other.abstentions
        self.frames += other.frames
        self.frames_with += other.frames_with

    def sum_over_processes(self, others: Tensor) -> Tensor:
        """Add up the counts of all processes, and return the sums of `others`, in one exchange.

        Every process calls this at the same point; sums of whole numbers have no order.

        Parameters
        ----------
        others
            (K,) int64, at least one number, what else is counted.
        """
        parts = [self.counts.flatten(), self.abstentions, self.frames, self.frames_with, others]
        total = sum_over_processes(torch.cat(parts))
        counts, self.abstentions, self.frames, self.frames_with, summed = torch.split(
            total, [len(part) for part in parts]
        )
        self.counts = counts.reshape(self.counts.shape)
        return summed

    def iou(self) -> dict[str, float | None]:
        """Return intersection over union by class name; None for a class nobody named.

        A class in neither the truth nor the predictions has an empty union and so no IoU.
        """
        counts = ClassCounts.of_matrix(self.counts.numpy())
        if self.rule.abstention_is_miss:
            counts = replace(counts, true=counts.true + self.abstentions.numpy())
        return dict(zip(self.class_names, counts.iou(counts.union > 0), strict=True))

    def miou(self) -> float | None:
        """Return the mean over the classes that have an IoU; None if none has."""
        return mean_known(self.iou().values())

    def common_classes(self) -> tuple[str, ...]:
        """Return the classes that more than half of the frames have labeled points of."""
        often = 2 * self.frames_with > self.frames
        return tuple(
            name for name, is_common in zip(self.class_names, often, strict=True) if is_common
        )

    def scores(self) -> dict[str, Any]:
        """Return the scores as JSON values; the means are None when nothing was labeled.

        Returns
        -------
        dict
            `miou`: the mean over the classes that have an IoU. `benchmark_miou`: what the
            benchmark's own tool would say, which differs where a class is missing; not there for
            a dataset without a benchmark. `common_miou`:
            the mean over `common_classes`, those that most frames have; a rare class, or a single
            false alarm of one, does not move it. `accuracy`, `labeled_points`, `iou` by class.
        """
        by_class = self.iou()
        empty = self.rule.empty_union
        points = int(self.counts.sum() + self.abstentions.sum())
        common = self.common_classes()
        miou = mean_known(by_class.values())
        official = (empty if value is None else value for value in by_class.values())
        of_benchmark = {"benchmark_miou": None if miou is None else mean_known(official)}
        return {
            "miou": miou,
            **(of_benchmark if self.rule.has_benchmark else {}),
            "common_miou": mean_known(by_class[name] for name in common),
            "common_classes": list(common),
            "accuracy": int(self.counts.diagonal().sum()) / points if points else None,
            "labeled_points": points,
            "iou": by_class,
        }


def mean_known(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that there are."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None

"""Semantic segmentation scores from a confusion matrix over raw points."""

from collections.abc import Sequence

import torch
from torch import Tensor

from train.core.distributed import sum_over_processes
from train.data.benchmark_rule import BenchmarkRule
from train.data.frame import IGNORE_INDEX


class ConfusionMatrix:
    """Count (truth, prediction) pairs of labeled points over many sweeps.

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

    def add(self, truth: Tensor, prediction: Tensor) -> None:
        """Count a sweep.

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
        pairs = torch.bincount(truth[named] * size + prediction[named], minlength=size * size)
        self.counts += pairs.reshape(size, size)

    def sum_over_processes(self, others: Tensor) -> Tensor:
        """Add up the counts of all processes, and return the sums of `others`, in one exchange.

        Every process calls this at the same point; sums of whole numbers have no order.

        Parameters
        ----------
        others
            (K,) int64, at least one number, what else is counted.
        """
        parts = [self.counts.flatten(), self.abstentions, others]
        total = sum_over_processes(torch.cat(parts))
        size = len(self.class_names)
        self.counts = total[: size * size].reshape(size, size)
        self.abstentions = total[size * size : -len(others)]
        return total[-len(others) :]

    def iou(self) -> dict[str, float | None]:
        """Return intersection over union by class name; None for a class nobody named.

        A class in neither the truth nor the predictions has an empty union and so no IoU.
        """
        hits = self.counts.diagonal()
        union = self.counts.sum(0) + self.counts.sum(1) - hits
        if self.rule.abstention_is_miss:
            union = union + self.abstentions
        return {
            name: (int(hit) / int(total) if total > 0 else None)
            for name, hit, total in zip(self.class_names, hits, union, strict=True)
        }

    def scores(self) -> dict[str, object]:
        """Return `miou`, `benchmark_miou`, `accuracy`, `labeled_points`, `iou`: JSON values.

        `miou` is the mean over the classes that have an IoU. `benchmark_miou` is what the
        benchmark's own tool would say: it differs where a class is missing. Both are None when
        nothing was labeled.
        """
        by_class = self.iou()
        known = [value for value in by_class.values() if value is not None]
        empty = self.rule.empty_union
        official = (
            known
            if empty is None
            else [empty if value is None else value for value in by_class.values()]
        )
        points = int(self.counts.sum() + self.abstentions.sum())
        return {
            "miou": sum(known) / len(known) if known else None,
            "benchmark_miou": sum(official) / len(official) if known else None,
            "accuracy": int(self.counts.diagonal().sum()) / points if points else None,
            "labeled_points": points,
            "iou": by_class,
        }

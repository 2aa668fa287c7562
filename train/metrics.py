"""Semantic segmentation scores from a confusion matrix over raw points."""

from collections.abc import Sequence

import torch
from torch import Tensor

from train.data.sweep import IGNORE


class ConfusionMatrix:
    """Count (truth, prediction) pairs of labelled points over many sweeps.

    Parameters
    ----------
    class_names
        Names of the training ids 0, 1, ...
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self.class_names = tuple(class_names)
        size = len(self.class_names)
        self.counts = torch.zeros(size, size, dtype=torch.int64)

    def add(self, truth: Tensor, prediction: Tensor) -> None:
        """Count a sweep.

        Parameters
        ----------
        truth
            (N,), int64 training ids; `IGNORE` points count for nothing, not even as a false alarm.
        prediction
            (N,), int64 training ids.

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
        labelled = truth != IGNORE
        truth, prediction = truth[labelled].cpu(), prediction[labelled].cpu()
        for name, ids in (("truth", truth), ("prediction", prediction)):
            if len(ids) and not (int(ids.min()) >= 0 and int(ids.max()) < size):
                raise ValueError(
                    f"ConfusionMatrix.add: {name} has ids from {int(ids.min())} to "
                    f"{int(ids.max())}, outside 0 to {size - 1}"
                )
        pairs = torch.bincount(truth * size + prediction, minlength=size * size)
        self.counts += pairs.reshape(size, size)

    def iou(self) -> dict[str, float | None]:
        """Return intersection over union by class name; None for a class nobody named.

        A class in neither the truth nor the predictions has an empty union and so no IoU.
        """
        hits = self.counts.diagonal()
        union = self.counts.sum(0) + self.counts.sum(1) - hits
        return {
            name: (int(hit) / int(total) if total > 0 else None)
            for name, hit, total in zip(self.class_names, hits, union, strict=True)
        }

    def scores(self) -> dict[str, object]:
        """Return `miou`, `miou_all_classes`, `accuracy` and `iou` as plain JSON values.

        `miou` is the mean over the classes that have an IoU; `miou_all_classes` counts the others
        as 0, which is SemanticKITTI's rule. Both are None when nothing was labelled.
        """
        by_class = self.iou()
        known = [value for value in by_class.values() if value is not None]
        points = int(self.counts.sum())
        return {
            "miou": sum(known) / len(known) if known else None,
            "miou_all_classes": sum(known) / len(by_class) if known else None,
            "accuracy": int(self.counts.diagonal().sum()) / points if points else None,
            "labelled_points": points,
            "iou": by_class,
        }

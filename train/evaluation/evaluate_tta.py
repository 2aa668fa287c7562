"""Score a network with test-time augmentation; these numbers are reported apart from single passes.

Shape letters: R points of a sweep.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from train.core.errors import UserError
from train.data.batch import BadFrame, Batch, SkippedFrames, collate
from train.data.dataset_spec import BenchmarkRule
from train.data.loader import EvaluationFrames
from train.data.transforms import clip, voxelize
from train.evaluation.evaluate import score_shards
from train.evaluation.metrics import ConfusionMatrix
from train.evaluation.network_pass import (
    TEST_TIME_AUGMENTATIONS,
    Precision,
    TTATransform,
    point_probabilities,
)


def evaluate_tta(
    model: nn.Module,
    sweeps: EvaluationFrames,
    class_names: tuple[str, ...],
    rule: BenchmarkRule,
    device: torch.device,
    *,
    title: str,
    augmentation: str = "rotations",
    num_workers: int = 0,
    skipped: SkippedFrames | None = None,
    precision: Precision = "fp32",
) -> dict[str, Any]:
    """Return the scores of the mean of several passes over each sweep, seen otherwise each time.

    Parameters
    ----------
    model, sweeps, class_names, rule, device, title, num_workers, skipped, precision
        As `train.evaluation.evaluate.evaluate` takes them.
    augmentation
        A name of `TEST_TIME_AUGMENTATIONS`.

    Returns
    -------
    dict
        As `evaluate` returns them but for `voxels`, and `augmentation` (its name), `passes` (how
        many a sweep).

    Raises
    ------
    UserError
        If the augmentation is unknown, or the network's output is not finite.
    """
    if augmentation not in TEST_TIME_AUGMENTATIONS:
        raise UserError(
            f"augmentation {augmentation!r} is unknown; use {', '.join(TEST_TIME_AUGMENTATIONS)}"
        )
    views = TEST_TIME_AUGMENTATIONS[augmentation]

    def predict(seen: AugmentedFrame) -> tuple[Tensor, Tensor, int]:
        probabilities = point_probabilities(model, seen.views, device, seen.names[0], precision)
        return seen.views[0]["raw_segment"], probabilities.argmax(dim=1), 0

    scores = score_shards(
        AugmentedFrames(sweeps, views),
        predict,
        model,
        ConfusionMatrix(class_names, rule),
        device,
        title=title,
        loading={"batch_size": None, "collate_fn": _as_it_is, "num_workers": num_workers},
        skipped=skipped,
        precision=precision,
    )
    del scores["voxels"]  # they differ from view to view
    return {**scores, "augmentation": augmentation, "passes": len(views)}


@dataclass(frozen=True)
class AugmentedFrame:
    """A sweep as it is seen in each view, or why it is not.

    Attributes
    ----------
    views
        A batch per view, with labels; none if the sweep is skipped.
    names, skipped
        As in a `Batch`.
    """

    views: tuple[Batch, ...] = ()
    names: tuple[str, ...] = ()
    skipped: tuple[BadFrame, ...] = ()


@dataclass(frozen=True)
class AugmentedFrames(Dataset[AugmentedFrame]):
    """Each sweep in all views.

    Attributes
    ----------
    sweeps
        Whole sweeps; clipped before they are turned, as in prediction.
    views
        How each is seen.
    """

    sweeps: EvaluationFrames
    views: Sequence[TTATransform]

    def __len__(self) -> int:
        """Return how many sweeps there are."""
        return len(self.sweeps)

    def __getitem__(self, index: int) -> AugmentedFrame:
        """Return one sweep; one that is skipped has no name.

        Raises
        ------
        UserError
            If it cannot be read, and such sweeps are not to be skipped.
        """
        source = self.sweeps.source
        try:
            sweep = source[index]
            if self.sweeps.clip_range_m is not None:
                sweep = clip(sweep, self.sweeps.clip_range_m)
            seen = [
                collate([voxelize(view.of(sweep), self.sweeps.grid_size_m)]) for view in self.views
            ]
        except UserError as error:
            if self.sweeps.on_bad_sweep == "stop":
                raise
            return AugmentedFrame(skipped=(BadFrame(source.names[index], str(error)),))
        return AugmentedFrame(tuple(seen), names=(sweep.name,))


def _as_it_is(item: Any) -> Any:
    return item

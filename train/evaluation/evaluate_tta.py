"""Score a network with test-time augmentation; these numbers are reported apart from single passes.

Shape letters: R points of a frame.
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
    frames: EvaluationFrames,
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
    """Return the scores of the mean of several passes over each frame, seen otherwise each time.

    Parameters
    ----------
    model, frames, class_names, rule, device, title, num_workers, skipped, precision
        As `train.evaluation.evaluate.evaluate` takes them.
    augmentation
        A name of `TEST_TIME_AUGMENTATIONS`.

    Returns
    -------
    dict
        As `evaluate` returns them but for `voxels`, and `augmentation` (its name), `passes` (how
        many a frame).

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
        AugmentedFrames(frames, views),
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
    """A frame as it is seen in each view, or why it is not.

    Attributes
    ----------
    views
        A batch per view, with labels; none if the frame is skipped.
    names, skipped
        As in a `Batch`.
    """

    views: tuple[Batch, ...] = ()
    names: tuple[str, ...] = ()
    skipped: tuple[BadFrame, ...] = ()


@dataclass(frozen=True)
class AugmentedFrames(Dataset[AugmentedFrame]):
    """Each frame in all views.

    Attributes
    ----------
    frames
        Whole frames; clipped before they are turned, as in prediction.
    views
        How each is seen.
    """

    frames: EvaluationFrames
    views: Sequence[TTATransform]

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(self.frames)

    def __getitem__(self, index: int) -> AugmentedFrame:
        """Return one frame; one that is skipped has no name.

        Raises
        ------
        UserError
            If it cannot be read, and such frames are not to be skipped.
        """
        source = self.frames.source
        try:
            frame = source[index]
            if self.frames.clip_range_m is not None:
                frame = clip(frame, self.frames.clip_range_m)
            seen = [
                collate([voxelize(view.of(frame), self.frames.grid_size_m)]) for view in self.views
            ]
        except UserError as error:
            if self.frames.on_bad_frame == "stop":
                raise
            return AugmentedFrame(skipped=(BadFrame(source.names[index], str(error)),))
        return AugmentedFrame(tuple(seen), names=(frame.name,))


def _as_it_is(item: Any) -> Any:
    return item

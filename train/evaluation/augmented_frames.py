"""Whole frames, each in the views of a test-time augmentation."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch.utils.data import Dataset

from train.core.errors import UserError
from train.data.batch import BadFrame, Batch, collate
from train.data.loader import EvaluationFrames
from train.data.transforms import clip, voxelize
from train.evaluation.network_pass import TTATransform


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

"""A source of every n-th frame of another, to score more streets in less time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from train.core.errors import UserError
from train.data.frame import FrameSource, LidarFrame


class EveryNth:
    """Every n-th frame of a source, the first one first.

    Parameters
    ----------
    source
        All frames.
    step
        n, at least 1.

    Raises
    ------
    UserError
        If `step` is below 1.
    """

    def __init__(self, source: FrameSource, step: int) -> None:
        if step < 1:
            raise UserError(f"--score-every is {step}: 1 for every validation sweep, or more")
        self.source, self.step = source, step

    @property
    def names(self) -> Sequence[str]:
        """The frames' names, in index order."""
        return list(self.source.names)[:: self.step]

    @property
    def skipped_unlabeled(self) -> int:
        """How many frames the source left out because they have no labels."""
        return self.source.skipped_unlabeled

    @property
    def unreadable(self) -> Mapping[str, str]:
        """What the source left out because it is damaged."""
        return self.source.unreadable

    def __len__(self) -> int:
        """Return how many frames there are."""
        return len(range(0, len(self.source), self.step))

    def __getitem__(self, index: int) -> LidarFrame:
        """Read one frame."""
        return self.source[self._at(index)]

    def files(self, index: int) -> tuple[Path, ...]:
        """Name the files that hold one frame."""
        return self.source.files(self._at(index))

    def _at(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"EveryNth: index {index} is not in 0..{len(self) - 1}")
        return index * self.step

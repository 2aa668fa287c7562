"""Some frames of a source, to read or score less in less time."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from train.data.frame import FrameSource, LidarFrame


class SomeFrames:
    """Some frames of a source.

    Parameters
    ----------
    source
        All frames.
    places
        Which, in the order that they have here.
    """

    def __init__(self, source: FrameSource, places: Sequence[int]) -> None:
        self.source, self.places = source, places
        names = source.names
        self.names = [names[place] for place in places]

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
        return len(self.places)

    def __getitem__(self, index: int) -> LidarFrame:
        """Read one frame."""
        return self.source[self.places[index]]

    def files(self, index: int) -> tuple[Path, ...]:
        """Name the files that hold one frame."""
        return self.source.files(self.places[index])

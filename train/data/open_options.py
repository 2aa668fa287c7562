"""What of a dataset is opened, and how: the same for every reader."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from train.core.errors import UserError
from train.data.frame import SPLITS


@dataclass(frozen=True, kw_only=True)
class OpenOptions:
    """Which frames of a dataset are opened, and what is done about damaged ones.

    Attributes
    ----------
    split
        "training", "validation" or "test": the dataset's own part.
    sequences
        Names of the wanted sequences, whatever their split; none: all of the split.
    require_labels
        Leave out (and count) frames without labels. Otherwise these have `segment=None`.
    cache_dir
        Where an index may be kept; None leaves the place to `train.data.index.cached_index`.
    strict
        Refuse what opening shows to be damaged; otherwise it is left out and in `unreadable`.
    cameras
        Give each frame its images, `LidarFrame.images`; a dataset without any refuses.

    Raises
    ------
    UserError
        If there is no such split, or the sequences are no list or name one twice.
    """

    split: str = "training"
    sequences: Sequence[str] = ()
    require_labels: bool = True
    cache_dir: Path | None = None
    strict: bool = True
    cameras: bool = False

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise UserError(f"split must be one of {', '.join(SPLITS)}, not {self.split}")
        if isinstance(self.sequences, str):
            raise UserError(f"sequences must be a list of names, not {self.sequences!r}")
        if len(set(self.sequences)) != len(self.sequences):
            raise UserError(f"sequences: one is named twice in {list(self.sequences)}")

"""Frames of one's own in the KITTI layout, with the classes of a class map."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from train.core.errors import UserError
from train.data.kitti_layout.layout import choose, find_drives
from train.data.semantickitti.folders import FrameFolders
from train.data.semantickitti.frame_files import FrameFiles
from train.data.semantickitti.reader import check_chosen
from train.data.simulation_record import RECORD

POINT_ENDINGS: Final = (".bin", ".las", ".laz", ".npy", ".pcd", ".ply")
LABEL_ENDINGS: Final = (".label", ".npy")


class KittiLayout(FrameFolders):
    """The frames of some drives, in order of drive and file, read one at a time.

    Parameters
    ----------
    root
        As `find_drives` takes it.
    split
        "training", "validation" or "test": the drives that the class map's `split` names, or those
        in GOOSE's folders of the split.
    sequences
        Names of the wanted drives, whatever their split; none: all of the split.
    require_labels
        Leave out (and count) frames without a label file. Otherwise these have `segment=None`.
    cache_dir
        Not used, there is no index: folders are listed each time.
    strict
        Refuse a frame that opening shows to be damaged; otherwise leave it out, see `unreadable`.
    cameras
        Refused: there are no images.
    files
        How points and labels lie in their files, and what labels mean.
    given
        Whether the class map was given; otherwise it is the simulator's, and only simulated frames
        are read.

    Raises
    ------
    UserError
        If the folder or a drive is missing or laid out otherwise, a class map is needed, a file is
        empty or of an impossible size, labels have no frame, or no frame is left.
    """

    def __init__(
        self,
        root: Path | str,
        split: str = "training",
        *,
        sequences: Sequence[str] = (),
        require_labels: bool = True,
        cache_dir: Path | None = None,
        strict: bool = True,
        cameras: bool = False,
        files: FrameFiles,
        given: bool,
    ) -> None:
        del cache_dir
        if cameras:
            raise UserError(f"{root}: frames of the KITTI layout come without camera images")
        check_chosen("KittiLayout", split, sequences)
        self.root = Path(root)
        drives = find_drives(self.root)
        if not given and not (self.root / RECORD).is_file():
            raise UserError(
                f"{self.root}: what do its labels mean? Give --data.class-map FILE: a .yaml with "
                "the keys of SemanticKITTI's own, labels and learning_ignore at least"
            )
        class_map = files.class_map
        chosen = choose(
            drives, self.root, split, sequences, class_map.split.get(split), class_map.source
        )
        super().__init__(
            chosen,
            files,
            point_endings=POINT_ENDINGS,
            label_endings=LABEL_ENDINGS,
            require_labels=require_labels,
            strict=strict,
            root=self.root,
        )

"""Frames of one's own in the KITTI layout, with the classes of a class map."""

from pathlib import Path
from typing import Final

from train.core.errors import UserError
from train.data.kitti_layout.layout import choose, find_drives
from train.data.open_options import OpenOptions
from train.data.readers.folders import FrameFolders
from train.data.readers.frame_files import FrameFiles
from train.data.simulation_record import RECORD

POINT_ENDINGS: Final = (".bin", ".las", ".laz", ".npy", ".pcd", ".ply")
LABEL_ENDINGS: Final = (".label", ".npy")


class KittiLayout(FrameFolders):
    """The frames of some drives, in order of drive and file, read one at a time.

    Parameters
    ----------
    root
        As `find_drives` takes it.
    options
        A split is the drives that the class map's `split` names, or those in GOOSE's folders of the
        split. `cache_dir` is not used, folders are listed each time; cameras are refused.
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

    def __init__(self, root: Path, options: OpenOptions, *, files: FrameFiles, given: bool) -> None:
        if options.cameras:
            raise UserError(f"{root}: frames of the KITTI layout come without camera images")
        self.root, split = root, options.split
        drives = find_drives(root)
        if not given and not (self.root / RECORD).is_file():
            raise UserError(
                f"{self.root}: what do its labels mean? Give --data.class-map FILE: a .yaml with "
                "the keys of SemanticKITTI's own, labels and learning_ignore at least"
            )
        class_map = files.class_map
        chosen = choose(
            drives,
            self.root,
            split,
            options.sequences,
            class_map.split.get(split),
            class_map.source,
        )
        super().__init__(
            chosen,
            files,
            point_endings=POINT_ENDINGS,
            label_endings=LABEL_ENDINGS,
            options=options,
            root=self.root,
        )

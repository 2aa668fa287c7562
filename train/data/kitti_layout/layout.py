"""Finds the drives below a folder, SemanticKITTI's layout and others, and opens their frames.

| layout | folders of points and of labels |
| --- | --- |
| SemanticKITTI | `[dataset/]sequences/SS/velodyne`, `[dataset/]sequences/SS/labels` |
| SynLiDAR | `SS/velodyne`, `SS/labels` |
| a single drive | `velodyne`, `labels` |
| GOOSE, GOOSE-Ex | `lidar/SPLIT/SCENARIO/*_vls128.bin`, `labels/SPLIT/SCENARIO/*_goose.label` |
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from train.core.errors import UserError
from train.data.dataset_spec import RECORD, OpenOptions
from train.data.files import RootLayout, listed, reading
from train.data.readers.frame_files import Drive, FrameFiles, FrameFolders

LAYOUT: Final = RootLayout(
    "KITTI layout",
    "the folder that holds SS/velodyne/ and SS/labels/, or sequences/SS/..., or lidar/SPLIT/ and "
    "labels/SPLIT/",
    "it holds drives",
)

GOOSE_SPLITS: Final = {"training": "train", "validation": "val", "test": "test"}
"""Our names of the parts, and GOOSE's folders."""

_POINTS, _LABELS, _GOOSE_POINTS = "velodyne", "labels", "lidar"


def find_drives(root: Path) -> tuple[Drive, ...]:
    """Return the drives below a data root, by name.

    Raises
    ------
    UserError
        If the root is missing, a file, empty, a level too high or too low, or something else.
    """
    LAYOUT.check(root)
    with reading(root):
        found = _drives(root)
        if not found:
            raise LAYOUT.refusal(root, lambda folder: bool(_drives(folder)))
    names = [drive.name for drive in found]
    if doubled := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(
            f"{root}: has two drives {doubled[0]}; give the folder of one of them, or rename one"
        )
    return tuple(sorted(found, key=lambda drive: drive.name))


def list_sequences(root: Path) -> tuple[str, ...]:
    """Return the names of the drives below a data root.

    Raises
    ------
    UserError
        As `find_drives`.
    """
    return tuple(drive.name for drive in find_drives(root))


def choose(
    drives: Sequence[Drive],
    root: Path,
    split: str,
    sequences: Sequence[str],
    listed_in_map: Sequence[str] | None,
    source: str,
) -> list[Drive]:
    """Return the drives that are asked for.

    Parameters
    ----------
    drives, root
        All, and where they are.
    split
        "training", "validation" or "test".
    sequences
        Names of the wanted drives, whatever their split; none: all of the split.
    listed_in_map
        The sequences of the split by the class map; None if it does not say.
    source
        The class map, for people.

    Raises
    ------
    UserError
        If a drive is not there, or nobody says which drives are of the split.
    """
    by_name = {drive.name: drive for drive in drives}
    wanted = list(sequences)
    if not wanted and listed_in_map is not None:
        wanted = [_on_disk(name, by_name) for name in listed_in_map]
    elif not wanted:
        folder = GOOSE_SPLITS[split]
        wanted = [
            drive.name
            for drive in drives
            if drive.sensor_suffix and drive.name.partition("/")[0] == folder
        ]
    if not wanted:
        raise UserError(
            f"{root}: {source} does not say which sequences are for {split}; add them to its "
            "split, or name them (train.run: --data.train-sequences and "
            "--data.validation-sequences; else --sequences); present: "
            f"{listed(list(by_name))}"
        )
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise UserError(
            f"{root}: missing {listed(missing)}; present: {listed(list(by_name))}; copy them there "
            "or choose other sequences"
        )
    return [by_name[name] for name in wanted]


def _on_disk(name: str, by_name: dict[str, Drive]) -> str:
    """Return the folder's name of a sequence that the class map has as a number: 0 is 00 or 0."""
    if name in by_name or not name.isdecimal():
        return name
    same = [each for each in by_name if each.isdecimal() and int(each) == int(name)]
    return same[0] if len(same) == 1 else name


def _drives(root: Path) -> list[Drive]:
    """Return what drives are below a folder, of the first layout that it has."""
    for folder in (root / "sequences", root / "dataset" / "sequences", root):
        if folder.is_dir() and (found := _folders_of_drives(folder)):
            return found
    if (root / _POINTS).is_dir():
        return [Drive(root.resolve().name, root / _POINTS, root / _LABELS)]
    goose = [root, *sorted(path for path in root.iterdir() if path.is_dir())]
    return [drive for folder in goose for drive in _goose_drives(folder)]


def _folders_of_drives(folder: Path) -> list[Drive]:
    return [
        Drive(entry.name, entry / _POINTS, entry / _LABELS)
        for entry in folder.iterdir()
        if (entry / _POINTS).is_dir()
    ]


def _goose_drives(folder: Path) -> list[Drive]:
    """Return the scenarios of GOOSE's folders; its archives hold one split each."""
    return [
        Drive(
            f"{split}/{scenario.name}",
            scenario,
            folder / _LABELS / split / scenario.name,
            sensor_suffix=True,
        )
        for split in GOOSE_SPLITS.values()
        if (folder / _GOOSE_POINTS / split).is_dir()
        for scenario in (folder / _GOOSE_POINTS / split).iterdir()
        if scenario.is_dir()
    ]


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

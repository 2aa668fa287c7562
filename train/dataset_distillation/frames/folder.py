"""LiDAR frames on disk: the KITTI layout with its class map.

FOLDER/sequences/distilled/velodyne/000000.bin, labels/000000.label   the frames, in meters
FOLDER/sequences/held-out/...    real frames to validate on, where there are any
FOLDER/class_map.yaml            what the labels mean, and which frames are for what
FOLDER/distill.json              says that the frames are this command's to replace

Shape letters: N points.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from train.core.atomic_write import atomic_write
from train.core.errors import UserError
from train.data.class_map import ClassMap
from train.data.frame import IGNORE_INDEX
from train.data.readers.class_map_file import CLASS_MAP_FILE, class_map_yaml
from train.dataset_distillation.clouds import PointClouds

REPORT_NAME: Final = "distill.json"
DISTILLED: Final = "distilled"
HELD_OUT: Final = "held-out"
_UNLABELED: Final = 0


def write_frame_folder(folder: Path, splits: Mapping[str, PointClouds]) -> None:
    """Write splits in the KITTI layout, over those that this wrote before.

    They are `DISTILLED` and maybe `HELD_OUT`, of the same classes. UserError if the folder holds
    drives that this did not write, or a file cannot be written.
    """
    refuse_frames_of_others(folder)
    class_map = class_map_of(next(iter(splits.values())).part_names)
    for name in (DISTILLED, HELD_OUT):
        _remove_frames(folder / "sequences" / name)
    for name, frames in splits.items():
        _write_drive(folder / "sequences" / name, frames, class_map)
    of_split = {"training": (DISTILLED,), "validation": (HELD_OUT,) if HELD_OUT in splits else ()}
    with atomic_write(folder / CLASS_MAP_FILE) as unfinished:
        unfinished.write_text(class_map_yaml(class_map, of_split), encoding="utf-8")


def refuse_frames_of_others(folder: Path) -> None:
    """Refuse a folder whose drives have our names and were not written by this command.

    Raises
    ------
    UserError
        Names one. A folder that this command wrote to has its report.
    """
    if (folder / REPORT_NAME).is_file():
        return
    for name in (DISTILLED, HELD_OUT):
        drive = folder / "sequences" / name
        if any(_frame_files(drive / part) for part in ("velodyne", "labels")):
            raise UserError(
                f"{drive}: holds frames that this command did not write; give another --output"
            )


def class_map_of(class_names: tuple[str, ...]) -> ClassMap:
    """Return a class map whose ids are the train ids plus one; 0 is no class."""
    ids = range(1, len(class_names) + 1)
    names = dict(zip(ids, class_names, strict=True))
    return ClassMap(
        source=f"the class map {CLASS_MAP_FILE}",
        class_names=class_names,
        raw_names={_UNLABELED: "unlabeled", **names},
        raw_to_train={_UNLABELED: IGNORE_INDEX, **{raw: raw - 1 for raw in ids}},
        train_to_raw=tuple(ids),
        ignored_raw=_UNLABELED,
        unknown_hint="distill again",
    )


def _remove_frames(drive: Path) -> None:
    """Remove the frames of an earlier set, and their folders."""
    for part in (drive / "velodyne", drive / "labels"):
        if part.is_dir():
            for file in _frame_files(part):
                file.unlink()
            part.rmdir()
    if drive.is_dir():
        drive.rmdir()


def _frame_files(part: Path) -> list[Path]:
    return sorted(path for path in part.glob("*") if path.suffix in (".bin", ".label"))


def _write_drive(drive: Path, frames: PointClouds, class_map: ClassMap) -> None:
    for name in ("velodyne", "labels"):
        (drive / name).mkdir(parents=True, exist_ok=True)
    assert frames.strength is not None
    assert frames.parts is not None
    values = np.concatenate([frames.coord_m, frames.strength[..., None]], axis=2).astype("<f4")
    for number, (points, segment) in enumerate(zip(values, frames.parts, strict=True)):
        with atomic_write(drive / "velodyne" / f"{number:06d}.bin") as unfinished:
            unfinished.write_bytes(points.tobytes())
        with atomic_write(drive / "labels" / f"{number:06d}.label") as unfinished:
            unfinished.write_bytes(class_map.raw_ids(segment).astype("<u4").tobytes())

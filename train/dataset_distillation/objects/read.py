"""Reads any known layout of object clouds, found out from what lies in the folder."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from train.core.errors import UserError
from train.dataset_distillation.clouds import PointClouds, resample
from train.dataset_distillation.objects.folder import INDEX_NAME, read_folder
from train.dataset_distillation.objects.modelnet import is_modelnet, read_modelnet
from train.dataset_distillation.objects.scanobjectnn import is_scanobjectnn, read_scanobjectnn
from train.dataset_distillation.objects.shapenetpart import is_shapenetpart, read_shapenetpart


class Layout(NamedTuple):
    """How one kind of folder is known and read."""

    holds: str
    """What lies in it, for messages."""
    found: Callable[[Path], bool]
    read: Callable[[Path, str, int, int], PointClouds]
    """Folder, split, points of a cloud, seed."""


def _read_ours(folder: Path, split: str, num_points: int, seed: int) -> PointClouds:
    clouds = read_folder(folder, split)
    if clouds.num_points == num_points:
        return clouds
    rng = np.random.default_rng(seed)
    rows = np.stack([resample(clouds.num_points, num_points, rng) for _ in range(len(clouds))])
    return PointClouds(
        np.take_along_axis(clouds.points, rows[:, :, None], axis=1),
        clouds.labels,
        clouds.classes,
        None if clouds.parts is None else np.take_along_axis(clouds.parts, rows, axis=1),
        clouds.part_names,
    )


LAYOUTS: Final[Mapping[str, Layout]] = {
    "topodistill": Layout(INDEX_NAME, lambda f: (f / INDEX_NAME).is_file(), _read_ours),
    "ModelNet40": Layout("CLASS/train/*.off", is_modelnet, read_modelnet),
    "ScanObjectNN": Layout("training_objectdataset.h5", is_scanobjectnn, read_scanobjectnn),
    "ShapeNetPart": Layout("synsetoffset2category.txt", is_shapenetpart, read_shapenetpart),
}
"""Name -> layout, tried in this order."""


def read_objects(folder: Path, split: str, num_points: int, seed: int = 0) -> PointClouds:
    """Read a split of a set in any known layout.

    Parameters
    ----------
    folder
        What was downloaded and unpacked, or what `write_folder` wrote.
    split
        "train" or "test".
    num_points
        N of each cloud, at least 2.
    seed
        Of the draw of points.

    Raises
    ------
    UserError
        If the layout is unknown, `num_points` is too small, or a file is missing or damaged.
    """
    if num_points < 2:
        raise UserError(f"clouds of {num_points} points cannot be learned from; ask for 2 or more")
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; give one of object clouds")
    for layout in LAYOUTS.values():
        if layout.found(folder):
            return layout.read(folder, split, num_points, seed)
    known = "; ".join(f"{name} ({layout.holds})" for name, layout in LAYOUTS.items())
    raise UserError(f"{folder}: a layout that is not known; the known ones are {known}")

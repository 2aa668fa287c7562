"""ScanObjectNN as downloaded: HDF5 files with `data`, `label` and, for segmentation, `mask`."""

from pathlib import Path
from typing import Any, Final

import numpy as np

from train.core.errors import UserError
from train.dataset_distillation.clouds import (
    PointClouds,
    check_cloud,
    resample,
    unit_sphere,
)

CLASSES: Final = (
    "bag",
    "bin",
    "box",
    "cabinet",
    "chair",
    "desk",
    "display",
    "door",
    "shelf",
    "table",
    "bed",
    "pillow",
    "sink",
    "sofa",
    "toilet",
)
"""In the order of the set's own `shape_names.txt`."""
PART_NAMES: Final = ("background", "object")
FILES: Final = {"train": "training_objectdataset.h5", "test": "test_objectdataset.h5"}
"""Those of OBJ_BG and OBJ_ONLY; the variants' names only begin so."""


def is_scanobjectnn(folder: Path) -> bool:
    """Return whether a folder is one of its splits, such as `h5_files/main_split`."""
    return _find(folder, "train") is not None


def read_scanobjectnn(folder: Path, split: str, num_points: int, seed: int = 0) -> PointClouds:
    """Read a split.

    Parameters
    ----------
    folder
        `main_split` (with background, the paper's OBJ_BG) or `main_split_nobg`.
    split
        "train" or "test".
    num_points
        N of each cloud, drawn from the file's 2,048.
    seed
        Of that draw.

    Raises
    ------
    UserError
        If h5py is not installed, or a file is missing or damaged.
    """
    path = _find(folder, split)
    if path is None:
        raise UserError(f"{folder}: has no {FILES[split]}; give the folder that holds it")
    arrays = _read_h5(path)
    try:
        data = np.asarray(arrays["data"], dtype=np.float32)
        labels = np.asarray(arrays["label"], dtype=np.int64).reshape(-1)
    except KeyError as error:
        raise UserError(f"{path}: lacks the array {error}; download it again") from error
    if data.ndim != 3 or data.shape[2] != 3 or len(data) != len(labels):
        raise UserError(
            f"{path}: data of shape {data.shape} for {len(labels)} labels; download it again"
        )
    mask = arrays.get("mask")
    rng = np.random.default_rng(seed)
    points, parts = [], []
    for index, cloud in enumerate(data):
        check_cloud(cloud, f"{path}, cloud {index}")
        rows = resample(len(cloud), num_points, rng)
        points.append(unit_sphere(cloud[rows]))
        if mask is not None:
            parts.append((np.asarray(mask[index])[rows] >= 0).astype(np.int64))
    return PointClouds(
        np.stack(points),
        labels,
        CLASSES,
        np.stack(parts) if parts else None,
        PART_NAMES if parts else (),
    )


def _find(folder: Path, split: str) -> Path | None:
    """Return the split's file: the plain one, or the only variant that is there."""
    plain = folder / FILES[split]
    if plain.is_file():
        return plain
    variants = sorted(folder.glob(f"{plain.stem}*.h5"))
    if len(variants) > 1:
        raise UserError(
            f"{folder}: has {len(variants)} variants of {plain.name} ({variants[0].name}, ...); "
            "give a folder with one"
        )
    return variants[0] if variants else None


def _read_h5(path: Path) -> dict[str, Any]:
    try:
        import h5py
    except ImportError as error:
        raise UserError(
            f"{path}: needs the package h5py; pip install 'topodistill[objects]'"
        ) from error
    try:
        with h5py.File(path, "r") as file:
            return {name: file[name][()] for name in ("data", "label", "mask") if name in file}
    except OSError as error:
        raise UserError(
            f"{path}: no HDF5 file, or a damaged one ({error}); download it again"
        ) from error

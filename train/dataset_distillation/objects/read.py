"""Reads any known layout of object clouds, found out from what lies in the folder; writes our own.

FOLDER/objects.json   names of classes and parts, and what the set was made from
FOLDER/train.npz      points (B, N, 3) float32, labels (B,) int64, parts (B, N) int64 if any
FOLDER/test.npz       the same; a distilled set has none
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np

from train.core.atomic_write import atomic_write
from train.core.bounded import npz_arrays, read_json
from train.core.errors import UserError
from train.data.files import read_bytes
from train.dataset_distillation.clouds import PointClouds, resample
from train.dataset_distillation.objects.downloads import (
    CATEGORIES_NAME,
    SCANOBJECTNN_FILES,
    is_modelnet,
    is_scanobjectnn,
    is_shapenetpart,
    read_modelnet,
    read_scanobjectnn,
    read_shapenetpart,
)

FORMAT: Final = "topodistill-objects-1"
INDEX_NAME: Final = "objects.json"
SPLITS: Final = ("train", "test")


def write_folder(
    folder: Path, splits: Mapping[str, PointClouds], made_from: Mapping[str, Any]
) -> None:
    """Write splits of one set; `objects.json` last, so that a folder that has it is whole.

    The folder is there already; `made_from` are plain values that say where the clouds come from.
    UserError if a file cannot be written; ValueError if there is no split, a name is unknown, or
    splits have different classes or parts.
    """
    if not splits or set(splits) - set(SPLITS):
        raise ValueError(f"splits are {sorted(splits)}; give some of {', '.join(SPLITS)}")
    first = next(iter(splits.values()))
    for name, clouds in splits.items():
        if (clouds.classes, clouds.part_names) != (first.classes, first.part_names):
            raise ValueError(f"split {name} has other classes or parts than the others")
    # What is there of an earlier set is no part of this one.
    (folder / INDEX_NAME).unlink(missing_ok=True)
    for name in set(SPLITS) - set(splits):
        (folder / f"{name}.npz").unlink(missing_ok=True)
    for name, clouds in splits.items():
        arrays: dict[str, Any] = {"points": clouds.points, "labels": clouds.labels}
        if clouds.parts is not None:
            arrays["parts"] = clouds.parts
        with atomic_write(folder / f"{name}.npz") as unfinished, unfinished.open("wb") as file:
            np.savez_compressed(file, **arrays)
    index = {
        "format": FORMAT,
        "classes": list(first.classes),
        "part_names": list(first.part_names),
        "splits": {
            name: {"clouds": len(clouds), "points": clouds.num_points}
            for name, clouds in splits.items()
        },
        "made_from": dict(made_from),
    }
    with atomic_write(folder / INDEX_NAME) as unfinished:
        unfinished.write_text(json.dumps(index, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def read_folder(folder: Path, split: str) -> PointClouds:
    """Read a split that `write_folder` wrote.

    Raises
    ------
    UserError
        If the folder, its index or the split is missing, damaged or of another version.
    """
    index = read_index(folder)
    if split not in index["splits"]:
        raise UserError(
            f"{folder}: has no split {split!r}, only {', '.join(index['splits'])}; give a folder "
            "that has it"
        )
    path = folder / f"{split}.npz"
    data = read_bytes(path, hint=f"{INDEX_NAME} names it, make the set again")
    try:
        found = npz_arrays(data)
        return PointClouds(
            points=found["points"].astype(np.float32, copy=False),
            labels=found["labels"].astype(np.int64, copy=False),
            classes=tuple(index["classes"]),
            parts=found["parts"].astype(np.int64, copy=False) if "parts" in found else None,
            part_names=tuple(index["part_names"]),
        )
    except (ValueError, KeyError) as error:
        raise UserError(f"{path}: a damaged file ({error}); make the set again") from error
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def read_index(folder: Path) -> dict[str, Any]:
    """Return what `objects.json` of a folder says.

    Raises
    ------
    UserError
        If it is missing, damaged or of another version.
    """
    path = folder / INDEX_NAME
    try:
        index = read_json(path)
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; give a folder of object clouds") from error
    except ValueError as error:
        raise UserError(f"{path}: a damaged file ({error}); make the set again") from error
    found = index.get("format") if isinstance(index, dict) else None
    if found != FORMAT:
        raise UserError(
            f"{path}: is of format {found!r}, this version reads {FORMAT!r}; make the set again"
        )
    for name, kind in (("classes", list), ("part_names", list), ("splits", dict)):
        entry = index.get(name)
        if not isinstance(entry, kind) or not all(isinstance(each, str) for each in entry):
            raise UserError(f"{path}: {name} is no list of names; make the set again")
    return dict(index)


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
    return replace(
        clouds,
        points=np.take_along_axis(clouds.points, rows[:, :, None], axis=1),
        parts=None if clouds.parts is None else np.take_along_axis(clouds.parts, rows, axis=1),
    )


LAYOUTS: Final[Mapping[str, Layout]] = {
    "topodistill": Layout(INDEX_NAME, lambda folder: (folder / INDEX_NAME).is_file(), _read_ours),
    "ModelNet40": Layout("CLASS/train/*.off", is_modelnet, read_modelnet),
    "ScanObjectNN": Layout(SCANOBJECTNN_FILES["train"], is_scanobjectnn, read_scanobjectnn),
    "ShapeNetPart": Layout(CATEGORIES_NAME, is_shapenetpart, read_shapenetpart),
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

"""Our own layout of object clouds: a folder with `objects.json` and one file of arrays per split.

FOLDER/objects.json   names of classes and parts, and what the set was made from
FOLDER/train.npz      points (B, N, 3) float32, labels (B,) int64, parts (B, N) int64 if any
FOLDER/test.npz       the same; a distilled set has none
"""

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from train.core.atomic_write import atomic_write
from train.core.errors import UserError
from train.dataset_distillation.clouds import PointClouds

FORMAT: Final = "topodistill-objects-1"
INDEX_NAME: Final = "objects.json"
SPLITS: Final = ("train", "test")


def write_folder(
    folder: Path, splits: Mapping[str, PointClouds], made_from: Mapping[str, Any]
) -> None:
    """Write splits of one set; `objects.json` last, so that a folder that has it is whole.

    Parameters
    ----------
    folder
        There already.
    splits
        By name, all of the same classes and parts.
    made_from
        Plain values that say where the clouds come from.

    Raises
    ------
    UserError
        If a file cannot be written.
    ValueError
        If there is no split, a name is unknown, or splits have different classes.
    """
    if not splits or set(splits) - set(SPLITS):
        raise ValueError(f"splits are {sorted(splits)}; give some of {', '.join(SPLITS)}")
    first = next(iter(splits.values()))
    for name, clouds in splits.items():
        if (clouds.classes, clouds.part_names) != (first.classes, first.part_names):
            raise ValueError(f"split {name} has other classes or parts than the others")
    # What is there of an earlier set is no part of this one.
    (folder / INDEX_NAME).unlink(missing_ok=True)
    for name in SPLITS:
        if name not in splits:
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
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        return PointClouds(
            points=found["points"].astype(np.float32, copy=False),
            labels=found["labels"].astype(np.int64, copy=False),
            classes=tuple(index["classes"]),
            parts=found["parts"].astype(np.int64, copy=False) if "parts" in found else None,
            part_names=tuple(index["part_names"]),
        )
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: no such file, though {INDEX_NAME} names it; make the set again"
        ) from error
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
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
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; give a folder of object clouds") from error
    except ValueError as error:
        raise UserError(f"{path}: a damaged file ({error}); make the set again") from error
    found = index.get("format") if isinstance(index, dict) else None
    if found != FORMAT:
        raise UserError(
            f"{path}: is of format {found!r}, this version reads {FORMAT!r}; make the set again"
        )
    missing = {"classes", "part_names", "splits"} - set(index)
    if missing:
        raise UserError(f"{path}: lacks {', '.join(sorted(missing))}; make the set again")
    return dict(index)

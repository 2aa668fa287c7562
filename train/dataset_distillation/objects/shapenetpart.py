"""ShapeNetPart as downloaded: SYNSET/MODEL.txt with x y z nx ny nz part, and lists of the splits.

The archive is `shapenetcore_partanno_segmentation_benchmark_v0_normal`; older ones have no normals.
"""

import json
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.core.errors import UserError
from train.dataset_distillation.clouds import (
    PointClouds,
    check_cloud,
    resample,
    unit_sphere,
)

CATEGORIES_NAME: Final = "synsetoffset2category.txt"
LISTS: Final = "train_test_split"
_OF_SPLIT: Final = {"train": ("train", "val"), "test": ("test",)}


def is_shapenetpart(folder: Path) -> bool:
    """Return whether a folder has its list of categories."""
    return (folder / CATEGORIES_NAME).is_file()


def read_shapenetpart(folder: Path, split: str, num_points: int, seed: int = 0) -> PointClouds:
    """Read a split; validation models belong to "train", as in PointNet's protocol.

    Parameters
    ----------
    folder
        The unpacked archive.
    split
        "train" or "test".
    num_points
        N of each cloud, drawn from the file's 2,600 or so.
    seed
        Of that draw; a model's points depend on its name and the seed alone.

    Raises
    ------
    UserError
        If a file is missing or damaged.
    """
    categories = _categories(folder / CATEGORIES_NAME)
    synsets = list(categories)
    points, labels, parts = [], [], []
    for synset, model in _models(folder, split):
        if synset not in categories:
            raise UserError(
                f"{folder / LISTS}: names the unknown synset {synset}; download it again"
            )
        path = folder / synset / f"{model}.txt"
        table = _table(path)
        check_cloud(table[:, :3], str(path))
        rows = resample(len(table), num_points, np.random.default_rng([seed, *model.encode()]))
        points.append(unit_sphere(table[rows, :3]))
        parts.append(table[rows, -1].astype(np.int64))
        labels.append(synsets.index(synset))
    if not points:
        raise UserError(f"{folder}: has no {split} models ({LISTS}/shuffled_*_file_list.json)")
    numbers = np.stack(parts)
    return PointClouds(
        np.stack(points),
        np.array(labels, dtype=np.int64),
        tuple(categories.values()),
        numbers,
        tuple(f"part {number}" for number in range(max(50, int(numbers.max()) + 1))),
    )


def _categories(path: Path) -> dict[str, str]:
    """Return synset -> name, in the file's order."""
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        words = line.split()
        if len(words) == 2:
            found[words[1]] = words[0]
        elif words:
            raise UserError(f"{path}: line {number} is {line!r}, not a name and a synset")
    if not found:
        raise UserError(f"{path}: names no category; download it again")
    return found


def _models(folder: Path, split: str) -> list[tuple[str, str]]:
    found = []
    for name in _OF_SPLIT[split]:
        path = folder / LISTS / f"shuffled_{name}_file_list.json"
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            if name == "val":  # small copies of the set leave it out
                continue
            raise UserError(f"{path}: no such file; it lists the models of {split}") from None
        except ValueError as error:
            raise UserError(f"{path}: a damaged list ({error}); download it again") from error
        for entry in entries:
            words = str(entry).split("/")  # "shape_data/SYNSET/MODEL"
            if len(words) < 2:
                raise UserError(f"{path}: names {entry!r}, not SYNSET/MODEL; download it again")
            found.append((words[-2], words[-1]))
    return sorted(found)


def _table(path: Path) -> NDArray[np.float64]:
    try:
        table = np.loadtxt(path, ndmin=2)
    except FileNotFoundError as error:
        raise UserError(
            f"{path}: no such file, though a list names it; download it again"
        ) from error
    except ValueError as error:
        raise UserError(f"{path}: a damaged file ({error}); download it again") from error
    if table.shape[1] not in (4, 7):
        raise UserError(f"{path}: lines of {table.shape[1]} numbers, not x y z [nx ny nz] part")
    return np.asarray(table)

"""Public sets of object clouds as downloaded: ModelNet40, ScanObjectNN and ShapeNetPart.

A reader takes the folder, the split ("train" or "test"), N and the seed of the draw of points; of a
model with a file of its own, the draw depends on the file's name and the seed alone. It raises
UserError where there is nothing of the split, or a file is missing or damaged.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from train.core.bounded import decimal_numbers, first_line, read_json
from train.core.errors import UserError
from train.data.files import read_bytes
from train.dataset_distillation.clouds import PointClouds, check_cloud, resample, unit_sphere
from train.dataset_distillation.objects.meshes import read_off, sample_triangles

SCANOBJECTNN_CLASSES: Final = (
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
SCANOBJECTNN_PARTS: Final = ("background", "object")
SCANOBJECTNN_FILES: Final = {
    "train": "training_objectdataset.h5",
    "test": "test_objectdataset.h5",
}
"""Those of OBJ_BG and OBJ_ONLY; the variants' names only begin so."""
CATEGORIES_NAME: Final = "synsetoffset2category.txt"
_MOST_EXPANSION: Final = 100  # of arrays by HDF5's compression
_MOST_PARTS: Final = 1000
_LISTS: Final = "train_test_split"
_OF_SPLIT: Final = {"train": ("train", "val"), "test": ("test",)}


def is_modelnet(folder: Path) -> bool:
    """Return whether a folder looks like it: a class folder with OFF files for training."""
    return next(folder.glob("*/train/*.off"), None) is not None


def read_modelnet(folder: Path, split: str, num_points: int, seed: int = 0) -> PointClouds:
    """Read ModelNet40 or ModelNet10 (CLASS/train/*.off): points drawn evenly on the surfaces."""
    classes = sorted(path.parent.name for path in folder.glob("*/train") if path.is_dir())
    points, labels = [], []
    for label, name in enumerate(classes):
        for path in sorted((folder / name / split).glob("*.off")):
            vertices, triangles = read_off(path)
            rng = np.random.default_rng([seed, *path.stem.encode()])
            try:
                cloud = sample_triangles(vertices, triangles, num_points, rng)
            except ValueError as error:
                raise UserError(f"{path}: has no surface ({error}); leave it out") from error
            points.append(_unit_sphere(cloud, str(path)))
            labels.append(label)
    if not points:
        raise UserError(f"{folder}: has no {split} models (CLASS/{split}/*.off)")
    return PointClouds(np.stack(points), np.array(labels, dtype=np.int64), tuple(classes))


def is_scanobjectnn(folder: Path) -> bool:
    """Return whether a folder is one of its splits, such as `h5_files/main_split`."""
    return _h5_file(folder, "train") is not None


def read_scanobjectnn(folder: Path, split: str, num_points: int, seed: int = 0) -> PointClouds:
    """Read `main_split` (with background, the paper's OBJ_BG) or `main_split_nobg`.

    HDF5 files with `data`, `label` and, for segmentation, `mask`.
    """
    path = _h5_file(folder, split)
    if path is None:
        raise UserError(
            f"{folder}: has no {SCANOBJECTNN_FILES[split]}; give the folder that holds it"
        )
    arrays = _read_h5(path)
    try:
        data = np.asarray(arrays["data"], dtype=np.float32)
        labels = np.asarray(arrays["label"], dtype=np.int64).reshape(-1)
    except KeyError as error:
        raise UserError(f"{path}: lacks the array {error}; download it again") from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{path}: holds no numbers ({error}); download it again") from error
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
        points.append(_unit_sphere(cloud[rows], f"{path}, cloud {index}"))
        if mask is not None:
            parts.append((np.asarray(mask[index])[rows] >= 0).astype(np.int64))
    return PointClouds(
        np.stack(points),
        labels,
        SCANOBJECTNN_CLASSES,
        np.stack(parts) if parts else None,
        SCANOBJECTNN_PARTS if parts else (),
    )


def _h5_file(folder: Path, split: str) -> Path | None:
    """Return the split's file: the plain one, or the only variant that is there."""
    plain = folder / SCANOBJECTNN_FILES[split]
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
            there = [name for name in ("data", "label", "mask") if name in file]
            size = sum(file[name].nbytes for name in there)
            if size > _MOST_EXPANSION * path.stat().st_size:
                raise ValueError(f"its arrays would take {size} bytes")
            return {name: file[name][()] for name in there}
    except Exception as error:  # HDF5's library has no common class for damaged bytes
        raise UserError(
            f"{path}: no HDF5 file, or a damaged one ({first_line(error)}); download it again"
        ) from error


def is_shapenetpart(folder: Path) -> bool:
    """Return whether a folder has its list of categories."""
    return (folder / CATEGORIES_NAME).is_file()


def read_shapenetpart(folder: Path, split: str, num_points: int, seed: int = 0) -> PointClouds:
    """Read SYNSET/MODEL.txt with x y z nx ny nz part; older archives have no normals.

    The archive is `shapenetcore_partanno_segmentation_benchmark_v0_normal`. Validation models
    belong to "train", as in PointNet's protocol.
    """
    categories = _categories(folder / CATEGORIES_NAME)
    synsets = list(categories)
    points, labels, parts = [], [], []
    for synset, model in _models(folder, split):
        if synset not in categories:
            raise UserError(
                f"{folder / _LISTS}: names the unknown synset {synset}; download it again"
            )
        path = folder / synset / f"{model}.txt"
        table = _table(path)
        check_cloud(table[:, :3], str(path))
        if not (np.abs(table[:, -1]) < _MOST_PARTS).all():
            raise UserError(f"{path}: a part is not 0 to {_MOST_PARTS - 1}; download it again")
        rows = resample(len(table), num_points, np.random.default_rng([seed, *model.encode()]))
        points.append(_unit_sphere(table[rows, :3], str(path)))
        parts.append(table[rows, -1].astype(np.int64))
        labels.append(synsets.index(synset))
    if not points:
        raise UserError(f"{folder}: has no {split} models ({_LISTS}/shuffled_*_file_list.json)")
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
    text = read_bytes(path).decode(errors="replace")
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.split()
        if len(words) == 2:
            found[words[1]] = words[0]
        elif words:
            raise UserError(f"{path}: line {number} is {line!r}, not a name and a synset")
    if not found:
        raise UserError(f"{path}: names no category; download it again")
    return found


def _models(folder: Path, split: str) -> list[tuple[str, str]]:
    """Return synsets and names of a split's models, sorted."""
    found = []
    for name in _OF_SPLIT[split]:
        path = folder / _LISTS / f"shuffled_{name}_file_list.json"
        if name == "val" and not path.exists():  # small copies of the set leave it out
            continue
        try:
            entries = read_json(path)
        except FileNotFoundError:
            raise UserError(f"{path}: no such file; it lists the models of {split}") from None
        except ValueError as error:
            raise UserError(f"{path}: a damaged list ({error}); download it again") from error
        for entry in entries if isinstance(entries, list) else [entries]:
            words = str(entry).split("/")  # "shape_data/SYNSET/MODEL"
            if len(words) < 2:
                raise UserError(f"{path}: names {entry!r}, not SYNSET/MODEL; download it again")
            found.append((words[-2], words[-1]))
    return sorted(found)


def _unit_sphere(cloud: NDArray[np.floating], what: str) -> NDArray[np.float32]:
    """Return a cloud in the unit sphere; refuse one that has no extent once points are drawn."""
    check_cloud(cloud, what)
    try:
        return unit_sphere(cloud)
    except ValueError as error:
        raise UserError(f"{what}: cannot be put to one scale ({error}); leave it out") from error


def _table(path: Path) -> NDArray[np.float64]:
    data = read_bytes(path)
    try:
        lines = [line.split() for line in data.splitlines() if line.strip()]
        table = decimal_numbers([word for line in lines for word in line])
        table = table.reshape(len(lines), len(lines[0]) if lines else 0)
    except ValueError as error:
        raise UserError(f"{path}: a damaged file ({error}); download it again") from error
    if table.shape[1] not in (4, 7):
        raise UserError(f"{path}: lines of {table.shape[1]} numbers, not x y z [nx ny nz] part")
    return np.asarray(table)

"""ModelNet40 and ModelNet10 as downloaded: CLASS/train/*.off and CLASS/test/*.off."""

from pathlib import Path

import numpy as np

from train.core.errors import UserError
from train.dataset_distillation.clouds import PointClouds, check_cloud, unit_sphere
from train.dataset_distillation.objects.meshes import read_off, sample_triangles


def is_modelnet(folder: Path) -> bool:
    """Return whether a folder looks like it: a class folder with OFF files for training."""
    return next(folder.glob("*/train/*.off"), None) is not None


def read_modelnet(folder: Path, split: str, num_points: int, seed: int = 0) -> PointClouds:
    """Read a split, with points drawn evenly on the models' surfaces.

    Parameters
    ----------
    folder
        The unpacked archive, "ModelNet40".
    split
        "train" or "test".
    num_points
        N of each cloud.
    seed
        Of the points; those of a model depend on its name and the seed alone.

    Raises
    ------
    UserError
        If there is nothing of the split, or a file is damaged.
    """
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
            check_cloud(cloud, str(path))
            points.append(unit_sphere(cloud))
            labels.append(label)
    if not points:
        raise UserError(f"{folder}: has no {split} models (CLASS/{split}/*.off)")
    return PointClouds(np.stack(points), np.array(labels, dtype=np.int64), tuple(classes))

"""Random rotations of object clouds: all of them, or about the vertical axis alone.

Shape letters: B clouds, N points.
"""

import numpy as np
from numpy.typing import NDArray

from train.dataset_distillation.clouds import PointClouds


def random_rotations(
    number: int, rng: np.random.Generator, *, upright: bool = False
) -> NDArray[np.float64]:
    """Return rotation matrices (number, 3, 3) of determinant 1.

    Parameters
    ----------
    number
        How many.
    rng
        Source of chance.
    upright
        About z alone; else evenly over all rotations, from unit quaternions (Shoemake,
        "Uniform random rotations", Graphics Gems III).
    """
    if upright:
        angle = rng.uniform(0.0, 2 * np.pi, number)
        q = np.stack([np.cos(angle / 2), 0 * angle, 0 * angle, np.sin(angle / 2)], axis=1)
    else:
        q = rng.normal(size=(number, 4))
        q /= np.linalg.norm(q, axis=1, keepdims=True)
    w, x, y, z = q.T
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def rotated(clouds: PointClouds, seed: int, *, upright: bool = False) -> PointClouds:
    """Return the same clouds, each turned by a rotation of its own (the paper's "rotated" sets)."""
    turns = random_rotations(len(clouds), np.random.default_rng(seed), upright=upright)
    return clouds.with_points(clouds.points @ turns.astype(np.float32).transpose(0, 2, 1))

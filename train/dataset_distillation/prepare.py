"""Real clouds for a distillation: turned, and put on their principal axes."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from train.core.console import logger
from train.core.errors import UserError
from train.dataset_distillation.chance import Stream
from train.dataset_distillation.clouds import PointClouds
from train.dataset_distillation.options import DistillOptions
from train.dataset_distillation.rotator import Rotator, principal_axes


@dataclass(frozen=True, eq=False)
class Prepared:
    """Real clouds in the orientation that networks see, and the rotator that put them there.

    Attributes
    ----------
    train, test
        On their principal axes where there is a rotator.
    rotator
        Decides the signs.
    """

    train: PointClouds
    test: PointClouds | None
    rotator: Rotator


def prepare(
    train: PointClouds, test: PointClouds | None, options: DistillOptions, *, rotate: bool = False
) -> Prepared:
    """Rotate clouds at random if wanted, and put them on their principal axes.

    Of options the rotator is looked at; to rotate first is the paper's "rotated" setting. UserError
    if the splits have different classes or units, or the rotator would tilt LiDAR frames.
    """
    chosen, frames = options.rotator, train.meters is not None
    if frames and chosen.mode != "none" and not chosen.upright:
        raise UserError(
            f"--rotator {chosen.mode}: LiDAR frames know which way is up; give --upright, or "
            "--rotator none"
        )
    if test is not None and test.classes != train.classes:
        raise UserError("the test clouds have other classes than the training clouds; give one set")
    facts = (train.part_names, train.meters)
    if frames and test is not None and (test.part_names, test.meters) != facts:
        raise UserError("the held-out frames have other classes or another range; give one set")
    if rotate:
        train = rotated(train, Stream.TRAIN_ROTATIONS, upright=chosen.upright)
        if test is not None:
            test = rotated(test, Stream.TEST_ROTATIONS, upright=chosen.upright)
    rotator = chosen.build()
    count = 0 if frames else undefined(train, rotator)
    if count:
        logger.info(
            f"{count} of {len(train)} clouds have principal axes or signs that are not defined "
            "(equal eigenvalues, or a symmetry): two rotations of them may end differently"
        )
    return Prepared(
        aligned_clouds(train, rotator),
        None if test is None else aligned_clouds(test, rotator),
        rotator,
    )


def aligned_clouds(clouds: PointClouds, rotator: Rotator) -> PointClouds:
    """Return clouds on their principal axes, all signs still to be decided by the rotator.

    The paper does the same before training: PCA looks at all points, the rotator at those of a
    step. Frames are turned about their origin, which says where the sensor is.
    """
    if rotator.mode == "none":
        return clouds
    points = torch.from_numpy(clouds.points)
    axes = principal_axes(points, upright=rotator.upright, proper=rotator.proper)
    if clouds.meters is None:
        points = points - points.mean(dim=1, keepdim=True)
    return clouds.with_points((points @ axes.vectors).numpy())


def undefined(clouds: PointClouds, rotator: Rotator) -> int:
    """Return how many clouds the rotator cannot give one orientation."""
    with torch.no_grad():
        found = rotator.canonical(torch.from_numpy(clouds.points))
    return int((found.degenerate | found.ambiguous).sum())


def canonical(clouds: PointClouds, rotator: Rotator) -> PointClouds:
    """Return prepared clouds with their signs decided: what a network is trained on."""
    with torch.no_grad():
        return clouds.with_points(
            rotator.cpu()(torch.from_numpy(clouds.points), align=False).numpy()
        )


def random_rotations(
    number: int, rng: np.random.Generator, *, upright: bool = False
) -> NDArray[np.float64]:
    """Return rotation matrices (number, 3, 3) of determinant 1.

    About z alone, or evenly over all rotations, from unit quaternions (Shoemake, "Uniform random
    rotations", Graphics Gems III).
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

"""Real clouds for a distillation: read or simulated, turned, and put on their principal axes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from train.core.console import logger
from train.core.distributed import first_process_first
from train.core.errors import UserError
from train.dataset_distillation.distill import aligned_clouds, build_rotator
from train.dataset_distillation.objects.clouds import ObjectClouds
from train.dataset_distillation.objects.read import read_objects
from train.dataset_distillation.objects.rotations import rotated
from train.dataset_distillation.options import DistillOptions
from train.dataset_distillation.rotator import Rotator
from train.dataset_distillation.simulated.objects import SimulatedSet, simulate_objects

_ROTATION_SEEDS: Final = {"train": 31, "test": 32}


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

    train: ObjectClouds
    test: ObjectClouds | None
    rotator: Rotator


def prepare(
    train: ObjectClouds, test: ObjectClouds | None, options: DistillOptions, *, rotate: bool
) -> Prepared:
    """Rotate clouds at random if wanted, and put them on their principal axes.

    Parameters
    ----------
    train, test
        As they were read.
    options
        The rotator and the seed are looked at.
    rotate
        Turn every cloud at random first: the paper's "rotated" setting.

    Raises
    ------
    UserError
        If the splits have different classes.
    """
    if test is not None and test.classes != train.classes:
        raise UserError("the test clouds have other classes than the training clouds; give one set")
    if rotate:
        upright = options.rotator.upright
        train = rotated(train, _ROTATION_SEEDS["train"], upright=upright)
        test = None if test is None else rotated(test, _ROTATION_SEEDS["test"], upright=upright)
    rotator = build_rotator(options)
    count = undefined(train, rotator)
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


def undefined(clouds: ObjectClouds, rotator: Rotator) -> int:
    """Return how many clouds the rotator cannot give one orientation."""
    with torch.no_grad():
        found = rotator.canonical(torch.from_numpy(clouds.points))
    return int((found.degenerate | found.ambiguous).sum())


def canonical(clouds: ObjectClouds, rotator: Rotator) -> ObjectClouds:
    """Return prepared clouds with their signs decided: what a network is trained on."""
    with torch.no_grad():
        return clouds.with_points(
            rotator.cpu()(torch.from_numpy(clouds.points), align=False).numpy()
        )


def read_real(
    data: str, output: Path, wanted: SimulatedSet, points: int, seed: int
) -> tuple[ObjectClouds, ObjectClouds | None]:
    """Return training and test clouds of a folder, or simulated ones; the first process simulates.

    Parameters
    ----------
    data
        "simulated", or a folder in a known layout.
    output
        Simulated clouds are in its folder `objects`.
    wanted
        A `SimulatedSet`.
    points
        Of each cloud that is drawn from a mesh or a larger cloud.
    seed
        Of that draw.

    Raises
    ------
    UserError
        See `read_objects` and `simulate_objects`.
    """
    folder = Path(data)
    if data == "simulated":
        folder = output / "objects"
        with first_process_first():
            folder.mkdir(exist_ok=True)
            simulate_objects(folder, wanted)
    train = read_objects(folder, "train", points, seed)
    try:
        test = read_objects(folder, "test", points, seed)
    except UserError as error:
        if "has no split" not in str(error) and "has no test" not in str(error):
            raise
        test = None
    return train, test

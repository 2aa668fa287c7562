"""Classes of clouds that are told apart by their shape or have parts; refusals of the command."""

import numpy as np
import pytest

from train.dataset_distillation.clouds import PointClouds, unit_sphere
from train.dataset_distillation.command import main

CLASSES = ("rod", "plate", "ball", "cross")


def toy_clouds(each, seed, points=48):
    """Clouds that differ within a class by their extents, with a tail that fixes their signs."""
    rng = np.random.default_rng(seed)
    found, labels = [], []
    for label, name in enumerate(CLASSES):
        for _ in range(each):
            at = rng.normal(size=(points, 3)) + 0.5 * rng.exponential(size=(points, 3))
            extent = {
                "rod": [1.0, 0.1, 0.1],
                "plate": [1.0, 0.8, 0.05],
                "ball": [1.0, 0.9, 0.8],
                "cross": [1.0, 1.0, 0.2],
            }[name]
            at = at * extent * rng.uniform(0.8, 1.25, 3)
            if name == "cross":
                at[: points // 2, 0] *= 0.1
                at[points // 2 :, 1] *= 0.1
            found.append(unit_sphere(at))
            labels.append(label)
    return PointClouds(np.stack(found), np.array(labels), CLASSES)


def hammers(each, seed, points=60):
    """Two classes: a handle (a third of the points) with a head, and a handle with a blade."""
    rng = np.random.default_rng(seed)
    clouds, parts = [], []
    for label in (0, 1):
        for _ in range(each):
            third = points // 3
            handle = rng.uniform(-1, 1, (third, 3)) * [0.1, 0.1, 1.0]
            shape = [[0.6, 0.2, 0.2], [0.05, 0.5, 0.5]][label]
            top = rng.uniform(-1, 1, (points - third, 3)) * shape + [0, 0, 1.2]
            clouds.append(unit_sphere(np.concatenate([handle, top])))
            parts.append(np.repeat([0, 1 + label], [third, points - third]))
    return PointClouds(
        np.stack(clouds),
        np.repeat([0, 1], each),
        ("hammer", "axe"),
        np.stack(parts),
        ("handle", "head", "blade"),
    )


@pytest.fixture
def refused(capsys):
    """Give the command what it refuses; return the one line that says why."""

    def refusal(*arguments):
        capsys.readouterr()
        assert main([str(argument) for argument in arguments]) == 2
        shown = capsys.readouterr().err.strip().splitlines()[-1]
        assert shown.startswith("error: ")
        return shown

    return refusal

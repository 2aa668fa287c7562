"""Four classes of clouds that are told apart by their shape, small enough for tests."""

import numpy as np

from train.dataset_distillation.clouds import PointClouds, unit_sphere

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

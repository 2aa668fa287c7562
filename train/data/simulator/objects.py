"""People, plants and street furniture, drawn in their own frame: forward, left, up."""

import numpy as np

from train.data.simulator.scene import Frame, SceneBuilder, Shape
from train.data.simulator.surfaces import Kind, Material


def _uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def add_person(
    scene: SceneBuilder, frame: Frame, rng: np.random.Generator, kind: Kind = Kind.PERSON
) -> None:
    """Add somebody standing or walking."""
    instance = scene.new_instance()
    size = _uniform(rng, 0.85, 1.08)
    step = _uniform(rng, 0.0, 0.25)
    scene.add(
        Shape.ELLIPSOID,
        frame,
        (0.0, 0.0, 1.62 * size),
        (0.1, 0.09, 0.13),
        kind,
        Material.CLOTH,
        instance=instance,
    )
    scene.add(
        Shape.ELLIPSOID,
        frame,
        (0.0, 0.0, 1.15 * size),
        (0.15, 0.24, 0.36),
        kind,
        Material.CLOTH,
        instance=instance,
    )
    for side in (-1.0, 1.0):
        scene.add(
            Shape.CYLINDER,
            frame,
            (side * step, side * 0.1, 0.42 * size),
            (0.075, 0.075, 0.42 * size),
            kind,
            Material.CLOTH,
            instance=instance,
        )


def add_tree(scene: SceneBuilder, frame: Frame, rng: np.random.Generator) -> None:
    """Add a tree: a trunk, and a canopy of overlapping porous balls."""
    radius = _uniform(rng, 0.08, 0.28)
    clear = _uniform(rng, 1.2, 3.0)
    height = clear + _uniform(rng, 2.0, 5.0)
    scene.add(
        Shape.CYLINDER,
        frame,
        (0.0, 0.0, (clear + 0.8) / 2),
        (radius, radius, (clear + 0.8) / 2),
        Kind.TRUNK,
        Material.BARK,
    )
    for _ in range(int(rng.integers(6, 13))):
        size = _uniform(rng, 0.4, 1.4)
        scene.add(
            Shape.FOLIAGE,
            frame,
            (
                float(rng.normal(scale=1.0)),
                float(rng.normal(scale=1.0)),
                _uniform(rng, clear + 0.5 * size, height),
            ),
            (size, size, size * 0.8),
            Kind.VEGETATION,
            Material.FOLIAGE,
            extra=(_uniform(rng, 0.25, 0.9), 0.0, 0.0),
        )


def add_bush(scene: SceneBuilder, frame: Frame, rng: np.random.Generator) -> None:
    """Add a bush: a few porous balls near the ground."""
    for _ in range(int(rng.integers(2, 7))):
        size = _uniform(rng, 0.35, 1.3)
        scene.add(
            Shape.FOLIAGE,
            frame,
            (float(rng.normal(scale=0.7)), float(rng.normal(scale=0.7)), size * 0.7),
            (size, size * _uniform(rng, 0.7, 1.2), size * _uniform(rng, 0.7, 1.2)),
            Kind.VEGETATION,
            Material.FOLIAGE,
            extra=(_uniform(rng, 0.12, 0.35), 0.0, 0.0),
        )


def add_lamp(scene: SceneBuilder, frame: Frame, rng: np.random.Generator) -> None:
    """Add a street lamp's pole and arm."""
    radius, height = _uniform(rng, 0.06, 0.1), _uniform(rng, 5.0, 8.0)
    scene.add(
        Shape.CYLINDER,
        frame,
        (0.0, 0.0, height / 2),
        (radius, radius, height / 2),
        Kind.POLE,
        Material.METAL,
    )
    scene.add(Shape.BOX, frame, (0.7, 0.0, height), (0.8, 0.08, 0.06), Kind.POLE, Material.METAL)


def add_sign(scene: SceneBuilder, frame: Frame, rng: np.random.Generator) -> None:
    """Add a traffic sign on its post, facing along the frame."""
    height, size = _uniform(rng, 2.1, 2.7), _uniform(rng, 0.28, 0.38)
    scene.add(
        Shape.CYLINDER,
        frame,
        (0.0, 0.0, height / 2),
        (0.035, 0.035, height / 2),
        Kind.POLE,
        Material.METAL,
    )
    scene.add(
        Shape.BOX, frame, (0.05, 0.0, height), (0.012, size, size), Kind.SIGN, Material.REFLECTOR
    )


def add_traffic_light(scene: SceneBuilder, frame: Frame) -> None:
    """Add a traffic light on its post."""
    scene.add(
        Shape.CYLINDER,
        frame,
        (0.0, 0.0, 1.6),
        (0.06, 0.06, 1.6),
        Kind.POLE,
        Material.METAL,
    )
    scene.add(
        Shape.BOX,
        frame,
        (0.1, 0.0, 2.7),
        (0.12, 0.15, 0.45),
        Kind.TRAFFIC_LIGHT,
        Material.METAL,
    )


def add_street_furniture(scene: SceneBuilder, frame: Frame, rng: np.random.Generator) -> None:
    """Add a waste bin, a bollard row, a box on the wall or a bench."""
    choice = rng.integers(4)
    if choice == 0:
        scene.add(
            Shape.BOX,
            frame,
            (0.0, 0.0, 0.55),
            (0.3, 0.3, 0.55),
            Kind.OTHER_OBJECT,
            Material.DARK_PAINT,
        )
    elif choice == 1:
        for forward in (-3.0, -1.5, 0.0, 1.5, 3.0):
            scene.add(
                Shape.CYLINDER,
                frame,
                (forward, 0.0, 0.45),
                (0.06, 0.06, 0.45),
                Kind.OTHER_OBJECT,
                Material.METAL,
            )
    elif choice == 2:
        scene.add(
            Shape.BOX,
            frame,
            (0.0, 0.0, 0.6),
            (0.6, 0.2, 0.6),
            Kind.OTHER_OBJECT,
            Material.PLASTER,
        )
    else:
        for place, half in (
            ((0.0, 0.0, 0.45), (0.8, 0.22, 0.04)),
            ((0.0, -0.22, 0.7), (0.8, 0.03, 0.22)),
            ((-0.6, 0.0, 0.2), (0.05, 0.2, 0.2)),
            ((0.6, 0.0, 0.2), (0.05, 0.2, 0.2)),
        ):
            scene.add(Shape.BOX, frame, place, half, Kind.OTHER_OBJECT, Material.WOOD)


def add_cone(scene: SceneBuilder, frame: Frame) -> None:
    """Add a traffic cone as two stacked cylinders."""
    for radius, up in ((0.17, 0.15), (0.09, 0.5)):
        scene.add(
            Shape.CYLINDER,
            frame,
            (0.0, 0.0, up),
            (radius, radius, 0.2),
            Kind.CONE,
            Material.REFLECTOR,
        )

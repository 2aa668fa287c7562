"""Things that stand in a street, drawn from primitives in their own frame: forward, left, up."""

import numpy as np

from train.data.simulator.scene import Frame, Kind, Material, SceneBuilder, Shape

_CAR_PAINTS = (
    Material.BRIGHT_PAINT,
    Material.BRIGHT_PAINT,
    Material.METAL,
    Material.DARK_PAINT,
    Material.DARK_PAINT,
)


def _uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(rng.uniform(low, high))


def add_car(
    scene: SceneBuilder, frame: Frame, rng: np.random.Generator, kind: Kind = Kind.CAR
) -> None:
    """Add a passenger car or a van: a body, a cabin with glass, four wheels."""
    instance = scene.new_instance()
    paint = _CAR_PAINTS[rng.integers(len(_CAR_PAINTS))]
    van = rng.random() < 0.15
    length = _uniform(rng, 4.6, 5.4) if van else _uniform(rng, 3.6, 4.8)
    half_width = _uniform(rng, 0.92, 1.0) if van else _uniform(rng, 0.82, 0.92)
    front, back = length / 2, -length / 2
    height = _uniform(rng, 1.9, 2.3) if van else _uniform(rng, 1.38, 1.6)
    waist = height * 0.62
    body = [
        (back + 0.05, 0.28),
        (front - 0.1, 0.22),
        (front, 0.5),
        (front - 0.12, 0.68),
        (front - 1.0, waist),
        (back + 0.1, waist),
        (back, 0.75),
    ]
    scene.add_prism(frame, body, half_width, kind, paint, instance=instance, narrowing=0.05)
    nose = front - (0.55 if van else 1.0)
    tail = back + (0.05 if van or rng.random() < 0.5 else 0.75)
    cabin = [
        (tail, waist - 0.02),
        (nose, waist - 0.02),
        (nose - 0.75, height - 0.06),
        (nose - 1.2, height),
        (tail + 0.6, height),
        (tail + 0.25, height - 0.08),
    ]
    # Windows take most of the cabin's sides; its roof and pillars are paint.
    scene.add_prism(
        frame, cabin, half_width - 0.06, kind, Material.GLASS, instance=instance, narrowing=0.22
    )
    roof = [
        (tail + 0.3, height - 0.12),
        (nose - 0.95, height - 0.12),
        (nose - 1.2, height + 0.01),
        (tail + 0.6, height + 0.01),
    ]
    scene.add_prism(frame, roof, half_width - 0.14, kind, paint, instance=instance, narrowing=0.25)
    for forward in (front - 0.85, back + 0.8):
        for side in (-1.0, 1.0):
            scene.add(
                Shape.WHEEL,
                frame,
                (forward, side * (half_width - 0.09), 0.31),
                (0.31, 0.1, 0.31),
                kind,
                Material.RUBBER,
                instance=instance,
            )


def add_truck(
    scene: SceneBuilder, frame: Frame, rng: np.random.Generator, kind: Kind = Kind.TRUCK
) -> None:
    """Add a lorry, or a bus when that is its kind: a cab, a load box, wheels."""
    instance = scene.new_instance()
    length = _uniform(rng, 9.0, 12.0) if kind == Kind.BUS else _uniform(rng, 5.8, 9.0)
    half_width = _uniform(rng, 1.1, 1.27)
    height = _uniform(rng, 2.7, 3.3)
    front, back = length / 2, -length / 2
    if kind == Kind.BUS:
        box_front = front
    else:
        box_front = front - 2.0
        cab = [
            (front - 1.9, 0.45),
            (front - 0.05, 0.4),
            (front, 1.2),
            (front - 0.2, 2.3),
            (front - 0.5, 2.4),
            (front - 1.9, 2.4),
        ]
        scene.add_prism(
            frame, cab, half_width - 0.08, kind, Material.BRIGHT_PAINT, instance=instance
        )
    middle = (box_front + back) / 2
    low = 0.4 if kind == Kind.BUS else 0.95
    scene.add(
        Shape.BOX,
        frame,
        (middle, 0.0, (low + height) / 2),
        ((box_front - back) / 2, half_width, (height - low) / 2),
        kind,
        Material.BRIGHT_PAINT,
        instance=instance,
    )
    scene.add(
        Shape.BOX,
        frame,
        (-0.3, 0.0, 0.75),
        (front - 0.5, 0.45, 0.2),
        kind,
        Material.METAL,
        instance=instance,
    )
    for forward in (front - 1.2, back + 1.1, back + 2.3):
        for side in (-1.0, 1.0):
            scene.add(
                Shape.WHEEL,
                frame,
                (forward, side * (half_width - 0.16), 0.48),
                (0.48, 0.14, 0.48),
                kind,
                Material.RUBBER,
                instance=instance,
            )


def add_trailer(scene: SceneBuilder, frame: Frame, rng: np.random.Generator) -> None:
    """Add a parked trailer or caravan."""
    instance = scene.new_instance()
    half_length, height = _uniform(rng, 1.2, 2.6), _uniform(rng, 1.1, 2.4)
    scene.add(
        Shape.BOX,
        frame,
        (0.0, 0.0, 0.45 + height / 2),
        (half_length, _uniform(rng, 0.8, 1.05), height / 2),
        Kind.TRAILER,
        Material.BRIGHT_PAINT,
        instance=instance,
    )
    scene.add(
        Shape.BOX,
        frame,
        (half_length + 0.6, 0.0, 0.5),
        (0.65, 0.05, 0.05),
        Kind.TRAILER,
        Material.METAL,
        instance=instance,
    )
    for side in (-0.8, 0.8):
        scene.add(
            Shape.WHEEL,
            frame,
            (0.0, side, 0.3),
            (0.3, 0.1, 0.3),
            Kind.TRAILER,
            Material.RUBBER,
            instance=instance,
        )


def _add_two_wheels(
    scene: SceneBuilder, frame: Frame, kind: Kind, instance: int, *, motor: bool
) -> None:
    """Add a bicycle's or a motorcycle's wheels, frame and handlebar."""
    radius = 0.3 if motor else 0.34
    base = 0.7 if motor else 0.52
    for forward in (-base, base):
        # A spoked wheel is mostly air: its rim and spokes stop about half of the rays.
        scene.add(
            Shape.WHEEL,
            frame,
            (forward, 0.0, radius),
            (radius, 0.06 if motor else 0.015, radius),
            kind,
            Material.RUBBER if motor else Material.METAL,
            instance=instance,
            extra=(0.1 if motor else 0.5, 0.0, 0.0),
        )
    material = Material.DARK_PAINT if motor else Material.METAL
    scene.add(
        Shape.BOX,
        frame,
        (0.0, 0.0, 0.62),
        (0.5, 0.16 if motor else 0.03, 0.2 if motor else 0.08),
        kind,
        material,
        instance=instance,
    )
    scene.add(
        Shape.BOX,
        frame,
        (base - 0.15, 0.0, 1.0),
        (0.04, 0.32, 0.04),
        kind,
        Material.METAL,
        instance=instance,
    )


def add_bicycle(scene: SceneBuilder, frame: Frame) -> None:
    """Add a parked bicycle."""
    _add_two_wheels(scene, frame, Kind.BICYCLE, scene.new_instance(), motor=False)


def add_motorcycle(scene: SceneBuilder, frame: Frame) -> None:
    """Add a parked motorcycle."""
    _add_two_wheels(scene, frame, Kind.MOTORCYCLE, scene.new_instance(), motor=True)


def add_rider(scene: SceneBuilder, frame: Frame, kind: Kind, rng: np.random.Generator) -> None:
    """Add a two-wheeler with somebody on it; both are one object of the rider's kind."""
    instance = scene.new_instance()
    _add_two_wheels(scene, frame, kind, instance, motor=kind == Kind.MOTORCYCLIST)
    size = _uniform(rng, 0.93, 1.07)
    for place, half in (
        ((-0.1, 0.0, 1.25 * size), (0.2, 0.22, 0.33)),
        ((0.05, 0.0, 1.68 * size), (0.11, 0.1, 0.13)),
        ((0.1, 0.0, 0.75 * size), (0.2, 0.17, 0.28)),
        ((0.25, 0.0, 1.25 * size), (0.25, 0.25, 0.08)),
    ):
        scene.add(Shape.ELLIPSOID, frame, place, half, kind, Material.CLOTH, instance=instance)


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

"""Cars, lorries, trailers and two-wheelers, drawn in their own frame: forward, left, up."""

import numpy as np

from train.data.simulator.scene import Frame, SceneBuilder, Shape
from train.data.simulator.surfaces import Kind, Material

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
    length = _uniform(rng, 9.0, 12.0) if kind == Kind.MOVING_BUS else _uniform(rng, 5.8, 9.0)
    half_width = _uniform(rng, 1.1, 1.27)
    height = _uniform(rng, 2.7, 3.3)
    front, back = length / 2, -length / 2
    if kind == Kind.MOVING_BUS:
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
    low = 0.4 if kind == Kind.MOVING_BUS else 0.95
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
    _add_two_wheels(scene, frame, kind, instance, motor=kind == Kind.MOVING_MOTORCYCLIST)
    size = _uniform(rng, 0.93, 1.07)
    for place, half in (
        ((-0.1, 0.0, 1.25 * size), (0.2, 0.22, 0.33)),
        ((0.05, 0.0, 1.68 * size), (0.11, 0.1, 0.13)),
        ((0.1, 0.0, 0.75 * size), (0.2, 0.17, 0.28)),
        ((0.25, 0.0, 1.25 * size), (0.25, 0.25, 0.08)),
    ):
        scene.add(Shape.ELLIPSOID, frame, place, half, kind, Material.CLOTH, instance=instance)

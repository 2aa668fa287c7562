"""Bicycles, motorcycles and their riders, drawn in their own frame: forward, left, up."""

import numpy as np

from train.simulation.simulator.parts import Parts, Point, Spot
from train.simulation.simulator.people import add_arm, add_leg, add_upper_body
from train.simulation.simulator.surfaces import Kind, Material

MOTOR_RIDERS = frozenset({Kind.MOTORCYCLIST, Kind.MOVING_MOTORCYCLIST})

_CLOTHES = (Material.CLOTH, Material.DARK_CLOTH, Material.DARK_CLOTH, Material.HIGH_VISIBILITY)
_PAINTS = (Material.BLACK_PAINT, Material.SILVER_PAINT, Material.DARK_PAINT, Material.BRIGHT_PAINT)


def add_bicycle(spot: Spot) -> None:
    """Add a parked bicycle."""
    _draw_bicycle(spot.parts(Kind.BICYCLE))


def add_motorcycle(spot: Spot) -> None:
    """Add a parked motorcycle or motor scooter."""
    _draw_motorcycle(spot.parts(Kind.MOTORCYCLE), scooter=spot.chance(0.35))


def add_rider(spot: Spot, kind: Kind, *, phase: float = 0.5) -> None:
    """Add a two-wheeler with somebody on it, of the rider's kind; both are one object.

    A cyclist's pedals stand at `phase` (radians) of a turn.
    """
    rider = spot.parts(kind)
    if kind in MOTOR_RIDERS:
        _add_motorcyclist(rider)
    else:
        _add_cyclist(rider, phase)


def _draw_bicycle(cycle: Parts) -> float:
    """Draw a bicycle; return the height of its saddle."""
    radius = cycle.uniform(0.31, 0.35)
    paint = _PAINTS[cycle.rng.integers(4)]
    front, back, saddle = 0.53, -0.5, cycle.uniform(0.88, 1.0)
    for forward in (front, back):
        # Rim and tyre stop rays; between the spokes most pass.
        cycle.wheel((forward, 0.0, radius), radius, 0.02, passes=0.62)
    tube = 0.02
    head, crank = (0.38, 0.82), (-0.05, 0.3)
    post = (-0.2, saddle - 0.12)
    for start, end in (
        (crank, head),
        (post, (0.37, 0.78)),
        (crank, (-0.22, saddle)),
        ((back, radius), crank),
        ((back, radius), post),
        ((front, radius), (0.37, 0.98)),
    ):
        cycle.beam(start, end, tube, paint)
    cycle.box((0.36, 0.0, 1.03), (0.03, 0.28, 0.02), Material.METAL)
    cycle.box((-0.23, 0.0, saddle), (0.13, 0.07, 0.03), Material.RUBBER)
    if cycle.chance(0.4):
        cycle.box((back, 0.0, 0.74), (0.2, 0.08, 0.02), Material.METAL)
    if cycle.chance(0.2):
        cycle.mesh((0.58, 0.0, 0.92), (0.16, 0.2, 0.12), 0.4, Material.METAL)
    if cycle.chance(0.15):
        for side in cycle.sides(1.0):
            side.box((back, 0.16, 0.55), (0.17, 0.07, 0.17), Material.DARK_CLOTH)
    cycle.box((back - 0.34, 0.0, 0.6), (0.015, 0.03, 0.03), Material.REFLECTOR)
    return saddle


def _add_cyclist(rider: Parts, phase: float) -> None:
    size = rider.uniform(0.92, 1.05)
    saddle = _draw_bicycle(rider)
    top, trousers = _CLOTHES[rider.rng.integers(4)], _CLOTHES[rider.rng.integers(3)]
    hip = (-0.2, saddle + 0.06)
    for side, turn in ((1.0, phase), (-1.0, phase + np.pi)):
        foot = (-0.05 + 0.17 * float(np.cos(turn)), 0.3 + 0.17 * float(np.sin(turn)))
        _add_bent_limb(rider, hip, foot, (0.46 * size, 0.46 * size), side * 0.1, 0.065, trousers)
    lean = rider.uniform(0.25, 0.75)
    helmet = Material.PLASTIC if rider.chance(0.5) else None
    shoulder = add_upper_body(rider, hip, lean, size, top, helmet=helmet)
    for side in (1.0, -1.0):
        grip = (0.34, 1.05)
        lengths = (0.32 * size, 0.33 * size)
        _add_bent_limb(rider, shoulder, grip, lengths, side * 0.23, 0.045, top, up=-1.0)


def _add_bent_limb(
    person: Parts,
    start: Point,
    end: Point,
    lengths: Point,
    left: float,
    thickness: float,
    material: Material,
    *,
    up: float = 1.0,
) -> None:
    """Add two bones from hip to foot or shoulder to hand; the joint points forward for up = 1."""
    apart = float(np.hypot(end[0] - start[0], end[1] - start[1]))
    first, second = lengths
    apart = min(apart, 0.98 * (first + second))
    reach = (first**2 - second**2 + apart**2) / (2 * apart)
    off = float(np.sqrt(max(first**2 - reach**2, 0.0)))
    along = np.array([end[0] - start[0], end[1] - start[1]])
    along /= np.linalg.norm(along)
    normal = up * np.array([-along[1], along[0]])
    joint = np.array(start) + reach * along + off * normal
    tip = np.array(start) + apart * along
    person.beam(start, (joint[0], joint[1]), thickness, material, left=left)
    person.beam((joint[0], joint[1]), (tip[0], tip[1]), 0.8 * thickness, material, left=left)


def _draw_motorcycle(cycle: Parts, *, scooter: bool) -> None:
    """Draw a motorcycle, or a motor scooter with small wheels and a floor to put feet on."""
    paint = _PAINTS[cycle.rng.integers(4)]
    if scooter:
        for forward in (0.62, -0.55):
            cycle.wheel((forward, 0.0, 0.22), 0.22, 0.06)
        cycle.prism([(-0.8, 0.4), (-0.1, 0.35), (-0.1, 0.75), (-0.75, 0.78)], 0.17, paint)
        cycle.prism([(0.3, 0.3), (0.45, 0.3), (0.52, 1.0), (0.42, 1.0)], 0.2, paint)
        cycle.box((0.1, 0.0, 0.3), (0.3, 0.16, 0.04), Material.RUBBER)
        cycle.box((-0.42, 0.0, 0.8), (0.34, 0.14, 0.05), Material.RUBBER)
    else:
        for forward in (0.72, -0.7):
            cycle.wheel((forward, 0.0, 0.31), 0.31, 0.065, passes=0.1)
        cycle.prism([(-0.3, 0.25), (0.35, 0.25), (0.4, 0.6), (-0.25, 0.62)], 0.2, Material.METAL)
        cycle.ball((0.12, 0.0, 0.85), (0.32, 0.15, 0.15), paint)
        cycle.prism([(-0.85, 0.72), (-0.1, 0.7), (-0.1, 0.8), (-0.8, 0.86)], 0.14, Material.RUBBER)
        cycle.beam((0.72, 0.31), (0.42, 1.0), 0.035, Material.METAL, half_width=0.09)
        cycle.beam((-0.7, 0.32), (0.1, 0.3), 0.05, Material.METAL, left=0.18)
        if cycle.chance(0.5):
            cycle.prism([(0.4, 0.75), (0.75, 0.85), (0.6, 1.2), (0.42, 1.0)], 0.17, paint)
    cycle.box((0.42, 0.0, 1.03), (0.03, 0.34, 0.025), Material.METAL)
    for side in cycle.sides(1.0):
        side.ball((0.42, 0.33, 1.18), (0.03, 0.07, 0.05), Material.GLASS)
    if cycle.chance(0.25):
        cycle.box((-0.95, 0.0, 1.0), (0.2, 0.22, 0.18), Material.PLASTIC)
    cycle.box((-0.98, 0.0, 0.55), (0.01, 0.1, 0.08), Material.REFLECTOR)


def _add_motorcyclist(rider: Parts) -> None:
    size = rider.uniform(0.95, 1.08)
    scooter = rider.chance(0.3)
    _draw_motorcycle(rider, scooter=scooter)
    jacket = _CLOTHES[rider.rng.integers(4)]
    hip = (-0.32, 0.93)
    for side in (1.0, -1.0):
        if scooter:
            add_leg(rider, hip, side * 0.13, 1.2, 1.2, size, Material.DARK_CLOTH)
        else:
            foot = (-0.05, 0.32)
            lengths = (0.45 * size, 0.45 * size)
            _add_bent_limb(rider, hip, foot, lengths, side * 0.2, 0.08, Material.DARK_CLOTH)
    lean = rider.uniform(0.05, 0.45)
    shoulder = add_upper_body(rider, hip, lean, size, jacket, helmet=Material.PLASTIC)
    for side in (1.0, -1.0):
        add_arm(rider, shoulder, side * 0.25, 0.9, 0.45, size, jacket)

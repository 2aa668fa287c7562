"""People on foot, on wheels and with their dogs, drawn in their own frame: forward, left, up.

Sizes are those of somebody 1.75 m tall, times `size`.
"""

import numpy as np

from train.simulation.simulator.parts import Parts, Point, Spot
from train.simulation.simulator.surfaces import Kind, Material

_CLOTHES = (Material.CLOTH, Material.CLOTH, Material.DARK_CLOTH, Material.DARK_CLOTH)
_STRIDE_M = 1.4
_CHILDREN = frozenset({Kind.CHILD, Kind.MOVING_CHILD})
_IN_HIGH_VISIBILITY = frozenset({Kind.CONSTRUCTION_WORKER, Kind.POLICE_OFFICER})


def stride_phase(traveled_m: float) -> float:
    """Return how far into a double step somebody is, radians."""
    return 2 * np.pi * traveled_m / _STRIDE_M


def add_person(spot: Spot, kind: Kind = Kind.PERSON, *, phase: float | None = None) -> float:
    """Add somebody who stands, or walks and is at `phase` of a double step; return the size."""
    person = spot.parts(kind)
    size = spot.uniform(0.56, 0.82) if kind in _CHILDREN else spot.uniform(0.9, 1.08)
    top, trousers = _CLOTHES[spot.rng.integers(4)], _CLOTHES[spot.rng.integers(4)]
    swing = 0.0 if phase is None else 0.5 * float(np.sin(phase))
    loose = spot.uniform(-0.06, 0.06) if phase is None else 0.0
    # A knee bends while its leg swings forward.
    lift = 0.0 if phase is None else max(0.0, float(np.cos(phase)))
    for side, reach in ((1.0, swing + loose), (-1.0, -swing - loose)):
        bend = 0.9 * (lift if side > 0 else (0.0 if phase is None else 1.0 - lift)) * abs(swing)
        add_leg(person, (0.0, 0.92 * size), side * 0.1 * size, reach, bend + 0.03, size, trousers)
        add_arm(person, (0.0, 1.43 * size), side * 0.23 * size, -0.8 * reach, 0.25, size, top)
    if spot.chance(0.2):
        coat = [(-0.13, 0.6), (0.13, 0.6), (0.1, 1.1), (-0.1, 1.1)]
        person.prism([(f * size, u * size) for f, u in coat], 0.19 * size, top, narrowing=0.1)
    vest = Material.HIGH_VISIBILITY if kind in _IN_HIGH_VISIBILITY else top
    add_upper_body(person, (0.0, 0.9 * size), 0.04, size, vest)
    luggage = spot.rng.random() if kind not in _IN_HIGH_VISIBILITY else 1.0
    if luggage < 0.25:
        person.box((-0.2 * size, 0.0, 1.22 * size), (0.09, 0.15, 0.22), Material.DARK_CLOTH)
    elif luggage < 0.4:
        person.box((0.0, 0.32 * size, 0.62 * size), (0.17, 0.06, 0.2), Material.DARK_CLOTH)
    if kind == Kind.CONSTRUCTION_WORKER:
        person.ball((0.03, 0.0, 1.72 * size), (0.14, 0.12, 0.09), Material.PLASTIC)
    return size


def add_leg(
    person: Parts,
    hip: Point,
    left: float,
    angle: float,
    bend: float,
    size: float,
    material: Material,
) -> None:
    """Add a thigh at an angle to the vertical (forward positive), and a shank bent back from it."""
    knee = (hip[0] + 0.45 * size * np.sin(angle), hip[1] - 0.45 * size * np.cos(angle))
    low = angle - bend
    foot = (knee[0] + 0.43 * size * np.sin(low), knee[1] - 0.43 * size * np.cos(low))
    person.beam(hip, knee, 0.075 * size, material, left=left)
    person.beam(knee, foot, 0.055 * size, material, left=left)
    toe = (foot[0] + 0.07 * size, 0.0, max(foot[1], 0.04))
    person.shifted(0.0, left).box(toe, (0.13 * size, 0.045, 0.04), Material.RUBBER)


def add_arm(
    person: Parts,
    shoulder: Point,
    left: float,
    angle: float,
    bend: float,
    size: float,
    material: Material,
) -> None:
    """Add an upper arm at an angle to the vertical (forward positive), and a forearm bent up."""
    elbow = (shoulder[0] + 0.3 * size * np.sin(angle), shoulder[1] - 0.3 * size * np.cos(angle))
    up = angle + bend
    hand = (elbow[0] + 0.3 * size * np.sin(up), elbow[1] - 0.3 * size * np.cos(up))
    person.beam(shoulder, elbow, 0.05 * size, material, left=left)
    person.beam(elbow, hand, 0.04 * size, material, left=left)


def add_upper_body(
    person: Parts,
    hip: Point,
    lean: float,
    size: float,
    material: Material,
    *,
    helmet: Material | None = None,
) -> Point:
    """Add trunk, neck and head above a hip, leaning forward; return where the shoulders are."""

    def along(reach: float) -> Point:
        return hip[0] + reach * size * np.sin(lean), hip[1] + reach * size * np.cos(lean)

    person.beam(along(-0.08), along(0.3), 0.1 * size, material, half_width=0.16 * size)
    person.beam(along(0.22), along(0.56), 0.115 * size, material, half_width=0.2 * size)
    neck, head = along(0.6), along(0.72)
    person.ball((neck[0], 0.0, neck[1]), (0.06 * size,) * 3, Material.SKIN)
    # Heads stay upright and grow less than people do.
    scale = 0.5 + 0.5 * size
    person.ball((head[0], 0.0, head[1]), (0.1 * scale, 0.08 * scale, 0.13 * scale), Material.SKIN)
    cap = Material.DARK_CLOTH if helmet is None else helmet
    grown = 1.0 if helmet is None else 1.25
    cap_half = (0.105 * scale * grown, 0.085 * scale * grown, 0.08 * scale * grown)
    person.ball((head[0] - 0.015, 0.0, head[1] + 0.06), cap_half, cap)
    return along(0.53)


def add_seated(person: Parts, seat: Point, size: float) -> None:
    """Add somebody who sits upright on a chair at (forward, up), hands in the lap."""
    cloth = _CLOTHES[person.rng.integers(4)]
    for side in (1.0, -1.0):
        add_leg(person, seat, side * 0.1, 1.5, 1.45, size, cloth)
        add_arm(person, (seat[0], seat[1] + 0.5), side * 0.22, 0.3, 1.1, size, cloth)
    add_upper_body(person, seat, -0.08, size, cloth)


def add_wheelchair(spot: Spot) -> None:
    """Add somebody in a wheelchair; both are one object."""
    chair = spot.parts(Kind.WHEELCHAIR)
    for side in chair.sides(1.0):
        side.wheel((-0.1, 0.3, 0.3), 0.3, 0.02, passes=0.6)
        side.wheel((0.35, 0.24, 0.1), 0.1, 0.02)
        side.beam((-0.28, 0.45), (-0.34, 0.95), 0.02, Material.METAL, left=0.24)
    chair.box((0.0, 0.0, 0.47), (0.22, 0.22, 0.03), Material.DARK_CLOTH)
    chair.box((-0.24, 0.0, 0.7), (0.02, 0.22, 0.22), Material.DARK_CLOTH)
    add_seated(chair, (-0.1, 0.56), spot.uniform(0.9, 1.0))


def add_stroller(spot: Spot) -> None:
    """Add a stroller; who pushes it is not part of it."""
    stroller = spot.parts(Kind.STROLLER)
    low = [(-0.32, 0.42), (0.32, 0.42), (0.4, 0.66), (-0.36, 0.66)]
    stroller.prism(low, 0.22, Material.DARK_CLOTH)
    hood = [(-0.36, 0.66), (0.0, 0.66), (-0.05, 0.98), (-0.25, 1.02)]
    stroller.prism(hood, 0.22, _CLOTHES[spot.rng.integers(4)])
    for side in stroller.sides(1.0):
        side.wheel((0.32, 0.24, 0.13), 0.13, 0.025)
        side.wheel((-0.28, 0.27, 0.16), 0.16, 0.025)
        side.beam((0.3, 0.15), (-0.55, 1.02), 0.015, Material.METAL, left=0.23)
    stroller.box((-0.55, 0.0, 1.02), (0.02, 0.24, 0.02), Material.RUBBER)


def add_scooter_rider(spot: Spot) -> None:
    """Add somebody who stands on an electric scooter; both are one object."""
    rider = spot.parts(Kind.PERSONAL_MOBILITY)
    size = spot.uniform(0.92, 1.05)
    for forward in (0.45, -0.4):
        rider.wheel((forward, 0.0, 0.11), 0.11, 0.03)
    rider.box((0.0, 0.0, 0.17), (0.38, 0.09, 0.03), Material.METAL)
    rider.beam((0.45, 0.15), (0.33, 1.08), 0.025, Material.METAL)
    rider.box((0.33, 0.0, 1.08), (0.02, 0.25, 0.02), Material.RUBBER)
    frame_up = rider.shifted(0.0, 0.0, up=0.2)
    cloth, trousers = _CLOTHES[spot.rng.integers(4)], _CLOTHES[spot.rng.integers(4)]
    for side, reach in ((1.0, 0.14), (-1.0, -0.16)):
        add_leg(frame_up, (-0.05, 0.9 * size), side * 0.08, reach, 0.05, size, trousers)
    shoulder = add_upper_body(frame_up, (-0.05, 0.9 * size), 0.08, size, cloth)
    for side in (1.0, -1.0):
        add_arm(frame_up, shoulder, side * 0.23, 0.35, 0.6, size, cloth)


def add_dog(spot: Spot) -> None:
    """Add a dog."""
    dog = spot.parts(Kind.ANIMAL)
    size = spot.uniform(0.6, 1.15)
    fur = _CLOTHES[spot.rng.integers(4)]
    dog.ball((0.0, 0.0, 0.48 * size), (0.38 * size, 0.13 * size, 0.15 * size), fur)
    dog.ball((0.42 * size, 0.0, 0.66 * size), (0.14 * size, 0.09 * size, 0.1 * size), fur)
    dog.beam((0.3 * size, 0.5 * size), (0.4 * size, 0.64 * size), 0.07 * size, fur)
    dog.beam((-0.36 * size, 0.52 * size), (-0.6 * size, 0.75 * size), 0.025 * size, fur)
    for forward in (0.25, -0.27):
        for side in dog.sides(1.0):
            side.post((forward * size, 0.08 * size), 0.03 * size, 0.0, 0.45 * size, fur)

"""People on foot and on wheels, two-wheelers and dogs, in their own frame: forward, left, up.

Sizes are those of somebody 1.75 m tall, times `size`.
"""

from typing import NamedTuple

import numpy as np

from train.simulation.simulator.parts import Parts, Place, Point, Spot
from train.simulation.simulator.surfaces import Kind, Material

_CLOTHES = (Material.CLOTH, Material.CLOTH, Material.DARK_CLOTH, Material.DARK_CLOTH)
_RIDERS_CLOTHES = (*_CLOTHES[1:], Material.HIGH_VISIBILITY)
_PAINTS = (Material.BLACK_PAINT, Material.SILVER_PAINT, Material.DARK_PAINT, Material.BRIGHT_PAINT)
_STRIDE_M = 1.4
_CHILDREN = frozenset({Kind.CHILD, Kind.MOVING_CHILD})
_IN_HIGH_VISIBILITY = frozenset({Kind.CONSTRUCTION_WORKER, Kind.POLICE_OFFICER})
_MOTOR_RIDERS = frozenset({Kind.MOTORCYCLIST, Kind.MOVING_MOTORCYCLIST})


class _Body(NamedTuple):
    """Somebody of a size, whose limbs are drawn one by one."""

    parts: Parts
    size: float

    def leg(self, hip: Point, left: float, angle: float, bend: float, material: Material) -> None:
        """Add a thigh at an angle to the vertical (forward positive), a shank bent back from it."""
        bones = ((0.45, angle, 0.075), (0.43, angle - bend, 0.055))
        foot = self._limb(hip, left, bones, material)
        toe = (foot[0] + 0.07 * self.size, 0.0, max(foot[1], 0.04))
        self.parts.shifted(0.0, left).box(toe, (0.13 * self.size, 0.045, 0.04), Material.RUBBER)

    def arm(
        self, shoulder: Point, left: float, angle: float, bend: float, material: Material
    ) -> None:
        """Add an upper arm at an angle to the vertical (forward positive), a forearm bent up."""
        bones = ((0.3, angle, 0.05), (0.3, angle + bend, 0.04))
        self._limb(shoulder, left, bones, material)

    def _limb(
        self, start: Point, left: float, bones: tuple[Place, ...], material: Material
    ) -> Point:
        """Add bones, each of a length, an angle and a thickness, and return where they end."""
        for length, angle, thickness in bones:
            length *= self.size
            end = (start[0] + length * np.sin(angle), start[1] - length * np.cos(angle))
            self.parts.beam(start, end, thickness * self.size, material, left=left)
            start = end
        return start

    def bent_limb(
        self, start: Point, end: Point, bones: Point, left: float, thickness: float, cloth: Material
    ) -> None:
        """Add two bones from hip to foot or shoulder to hand, its joint ahead of the way there."""
        apart = float(np.hypot(end[0] - start[0], end[1] - start[1]))
        first, second = bones
        apart = min(apart, 0.98 * (first + second))
        reach = (first**2 - second**2 + apart**2) / (2 * apart)
        off = float(np.sqrt(max(first**2 - reach**2, 0.0)))
        along = np.array([end[0] - start[0], end[1] - start[1]])
        along /= np.linalg.norm(along)
        # Feet are below hips and knees point forward; hands are ahead of shoulders, elbows below.
        normal = (1.0 if end[1] < 0.6 else -1.0) * np.array([-along[1], along[0]])
        joint = np.array(start) + reach * along + off * normal
        tip = np.array(start) + apart * along
        middle = (joint[0], joint[1])
        self.parts.beam(start, middle, thickness, cloth, left=left)
        self.parts.beam(middle, (tip[0], tip[1]), 0.8 * thickness, cloth, left=left)

    def upper(
        self, hip: Point, lean: float, material: Material, *, helmet: Material | None = None
    ) -> Point:
        """Add trunk, neck and head above a hip, leaning forward; return where the shoulders are."""
        person, size = self

        def along(reach: float) -> Point:
            return hip[0] + reach * size * np.sin(lean), hip[1] + reach * size * np.cos(lean)

        person.beam(along(-0.08), along(0.3), 0.1 * size, material, half_width=0.16 * size)
        person.beam(along(0.22), along(0.56), 0.115 * size, material, half_width=0.2 * size)
        neck, head = along(0.6), along(0.72)
        person.ball((neck[0], 0.0, neck[1]), (0.06 * size,) * 3, Material.SKIN)
        # Heads stay upright and grow less than people do.
        scale = 0.5 + 0.5 * size
        half = (0.1 * scale, 0.08 * scale, 0.13 * scale)
        person.ball((head[0], 0.0, head[1]), half, Material.SKIN)
        grown = 1.0 if helmet is None else 1.25
        half = (0.105 * scale * grown, 0.085 * scale * grown, 0.08 * scale * grown)
        cap = Material.DARK_CLOTH if helmet is None else helmet
        person.ball((head[0] - 0.015, 0.0, head[1] + 0.06), half, cap)
        return along(0.53)


def stride_phase(traveled_m: float) -> float:
    """Return how far into a double step somebody is, radians."""
    return 2 * np.pi * traveled_m / _STRIDE_M


def add_person(spot: Spot, kind: Kind = Kind.PERSON, *, phase: float | None = None) -> float:
    """Add somebody who stands, or walks and is at `phase` of a double step; return the size."""
    person = spot.parts(kind)
    size = spot.uniform(0.56, 0.82) if kind in _CHILDREN else spot.uniform(0.9, 1.08)
    body = _Body(person, size)
    top, trousers = _CLOTHES[spot.rng.integers(4)], _CLOTHES[spot.rng.integers(4)]
    swing = 0.0 if phase is None else 0.5 * float(np.sin(phase))
    loose = spot.uniform(-0.06, 0.06) if phase is None else 0.0
    # A knee bends while its leg swings forward.
    lift = 0.0 if phase is None else max(0.0, float(np.cos(phase)))
    for side, reach in ((1.0, swing + loose), (-1.0, -swing - loose)):
        bend = 0.9 * (lift if side > 0 else (0.0 if phase is None else 1.0 - lift)) * abs(swing)
        body.leg((0.0, 0.92 * size), side * 0.1 * size, reach, bend + 0.03, trousers)
        body.arm((0.0, 1.43 * size), side * 0.23 * size, -0.8 * reach, 0.25, top)
    if spot.chance(0.2):
        coat = [(-0.13, 0.6), (0.13, 0.6), (0.1, 1.1), (-0.1, 1.1)]
        person.prism([(f * size, u * size) for f, u in coat], 0.19 * size, top, narrowing=0.1)
    shines = kind in _IN_HIGH_VISIBILITY
    body.upper((0.0, 0.9 * size), 0.04, Material.HIGH_VISIBILITY if shines else top)
    luggage = 1.0 if shines else spot.rng.random()
    if luggage < 0.25:
        person.box((-0.2 * size, 0.0, 1.22 * size), (0.09, 0.15, 0.22), Material.DARK_CLOTH)
    elif luggage < 0.4:
        person.box((0.0, 0.32 * size, 0.62 * size), (0.17, 0.06, 0.2), Material.DARK_CLOTH)
    if kind == Kind.CONSTRUCTION_WORKER:
        person.ball((0.03, 0.0, 1.72 * size), (0.14, 0.12, 0.09), Material.PLASTIC)
    return size


def add_wheelchair(spot: Spot) -> None:
    """Add somebody in a wheelchair, hands in the lap; both are one object."""
    chair = spot.parts(Kind.WHEELCHAIR)
    for side in chair.sides(1.0):
        side.wheel((-0.1, 0.3, 0.3), 0.3, 0.02, passes=0.6)
        side.wheel((0.35, 0.24, 0.1), 0.1, 0.02)
        side.beam((-0.28, 0.45), (-0.34, 0.95), 0.02, Material.METAL, left=0.24)
    chair.box((0.0, 0.0, 0.47), (0.22, 0.22, 0.03), Material.DARK_CLOTH)
    chair.box((-0.24, 0.0, 0.7), (0.02, 0.22, 0.22), Material.DARK_CLOTH)
    body, seat = _Body(chair, spot.uniform(0.9, 1.0)), (-0.1, 0.56)
    cloth = _CLOTHES[spot.rng.integers(4)]
    for left in (1.0, -1.0):
        body.leg(seat, left * 0.1, 1.5, 1.45, cloth)
        body.arm((seat[0], seat[1] + 0.5), left * 0.22, 0.3, 1.1, cloth)
    body.upper(seat, -0.08, cloth)


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
    body, hip = _Body(rider.shifted(0.0, 0.0, up=0.2), size), (-0.05, 0.9 * size)
    cloth, trousers = _CLOTHES[spot.rng.integers(4)], _CLOTHES[spot.rng.integers(4)]
    for left, reach in ((0.08, 0.14), (-0.08, -0.16)):
        body.leg(hip, left, reach, 0.05, trousers)
    shoulder = body.upper(hip, 0.08, cloth)
    for left in (0.23, -0.23):
        body.arm(shoulder, left, 0.35, 0.6, cloth)


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
        dog.both(1.0).post((forward * size, 0.08 * size), 0.03 * size, 0.0, 0.45 * size, fur)


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
    if kind in _MOTOR_RIDERS:
        _add_motorcyclist(spot.parts(kind))
    else:
        _add_cyclist(spot.parts(kind), phase)


def _draw_bicycle(cycle: Parts) -> float:
    """Draw a bicycle; return the height of its saddle."""
    radius = cycle.uniform(0.31, 0.35)
    paint = _PAINTS[cycle.rng.integers(4)]
    front, back, saddle = 0.53, -0.5, cycle.uniform(0.88, 1.0)
    for forward in (front, back):
        # Rim and tyre stop rays; between the spokes most pass.
        cycle.wheel((forward, 0.0, radius), radius, 0.02, passes=0.62)
    head, crank, post = (0.38, 0.82), (-0.05, 0.3), (-0.2, saddle - 0.12)
    for start, end in (
        (crank, head),
        (post, (0.37, 0.78)),
        (crank, (-0.22, saddle)),
        ((back, radius), crank),
        ((back, radius), post),
        ((front, radius), (0.37, 0.98)),
    ):
        cycle.beam(start, end, 0.02, paint)
    cycle.box((0.36, 0.0, 1.03), (0.03, 0.28, 0.02), Material.METAL)
    cycle.box((-0.23, 0.0, saddle), (0.13, 0.07, 0.03), Material.RUBBER)
    if cycle.chance(0.4):
        cycle.box((back, 0.0, 0.74), (0.2, 0.08, 0.02), Material.METAL)
    if cycle.chance(0.2):
        cycle.mesh((0.58, 0.0, 0.92), (0.16, 0.2, 0.12), 0.4, Material.METAL)
    if cycle.chance(0.15):
        cycle.both(1.0).box((back, 0.16, 0.55), (0.17, 0.07, 0.17), Material.DARK_CLOTH)
    cycle.box((back - 0.34, 0.0, 0.6), (0.015, 0.03, 0.03), Material.REFLECTOR)
    return saddle


def _add_cyclist(rider: Parts, phase: float) -> None:
    size = rider.uniform(0.92, 1.05)
    body, saddle = _Body(rider, size), _draw_bicycle(rider)
    top, trousers = _RIDERS_CLOTHES[rider.rng.integers(4)], _RIDERS_CLOTHES[rider.rng.integers(3)]
    hip = (-0.2, saddle + 0.06)
    for left, turn in ((0.1, phase), (-0.1, phase + np.pi)):
        foot = (-0.05 + 0.17 * float(np.cos(turn)), 0.3 + 0.17 * float(np.sin(turn)))
        body.bent_limb(hip, foot, (0.46 * size, 0.46 * size), left, 0.065, trousers)
    lean = rider.uniform(0.25, 0.75)
    helmet = Material.PLASTIC if rider.chance(0.5) else None
    shoulder = body.upper(hip, lean, top, helmet=helmet)
    for left in (0.23, -0.23):
        body.bent_limb(shoulder, (0.34, 1.05), (0.32 * size, 0.33 * size), left, 0.045, top)


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
    cycle.both(1.0).ball((0.42, 0.33, 1.18), (0.03, 0.07, 0.05), Material.GLASS)
    if cycle.chance(0.25):
        cycle.box((-0.95, 0.0, 1.0), (0.2, 0.22, 0.18), Material.PLASTIC)
    cycle.box((-0.98, 0.0, 0.55), (0.01, 0.1, 0.08), Material.REFLECTOR)


def _add_motorcyclist(rider: Parts) -> None:
    size = rider.uniform(0.95, 1.08)
    body, scooter = _Body(rider, size), rider.chance(0.3)
    _draw_motorcycle(rider, scooter=scooter)
    jacket = _RIDERS_CLOTHES[rider.rng.integers(4)]
    hip, foot, bones = (-0.32, 0.93), (-0.05, 0.32), (0.45 * size, 0.45 * size)
    for side in (1.0, -1.0):
        if scooter:
            body.leg(hip, side * 0.13, 1.2, 1.2, Material.DARK_CLOTH)
        else:
            body.bent_limb(hip, foot, bones, side * 0.2, 0.08, Material.DARK_CLOTH)
    lean = rider.uniform(0.05, 0.45)
    shoulder = body.upper(hip, lean, jacket, helmet=Material.PLASTIC)
    for left in (0.25, -0.25):
        body.arm(shoulder, left, 0.9, 0.45, jacket)

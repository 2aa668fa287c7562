"""Lorries, buses, trams and building machines, drawn in their own frame: forward, left, up."""

import numpy as np

from train.simulation.simulator.parts import Parts, Spot
from train.simulation.simulator.surfaces import Kind, Material

_PAINTS = (Material.BRIGHT_PAINT, Material.BRIGHT_PAINT, Material.SILVER_PAINT, Material.DARK_PAINT)

SEMITRAILER_M = 16.5
"""Length of a tractor with its semitrailer."""


def _wheels(parts: Parts, axles: tuple[float, ...], half_width: float, radius: float) -> None:
    for forward in axles:
        for side in parts.sides():
            side.wheel((forward, half_width - 0.17, radius), radius, 0.15)
            rim = (forward, half_width - 0.04, radius)
            side.wheel(rim, 0.55 * radius, 0.03, Material.METAL)


def _cab(parts: Parts, front: float, half_width: float, height: float, paint: Material) -> None:
    """Add a lorry's cab of 2 m with its windows; its front ends at `front`."""
    shell = [
        (front - 2.0, 0.5),
        (front - 0.05, 0.42),
        (front, 1.3),
        (front - 0.2, height - 0.25),
        (front - 0.55, height),
        (front - 2.0, height),
    ]
    parts.prism(shell, half_width, paint, narrowing=0.02)
    screen = [
        (front - 0.1, 1.5),
        (front + 0.01, 1.5),
        (front - 0.15, height - 0.35),
        (front - 0.3, height - 0.35),
    ]
    parts.prism(screen, half_width - 0.1, Material.TINTED_GLASS)
    door = [
        (front - 1.2, 1.5),
        (front - 0.35, 1.35),
        (front - 0.4, height - 0.4),
        (front - 1.2, height - 0.4),
    ]
    parts.prism(door, half_width + 0.015, Material.TINTED_GLASS)
    parts.box((front + 0.02, 0.0, 0.55), (0.02, 0.26, 0.06), Material.REFLECTOR)
    for side in parts.sides():
        side.box((front - 0.15, half_width + 0.17, 1.9), (0.06, 0.1, 0.25), Material.BLACK_PAINT)


def add_truck(spot: Spot, kind: Kind = Kind.TRUCK) -> float:
    """Add a lorry with a box, a flat bed, a tipping skip or a tank; return its length."""
    truck = spot.parts(kind)
    length, half_width = spot.uniform(6.0, 9.2), spot.uniform(1.1, 1.27)
    front, back = length / 2, -length / 2
    paint = _PAINTS[spot.rng.integers(4)]
    _cab(truck, front, half_width - 0.05, spot.uniform(2.4, 3.0), paint)
    truck.box((-1.0, 0.0, 0.78), (front - 1.1, 0.42, 0.16), Material.STEEL)
    load, middle = front - 2.2, (front - 2.2 + back) / 2
    half = (load - back) / 2
    load_kind = spot.rng.random()
    if load_kind < 0.55:
        height = spot.uniform(2.7, 3.5)
        place = (middle, 0.0, (1.0 + height) / 2)
        shell = Material.BRIGHT_PAINT if spot.chance(0.7) else Material.DARK_CLOTH
        truck.box(place, (half, half_width, (height - 1.0) / 2), shell)
    elif load_kind < 0.75:
        truck.box((middle, 0.0, 1.1), (half, half_width, 0.08), Material.WOOD)
        for side in truck.sides():
            side.box((middle, half_width, 1.4), (half, 0.03, 0.25), Material.METAL)
        for _ in range(int(spot.rng.integers(1, 5))):
            size = (spot.uniform(0.3, 0.8), spot.uniform(0.3, 0.9), spot.uniform(0.2, 0.7))
            at = middle + spot.uniform(-0.8, 0.8) * (half - 0.8)
            truck.box((at, 0.0, 1.15 + size[2]), size, Material.WOOD)
    elif load_kind < 0.9:
        skip = [(back + 0.3, 1.1), (load, 1.0), (load, 2.3), (back - 0.1, 2.2)]
        truck.prism(skip, half_width, Material.STEEL)
    else:
        # An upright cylinder is all there is, so a lying tank is a polygon with twelve sides.
        around = np.linspace(0.0, 2 * np.pi, 12, endpoint=False)
        ring = [(1.0 * float(np.cos(a)), 1.95 + 0.95 * float(np.sin(a))) for a in around]
        truck.shifted(middle, 0.0, np.pi / 2).prism(ring, half, Material.SILVER_PAINT)
    rear = (back + 1.0, back + 2.3) if length > 7.2 else (back + 1.4,)
    _wheels(truck, (front - 1.1, *rear), half_width, 0.48)
    truck.box((back - 0.01, 0.0, 0.7), (0.02, half_width - 0.1, 0.08), Material.REFLECTOR)
    return length


def add_semitrailer(
    spot: Spot, kinds: tuple[Kind, Kind] = (Kind.MOVING_TRUCK, Kind.MOVING_TRAILER)
) -> float:
    """Add a tractor and its semitrailer, an object of its own each; return the length of both."""
    truck = spot.parts(kinds[0])
    front, back, half_width = SEMITRAILER_M / 2, -SEMITRAILER_M / 2, 1.25
    _cab(truck, front, half_width - 0.03, spot.uniform(3.0, 3.6), _PAINTS[spot.rng.integers(4)])
    truck.box((front - 3.2, 0.0, 0.8), (2.0, 0.45, 0.17), Material.STEEL)
    _wheels(truck, (front - 1.3, front - 4.9), half_width, 0.5)
    trailer = spot.parts(kinds[1])
    half = (SEMITRAILER_M - 2.9) / 2
    middle = back + half
    if spot.chance(0.75):
        side = Material.BRIGHT_PAINT if spot.chance(0.5) else Material.CLOTH
        trailer.box((middle, 0.0, 2.6), (half, half_width, 1.4), side)
    else:
        trailer.box((middle, 0.0, 1.2), (half, half_width, 0.1), Material.STEEL)
        trailer.box((middle, 0.0, 2.5), (half - 0.4, half_width - 0.02, 1.2), Material.STEEL)
    _wheels(trailer, (back + 1.6, back + 2.9, back + 4.2), half_width, 0.48)
    trailer.box((back - 0.01, 0.0, 0.8), (0.02, half_width - 0.1, 0.1), Material.REFLECTOR)
    for edge in (-1.0, 1.0):
        guard = (middle + 0.8, edge * (half_width - 0.03), 0.7)
        trailer.box(guard, (2.6, 0.02, 0.2), Material.METAL)
    return SEMITRAILER_M


def _bus_section(
    bus: Parts, half_length: float, half_width: float, height: float, paint: Material
) -> None:
    """Add a section of a bus or tram about the middle of its part's frame."""
    bus.box(
        (0.0, 0.0, 0.3 + (height - 0.3) / 2), (half_length, half_width, height / 2 - 0.15), paint
    )
    for side in (-1.0, 1.0):
        # Between windows there is a pillar every 1.4 m or so.
        count = max(1, int(2 * half_length / 1.45))
        pitch = 2 * half_length / count
        for number in range(count):
            along = -half_length + (number + 0.5) * pitch
            window = (along, side * (half_width + 0.01), height - 1.15)
            bus.box(window, (pitch / 2 - 0.07, 0.015, 0.52), Material.TINTED_GLASS)


def add_bus(spot: Spot, kind: Kind = Kind.MOVING_BUS) -> float:
    """Add a bus, or one with a joint if that is its kind; return its length."""
    bus = spot.parts(kind)
    half_width, height = 1.27, spot.uniform(2.95, 3.2)
    paint = _PAINTS[spot.rng.integers(4)]
    halves = (4.6, 4.0) if kind == Kind.MOVING_BENDY_BUS else (spot.uniform(5.2, 6.1),)
    total = 2 * sum(halves) + 0.9 * (len(halves) - 1)
    along = total / 2
    for number, half in enumerate(halves):
        section = bus.shifted(along - half, 0.0)
        _bus_section(section, half, half_width, height, paint)
        axles = (half - 2.5, -half + 1.9) if number == 0 else (-half + 2.3,)
        _wheels(section, axles, half_width, 0.48)
        along -= 2 * half
        if number + 1 < len(halves):
            bellows = (along - 0.45, 0.0, 1.65)
            bus.box(bellows, (0.5, half_width - 0.12, 1.2), Material.DARK_CLOTH)
            along -= 0.9
    front = total / 2
    bus.box((front + 0.01, 0.0, 1.75), (0.015, half_width - 0.1, 0.75), Material.TINTED_GLASS)
    bus.box((front + 0.02, 0.0, 0.5), (0.015, 0.26, 0.06), Material.REFLECTOR)
    bus.box((-front - 0.01, 0.0, 1.9), (0.015, half_width - 0.25, 0.5), Material.TINTED_GLASS)
    bus.box((-front - 0.01, 0.0, 0.6), (0.015, half_width - 0.15, 0.06), Material.REFLECTOR)
    for side in bus.sides():
        side.box((front + 0.2, half_width + 0.1, 2.4), (0.06, 0.1, 0.2), Material.BLACK_PAINT)
    return total


def add_tram(spot: Spot, kind: Kind) -> float:
    """Add a tram of three sections; return its length."""
    tram = spot.parts(kind)
    half_width, paint = 1.2, _PAINTS[spot.rng.integers(4)]
    halves = (4.2, 3.6, 4.2)
    total = 2 * sum(halves) + 1.0
    along = total / 2
    for half in halves:
        section = tram.shifted(along - half, 0.0)
        _bus_section(section, half, half_width, 3.3, paint)
        skirt = (0.0, 0.0, 0.22)
        section.box(skirt, (half - 0.3, half_width - 0.1, 0.12), Material.STEEL)
        along -= 2 * half
        tram.box((along - 0.25, 0.0, 1.7), (0.3, half_width - 0.15, 1.3), Material.DARK_CLOTH)
        along -= 0.5
    for end, sign in ((total / 2, 1.0), (-total / 2, -1.0)):
        nose = [(0.0, 0.35), (0.55, 0.45), (0.5, 1.3), (0.0, 3.1)]
        corner = tram.shifted(end - 0.05 * sign, 0.0, 0.0 if sign > 0 else np.pi)
        corner.prism(nose, half_width - 0.05, Material.TINTED_GLASS)
    tram.beam((0.5, 3.4), (-0.6, 4.4), 0.04, Material.METAL, half_width=0.4)
    return total + 1.0


def add_construction_vehicle(spot: Spot) -> None:
    """Add an excavator, a wheel loader or a road roller."""
    machine = spot.parts(Kind.CONSTRUCTION_VEHICLE)
    choice = spot.rng.random()
    if choice < 0.5:
        _add_excavator(machine)
    elif choice < 0.8:
        _add_loader(machine)
    else:
        _add_roller(machine)


def _add_excavator(machine: Parts) -> None:
    track = [(-1.5, 0.35), (-1.2, 0.0), (1.2, 0.0), (1.5, 0.35), (1.2, 0.7), (-1.2, 0.7)]
    for side in machine.sides():
        side.prism(track, 0.28, Material.STEEL, left=1.0)
    upper = machine.shifted(0.0, 0.0, machine.uniform(-0.6, 0.6))
    upper.box((-0.5, 0.0, 1.3), (1.2, 1.15, 0.5), Material.BRIGHT_PAINT)
    cab = [(0.05, 0.9), (1.25, 0.9), (1.2, 1.9), (0.9, 2.7), (0.05, 2.75)]
    upper.prism(cab, 0.45, Material.TINTED_GLASS, left=0.65)
    upper.box((0.6, 0.65, 2.75), (0.6, 0.47, 0.04), Material.BRIGHT_PAINT)
    elbow = (machine.uniform(2.4, 3.4), machine.uniform(2.9, 4.0))
    wrist = (elbow[0] + machine.uniform(0.6, 1.8), machine.uniform(0.9, 1.8))
    upper.beam((0.5, 1.4), elbow, 0.22, Material.BRIGHT_PAINT, half_width=0.16)
    upper.beam(elbow, wrist, 0.17, Material.BRIGHT_PAINT, half_width=0.13)
    upper.beam((0.6, 1.1), (0.5 * elbow[0], 0.55 * elbow[1]), 0.07, Material.METAL)
    f, u = wrist
    bucket = [(f - 0.7, u - 0.8), (f + 0.1, u - 0.7), (f + 0.15, u), (f - 0.4, u - 0.05)]
    upper.prism(bucket, 0.5, Material.STEEL)


def _add_loader(machine: Parts) -> None:
    for forward in (-1.2, 1.2):
        for side in machine.sides():
            side.wheel((forward, 0.85, 0.62), 0.62, 0.25)
    machine.box((-1.5, 0.0, 1.2), (1.1, 0.75, 0.5), Material.BRIGHT_PAINT)
    machine.box((0.6, 0.0, 0.95), (1.1, 0.55, 0.35), Material.BRIGHT_PAINT)
    cab = [(-0.7, 1.3), (0.6, 1.3), (0.7, 2.0), (0.45, 2.9), (-0.6, 2.9)]
    machine.prism(cab, 0.62, Material.TINTED_GLASS)
    machine.box((-0.1, 0.0, 2.95), (0.7, 0.66, 0.05), Material.BRIGHT_PAINT)
    high = machine.uniform(0.4, 1.8)
    for side in machine.sides():
        side.beam((0.9, 1.3), (2.6, high + 0.3), 0.1, Material.BRIGHT_PAINT, left=0.45)
    shovel = [(2.5, high - 0.3), (3.5, high - 0.35), (2.9, high + 0.5), (2.5, high + 0.7)]
    machine.prism(shovel, 1.2, Material.STEEL)


def _add_roller(machine: Parts) -> None:
    machine.wheel((1.2, 0.0, 0.6), 0.6, 0.8, Material.STEEL)
    machine.wheel((-1.2, 0.0, 0.6), 0.6, 0.8, Material.STEEL)
    machine.box((0.0, 0.0, 1.15), (1.5, 0.6, 0.4), Material.BRIGHT_PAINT)
    for forward in (-0.6, 0.6):
        for side in machine.sides():
            side.post((forward, 0.55), 0.04, 1.5, 2.5, Material.METAL)
    machine.box((0.0, 0.0, 2.55), (0.9, 0.7, 0.05), Material.BRIGHT_PAINT)

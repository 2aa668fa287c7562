"""Cars, lorries, buses, trams, machines and trailers, in their own frame: forward, left, up."""

from typing import Final, NamedTuple

import numpy as np

from train.simulation.simulator.parts import Parts, Point, Spot, pick_below
from train.simulation.simulator.surfaces import Kind, Material

_CAR_PAINTS: Final = (
    *(Material.BRIGHT_PAINT, Material.BRIGHT_PAINT, Material.SILVER_PAINT, Material.SILVER_PAINT),
    *(Material.DARK_PAINT, Material.DARK_PAINT, Material.BLACK_PAINT),
)
_PAINTS = (Material.BRIGHT_PAINT, Material.BRIGHT_PAINT, Material.SILVER_PAINT, Material.DARK_PAINT)

_LOADS: Final = {"box": 0.55, "flat bed": 0.75, "skip": 0.9, "tank": 1.0}
_MACHINES: Final = {"excavator": 0.5, "loader": 0.8, "roller": 1.0}
"""Shares, each above the one before, of what lorries carry and of building machines."""

SEMITRAILER_M = 16.5
"""Length of a tractor with its semitrailer."""


class Body(NamedTuple):
    """A style of car, or one of them: sizes as (least, most) in meters.

    Attributes
    ----------
    length, half_width, height
        Of the whole.
    bonnet, tail
        From the front to the foot of the windscreen, from the back to that of the rear window.
    rake, slope
        How far the windscreen leans back, and the rear window forward.
    waist
        Height of the lower edge of the windows, as a share of the whole.
    wheel
        Radius.
    """

    length: Point
    half_width: Point
    height: Point
    bonnet: Point
    rake: Point
    tail: Point
    slope: Point
    waist: float
    wheel: float


BODIES: Final = {
    "city": Body(
        (3.4, 3.75), (0.78, 0.84), (1.45, 1.55), (0.55, 0.75), (0.6, 0.8), (0.04, 0.1),
        (0.12, 0.3), 0.6, 0.29,
    ),
    "hatchback": Body(
        (3.9, 4.35), (0.84, 0.91), (1.42, 1.53), (0.9, 1.1), (0.7, 0.9), (0.05, 0.15),
        (0.3, 0.55), 0.62, 0.31,
    ),
    "saloon": Body(
        (4.4, 4.95), (0.86, 0.93), (1.4, 1.48), (1.05, 1.3), (0.75, 0.95), (0.55, 0.85),
        (0.6, 0.85), 0.64, 0.32,
    ),
    "estate": Body(
        (4.5, 4.9), (0.87, 0.93), (1.43, 1.53), (1.05, 1.25), (0.75, 0.9), (0.05, 0.12),
        (0.25, 0.4), 0.63, 0.32,
    ),
    "off-road": Body(
        (4.3, 4.9), (0.91, 0.99), (1.62, 1.82), (1.0, 1.2), (0.55, 0.75), (0.05, 0.12),
        (0.2, 0.35), 0.62, 0.37,
    ),
    "people carrier": Body(
        (4.4, 4.85), (0.89, 0.95), (1.62, 1.8), (0.7, 0.95), (0.85, 1.1), (0.05, 0.1),
        (0.1, 0.25), 0.58, 0.32,
    ),
    "van": Body(
        (4.8, 5.9), (0.95, 1.03), (1.92, 2.6), (0.6, 0.9), (0.6, 0.8), (0.03, 0.06),
        (0.03, 0.08), 0.6, 0.34,
    ),
}  # fmt: skip
"""Styles of car by name; the last comma of each row is a wheel's radius."""

_SHARES: Final = (0.12, 0.30, 0.17, 0.14, 0.13, 0.07, 0.07)


def add_car(spot: Spot, kind: Kind = Kind.CAR, *, style: str | None = None) -> float:
    """Add a car or van, a police car or an ambulance by its kind; return its length.

    Its style is a name of `BODIES`; None for any.
    """
    if style is None:
        style = str(spot.rng.choice(tuple(BODIES), p=_SHARES))
    style = {Kind.AMBULANCE: "van", Kind.POLICE_CAR: "estate"}.get(kind, style)
    official = kind in (Kind.AMBULANCE, Kind.POLICE_CAR)
    car, body = spot.parts(kind), BODIES[style]
    paint = _CAR_PAINTS[spot.rng.integers(len(_CAR_PAINTS))]
    if official or (style == "van" and spot.chance(0.6)):
        paint = Material.BRIGHT_PAINT
    length, half_width, height, bonnet, rake, tail, slope = (
        spot.uniform(*span) for span in body[:7]
    )
    front, back, waist = length / 2, -length / 2, height * body.waist
    # What lies below the windows: a convex lower body and the bonnet's slope.
    sill = [(back + 0.06, 0.3), (front - 0.12, 0.24), (front, 0.42), (front - 0.02, 0.6)]
    sill += [(front - 0.2, waist * 0.84), (front - bonnet, waist)]
    sill += [(back + 0.08, waist), (back, waist * 0.72), (back, 0.45)]
    car.prism(sill, half_width, paint, narrowing=0.06)
    foot, rear = front - bonnet, back + tail
    closed = style == "van" and spot.chance(0.7)
    windows = ((rear, foot), (slope, rake), (waist, height))
    _add_cabin(car, windows, half_width - 0.07, paint, closed=closed)
    radius = body.wheel
    for forward in (front - 0.19 * length, back + 0.18 * length):
        for side in car.sides():
            side.wheel((forward, half_width - 0.1, radius), radius, 0.11)
            rim = (forward, half_width - 0.02, radius)
            side.wheel(rim, 0.62 * radius, 0.04, Material.METAL, passes=0.3)
    for end, sign in ((front, 1.0), (back, -1.0)):
        car.box((end + 0.005 * sign, 0.0, 0.42), (0.015, 0.26, 0.055), Material.REFLECTOR)
        lens = Material.REFLECTOR if sign < 0 else Material.TINTED_GLASS
        car.both().box((end - 0.1 * sign, half_width - 0.2, waist * 0.74), (0.09, 0.14, 0.07), lens)
    car.both().ball((foot - 0.45, half_width + 0.08, waist + 0.08), (0.07, 0.1, 0.08), paint)
    if official:
        bar = ((foot + rear) / 2 + 0.3, 0.0, height + 0.07)
        car.box(bar, (0.14, 0.55, 0.07), Material.PLASTIC)
        stripe = (0.36 * length, 0.012, 0.1)
        car.both().box((0.0, half_width, waist * 0.72), stripe, Material.REFLECTOR)
    elif style == "estate" and spot.chance(0.3):
        car.box((-0.4, 0.0, height + 0.2), (0.9, 0.35, 0.15), Material.BLACK_PAINT)
    return length


def _band(low: Point, high: Point, bottom: float, top: float) -> list[Point]:
    """Return a profile between two heights, each with a back and a front end."""
    return [(low[0], bottom), (low[1], bottom), (high[1], top), (high[0], top)]


def _add_cabin(
    car: Parts, windows: tuple[Point, Point, Point], width: float, paint: Material, *, closed: bool
) -> None:
    """Add the windows' band from waist to roof, the pillars and the roof itself.

    `windows` has the band's ends at the waist, how far both lean inwards, and its heights.
    """
    (rear, foot), (slope, rake), (waist, height) = windows
    narrowing = 0.1 if height > 1.9 else 0.24
    ends = ((rear, foot), (rear + slope, foot - rake))
    glass = _band(*ends, waist - 0.02, height - 0.05)
    material = paint if closed else Material.TINTED_GLASS
    car.prism(glass, width, material, narrowing=narrowing)
    if closed:
        # The driver's windows alone: a band just outside of the panels.
        start = foot - 0.55 * rake
        ends = ((start - 0.85, start - 0.1), (start - 0.85, start - 0.35))
        door = _band(*ends, waist + 0.05, waist + 0.6)
        car.prism(door, width + 0.015, Material.TINTED_GLASS, narrowing=narrowing)
    roof = [(rear + 0.8 * slope, height - 0.11), (foot - 0.88 * rake, height - 0.11)]
    roof += [(foot - rake - 0.25, height), (rear + slope + 0.15, height - 0.01)]
    at_roof = width - narrowing * (height - waist - 0.11) + 0.012
    car.prism(roof, at_roof, paint, narrowing=0.5)
    if not closed:
        # Pillars are slabs through the whole cabin, of which the panes hide all but the edges.
        post = foot - 0.5 * rake - 0.9
        for low, top, wide in ((rear + 0.06, rear + slope + 0.06, 0.26), (post, post, 0.09)):
            slab = _band((low, low + wide), (top, top + wide), waist, height - 0.08)
            car.prism(slab, width + 0.008, paint, narrowing=narrowing)


def add_trailer(spot: Spot, kind: Kind = Kind.TRAILER) -> float:
    """Add a trailer or caravan that a car tows; its coupling is in front. Return its length."""
    trailer = spot.parts(kind)
    caravan = spot.chance(0.4)
    half_length = spot.uniform(2.0, 2.9) if caravan else spot.uniform(1.1, 1.8)
    half_width = spot.uniform(0.95, 1.12) if caravan else spot.uniform(0.7, 0.95)
    front, back = half_length, -half_length
    if caravan:
        shell = [(back, 0.6), (back + 0.3, 0.42), (front - 0.3, 0.42), (front, 0.9)]
        shell += [(front - 0.45, 2.3), (back + 0.25, 2.5), (back, 2.1)]
        trailer.prism(shell, half_width, Material.BRIGHT_PAINT, narrowing=0.03)
        trailer.both().box((0.2, half_width, 1.55), (0.55, 0.02, 0.28), Material.TINTED_GLASS)
    else:
        tall = spot.uniform(0.25, 1.3)
        cover = Material.DARK_CLOTH if tall > 0.7 else Material.METAL
        trailer.box((0.0, 0.0, 0.5 + tall / 2), (half_length, half_width, tall / 2), cover)
    trailer.beam((front, 0.45), (front + 1.1, 0.48), 0.04, Material.METAL)
    trailer.both().wheel((-0.1, half_width + (-0.12 if caravan else 0.1), 0.3), 0.3, 0.09)
    _rear_lights(trailer, back, 0.5, half_width, (0.015, 0.06))
    return 2 * half_length + 1.1


def _rear_lights(
    parts: Parts, back: float, up: float, half_width: float, half: Point = (0.02, 0.08)
) -> None:
    """Add a strip of reflectors at the back, given half its depth and half its height."""
    strip = (half[0], half_width - 0.1, half[1])
    parts.box((back - 0.01, 0.0, up), strip, Material.REFLECTOR)


def _wheels(parts: Parts, axles: tuple[float, ...], half_width: float, radius: float) -> None:
    for forward in axles:
        for side in parts.sides():
            side.wheel((forward, half_width - 0.17, radius), radius, 0.15)
            rim = (forward, half_width - 0.04, radius)
            side.wheel(rim, 0.55 * radius, 0.03, Material.METAL)


def _cab(parts: Parts, front: float, half_width: float, height: float, paint: Material) -> None:
    """Add a lorry's cab of 2 m with its windows; its front ends at `front`."""
    shell = [(front - 2.0, 0.5), (front - 0.05, 0.42), (front, 1.3), (front - 0.2, height - 0.25)]
    shell += [(front - 0.55, height), (front - 2.0, height)]
    parts.prism(shell, half_width, paint, narrowing=0.02)
    ends = ((front - 0.1, front + 0.01), (front - 0.3, front - 0.15))
    screen = _band(*ends, 1.5, height - 0.35)
    parts.prism(screen, half_width - 0.1, Material.TINTED_GLASS)
    door = [(front - 1.2, 1.5), (front - 0.35, 1.35)]
    door += [(front - 0.4, height - 0.4), (front - 1.2, height - 0.4)]
    parts.prism(door, half_width + 0.015, Material.TINTED_GLASS)
    parts.box((front + 0.02, 0.0, 0.55), (0.02, 0.26, 0.06), Material.REFLECTOR)
    mirror = (front - 0.15, half_width + 0.17, 1.9)
    parts.both().box(mirror, (0.06, 0.1, 0.25), Material.BLACK_PAINT)


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
    carried = pick_below(spot.rng, _LOADS)
    if carried == "box":
        height = spot.uniform(2.7, 3.5)
        place = (middle, 0.0, (1.0 + height) / 2)
        shell = Material.BRIGHT_PAINT if spot.chance(0.7) else Material.DARK_CLOTH
        truck.box(place, (half, half_width, (height - 1.0) / 2), shell)
    elif carried == "flat bed":
        truck.box((middle, 0.0, 1.1), (half, half_width, 0.08), Material.WOOD)
        truck.both().box((middle, half_width, 1.4), (half, 0.03, 0.25), Material.METAL)
        for _ in range(int(spot.rng.integers(1, 5))):
            size = (spot.uniform(0.3, 0.8), spot.uniform(0.3, 0.9), spot.uniform(0.2, 0.7))
            at = middle + spot.uniform(-0.8, 0.8) * (half - 0.8)
            truck.box((at, 0.0, 1.15 + size[2]), size, Material.WOOD)
    elif carried == "skip":
        skip = [(back + 0.3, 1.1), (load, 1.0), (load, 2.3), (back - 0.1, 2.2)]
        truck.prism(skip, half_width, Material.STEEL)
    else:
        # An upright cylinder is all there is, so a lying tank is a polygon with twelve sides.
        around = np.linspace(0.0, 2 * np.pi, 12, endpoint=False)
        ring = [(1.0 * float(np.cos(a)), 1.95 + 0.95 * float(np.sin(a))) for a in around]
        truck.shifted(middle, 0.0, np.pi / 2).prism(ring, half, Material.SILVER_PAINT)
    rear = (back + 1.0, back + 2.3) if length > 7.2 else (back + 1.4,)
    _wheels(truck, (front - 1.1, *rear), half_width, 0.48)
    _rear_lights(truck, back, 0.7, half_width)
    return length


def add_semitrailer(spot: Spot) -> float:
    """Add a tractor and its semitrailer, an object of its own each; return the length of both."""
    truck = spot.parts(Kind.MOVING_TRUCK)
    front, back, half_width = SEMITRAILER_M / 2, -SEMITRAILER_M / 2, 1.25
    _cab(truck, front, half_width - 0.03, spot.uniform(3.0, 3.6), _PAINTS[spot.rng.integers(4)])
    truck.box((front - 3.2, 0.0, 0.8), (2.0, 0.45, 0.17), Material.STEEL)
    _wheels(truck, (front - 1.3, front - 4.9), half_width, 0.5)
    trailer = spot.parts(Kind.MOVING_TRAILER)
    half = (SEMITRAILER_M - 2.9) / 2
    middle = back + half
    if spot.chance(0.75):
        side = Material.BRIGHT_PAINT if spot.chance(0.5) else Material.CLOTH
        trailer.box((middle, 0.0, 2.6), (half, half_width, 1.4), side)
    else:
        trailer.box((middle, 0.0, 1.2), (half, half_width, 0.1), Material.STEEL)
        trailer.box((middle, 0.0, 2.5), (half - 0.4, half_width - 0.02, 1.2), Material.STEEL)
    _wheels(trailer, (back + 1.6, back + 2.9, back + 4.2), half_width, 0.48)
    _rear_lights(trailer, back, 0.8, half_width, (0.02, 0.1))
    trailer.both().box((middle + 0.8, half_width - 0.03, 0.7), (2.6, 0.02, 0.2), Material.METAL)
    return SEMITRAILER_M


def _bus_section(
    bus: Parts, half_length: float, half_width: float, height: float, paint: Material
) -> None:
    """Add a section of a bus or tram about the middle of its part's frame."""
    hull = (half_length, half_width, height / 2 - 0.15)
    bus.box((0.0, 0.0, 0.3 + (height - 0.3) / 2), hull, paint)
    # Between windows there is a pillar every 1.4 m or so.
    count = max(1, int(2 * half_length / 1.45))
    pitch = 2 * half_length / count
    for side in bus.sides():
        for number in range(count):
            window = (-half_length + (number + 0.5) * pitch, half_width + 0.01, height - 1.15)
            side.box(window, (pitch / 2 - 0.07, 0.015, 0.52), Material.TINTED_GLASS)


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
            bellows = (0.5, half_width - 0.12, 1.2)
            bus.box((along - 0.45, 0.0, 1.65), bellows, Material.DARK_CLOTH)
            along -= 0.9
    front = total / 2
    for place, half_size, material in (
        ((front + 0.01, 0.0, 1.75), (0.015, half_width - 0.1, 0.75), Material.TINTED_GLASS),
        ((front + 0.02, 0.0, 0.5), (0.015, 0.26, 0.06), Material.REFLECTOR),
        ((-front - 0.01, 0.0, 1.9), (0.015, half_width - 0.25, 0.5), Material.TINTED_GLASS),
        ((-front - 0.01, 0.0, 0.6), (0.015, half_width - 0.15, 0.06), Material.REFLECTOR),
    ):
        bus.box(place, half_size, material)
    bus.both().box((front + 0.2, half_width + 0.1, 2.4), (0.06, 0.1, 0.2), Material.BLACK_PAINT)
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
        section.box((0.0, 0.0, 0.22), (half - 0.3, half_width - 0.1, 0.12), Material.STEEL)
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
    add = {"excavator": _add_excavator, "loader": _add_loader, "roller": _add_roller}
    add[pick_below(spot.rng, _MACHINES)](machine)


def _add_excavator(machine: Parts) -> None:
    track = [(-1.5, 0.35), (-1.2, 0.0), (1.2, 0.0), (1.5, 0.35), (1.2, 0.7), (-1.2, 0.7)]
    machine.both().prism(track, 0.28, Material.STEEL, left=1.0)
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
        machine.both().wheel((forward, 0.85, 0.62), 0.62, 0.25)
    machine.box((-1.5, 0.0, 1.2), (1.1, 0.75, 0.5), Material.BRIGHT_PAINT)
    machine.box((0.6, 0.0, 0.95), (1.1, 0.55, 0.35), Material.BRIGHT_PAINT)
    cab = [(-0.7, 1.3), (0.6, 1.3), (0.7, 2.0), (0.45, 2.9), (-0.6, 2.9)]
    machine.prism(cab, 0.62, Material.TINTED_GLASS)
    machine.box((-0.1, 0.0, 2.95), (0.7, 0.66, 0.05), Material.BRIGHT_PAINT)
    high = machine.uniform(0.4, 1.8)
    machine.both().beam((0.9, 1.3), (2.6, high + 0.3), 0.1, Material.BRIGHT_PAINT, left=0.45)
    shovel = [(2.5, high - 0.3), (3.5, high - 0.35), (2.9, high + 0.5), (2.5, high + 0.7)]
    machine.prism(shovel, 1.2, Material.STEEL)


def _add_roller(machine: Parts) -> None:
    machine.wheel((1.2, 0.0, 0.6), 0.6, 0.8, Material.STEEL)
    machine.wheel((-1.2, 0.0, 0.6), 0.6, 0.8, Material.STEEL)
    machine.box((0.0, 0.0, 1.15), (1.5, 0.6, 0.4), Material.BRIGHT_PAINT)
    for forward in (-0.6, 0.6):
        machine.both().post((forward, 0.55), 0.04, 1.5, 2.5, Material.METAL)
    machine.box((0.0, 0.0, 2.55), (0.9, 0.7, 0.05), Material.BRIGHT_PAINT)

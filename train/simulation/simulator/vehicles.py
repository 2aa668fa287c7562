"""Cars, vans and what they tow, drawn in their own frame: forward, left, up."""

from typing import Final, NamedTuple

from train.simulation.simulator.parts import Parts, Spot
from train.simulation.simulator.surfaces import Kind, Material

_PAINTS: Final = (
    Material.BRIGHT_PAINT,
    Material.BRIGHT_PAINT,
    Material.SILVER_PAINT,
    Material.SILVER_PAINT,
    Material.DARK_PAINT,
    Material.DARK_PAINT,
    Material.BLACK_PAINT,
)


class Body(NamedTuple):
    """A style of car: sizes as (least, most) in meters.

    Attributes
    ----------
    length, half_width, height
        Of the whole.
    bonnet
        From the front to the foot of the windscreen.
    rake
        How far the windscreen leans back.
    tail
        From the back to the foot of the rear window.
    slope
        How far the rear window leans forward.
    waist
        Height of the lower edge of the windows, as a share of the whole.
    wheel
        Radius.
    """

    length: tuple[float, float]
    half_width: tuple[float, float]
    height: tuple[float, float]
    bonnet: tuple[float, float]
    rake: tuple[float, float]
    tail: tuple[float, float]
    slope: tuple[float, float]
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

_STYLES: Final = tuple(BODIES)
_SHARES: Final = (0.12, 0.30, 0.17, 0.14, 0.13, 0.07, 0.07)


def add_car(spot: Spot, kind: Kind = Kind.CAR, *, style: str | None = None) -> float:
    """Add a car or van, a police car or an ambulance by its kind; return its length.

    Parameters
    ----------
    spot
        Where it goes, and what decides its looks.
    kind
        What it is.
    style
        A name of `BODIES`; None for any.
    """
    if style is None:
        style = str(spot.rng.choice(_STYLES, p=_SHARES))
    if kind == Kind.AMBULANCE:
        style = "van"
    elif kind == Kind.POLICE_CAR:
        style = "estate"
    car = spot.parts(kind)
    body = BODIES[style]
    paint = _PAINTS[spot.rng.integers(len(_PAINTS))]
    if kind in (Kind.AMBULANCE, Kind.POLICE_CAR) or (style == "van" and spot.chance(0.6)):
        paint = Material.BRIGHT_PAINT
    length, half_width, height, bonnet, rake, tail, slope = (
        spot.uniform(*span) for span in body[:7]
    )
    front, back = length / 2, -length / 2
    waist = height * body.waist
    _add_hull(car, front, back, half_width, waist, bonnet, paint)
    foot, rear = front - bonnet, back + tail
    closed = style == "van" and spot.chance(0.7)
    _add_cabin(car, foot, rear, rake, slope, half_width, waist, height, paint, closed=closed)
    radius = body.wheel
    for forward in (front - 0.19 * length, back + 0.18 * length):
        for side in car.sides():
            side.wheel((forward, half_width - 0.1, radius), radius, 0.11)
            rim = (forward, half_width - 0.02, radius)
            side.wheel(rim, 0.62 * radius, 0.04, Material.METAL, passes=0.3)
    for end, sign in ((front, 1.0), (back, -1.0)):
        car.box((end + 0.005 * sign, 0.0, 0.42), (0.015, 0.26, 0.055), Material.REFLECTOR)
        lens = Material.REFLECTOR if sign < 0 else Material.TINTED_GLASS
        for side in car.sides():
            lamp = (end - 0.1 * sign, half_width - 0.2, waist * 0.74)
            side.box(lamp, (0.09, 0.14, 0.07), lens)
    for side in car.sides():
        side.ball((foot - 0.45, half_width + 0.08, waist + 0.08), (0.07, 0.1, 0.08), paint)
    if kind in (Kind.AMBULANCE, Kind.POLICE_CAR):
        middle = (foot + rear) / 2
        car.box((middle + 0.3, 0.0, height + 0.07), (0.14, 0.55, 0.07), Material.PLASTIC)
        for side in car.sides():
            stripe = (0.0, half_width, waist * 0.72)
            side.box(stripe, (0.36 * length, 0.012, 0.1), Material.REFLECTOR)
    elif style == "estate" and spot.chance(0.3):
        car.box((-0.4, 0.0, height + 0.2), (0.9, 0.35, 0.15), Material.BLACK_PAINT)
    return length


def _add_hull(
    car: Parts,
    front: float,
    back: float,
    half_width: float,
    waist: float,
    bonnet: float,
    paint: Material,
) -> None:
    """Add what lies below the windows: a convex lower body and the bonnet's slope."""
    sill = [
        (back + 0.06, 0.3),
        (front - 0.12, 0.24),
        (front, 0.42),
        (front - 0.02, 0.6),
        (front - 0.2, waist * 0.84),
        (front - bonnet, waist),
        (back + 0.08, waist),
        (back, waist * 0.72),
        (back, 0.45),
    ]
    car.prism(sill, half_width, paint, narrowing=0.06)


def _add_cabin(
    car: Parts,
    foot: float,
    rear: float,
    rake: float,
    slope: float,
    half_width: float,
    waist: float,
    height: float,
    paint: Material,
    *,
    closed: bool,
) -> None:
    """Add the windows' band from waist to roof, the pillars and the roof itself."""
    rise = height - waist
    narrowing = 0.1 if height > 1.9 else 0.24
    glass = [
        (rear, waist - 0.02),
        (foot, waist - 0.02),
        (foot - rake, height - 0.05),
        (rear + slope, height - 0.05),
    ]
    width = half_width - 0.07
    material = paint if closed else Material.TINTED_GLASS
    car.prism(glass, width, material, narrowing=narrowing)
    if closed:
        # The driver's windows alone: a band just outside of the panels.
        start = foot - 0.55 * rake
        door = [
            (start - 0.85, waist + 0.05),
            (start - 0.1, waist + 0.05),
            (start - 0.35, waist + 0.6),
            (start - 0.85, waist + 0.6),
        ]
        car.prism(door, width + 0.015, Material.TINTED_GLASS, narrowing=narrowing)
    roof = [
        (rear + 0.8 * slope, height - 0.11),
        (foot - 0.88 * rake, height - 0.11),
        (foot - rake - 0.25, height),
        (rear + slope + 0.15, height - 0.01),
    ]
    at_roof = width - narrowing * (rise - 0.11) + 0.012
    car.prism(roof, at_roof, paint, narrowing=0.5)
    if not closed:
        # Pillars are slabs through the whole cabin, of which the panes hide all but the edges.
        high = height - 0.08
        post = foot - 0.5 * rake - 0.9
        for low, top, wide in ((rear + 0.06, rear + slope + 0.06, 0.26), (post, post, 0.09)):
            slab = [(low, waist), (low + wide, waist), (top + wide, high), (top, high)]
            car.prism(slab, width + 0.008, paint, narrowing=narrowing)


def add_trailer(spot: Spot, kind: Kind = Kind.TRAILER) -> float:
    """Add a trailer or caravan that a car tows; its coupling is in front. Return its length."""
    trailer = spot.parts(kind)
    caravan = spot.chance(0.4)
    half_length = spot.uniform(2.0, 2.9) if caravan else spot.uniform(1.1, 1.8)
    half_width = spot.uniform(0.95, 1.12) if caravan else spot.uniform(0.7, 0.95)
    if caravan:
        shell = [
            (-half_length, 0.6),
            (-half_length + 0.3, 0.42),
            (half_length - 0.3, 0.42),
            (half_length, 0.9),
            (half_length - 0.45, 2.3),
            (-half_length + 0.25, 2.5),
            (-half_length, 2.1),
        ]
        trailer.prism(shell, half_width, Material.BRIGHT_PAINT, narrowing=0.03)
        for side in trailer.sides():
            side.box((0.2, half_width, 1.55), (0.55, 0.02, 0.28), Material.TINTED_GLASS)
    else:
        tall = spot.uniform(0.25, 1.3)
        cover = Material.DARK_CLOTH if tall > 0.7 else Material.METAL
        place = (0.0, 0.0, 0.5 + tall / 2)
        trailer.box(place, (half_length, half_width, tall / 2), cover)
    trailer.beam((half_length, 0.45), (half_length + 1.1, 0.48), 0.04, Material.METAL)
    for side in trailer.sides():
        side.wheel((-0.1, half_width + (-0.12 if caravan else 0.1), 0.3), 0.3, 0.09)
    lights = (-half_length - 0.01, 0.0, 0.5)
    trailer.box(lights, (0.015, half_width - 0.1, 0.06), Material.REFLECTOR)
    return 2 * half_length + 1.1

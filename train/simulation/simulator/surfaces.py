"""What a surface is and what it is made of: kinds, materials, how each sends light back."""

from enum import IntEnum
from typing import NamedTuple


class Kind(IntEnum):
    """What a surface is, finer than any dataset's classes; each dataset maps it to its own ids.

    Numbers are on disk nowhere, but new kinds come last all the same.
    """

    ROAD = 0
    LANE_MARKING = 1
    PARKING = 2
    CURB = 3
    SIDEWALK = 4
    OTHER_GROUND = 5
    TERRAIN = 6
    BUILDING = 7
    FENCE = 8
    WALL = 9
    VEGETATION = 10
    TRUNK = 11
    POLE = 12
    SIGN = 13
    TRAFFIC_LIGHT = 14
    CAR = 15
    MOVING_CAR = 16
    TRUCK = 17
    MOVING_TRUCK = 18
    BUS = 19
    TRAILER = 20
    BICYCLE = 21
    MOTORCYCLE = 22
    PERSON = 23
    MOVING_PERSON = 24
    BICYCLIST = 25
    MOTORCYCLIST = 26
    CONE = 27
    OTHER_OBJECT = 28
    MOVING_BUS = 29
    MOVING_BENDY_BUS = 30
    TRAM = 31
    MOVING_TRAM = 32
    MOVING_TRAILER = 33
    CONSTRUCTION_VEHICLE = 34
    AMBULANCE = 35
    POLICE_CAR = 36
    MOVING_BICYCLIST = 37
    MOVING_MOTORCYCLIST = 38
    CHILD = 39
    MOVING_CHILD = 40
    CONSTRUCTION_WORKER = 41
    POLICE_OFFICER = 42
    WHEELCHAIR = 43  # with the person in it
    PERSONAL_MOBILITY = 44  # a scooter or the like, with the person on it
    STROLLER = 45
    ANIMAL = 46
    BARRIER = 47  # what closes off a building site
    DEBRIS = 48
    PUSHABLE = 49  # wheeled bins, shopping carts
    BICYCLE_RACK = 50
    ROAD_MARKING = 51  # painted on the road, but no lane's edge: crosswalks, stop lines, arrows
    RAIL = 52
    TRAFFIC_ISLAND = 53
    SHELTER = 54  # a bus stop's
    OUTLIER = 55  # an echo where nothing stands: vapour, a reflection
    OWN_VEHICLE = 56  # what the sensor sees of the car that carries it


THINGS = frozenset(
    {
        *(kind for kind in Kind if Kind.CAR <= kind <= Kind.MOTORCYCLIST),
        *(kind for kind in Kind if Kind.MOVING_BUS <= kind <= Kind.PERSONAL_MOBILITY),
    }
)
"""Kinds whose objects are counted one by one."""


class Optics(NamedTuple):
    """How a surface sends light back.

    Attributes
    ----------
    remission
        At normal incidence, 0 to 1.
    spread
        Relative deviation of the remission from one return to the next.
    falloff
        The remission goes as cos(incidence) to this power.
    dropout
        Share of rays lost whatever the range (glass, black paint).
    roughness_m
        Deviation of the surface's depth on top of the sensor's noise (grass, gravel).
    """

    remission: float
    spread: float = 0.2
    falloff: float = 0.3
    dropout: float = 0.01
    roughness_m: float = 0.0


class Material(IntEnum):
    """What a surface is made of: a number, then its `Optics`."""

    optics: Optics

    def __new__(cls, number: int, *optics: float) -> "Material":
        """Return a material with its number and its optics."""
        member = int.__new__(cls, number)
        member._value_, member.optics = number, Optics(*optics)
        return member

    ASPHALT = 0, 0.30, 0.25, 0.15
    PAINT = 1, 0.60, 0.30, 0.25
    PAVING = 2, 0.37, 0.13, 0.15
    CURBSTONE = 3, 0.38, 0.20, 0.20
    GRAVEL = 4, 0.33, 0.25, 0.15, 0.01, 0.01
    GRASS = 5, 0.42, 0.20, 0.10, 0.02, 0.03
    PLASTER = 6, 0.52, 0.20, 0.30
    BRICK = 7, 0.42, 0.20, 0.30, 0.01, 0.005
    GLASS = 8, 0.25, 0.60, 1.00, 0.35, 0.05
    WOOD = 9, 0.40, 0.25, 0.30
    METAL = 10, 0.30, 0.35, 0.80, 0.03
    FOLIAGE = 11, 0.38, 0.22, 0.10, 0.03, 0.02
    BARK = 12, 0.33, 0.30, 0.30, 0.01, 0.01
    BRIGHT_PAINT = 13, 0.55, 0.20, 0.90, 0.02
    DARK_PAINT = 14, 0.12, 0.30, 0.80, 0.04
    RUBBER = 15, 0.05, 0.50, 0.50, 0.15
    CLOTH = 16, 0.30, 0.35, 0.30, 0.02, 0.01
    REFLECTOR = 17, 0.85, 0.25, 0.30
    CONCRETE = 18, 0.36, 0.15, 0.20
    TILE = 19, 0.26, 0.25, 0.30, 0.01, 0.01
    SILVER_PAINT = 20, 0.33, 0.25, 1.20, 0.03
    BLACK_PAINT = 21, 0.06, 0.45, 0.80, 0.08
    PLASTIC = 22, 0.42, 0.20, 0.50, 0.01
    DARK_CLOTH = 23, 0.10, 0.40, 0.30, 0.05, 0.01
    HIGH_VISIBILITY = 24, 0.80, 0.30, 0.20, 0.0, 0.01
    SKIN = 25, 0.45, 0.15, 0.30
    DARK_PLASTER = 26, 0.40, 0.20, 0.30
    BRIGHT_PLASTER = 27, 0.62, 0.15, 0.30
    VAPOUR = 28, 0.05, 0.60, 0.10, 0.10, 0.05
    STEEL = 29, 0.22, 0.30, 0.60, 0.03
    TINTED_GLASS = 30, 0.10, 0.60, 2.00, 0.85, 0.05

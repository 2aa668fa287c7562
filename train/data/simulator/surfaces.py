"""What a surface is and what it is made of: kinds, materials, how each sends light back."""

from enum import IntEnum
from typing import NamedTuple


class Kind(IntEnum):
    """What a surface is, finer than any dataset's classes; each dataset maps it to its own ids."""

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


THINGS = frozenset(kind for kind in Kind if Kind.CAR <= kind <= Kind.MOTORCYCLIST)
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
    """What a surface is made of."""

    ASPHALT = 0
    PAINT = 1
    PAVING = 2
    CURBSTONE = 3
    GRAVEL = 4
    GRASS = 5
    PLASTER = 6
    BRICK = 7
    GLASS = 8
    WOOD = 9
    METAL = 10
    FOLIAGE = 11
    BARK = 12
    BRIGHT_PAINT = 13
    DARK_PAINT = 14
    RUBBER = 15
    CLOTH = 16
    REFLECTOR = 17


OPTICS: dict[Material, Optics] = {
    Material.ASPHALT: Optics(0.30, 0.25, 0.15),
    Material.PAINT: Optics(0.60, 0.30, 0.25),
    Material.PAVING: Optics(0.37, 0.20, 0.15),
    Material.CURBSTONE: Optics(0.38, 0.20, 0.20),
    Material.GRAVEL: Optics(0.33, 0.25, 0.15, 0.01, 0.01),
    Material.GRASS: Optics(0.38, 0.25, 0.10, 0.02, 0.03),
    Material.PLASTER: Optics(0.50, 0.25, 0.30),
    Material.BRICK: Optics(0.38, 0.30, 0.30, 0.01, 0.005),
    Material.GLASS: Optics(0.15, 0.90, 3.00, 0.60, 0.05),
    Material.WOOD: Optics(0.36, 0.25, 0.30),
    Material.METAL: Optics(0.30, 0.60, 0.80, 0.05),
    Material.FOLIAGE: Optics(0.38, 0.35, 0.10, 0.03, 0.01),
    Material.BARK: Optics(0.33, 0.30, 0.30, 0.01, 0.01),
    Material.BRIGHT_PAINT: Optics(0.45, 0.40, 0.90, 0.06),
    Material.DARK_PAINT: Optics(0.12, 0.80, 0.80, 0.22),
    Material.RUBBER: Optics(0.05, 0.50, 0.50, 0.20),
    Material.CLOTH: Optics(0.25, 0.60, 0.30, 0.02, 0.01),
    Material.REFLECTOR: Optics(0.85, 0.25, 0.30),
}

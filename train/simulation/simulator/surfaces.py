"""What a surface is and what it is made of: kinds, materials, how each sends light back."""

from enum import IntEnum
from typing import NamedTuple


class Kind(IntEnum):
    """What a surface is, finer than any dataset's classes; no new number, but at the end.

    A number, then what SemanticKITTI (raw id), Waymo (class, 0 undefined) and nuScenes (category)
    call it. Waymo's follow the words that describe the classes in the dataset's segmentation
    protocol. What these leave open is our reading: walls, fences and shelters are buildings (as
    the description of the camera's classes has it), carts, debris and the like are undefined. In
    nuScenes riders are part of what they ride, and a tram, which the dataset does not know, is
    built like a bendy bus.
    """

    semantickitti: int
    waymo: int
    nuscenes: str

    def __new__(cls, number: int, semantickitti: int, waymo: int, nuscenes: str) -> "Kind":
        """Return a kind with its number and its names."""
        member = int.__new__(cls, number)
        member._value_, member.semantickitti = number, semantickitti
        member.waymo, member.nuscenes = waymo, nuscenes
        return member

    ROAD = 0, 40, 18, "flat.driveable_surface"
    LANE_MARKING = 1, 60, 19, "flat.driveable_surface"
    PARKING = 2, 44, 18, "flat.driveable_surface"
    CURB = 3, 48, 17, "flat.sidewalk"
    SIDEWALK = 4, 48, 22, "flat.sidewalk"
    OTHER_GROUND = 5, 49, 21, "flat.other"
    TERRAIN = 6, 72, 21, "flat.terrain"
    BUILDING = 7, 50, 14, "static.manmade"
    FENCE = 8, 51, 14, "static.manmade"
    WALL = 9, 52, 14, "static.manmade"
    VEGETATION = 10, 70, 15, "static.vegetation"
    TRUNK = 11, 71, 16, "static.vegetation"
    POLE = 12, 80, 10, "static.manmade"
    SIGN = 13, 81, 8, "static.manmade"
    TRAFFIC_LIGHT = 14, 99, 9, "static.manmade"
    CAR = 15, 10, 1, "vehicle.car"
    MOVING_CAR = 16, 252, 1, "vehicle.car"
    TRUCK = 17, 18, 2, "vehicle.truck"
    MOVING_TRUCK = 18, 258, 2, "vehicle.truck"
    BUS = 19, 13, 3, "vehicle.bus.rigid"
    TRAILER = 20, 20, 4, "vehicle.trailer"
    BICYCLE = 21, 11, 12, "vehicle.bicycle"
    MOTORCYCLE = 22, 15, 13, "vehicle.motorcycle"
    PERSON = 23, 30, 7, "human.pedestrian.adult"
    MOVING_PERSON = 24, 254, 7, "human.pedestrian.adult"
    BICYCLIST = 25, 31, 6, "vehicle.bicycle"
    MOTORCYCLIST = 26, 32, 5, "vehicle.motorcycle"
    CONE = 27, 99, 11, "movable_object.trafficcone"
    OTHER_OBJECT = 28, 99, 0, "static.other"
    MOVING_BUS = 29, 257, 3, "vehicle.bus.rigid"
    MOVING_BENDY_BUS = 30, 257, 3, "vehicle.bus.bendy"
    TRAM = 31, 16, 4, "vehicle.bus.bendy"
    MOVING_TRAM = 32, 256, 4, "vehicle.bus.bendy"
    MOVING_TRAILER = 33, 259, 4, "vehicle.trailer"
    CONSTRUCTION_VEHICLE = 34, 20, 4, "vehicle.construction"
    AMBULANCE = 35, 20, 2, "vehicle.emergency.ambulance"
    POLICE_CAR = 36, 10, 1, "vehicle.emergency.police"
    MOVING_BICYCLIST = 37, 253, 6, "vehicle.bicycle"
    MOVING_MOTORCYCLIST = 38, 255, 5, "vehicle.motorcycle"
    CHILD = 39, 30, 7, "human.pedestrian.child"
    MOVING_CHILD = 40, 254, 7, "human.pedestrian.child"
    CONSTRUCTION_WORKER = 41, 30, 7, "human.pedestrian.construction_worker"
    POLICE_OFFICER = 42, 30, 7, "human.pedestrian.police_officer"
    WHEELCHAIR = 43, 254, 7, "human.pedestrian.wheelchair"  # with the person in it
    PERSONAL_MOBILITY = 44, 254, 7, "human.pedestrian.personal_mobility"  # with the person on it
    STROLLER = 45, 99, 0, "human.pedestrian.stroller"
    ANIMAL = 46, 99, 0, "animal"
    BARRIER = 47, 99, 0, "movable_object.barrier"  # what closes off a building site
    DEBRIS = 48, 99, 0, "movable_object.debris"
    PUSHABLE = 49, 99, 0, "movable_object.pushable_pullable"  # wheeled bins, shopping carts
    BICYCLE_RACK = 50, 99, 0, "static_object.bicycle_rack"
    ROAD_MARKING = 51, 60, 20, "flat.driveable_surface"  # crosswalks, stop lines, arrows
    RAIL = 52, 40, 20, "flat.other"
    TRAFFIC_ISLAND = 53, 49, 21, "flat.other"
    SHELTER = 54, 52, 14, "static.manmade"  # a bus stop's
    OUTLIER = 55, 1, 0, "noise"  # an echo where nothing stands: vapour, a reflection
    OWN_VEHICLE = 56, 1, 0, "vehicle.ego"  # what the sensor sees of the car that carries it


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

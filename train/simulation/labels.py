"""What each dataset calls everything that the simulator can draw."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.simulation.simulator.surfaces import Kind

_LABELS: Final = {
    Kind.ROAD: (40, 18, "flat.driveable_surface"),
    Kind.LANE_MARKING: (60, 19, "flat.driveable_surface"),
    Kind.PARKING: (44, 18, "flat.driveable_surface"),
    Kind.CURB: (48, 17, "flat.sidewalk"),
    Kind.SIDEWALK: (48, 22, "flat.sidewalk"),
    Kind.OTHER_GROUND: (49, 21, "flat.other"),
    Kind.TERRAIN: (72, 21, "flat.terrain"),
    Kind.BUILDING: (50, 14, "static.manmade"),
    Kind.FENCE: (51, 14, "static.manmade"),
    Kind.WALL: (52, 14, "static.manmade"),
    Kind.VEGETATION: (70, 15, "static.vegetation"),
    Kind.TRUNK: (71, 16, "static.vegetation"),
    Kind.POLE: (80, 10, "static.manmade"),
    Kind.SIGN: (81, 8, "static.manmade"),
    Kind.TRAFFIC_LIGHT: (99, 9, "static.manmade"),
    Kind.CAR: (10, 1, "vehicle.car"),
    Kind.MOVING_CAR: (252, 1, "vehicle.car"),
    Kind.TRUCK: (18, 2, "vehicle.truck"),
    Kind.MOVING_TRUCK: (258, 2, "vehicle.truck"),
    Kind.BUS: (13, 3, "vehicle.bus.rigid"),
    Kind.TRAILER: (20, 4, "vehicle.trailer"),
    Kind.BICYCLE: (11, 12, "vehicle.bicycle"),
    Kind.MOTORCYCLE: (15, 13, "vehicle.motorcycle"),
    Kind.PERSON: (30, 7, "human.pedestrian.adult"),
    Kind.MOVING_PERSON: (254, 7, "human.pedestrian.adult"),
    Kind.BICYCLIST: (31, 6, "vehicle.bicycle"),
    Kind.MOTORCYCLIST: (32, 5, "vehicle.motorcycle"),
    Kind.CONE: (99, 11, "movable_object.trafficcone"),
    Kind.OTHER_OBJECT: (99, 0, "static.other"),
    Kind.MOVING_BUS: (257, 3, "vehicle.bus.rigid"),
    Kind.MOVING_BENDY_BUS: (257, 3, "vehicle.bus.bendy"),
    Kind.TRAM: (16, 4, "vehicle.bus.bendy"),
    Kind.MOVING_TRAM: (256, 4, "vehicle.bus.bendy"),
    Kind.MOVING_TRAILER: (259, 4, "vehicle.trailer"),
    Kind.CONSTRUCTION_VEHICLE: (20, 4, "vehicle.construction"),
    Kind.AMBULANCE: (20, 2, "vehicle.emergency.ambulance"),
    Kind.POLICE_CAR: (10, 1, "vehicle.emergency.police"),
    Kind.MOVING_BICYCLIST: (253, 6, "vehicle.bicycle"),
    Kind.MOVING_MOTORCYCLIST: (255, 5, "vehicle.motorcycle"),
    Kind.CHILD: (30, 7, "human.pedestrian.child"),
    Kind.MOVING_CHILD: (254, 7, "human.pedestrian.child"),
    Kind.CONSTRUCTION_WORKER: (30, 7, "human.pedestrian.construction_worker"),
    Kind.POLICE_OFFICER: (30, 7, "human.pedestrian.police_officer"),
    Kind.WHEELCHAIR: (254, 7, "human.pedestrian.wheelchair"),
    Kind.PERSONAL_MOBILITY: (254, 7, "human.pedestrian.personal_mobility"),
    Kind.STROLLER: (99, 0, "human.pedestrian.stroller"),
    Kind.ANIMAL: (99, 0, "animal"),
    Kind.BARRIER: (99, 0, "movable_object.barrier"),
    Kind.DEBRIS: (99, 0, "movable_object.debris"),
    Kind.PUSHABLE: (99, 0, "movable_object.pushable_pullable"),
    Kind.BICYCLE_RACK: (99, 0, "static_object.bicycle_rack"),
    Kind.ROAD_MARKING: (60, 20, "flat.driveable_surface"),
    Kind.RAIL: (40, 20, "flat.other"),
    Kind.TRAFFIC_ISLAND: (49, 21, "flat.other"),
    Kind.SHELTER: (52, 14, "static.manmade"),
    Kind.OUTLIER: (1, 0, "noise"),
    Kind.OWN_VEHICLE: (1, 0, "vehicle.ego"),
}
"""By kind: SemanticKITTI's raw id, Waymo's class (0 undefined), nuScenes' category.

Waymo's follow the words that describe the classes in the dataset's segmentation protocol. What
these leave open is our reading: walls, fences and shelters are buildings (as the description of the
camera's classes has it), carts, debris and the like are undefined. In nuScenes riders are part of
what they ride, and a tram, which the dataset does not know, is built like a bendy bus.
"""

SEMANTICKITTI_IDS: Final = {kind: row[0] for kind, row in _LABELS.items()}
WAYMO_IDS: Final = {kind: row[1] for kind, row in _LABELS.items()}
CATEGORY_OF_KIND: Final = {kind: row[2] for kind, row in _LABELS.items()}


def by_kind(number_of: Mapping[Kind, int]) -> NDArray[np.int64]:
    """Return the numbers of all kinds as an array to look them up in."""
    return np.array([number_of[kind] for kind in Kind])

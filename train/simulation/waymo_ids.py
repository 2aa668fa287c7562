"""Waymo's class for everything that the simulator can draw.

By the words that describe the classes in the dataset's segmentation protocol. What these leave open
is our reading: walls, fences and shelters are buildings (as the description of the camera's classes
has it), carts, debris and the like are undefined.
"""

from typing import Final

from train.simulation.simulator.surfaces import Kind

WAYMO_IDS: Final = {
    Kind.ROAD: 18,
    Kind.LANE_MARKING: 19,
    Kind.PARKING: 18,
    Kind.CURB: 17,
    Kind.SIDEWALK: 22,
    Kind.OTHER_GROUND: 21,
    Kind.TERRAIN: 21,
    Kind.BUILDING: 14,
    Kind.FENCE: 14,
    Kind.WALL: 14,
    Kind.VEGETATION: 15,
    Kind.TRUNK: 16,
    Kind.POLE: 10,
    Kind.SIGN: 8,
    Kind.TRAFFIC_LIGHT: 9,
    Kind.CAR: 1,
    Kind.MOVING_CAR: 1,
    Kind.TRUCK: 2,
    Kind.MOVING_TRUCK: 2,
    Kind.BUS: 3,
    Kind.TRAILER: 4,
    Kind.BICYCLE: 12,
    Kind.MOTORCYCLE: 13,
    Kind.PERSON: 7,
    Kind.MOVING_PERSON: 7,
    Kind.BICYCLIST: 6,
    Kind.MOTORCYCLIST: 5,
    Kind.CONE: 11,
    Kind.OTHER_OBJECT: 0,
    Kind.MOVING_BUS: 3,
    Kind.MOVING_BENDY_BUS: 3,
    Kind.TRAM: 4,
    Kind.MOVING_TRAM: 4,
    Kind.MOVING_TRAILER: 4,
    Kind.CONSTRUCTION_VEHICLE: 4,
    Kind.AMBULANCE: 2,
    Kind.POLICE_CAR: 1,
    Kind.MOVING_BICYCLIST: 6,
    Kind.MOVING_MOTORCYCLIST: 5,
    Kind.CHILD: 7,
    Kind.MOVING_CHILD: 7,
    Kind.CONSTRUCTION_WORKER: 7,
    Kind.POLICE_OFFICER: 7,
    Kind.WHEELCHAIR: 7,
    Kind.PERSONAL_MOBILITY: 7,
    Kind.STROLLER: 0,
    Kind.ANIMAL: 0,
    Kind.BARRIER: 0,
    Kind.DEBRIS: 0,
    Kind.PUSHABLE: 0,
    Kind.BICYCLE_RACK: 0,
    Kind.ROAD_MARKING: 20,
    Kind.RAIL: 20,
    Kind.TRAFFIC_ISLAND: 21,
    Kind.SHELTER: 14,
    Kind.OUTLIER: 0,
    Kind.OWN_VEHICLE: 0,
}
"""The raw value that labels on disk hold, 0 for undefined."""

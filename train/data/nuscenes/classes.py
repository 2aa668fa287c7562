"""nuScenes-lidarseg's classes: the categories of its tables and the 16 train ids of its challenge.

The number of a category in a label file is what `category.json` says, so the map goes by name.
"""

from typing import Final

from train.data.frame import IGNORE_INDEX

CLASS_NAMES: Final = (
    "barrier",
    "bicycle",
    "bus",
    "car",
    "construction_vehicle",
    "motorcycle",
    "pedestrian",
    "traffic_cone",
    "trailer",
    "truck",
    "driveable_surface",
    "other_flat",
    "sidewalk",
    "terrain",
    "manmade",
    "vegetation",
)

_CLASS_OF_CATEGORY: Final = {
    "noise": None,
    "animal": None,
    "human.pedestrian.adult": "pedestrian",
    "human.pedestrian.child": "pedestrian",
    "human.pedestrian.construction_worker": "pedestrian",
    "human.pedestrian.personal_mobility": None,
    "human.pedestrian.police_officer": "pedestrian",
    "human.pedestrian.stroller": None,
    "human.pedestrian.wheelchair": None,
    "movable_object.barrier": "barrier",
    "movable_object.debris": None,
    "movable_object.pushable_pullable": None,
    "movable_object.trafficcone": "traffic_cone",
    "static_object.bicycle_rack": None,
    "vehicle.bicycle": "bicycle",
    "vehicle.bus.bendy": "bus",
    "vehicle.bus.rigid": "bus",
    "vehicle.car": "car",
    "vehicle.construction": "construction_vehicle",
    "vehicle.emergency.ambulance": None,
    "vehicle.emergency.police": None,
    "vehicle.motorcycle": "motorcycle",
    "vehicle.trailer": "trailer",
    "vehicle.truck": "truck",
    "flat.driveable_surface": "driveable_surface",
    "flat.other": "other_flat",
    "flat.sidewalk": "sidewalk",
    "flat.terrain": "terrain",
    "static.manmade": "manmade",
    "static.other": None,
    "static.vegetation": "vegetation",
    "vehicle.ego": None,
}

CATEGORY_NAMES: Final = tuple(_CLASS_OF_CATEGORY)
"""The 32 categories in their usual order, that of the published `category.json`."""

CATEGORY_TO_TRAIN: Final = {
    category: IGNORE_INDEX if name is None else CLASS_NAMES.index(name)
    for category, name in _CLASS_OF_CATEGORY.items()
}
"""The train id that each category stands for, `IGNORE_INDEX` for those that do not count."""

"""SemanticKITTI's classes: raw ids on disk, train ids in the network, and the way back.

The single-scan map of the official `semantic-kitti.yaml`, with our train ids 0..18 in place of
1..19 and -1 in place of 0.
"""

from typing import Final

from train.data.class_map import ClassMap
from train.data.frame import IGNORE_INDEX, SPLITS

CLASS_NAMES: Final = (
    "car",
    "bicycle",
    "motorcycle",
    "truck",
    "other-vehicle",
    "person",
    "bicyclist",
    "motorcyclist",
    "road",
    "parking",
    "sidewalk",
    "other-ground",
    "building",
    "fence",
    "vegetation",
    "trunk",
    "terrain",
    "pole",
    "traffic-sign",
)

RAW_NAMES: Final = {
    0: "unlabeled",
    1: "outlier",
    10: "car",
    11: "bicycle",
    13: "bus",
    15: "motorcycle",
    16: "on-rails",
    18: "truck",
    20: "other-vehicle",
    30: "person",
    31: "bicyclist",
    32: "motorcyclist",
    40: "road",
    44: "parking",
    48: "sidewalk",
    49: "other-ground",
    50: "building",
    51: "fence",
    52: "other-structure",
    60: "lane-marking",
    70: "vegetation",
    71: "trunk",
    72: "terrain",
    80: "pole",
    81: "traffic-sign",
    99: "other-object",
    252: "moving-car",
    253: "moving-bicyclist",
    254: "moving-person",
    255: "moving-motorcyclist",
    256: "moving-on-rails",
    257: "moving-bus",
    258: "moving-truck",
    259: "moving-other-vehicle",
}
"""What each raw id means; an id that is not here is an error in the label file."""

# Raw classes that train under another class's name; all others do so under their own, or not.
_FOLDED: Final = {
    "bus": "other-vehicle",
    "on-rails": "other-vehicle",
    "lane-marking": "road",
    "moving-car": "car",
    "moving-bicyclist": "bicyclist",
    "moving-person": "person",
    "moving-motorcyclist": "motorcyclist",
    "moving-on-rails": "other-vehicle",
    "moving-bus": "other-vehicle",
    "moving-truck": "truck",
    "moving-other-vehicle": "other-vehicle",
}
_NOT_TRAINED: Final = ("unlabeled", "outlier", "other-structure", "other-object")

RAW_TO_TRAIN: Final = {
    raw: IGNORE_INDEX if name in _NOT_TRAINED else CLASS_NAMES.index(_FOLDED.get(name, name))
    for raw, name in RAW_NAMES.items()
}
TRAIN_TO_RAW: Final = (10, 11, 15, 18, 20, 30, 31, 32, 40, 44, 48, 49, 50, 51, 70, 71, 72, 80, 81)
"""The raw id that a submission writes for each train id (the yaml's inverse map)."""

TRAIN_SEQUENCES: Final = ("00", "01", "02", "03", "04", "05", "06", "07", "09", "10")
VALIDATION_SEQUENCES: Final = ("08",)
TEST_SEQUENCES: Final = tuple(f"{number:02d}" for number in range(11, 22))

CLASS_MAP: Final = ClassMap(
    source="SemanticKITTI",
    class_names=CLASS_NAMES,
    raw_names=RAW_NAMES,
    raw_to_train=RAW_TO_TRAIN,
    train_to_raw=TRAIN_TO_RAW,
    ignored_raw=0,
    unknown_hint="give the original label files with raw ids (0, 1, 10, 11, ... 259)",
    split=dict(zip(SPLITS, (TRAIN_SEQUENCES, VALIDATION_SEQUENCES, TEST_SEQUENCES), strict=True)),
)

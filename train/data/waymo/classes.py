"""Waymo's 22 classes: raw values on disk are 1..22 and 0 for no label, train ids are one less."""

from typing import Final

from train.data.frame import IGNORE_INDEX

CLASS_NAMES: Final = (
    "car",
    "truck",
    "bus",
    "other-vehicle",
    "motorcyclist",
    "bicyclist",
    "pedestrian",
    "sign",
    "traffic-light",
    "pole",
    "construction-cone",
    "bicycle",
    "motorcycle",
    "building",
    "vegetation",
    "tree-trunk",
    "curb",
    "road",
    "lane-marker",
    "other-ground",
    "walkable",
    "sidewalk",
)
"""In the order of train ids; train id + 1 is the value that labels and submissions hold."""

UNDEFINED: Final = 0
"""The raw value of a point without a label; its train id is `IGNORE_INDEX`."""

RAW_TO_TRAIN: Final = {UNDEFINED: IGNORE_INDEX} | {
    train + 1: train for train in range(len(CLASS_NAMES))
}

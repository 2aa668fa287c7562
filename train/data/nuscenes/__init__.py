"""nuScenes-lidarseg: its reader, its classes, its simulation, its submissions."""

from train.data.nuscenes.classes import CLASS_NAMES
from train.data.nuscenes.points import read_points, read_segment
from train.data.nuscenes.source import NuScenes, list_scenes

__all__ = [
    "CLASS_NAMES",
    "NuScenes",
    "list_scenes",
    "read_points",
    "read_segment",
]

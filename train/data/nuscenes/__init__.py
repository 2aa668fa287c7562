"""nuScenes-lidarseg: its reader, its classes, its simulation, its submissions."""

from train.data.nuscenes.classes import CLASS_NAMES
from train.data.nuscenes.points import read_points, read_segment
from train.data.nuscenes.simulated import simulate_nuscenes
from train.data.nuscenes.source import NuScenes, list_scenes
from train.data.nuscenes.submission import NuScenesSubmission, read_submission

__all__ = [
    "CLASS_NAMES",
    "NuScenes",
    "NuScenesSubmission",
    "list_scenes",
    "read_points",
    "read_segment",
    "read_submission",
    "simulate_nuscenes",
]

"""nuScenes-lidarseg: its reader, classes and submissions."""

from typing import Final

from train.data.dataset_spec import NUSCENES_RULE, DatasetSpec
from train.data.nuscenes.classes import CLASS_NAMES
from train.data.nuscenes.points import read_points
from train.data.nuscenes.source import NuScenes, list_scenes
from train.data.nuscenes.submission import NuScenesSubmission

__all__ = [
    "CLASS_NAMES",
    "SPEC",
    "NuScenes",
    "NuScenesSubmission",
    "list_scenes",
    "read_points",
]

SPEC: Final = DatasetSpec(
    name="nuscenes",
    class_names=CLASS_NAMES,
    sequence_word="scene",
    reader=NuScenes,
    list_sequences=list_scenes,
    benchmark_rule=NUSCENES_RULE,
    simulator="train.simulation.nuscenes:simulate_nuscenes",
    submission=lambda output, source, _: NuScenesSubmission(output, source),
    submission_suffix=".zip",
    forward_deg=90.0,
    has_cameras=True,
    ground_z_m=-1.84,  # LIDAR_TOP is mounted so high
)

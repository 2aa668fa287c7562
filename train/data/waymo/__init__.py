"""Waymo Open (Perception): reader of both formats, classes, submissions."""

from pathlib import Path
from typing import Final

from train.data.dataset_spec import WAYMO_RULE, DatasetSpec
from train.data.frame import FrameSource
from train.data.waymo.classes import CLASS_NAMES
from train.data.waymo.source import Waymo, list_sequences
from train.data.waymo.submission import WaymoSubmission

__all__ = [
    "CLASS_NAMES",
    "SPEC",
    "Waymo",
    "WaymoSubmission",
    "list_sequences",
]


def _submission(output: Path, source: FrameSource, account: str) -> WaymoSubmission:
    if not isinstance(source, Waymo):
        raise TypeError(f"submission: source must be a Waymo, not a {type(source).__name__}")
    return WaymoSubmission(
        output, source, account_name=account, method_name="topology and gradient distillation"
    )


SPEC: Final = DatasetSpec(
    name="waymo",
    class_names=CLASS_NAMES,
    sequence_word="segment",
    reader=Waymo,
    list_sequences=list_sequences,
    benchmark_rule=WAYMO_RULE,
    simulator="train.simulation.waymo:simulate_waymo",
    submission=_submission,
    submission_suffix=".bin",
    submission_needs_account=True,
    sensor_origin_m=(1.43, 0.0, 2.18),
    ground_z_m=0.0,  # the vehicle frame stands on the scene
    slow_to_decode=True,
    has_cameras=True,
    # PTv3's official box, in the vehicle's frame: whatever is above 2 m counts as at 2 m.
    clip_range_m=(-75.2, -75.2, -4.0, 75.2, 75.2, 2.0),
)

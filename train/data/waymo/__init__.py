"""Waymo Open (Perception): reader of both formats, classes, simulation, submissions."""

from train.data.waymo.classes import CLASS_NAMES
from train.data.waymo.simulated import simulate_waymo
from train.data.waymo.source import TopPixels, Waymo, list_sequences
from train.data.waymo.submission import WaymoSubmission, read_submission

__all__ = [
    "CLASS_NAMES",
    "TopPixels",
    "Waymo",
    "WaymoSubmission",
    "list_sequences",
    "read_submission",
    "simulate_waymo",
]

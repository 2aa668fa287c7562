"""Waymo Open (Perception): its reader for both formats, its classes, its submission."""

from train.data.waymo.classes import CLASS_NAMES
from train.data.waymo.source import TopPixels, Waymo, list_sequences

__all__ = [
    "CLASS_NAMES",
    "TopPixels",
    "Waymo",
    "list_sequences",
]

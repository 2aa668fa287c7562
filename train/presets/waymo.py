"""The Waymo Open runs: the paper's schedule, and one that a CPU does in minutes."""

from train.config import DataConfig, RunConfig
from train.presets.tiny import tiny

CLIP_RANGE_M = (-75.2, -75.2, -4.0, 75.2, 75.2, 2.0)
"""PTv3's official box for Waymo, in the vehicle's frame: whatever is above 2 m counts as at 2 m."""


def preset(model: str) -> RunConfig:
    """Return the default run for the pair `model`, "paper" or "tiny"."""
    data = DataConfig(clip_range_m=CLIP_RANGE_M)
    paper = RunConfig(dataset="waymo", precision="bf16", data=data)
    return paper if model == "paper" else tiny(paper)

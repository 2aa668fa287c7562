"""The runs on frames of one's own: the paper's schedule, and one that a CPU does in minutes."""

from train.config import RunConfig
from train.presets.tiny import tiny


def preset(model: str) -> RunConfig:
    """Return the default run for the pair `model`, "paper" or "tiny"; no box, as SemanticKITTI."""
    paper = RunConfig(dataset="kitti-layout", precision="bf16")
    return paper if model == "paper" else tiny(paper)

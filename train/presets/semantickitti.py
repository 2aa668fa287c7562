"""The SemanticKITTI runs: the paper's schedule, and one that a CPU does in minutes."""

from train.config import RunConfig
from train.presets.tiny import tiny


def preset(model: str) -> RunConfig:
    """Return the default run for the pair `model`, "paper" or "tiny".

    No box: the official recipe clamps coordinates at 35.2 m only after the voxels are fixed, which
    leaves the voxels of all points beyond as they are.
    """
    paper = RunConfig(dataset="semantickitti", precision="bf16")
    return paper if model == "paper" else tiny(paper)

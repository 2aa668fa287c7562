"""What a run is on two cores, whatever the dataset: a tiny pair and some minutes."""

from dataclasses import replace
from typing import Any, Final

from train.config import OptimConfig, RunConfig

TINY_METHOD_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "topology-gradient": {"num_samples": 512},
    "rkd": {"num_samples": 512},
    "affinity": {"num_samples": 512},
}
"""Options of methods for small crops, by method."""


def tiny(paper: RunConfig) -> RunConfig:
    """Return the run that a CPU does in minutes, from the paper's.

    Many steps on small crops teach more in a minute than few on whole sweeps, and a short schedule
    wants one rate for all layers and a longer rise than 50 epochs do.
    """
    return replace(
        paper,
        precision="fp32",
        data=replace(paper.data, max_voxels=8_000, batch_size=2, num_workers=0),
        optim=OptimConfig(
            teacher_epochs=30,
            student_epochs=30,
            block_lr=2e-3,
            warmup_fraction=0.1,
            max_grad_norm=1.0,
        ),
    )

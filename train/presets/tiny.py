"""What a run is on two cores, whatever the dataset: a tiny pair and some minutes."""

from dataclasses import replace
from typing import Any, Final

from train.config import OptimConfig, RunConfig

# The default run: `--dataset waymo --simulate` on two cores, in minutes. Streets hold four sweeps.
SIMULATED_SWEEPS: Final = 32
SIMULATED_VALIDATION_SWEEPS: Final = 16
STUDENT_EPOCHS: Final = 10
TEACHER_EPOCHS: Final = 30
GRID_SIZE_M: Final = 0.1

TINY_METHOD_OPTIONS: Final[dict[str, dict[str, Any]]] = {
    "topology-gradient": {"num_samples": 512},
    "rkd": {"num_samples": 512},
    "affinity": {"num_samples": 512},
    "topkd": {
        "num_clouds": 4000,
        "clouds_per_frame": 128,
        "fit_epochs": 60,
        "fit_lr": 3e-3,
        "fit_schedule": "cosine",
        "fit_standardize": True,
    },
    "xmodel-kd": {"width": 32, "fusion_layers": 1, "max_pairs": 1024},
    "udakd": {"width": 32},
    "fskd": {"width": 32},
}
"""Options of methods for small crops, by method."""


def tiny(paper: RunConfig) -> RunConfig:
    """Return the run that a CPU does in minutes, from the paper's.

    Many steps on small crops teach more in a minute than few on whole sweeps, and a short schedule
    wants one rate for all layers and a longer rise than 50 epochs do. Voxels of 0.1 m: a crop of as
    many voxels as a CPU can take then shows four times the ground that it does at 0.05 m.
    """
    return replace(
        paper,
        precision="fp32",
        data=replace(
            paper.data,
            grid_size_m=GRID_SIZE_M,
            max_voxels=6_000,
            batch_size=2,
            num_workers=0,
            simulated_sweeps=SIMULATED_SWEEPS,
            simulated_validation_sweeps=SIMULATED_VALIDATION_SWEEPS,
        ),
        optim=OptimConfig(
            teacher_epochs=TEACHER_EPOCHS,
            student_epochs=STUDENT_EPOCHS,
            block_lr=2e-3,
            warmup_fraction=0.1,
            max_grad_norm=1.0,
        ),
    )

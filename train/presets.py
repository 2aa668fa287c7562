"""What a run is unless flags say otherwise: by dataset, pair of models and method."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from train.config import DataConfig, OptimConfig, RunConfig
from train.core.errors import UserError
from train.data.dataset_spec import dataset_spec
from train.methods.registry import method_class

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


def preset(
    dataset: str, model: Literal["auto", "paper", "tiny"], method: str = "topology-gradient"
) -> RunConfig:
    """Return the run that is the default for a dataset, a pair of models and a method.

    Parameters
    ----------
    dataset
        A name that the registry knows.
    model
        "paper" or "tiny".
    method
        A name of `train.methods.METHODS`.

    Raises
    ------
    UserError
        If there is no such dataset or method.
    """
    spec = dataset_spec(dataset)
    config = method_class(method).Config
    data = DataConfig(clip_range_m=spec.clip_range_m, cache_decoded=spec.slow_to_decode)
    run = RunConfig(dataset=dataset, precision="bf16", data=data)
    if model == "tiny":
        run = _tiny(run)
    changes = TINY_METHOD_OPTIONS.get(method, {}) if model == "tiny" else {}
    return replace(run, method=method, model=model, options=config(**changes))


def _tiny(paper: RunConfig) -> RunConfig:
    """Return the run that two cores do in minutes, whatever the dataset, from the paper's.

    Many steps on small crops teach more in a minute than few on whole frames, and a short schedule
    wants one rate for all layers and a longer rise than 50 epochs do. Voxels of 0.1 m: a crop of as
    many voxels as a CPU can take then shows four times the ground that it does at 0.05 m.
    """
    return replace(
        paper,
        precision="fp32",
        data=replace(
            paper.data,
            grid_size_m=0.1,
            max_voxels=6_000,
            batch_size=2,
            num_workers=0,
            simulated_frames=64,  # scenes hold four
            simulated_validation_frames=16,
        ),
        optim=OptimConfig(
            teacher_epochs=15,
            student_epochs=20,  # 640 steps: with 160, distilling was not seen to give anything
            block_lr=2e-3,
            warmup_fraction=0.1,
            max_grad_norm=1.0,
        ),
    )


@dataclass(frozen=True)
class Recipe:
    """A method with some of its options set, for `--preset NAME`.

    Attributes
    ----------
    method
        A name of `train.methods.registry.METHODS`.
    options
        Fields of the method's `Config` that differ from their defaults.
    description
        What it is, in a few words.
    """

    method: str
    options: Mapping[str, Any] = field(default_factory=dict)
    description: str = ""


RECIPES: Final = {
    "paper": Recipe(
        "topology-gradient", {}, "the paper's four losses and weights, the default of the method"
    ),
    "best": Recipe(
        "kd", {}, "softened logits alone, as tuned: what passed the positive control so far"
    ),
    "edges": Recipe(
        "topology-gradient",
        {
            "diagram_distance": "edges",
            "normalization": "rms",
            "sampling": "random",
            "topology_balance": 0.3,
            "saliency": 0.0,
        },
        "softened logits, and distances at critical edges with a gradient of share 0.3",
    ),
}
"""By name. docs/results/ablation.md says what each was measured to give."""


def find_recipe(name: str) -> Recipe:
    """Return a recipe by name.

    Raises
    ------
    UserError
        If there is no such recipe; the message lists those there are.
    """
    if name not in RECIPES:
        raise UserError(f"--preset {name}: no such preset; choose {', '.join(RECIPES)}")
    return RECIPES[name]

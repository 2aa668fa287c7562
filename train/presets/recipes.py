"""Named settings of a method, for `--preset NAME`: the paper's, and others beside it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from train.core.errors import UserError


@dataclass(frozen=True)
class Recipe:
    """A method with some of its options set.

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

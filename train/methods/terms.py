"""What methods give and ask for: a term of the loss, and parts of a teacher's output."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from torch import Tensor

Unit = Literal["labeled", "points", "clouds"]
"""What a term is a mean over: labeled voxels, all voxels, or clouds."""


@dataclass(frozen=True)
class LossTerm:
    """One term of a loss.

    Attributes
    ----------
    value
        () the mean over this batch's units, before weighting; or (S,) several such means, whose sum
        is the term.
    weight
        How much of it enters the total.
    unit
        What it is a mean over. Where a step's batch is spread over processes or computed in parts,
        each part's mean is weighed by its share of the units, which gives the mean of the whole.
    count
        (S,) how many units each mean of `value` is over, if they are none of `Unit` (the voxels of
        a coarser stage); `unit` then only weighs the parts of one process.
    stats
        Further numbers for the log, by name: tensors without gradient.
    """

    value: Tensor
    weight: float
    unit: Unit = "points"
    count: Tensor | None = None
    stats: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class TargetChoice:
    """Which parts of a teacher's output are wanted.

    Attributes
    ----------
    features
        Stages whose features are wanted.
    saliency
        Stages whose saliency maps are wanted.
    segmentation
        The loss whose gradient makes the maps; see `train.methods.losses.segmentation_loss`.
    """

    features: tuple[str, ...] = ()
    saliency: tuple[str, ...] = ()
    segmentation: Literal["ce", "ce+lovasz"] = "ce"

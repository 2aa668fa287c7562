"""A LitePT with a linear head: a logit for each class at each voxel.

Shape letters: N voxels, B clouds.
"""

from collections.abc import Hashable, Mapping
from typing import Any, Final

from torch import Tensor

from train.networks.litept.block import LitePTStage
from train.networks.litept.sizes import ALIASES, SIZES, LitePTConfig, litept_config
from train.networks.ptv3.hierarchy import Hierarchy, build_hierarchy
from train.networks.ptv3.hierarchy_segmentor import HierarchySegmentor
from train.networks.ptv3.serialization import curve_depth

EACH_STAGE: Final = "each-stage"
"""How a hierarchy says that its curves have the depth that each stage's own indices need."""


class LitePT(HierarchySegmentor):
    """Backbone and linear head.

    See `HierarchySegmentor` for the parameters.
    """

    network = "litept"
    stage = LitePTStage
    sizes = SIZES
    config: LitePTConfig

    def __init__(
        self, config: LitePTConfig, num_classes: int, in_channels: int = 4, *, size: str
    ) -> None:
        super().__init__(config, num_classes, in_channels, size=ALIASES.get(size, size))

    @property
    def geometry_key(self) -> Hashable:
        """The curves, the stages that have them, and how many stages there are."""
        config = self.config
        return ("litept", config.num_stages, config.orders, config.attention_stages)

    def describe(self) -> str:
        """Return one line that says what this network is and which implementations it took."""
        config = self.config
        parameters = sum(parameter.numel() for parameter in self.parameters())
        return (
            f"LitePT-{self.size}, {parameters:,} parameters, {self.in_channels} channels in,"
            f" {self.num_classes} classes; convolution: {config.convolution}; attention:"
            f" {config.attention}; shuffle_orders={config.shuffle_orders}"
        )

    def prepare(self, batch: Mapping[str, Tensor]) -> Hierarchy:
        """Build the hierarchy this network uses if given none: curves where it attends alone."""
        # One curve is enough to pool by, and a z curve's order does not depend on its depth.
        rows = build_hierarchy(batch, num_stages=self.config.num_stages, orders=("z",))
        return self.with_own_curves(rows)

    def with_own_curves(self, hierarchy: Hierarchy) -> Hierarchy:
        """Serialize the stages that attend; each finds its depth from its own largest index."""
        config, largest = self.config, hierarchy.max_grid_coord
        depths = [
            curve_depth(largest >> stage) if stage in config.attention_stages else None
            for stage in range(config.num_stages)
        ]
        return hierarchy.with_curves(
            config.orders, depths, EACH_STAGE, shuffle_orders=self.shuffles
        )

    def curves_of(self, hierarchy: Hierarchy) -> tuple[tuple[str, object, object], ...]:
        """Return what gave the curves their depth, and their number where there is attention."""
        stages = self.config.attention_stages
        return (
            ("depth rule", hierarchy.depth_rule, EACH_STAGE),
            (
                "curves",
                [hierarchy.levels[stage].order.shape[0] for stage in stages],
                [len(self.config.orders)] * len(stages),
            ),
        )


def build_litept(size: str, num_classes: int, in_channels: int = 4, **overrides: Any) -> LitePT:
    """Build a network by name, with fresh weights.

    Parameters
    ----------
    size
        ``"S"``, ``"S*"`` (or ``"S-star"``), ``"B"``, ``"L"``, or ``"tiny"`` (for CPUs).
    num_classes
        Logits per voxel.
    in_channels
        Channels of the input features; 4 for x, y, z in meters and strength.
    **overrides
        Fields of `LitePTConfig`, e.g. ``drop_path=0.0``.

    Raises
    ------
    ValueError
        If a name or value is unknown.

    Examples
    --------
    >>> student = build_litept("S", num_classes=16)
    >>> sum(parameter.numel() for parameter in student.parameters())
    12705100
    """
    return LitePT(litept_config(size, **overrides), num_classes, in_channels, size=size)

"""A PTv3 with a linear head: a logit for each class at each voxel.

Shape letters: N voxels, N_s at stage s, B clouds, C channels.
"""

from collections.abc import Hashable, Mapping
from dataclasses import fields
from typing import Any

from torch import Tensor

from train.networks.protocol import NetworkSpec
from train.networks.ptv3.hierarchy import Hierarchy, build_hierarchy
from train.networks.ptv3.hierarchy_segmentor import HierarchySegmentor, check_widths
from train.networks.ptv3.network import PointTransformerV3
from train.networks.ptv3.serialization import curve_depth
from train.networks.ptv3.sizes import SIZES, NetworkConfig, network_config


class Segmentor(HierarchySegmentor):
    """Backbone and linear head.

    Parameters
    ----------
    config
        The backbone.
    num_classes
        Logits a voxel.
    in_channels
        Channels of the input features.
    size
        The name in `SIZES` that `config` was derived from.
    """

    def __init__(
        self, config: NetworkConfig, num_classes: int, in_channels: int = 4, *, size: str
    ) -> None:
        check_widths("Segmentor", num_classes, in_channels)
        super().__init__(config, PointTransformerV3(config, in_channels), num_classes, in_channels)
        self.backbone: PointTransformerV3
        self.size = size
        self.config: NetworkConfig = config

    @property
    def geometry_key(self) -> Hashable:
        """The curves, their depth, and how many stages there are."""
        config = self.config
        return ("ptv3", config.num_stages, config.orders, config.depth_rule)

    def spec(self) -> NetworkSpec:
        """Return the size by name, and what of it was overridden and belongs to the weights."""
        usual = SIZES[self.size]
        # Weights of one form load into the other without a word, and give other numbers: these two
        # are always named. How attention and convolution are computed changes no weight.
        always = ("cpe_input", "depth_rule")
        overrides = {
            field.name: getattr(self.config, field.name)
            for field in fields(self.config)
            if field.name not in ("attention", "convolution")
            and (
                field.name in always
                or getattr(self.config, field.name) != getattr(usual, field.name)
            )
        }
        return NetworkSpec("ptv3", self.size, self.num_classes, self.in_channels, overrides)

    def describe(self) -> str:
        """Return one line that says what this network is and which implementations it took."""
        config = self.config
        parameters = sum(parameter.numel() for parameter in self.parameters())
        convolution = {"torch": "our own", "spconv": "spconv"}[config.convolution]
        attention = {
            "sdpa": "torch's scaled_dot_product_attention",
            "flash": "flash-attn",
            "plain": "plain",
        }[config.attention]
        return (
            f"PTv3, {parameters:,} parameters, {self.in_channels} channels in,"
            f" {self.num_classes} classes; convolution: {convolution}; attention: {attention};"
            f" cpe_input={config.cpe_input}, depth_rule={config.depth_rule},"
            f" shuffle_orders={config.shuffle_orders}"
        )

    def prepare(self, batch: Mapping[str, Tensor]) -> Hierarchy:
        """Build the hierarchy this network uses if given none: its curves, shuffled as it says."""
        return build_hierarchy(
            batch,
            num_stages=self.config.num_stages,
            orders=self.config.orders,
            shuffle_orders=self._shuffles,
            depth_rule=self.config.depth_rule,
        )

    def prepare_on(self, geometry: Any, batch: Mapping[str, Tensor]) -> Hierarchy | None:
        """Return this network's curves over the rows of another's hierarchy."""
        del batch
        config = self.config
        if not isinstance(geometry, Hierarchy) or len(geometry.levels) != config.num_stages:
            return None
        depth = curve_depth(geometry.max_grid_coord, config.depth_rule)
        return geometry.with_curves(
            config.orders,
            [max(depth - stage, 0) for stage in range(config.num_stages)],
            config.depth_rule,
            shuffle_orders=self._shuffles,
        )

    def curves_of(self, hierarchy: Hierarchy) -> tuple[tuple[str, object, object], ...]:
        """Return their number at the finest stage, and what gave them their depth."""
        config = self.config
        return (
            ("curves", hierarchy.levels[0].order.shape[0], len(config.orders)),
            ("depth rule", hierarchy.depth_rule, config.depth_rule),
        )

    @property
    def _shuffles(self) -> bool:
        shuffle = self.config.shuffle_orders
        return shuffle == "always" or (shuffle == "training" and self.training)


def build_segmentor(
    size: str, num_classes: int, in_channels: int = 4, **overrides: Any
) -> Segmentor:
    """Build a network by name, with fresh weights.

    Parameters
    ----------
    size
        ``"teacher"`` or ``"student"`` (Table 8 of the paper), ``"tiny-teacher"`` or
        ``"tiny-student"`` (for CPUs).
    num_classes
        Logits a voxel.
    in_channels
        Channels of the input features; 4 for x, y, z in meters and strength.
    **overrides
        Fields of `NetworkConfig`, e.g. ``drop_path=0.0`` or ``cpe_input="v1.5.1"``.

    Raises
    ------
    ValueError
        If a name or value is unknown.

    Examples
    --------
    >>> student = build_segmentor("student", num_classes=16)
    >>> sum(parameter.numel() for parameter in student.parameters())
    2777344
    """
    return Segmentor(network_config(size, **overrides), num_classes, in_channels, size=size)

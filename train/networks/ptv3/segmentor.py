"""Point Transformer V3: how its blocks run, and the network with a linear head on the voxels.

Wu et al., "Point Transformer V3: Simpler, Faster, Stronger", CVPR 2024; module names follow the
official code so that its checkpoints load.

Shape letters: N voxels, N_s at stage s, B clouds, C channels.
"""

from collections.abc import Hashable, Mapping
from typing import Any

from torch import Tensor

from train.networks.ptv3.backbone import Stage
from train.networks.ptv3.block import Block
from train.networks.ptv3.hierarchy import Hierarchy, build_hierarchy
from train.networks.ptv3.hierarchy_segmentor import HierarchySegmentor
from train.networks.ptv3.serialization import curve_depth
from train.networks.ptv3.sizes import SIZES, NetworkConfig, network_config


class PTv3Stage(Stage):
    """Pooling or unpooling, and blocks that all attend."""

    def block(self, drop_path: float) -> Block:
        """Build one block."""
        return Block(self.of_side("channels"), self.of_side("heads"), self.config, drop_path)

    def run_blocks(self, feat: Tensor, skipped: Tensor, hierarchy: Hierarchy) -> Tensor:
        """Run the blocks; the first one's position encoding reads what is `skipped`."""
        neighbors = hierarchy.neighbors(self.index, 3, self.config.convolution)
        num_curves = hierarchy.levels[self.index].order.shape[0]
        cpe_feat = skipped
        for number in range(self.num_blocks):
            block = self.get_submodule(f"block{number}")
            patches = hierarchy.patches(self.index, number % num_curves, self.config.patch_size)
            feat, cpe_feat = block(feat, cpe_feat, neighbors, patches)
        return feat


class Segmentor(HierarchySegmentor):
    """Backbone and linear head.

    See `HierarchySegmentor` for the parameters.
    """

    network = "ptv3"
    stage = PTv3Stage
    sizes = SIZES
    # Weights of one form load into the other without a word, and give other numbers.
    always_named = ("cpe_input", "depth_rule")
    config: NetworkConfig

    @property
    def geometry_key(self) -> Hashable:
        """The curves, their depth, and how many stages there are."""
        config = self.config
        return ("ptv3", config.num_stages, config.orders, config.depth_rule)

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
            shuffle_orders=self.shuffles,
            depth_rule=self.config.depth_rule,
        )

    def with_own_curves(self, hierarchy: Hierarchy) -> Hierarchy:
        """Return the same rows with this network's curves at every stage."""
        config = self.config
        depth = curve_depth(hierarchy.max_grid_coord, config.depth_rule)
        return hierarchy.with_curves(
            config.orders,
            [max(depth - stage, 0) for stage in range(config.num_stages)],
            config.depth_rule,
            shuffle_orders=self.shuffles,
        )

    def curves_of(self, hierarchy: Hierarchy) -> tuple[tuple[str, object, object], ...]:
        """Return their number at the finest stage, and what gave them their depth."""
        config = self.config
        return (
            ("curves", hierarchy.levels[0].order.shape[0], len(config.orders)),
            ("depth rule", hierarchy.depth_rule, config.depth_rule),
        )


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

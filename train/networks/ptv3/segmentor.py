"""A PTv3 with a linear head: a logit for each class at each voxel.

Shape letters: N voxels, N_s at stage s, B clouds, C channels.
"""

from collections.abc import Hashable, Mapping
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor, nn

from train.config import OptimConfig
from train.networks.protocol import Network, NetworkOutput, NetworkSpec, StageHook
from train.networks.ptv3.batch import check_shapes
from train.networks.ptv3.hierarchy import Hierarchy, build_hierarchy
from train.networks.ptv3.network import PointTransformerV3
from train.networks.ptv3.sizes import SIZES, NetworkConfig, network_config


class Segmentor(Network):
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
        super().__init__()
        self.size = size
        for name, number in (("num_classes", num_classes), ("in_channels", in_channels)):
            if number < 1:
                raise ValueError(f"Segmentor: {name} is {number}, must be at least 1")
        self.config = config
        self.num_classes, self.in_channels = num_classes, in_channels
        backbone = PointTransformerV3(config, in_channels)
        # Head first: the order in which official checkpoints list their keys.
        self.seg_head = nn.Linear(backbone.out_channels, num_classes)
        self.backbone = backbone

    @property
    def encoder_stages(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the encoder's stages in the order in which they run, finest first."""
        return tuple(f"enc{stage}" for stage in range(self.config.num_stages))

    @property
    def decoder_stages(self) -> tuple[str, ...]:  # type: ignore[override]
        """Names of the decoder's stages in the order in which they run, coarsest first."""
        return tuple(f"dec{stage}" for stage in reversed(range(self.config.num_stages - 1)))

    @property
    def stage_channels(self) -> dict[str, int]:
        """The width of every stage."""
        encoder = dict(zip(self.encoder_stages, self.config.enc_channels, strict=True))
        decoder = {f"dec{s}": width for s, width in enumerate(self.config.dec_channels)}
        return {**encoder, **decoder}

    @property
    def coarsest_cell_voxels(self) -> int:  # type: ignore[override]
        """Each stage but the first doubles the edge of the cells."""
        return int(2 ** (self.config.num_stages - 1))

    @property
    def geometry_key(self) -> Hashable:
        """The curves, their depth, and how many stages there are."""
        config = self.config
        return ("ptv3", config.num_stages, config.orders, config.depth_rule)

    def parameter_groups(self, optim: OptimConfig) -> list[dict[str, Any]]:
        """Return PTv3's two groups: all but the transformer blocks, and the blocks."""
        named = list(self.named_parameters())
        return [
            {"params": [p for name, p in named if ".block" not in name], "lr": optim.lr},
            {"params": [p for name, p in named if ".block" in name], "lr": optim.block_lr},
        ]

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
        shuffle = self.config.shuffle_orders
        return build_hierarchy(
            batch,
            num_stages=self.config.num_stages,
            orders=self.config.orders,
            shuffle_orders=shuffle == "always" or (shuffle == "training" and self.training),
            depth_rule=self.config.depth_rule,
        )

    def forward(
        self,
        batch: Mapping[str, Tensor],
        geometry: Hierarchy | None = None,
        *,
        stage_hook: StageHook | None = None,
    ) -> NetworkOutput:
        """Return logits and the features of every stage.

        Parameters
        ----------
        batch
            `feat` [N, in_channels], `coord` [N, 3], `grid_coord` [N, 3], `offset` [B].
        geometry
            From `prepare` or `build_hierarchy` on the same batch; hand one to several networks so
            that their stages list the same voxels in the same order. Built here if None. Values of
            the batch are checked where it is built, shapes here too.
        stage_hook
            Called with each stage's name and output; what it returns takes the output's place in
            the network and in the result.

        Returns
        -------
        NetworkOutput
            Features of ``"stem"``, ``"enc0"``.., then the decoder from the coarsest to ``"dec0"``;
            nothing later changes these tensors.

        Raises
        ------
        ValueError
            If the batch is malformed, the geometry belongs to another batch or network, or batch
            normalization would have to train on a stage with a single voxel.
        """
        num_voxels = check_shapes(batch, "Segmentor.forward")
        if batch["feat"].shape[1] != self.in_channels:
            raise ValueError(
                f"Segmentor.forward: feat has {batch['feat'].shape[1]} channels, this network"
                f" takes {self.in_channels}"
            )
        hierarchy = self.prepare(batch) if geometry is None else geometry
        self._check_fit(hierarchy, num_voxels, len(batch["offset"]))
        if geometry is not None:
            _check_same_voxels(geometry, batch["grid_coord"])
        stages = self.backbone(batch["feat"], hierarchy, stage_hook)
        logits: Tensor = self.seg_head(stages[self.decoder_stages[-1]])
        offsets = {name: hierarchy.stage_offset(name) for name in stages}
        return NetworkOutput(logits, stages, offsets)

    def _check_fit(self, hierarchy: Hierarchy, num_voxels: int, num_clouds: int) -> None:
        config, finest = self.config, hierarchy.levels[0]
        for what, has, needs in (
            ("stages", len(hierarchy.levels), config.num_stages),
            ("curves", finest.order.shape[0], len(config.orders)),
            ("voxels", finest.num_voxels, num_voxels),
            ("clouds", len(finest.counts), num_clouds),
            ("depth rule", hierarchy.depth_rule, config.depth_rule),
        ):
            if has != needs:
                raise ValueError(
                    f"Segmentor.forward: hierarchy does not fit: {what} {has}, needs {needs};"
                    " build it from this batch with this network's settings"
                )
        if self.training:
            for stage, level in enumerate(hierarchy.levels):
                if level.num_voxels == 1:
                    raise ValueError(
                        f"Segmentor.forward: stage enc{stage} has a single voxel in the whole"
                        " batch, on which batch normalization cannot train; use larger crops or"
                        " more clouds a batch"
                    )


def _check_same_voxels(hierarchy: Hierarchy, grid_coord: Tensor) -> None:
    """Refuse a hierarchy of as many voxels that lie elsewhere."""
    known = hierarchy.levels[0].grid_coord
    # The same tensor (int64 is kept as it is) needs no look at values, for which on a GPU the host
    # would wait.
    if known is not grid_coord and not torch.equal(known, grid_coord.long()):
        raise ValueError(
            "Segmentor.forward: hierarchy does not fit: it was built from other voxels; build it"
            " from this batch"
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

"""LitePT: stem, five encoder stages, and a decoder that mostly only unpools.

Y. Yue, D. Robert, J. Wang, S. Hong, J. D. Wegner, C. Rupprecht, K. Schindler, "LitePT: Lighter Yet
Stronger Point Transformer", CVPR 2026. Module names follow the official code, so that its
checkpoints load. Stem, pooling and unpooling are PTv3's. Shape letters: N voxels, N_s at stage s,
C channels.
"""

from torch import Tensor, nn

from train.networks.litept.block import LitePTBlock
from train.networks.litept.rotary import point_rotation
from train.networks.litept.sizes import LitePTConfig
from train.networks.protocol import StageHook
from train.networks.ptv3.drop_path import drop_path_rates
from train.networks.ptv3.hierarchy import Hierarchy
from train.networks.ptv3.network import Embedding
from train.networks.ptv3.pooling import Pooling, Unpooling


class LitePTStage(nn.Module):
    """A chain of blocks at one resolution, after pooling or unpooling.

    Parameters
    ----------
    config
        The network's.
    side, index
        ``"enc"`` or ``"dec"``, and the stage's level in the hierarchy.
    rates
        Drop-path rate of each block.
    """

    def __init__(self, config: LitePTConfig, side: str, index: int, rates: list[float]) -> None:
        super().__init__()
        self.config, self.index = config, index
        is_encoder = side == "enc"
        width = (config.enc_channels if is_encoder else config.dec_channels)[index]
        self.has_conv = (config.enc_conv if is_encoder else config.dec_conv)[index]
        self.has_attention = (config.enc_attention if is_encoder else config.dec_attention)[index]
        self.num_blocks = len(rates)
        self.rates, self.width = rates, width

    def add_blocks(self) -> None:
        """Register the blocks under the names that checkpoints give them; after pooling."""
        for number, rate in enumerate(self.rates):
            block = LitePTBlock(
                self.width,
                self.config.head_width,
                has_conv=self.has_conv,
                has_attention=self.has_attention,
                mlp_ratio=self.config.mlp_ratio,
                drop_path=rate,
                attention=self.config.attention,
                convolution=self.config.convolution,
            )
            self.add_module(f"block{number}", block)

    def run_blocks(self, feat: Tensor, hierarchy: Hierarchy) -> Tensor:
        """Run the blocks one after the other; block i attends along curve i."""
        if not self.num_blocks:
            return feat
        neighbors = rotate = None
        level = hierarchy.levels[self.index]
        if self.has_conv:
            neighbors = hierarchy.neighbors(self.index, 3, self.config.convolution)
        if self.has_attention:
            rotate = point_rotation(
                level.grid_coord, self.config.head_width, self.config.rotary_base, feat.dtype
            )
        for number in range(self.num_blocks):
            patches = None
            if self.has_attention:
                curve = number % level.order.shape[0]
                patches = hierarchy.patches(self.index, curve, self.config.patch_size)
            feat = self.get_submodule(f"block{number}")(feat, neighbors, patches, rotate)
        return feat


class LitePTEncoderStage(LitePTStage):
    """Pooling, except at stage 0, and blocks: [N_{s-1}, C_{s-1}] to [N_s, C_s]."""

    def __init__(self, config: LitePTConfig, index: int, rates: list[float]) -> None:
        super().__init__(config, "enc", index, rates)
        widths = config.enc_channels
        self.down = Pooling(widths[index - 1], widths[index]) if index else None
        self.add_blocks()

    def forward(self, feat: Tensor, hierarchy: Hierarchy) -> Tensor:
        """Encode the finer stage's output."""
        if self.down is not None:
            level = hierarchy.levels[self.index]
            feat = self.down(feat, level.cluster, level.num_voxels)
        return self.run_blocks(feat, hierarchy)


class LitePTDecoderStage(LitePTStage):
    """Unpooling, and blocks if there are any: to [N_s, D_s] with the encoder's [N_s, C_s]."""

    def __init__(
        self, config: LitePTConfig, index: int, coarse_channels: int, rates: list[float]
    ) -> None:
        super().__init__(config, "dec", index, rates)
        self.up = Unpooling(coarse_channels, config.enc_channels[index], self.width)
        self.add_blocks()

    def forward(self, coarse: Tensor, skip: Tensor, hierarchy: Hierarchy) -> Tensor:
        """Decode the coarser stage's output with the encoder's output at this stage."""
        feat, _ = self.up(coarse, skip, hierarchy.levels[self.index + 1].cluster)
        return self.run_blocks(feat, hierarchy)


class LitePTBackbone(nn.Module):
    """The features of every stage from a batch and its hierarchy.

    Parameters
    ----------
    config
        Depths, widths and choices.
    in_channels
        Channels of the input features.
    """

    def __init__(self, config: LitePTConfig, in_channels: int) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(in_channels, config.enc_channels[0], config.convolution)
        rates = drop_path_rates(config.drop_path, config.enc_depths)
        self.enc = nn.ModuleDict()
        for index in range(config.num_stages):
            self.enc[f"enc{index}"] = LitePTEncoderStage(config, index, rates[index])
        rates = drop_path_rates(config.drop_path, config.dec_depths)
        self.dec = nn.ModuleDict()
        coarse = config.enc_channels[-1]
        for index in reversed(range(config.num_stages - 1)):
            # Reversed inside the stage too: the first block to run has the highest rate.
            stage = LitePTDecoderStage(config, index, coarse, rates[index][::-1])
            self.dec[f"dec{index}"] = stage
            coarse = config.dec_channels[index]
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.momentum = config.batch_norm_momentum

    def forward(
        self, feat: Tensor, hierarchy: Hierarchy, stage_hook: StageHook | None = None
    ) -> dict[str, Tensor]:
        """Return the output of every stage by name, in the order in which they run.

        Parameters
        ----------
        feat
            [N, in_channels].
        hierarchy
            The batch's geometry.
        stage_hook
            Called with each stage's name and output; what it returns takes the output's place in
            the network and in the result.

        Returns
        -------
        dict of str to Tensor
            ``"stem"``, ``"enc0"``.., then the decoder from the coarsest to ``"dec0"``; each
            [N_s, C_s].
        """
        stages: dict[str, Tensor] = {}

        def leave(name: str, out: Tensor) -> Tensor:
            stages[name] = out if stage_hook is None else stage_hook(name, out)
            return stages[name]

        neighbors = hierarchy.neighbors(0, 5, self.config.convolution)
        feat = leave("stem", self.embedding.stem(feat, neighbors))
        for name, stage in self.enc.items():
            feat = leave(name, stage(feat, hierarchy))
        for name, stage in self.dec.items():
            feat = leave(name, stage(feat, stages[name.replace("dec", "enc")], hierarchy))
        return stages

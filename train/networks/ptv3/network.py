"""Point Transformer V3: stem, five encoder stages, four decoder stages.

Wu et al., "Point Transformer V3: Simpler, Faster, Stronger", CVPR 2024; module names follow the
official code so that its checkpoints load. Shape letters: N voxels, N_s at stage s, C channels.
"""

from torch import Tensor, nn

from train.networks.protocol import StageHook
from train.networks.ptv3.block import Block
from train.networks.ptv3.conv_backends import ConvBackend
from train.networks.ptv3.drop_path import drop_path_rates
from train.networks.ptv3.hierarchy import Hierarchy
from train.networks.ptv3.pooling import Pooling, Stem, Unpooling
from train.networks.ptv3.sizes import NetworkConfig


class Embedding(nn.Module):
    """Holds the stem under the name that checkpoints give it."""

    def __init__(self, in_channels: int, channels: int, convolution: ConvBackend) -> None:
        super().__init__()
        self.stem = Stem(in_channels, channels, convolution)


class Stage(nn.Module):
    """What encoder and decoder stages share: a chain of blocks at one resolution.

    Parameters
    ----------
    index
        The stage's level in the hierarchy.
    patch_size
        Voxels that attend to each other.
    convolution
        Which convolution the blocks have.
    """

    def __init__(self, index: int, patch_size: int, convolution: ConvBackend) -> None:
        super().__init__()
        self.index, self.patch_size, self.convolution = index, patch_size, convolution
        self.num_blocks = 0

    def add_blocks(self, blocks: list[Block]) -> None:
        """Register blocks under the names that checkpoints give them."""
        for block in blocks:
            self.add_module(f"block{self.num_blocks}", block)
            self.num_blocks += 1

    def run_blocks(self, feat: Tensor, cpe_feat: Tensor, hierarchy: Hierarchy) -> Tensor:
        """Run the blocks one after the other; block i attends along curve i.

        Parameters
        ----------
        feat
            [N_s, C] input of the first block.
        cpe_feat
            [N_s, C] what the first block's position encoding reads.
        hierarchy
            Neighbors and patches.
        """
        neighbors = hierarchy.neighbors(self.index, 3, self.convolution)
        num_curves = hierarchy.levels[self.index].order.shape[0]
        for number in range(self.num_blocks):
            block = self.get_submodule(f"block{number}")
            patches = hierarchy.patches(self.index, number % num_curves, self.patch_size)
            feat, cpe_feat = block(feat, cpe_feat, neighbors, patches)
        return feat


class EncoderStage(Stage):
    """Pooling, except at stage 0, and blocks: [N_{s-1}, C_{s-1}] to [N_s, C_s]."""

    def __init__(
        self, index: int, config: NetworkConfig, down: Pooling | None, blocks: list[Block]
    ) -> None:
        super().__init__(index, config.patch_size, config.convolution)
        self.down = down
        self.add_blocks(blocks)

    def forward(self, feat: Tensor, hierarchy: Hierarchy) -> Tensor:
        """Encode the finer stage's output."""
        level = hierarchy.levels[self.index]
        if self.down is not None:
            feat = self.down(feat, level.cluster, level.num_voxels)
        return self.run_blocks(feat, feat, hierarchy)


class DecoderStage(Stage):
    """Unpooling and blocks: [N_{s+1}, D_{s+1}] and the encoder's [N_s, C_s] to [N_s, D_s]."""

    def __init__(
        self, index: int, config: NetworkConfig, up: Unpooling, blocks: list[Block]
    ) -> None:
        super().__init__(index, config.patch_size, config.convolution)
        self.up = up
        self.add_blocks(blocks)

    def forward(self, coarse: Tensor, skip: Tensor, hierarchy: Hierarchy) -> Tensor:
        """Decode the coarser stage's output with the encoder's output at this stage."""
        cluster = hierarchy.levels[self.index + 1].cluster
        feat, skipped = self.up(coarse, skip, cluster)
        return self.run_blocks(feat, skipped, hierarchy)


class PointTransformerV3(nn.Module):
    """The backbone: features of every stage from a batch and its hierarchy.

    Parameters
    ----------
    config
        Depths, widths and choices.
    in_channels
        Channels of the input features.
    """

    def __init__(self, config: NetworkConfig, in_channels: int) -> None:
        super().__init__()
        self.config = config
        widths = config.enc_channels
        self.embedding = Embedding(in_channels, widths[0], config.convolution)
        rates = drop_path_rates(config.drop_path, config.enc_depths)
        self.enc = nn.ModuleDict()
        for index, width in enumerate(widths):
            down = Pooling(widths[index - 1], width) if index else None
            blocks = self._blocks(width, config.enc_heads[index], rates[index])
            self.enc[f"enc{index}"] = EncoderStage(index, config, down, blocks)

        rates = drop_path_rates(config.drop_path, config.dec_depths)
        self.dec = nn.ModuleDict()
        coarse = widths[-1]
        for index in reversed(range(config.num_stages - 1)):
            width = config.dec_channels[index]
            up = Unpooling(coarse, widths[index], width)
            # Reversed inside the stage too: the first block to run has the highest rate.
            blocks = self._blocks(width, config.dec_heads[index], rates[index][::-1])
            self.dec[f"dec{index}"] = DecoderStage(index, config, up, blocks)
            coarse = width
        self.out_channels = coarse
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
            skip = stages[name.replace("dec", "enc")]
            feat = leave(name, stage(feat, skip, hierarchy))
        return stages

    def _blocks(self, channels: int, num_heads: int, rates: list[float]) -> list[Block]:
        return [
            Block(
                channels,
                num_heads,
                mlp_ratio=self.config.mlp_ratio,
                drop_path=rate,
                attention=self.config.attention,
                convolution=self.config.convolution,
                cpe_input=self.config.cpe_input,
            )
            for rate in rates
        ]

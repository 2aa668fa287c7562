"""What PTv3 and LitePT share: stem, pooled encoder stages, unpooled decoder stages.

A network says what a stage's blocks are and how they run; module names follow the official codes,
so that their checkpoints load. Shape letters: N voxels, N_s at stage s, C channels.
"""

from abc import abstractmethod
from typing import Any, Literal

from torch import Tensor, nn

from train.networks.protocol import StageHook
from train.networks.ptv3.conv_backends import ConvBackend
from train.networks.ptv3.hierarchy import Hierarchy
from train.networks.ptv3.hierarchy_config import HierarchyConfig
from train.networks.ptv3.pooling import Pooling, Stem, Unpooling


class Embedding(nn.Module):
    """Holds the stem under the name that checkpoints give it."""

    def __init__(self, in_channels: int, channels: int, convolution: ConvBackend) -> None:
        super().__init__()
        self.stem = Stem(in_channels, channels, convolution)


class Stage(nn.Module):
    """Pooling or unpooling, and a chain of blocks at one resolution.

    Parameters
    ----------
    config
        The network's.
    side, index
        ``"enc"`` or ``"dec"``, and the stage's level in the hierarchy.
    coarse_channels
        Width of the next coarser stage's output; an encoder does not need it.
    rates
        Drop-path rate of each block.
    """

    down: Pooling | None
    up: Unpooling

    def __init__(
        self,
        config: Any,
        side: Literal["enc", "dec"],
        index: int,
        coarse_channels: int | None,
        rates: list[float],
    ) -> None:
        super().__init__()
        self.config, self.side, self.index, self.num_blocks = config, side, index, len(rates)
        widths = config.enc_channels
        if side == "enc":
            self.down = Pooling(widths[index - 1], widths[index]) if index else None
        else:
            assert coarse_channels is not None
            self.up = Unpooling(coarse_channels, widths[index], config.dec_channels[index])
        # After pooling: the order in which weights are drawn, and in which checkpoints list them.
        for number, rate in enumerate(rates):
            self.add_module(f"block{number}", self.block(rate))

    def of_side(self, name: str) -> Any:
        """Return this stage's entry of the configuration's tuple for its side."""
        return getattr(self.config, f"{self.side}_{name}")[self.index]

    @abstractmethod
    def block(self, drop_path: float) -> nn.Module:
        """Build one block."""

    @abstractmethod
    def run_blocks(self, feat: Tensor, skipped: Tensor, hierarchy: Hierarchy) -> Tensor:
        """Run the blocks one after the other; block i attends along curve i.

        Parameters
        ----------
        feat
            [N_s, C] input of the first block.
        skipped
            [N_s, C]: the encoder's part of it in a decoder stage, `feat` in an encoder stage.
        hierarchy
            Neighbors and patches.
        """

    def forward(self, feat: Tensor, hierarchy: Hierarchy, skip: Tensor | None = None) -> Tensor:
        """Return [N_s, C_s] from the stage before.

        Parameters
        ----------
        feat
            [N_{s-1}, C_{s-1}] of the finer stage; in a decoder [N_{s+1}, D_{s+1}] of the coarser.
        hierarchy
            The batch's geometry.
        skip
            [N_s, C_s] of the encoder at this stage, in a decoder.
        """
        if skip is not None:
            cluster = hierarchy.levels[self.index + 1].cluster
            feat, skipped = self.up(feat, skip, cluster)
            return self.run_blocks(feat, skipped, hierarchy)
        if self.down is not None:
            level = hierarchy.levels[self.index]
            feat = self.down(feat, level.cluster, level.num_voxels)
        return self.run_blocks(feat, feat, hierarchy)


class Backbone(nn.Module):
    """The features of every stage from a batch and its hierarchy.

    Parameters
    ----------
    config
        Depths, widths and choices.
    in_channels
        Channels of the input features.
    stage
        What its stages are.
    """

    def __init__(self, config: HierarchyConfig, in_channels: int, stage: type[Stage]) -> None:
        super().__init__()
        self.config = config
        self.embedding = Embedding(in_channels, config.enc_channels[0], config.convolution)
        rates = drop_path_rates(config.drop_path, config.enc_depths)
        self.enc = nn.ModuleDict()
        for index in range(config.num_stages):
            self.enc[f"enc{index}"] = stage(config, "enc", index, None, rates[index])
        rates = drop_path_rates(config.drop_path, config.dec_depths)
        self.dec = nn.ModuleDict()
        coarse = config.enc_channels[-1]
        for index in reversed(range(config.num_stages - 1)):
            # Reversed inside the stage too: the first block to run has the highest rate.
            self.dec[f"dec{index}"] = stage(config, "dec", index, coarse, rates[index][::-1])
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
            feat = leave(name, stage(feat, hierarchy, stages[name.replace("dec", "enc")]))
        return stages


def drop_path_rates(largest: float, depths: tuple[int, ...]) -> list[list[float]]:
    """Return the rate of every block by stage: linear from 0 to `largest` over all blocks.

    Parameters
    ----------
    largest
        Rate of the last block.
    depths
        Blocks of each stage.
    """
    num_blocks = sum(depths)
    rates = iter([largest * index / max(num_blocks - 1, 1) for index in range(num_blocks)])
    return [[next(rates) for _ in range(depth)] for depth in depths]

"""Point Transformer V3: what its stages' blocks are, and how they run.

Wu et al., "Point Transformer V3: Simpler, Faster, Stronger", CVPR 2024; module names follow the
official code so that its checkpoints load. Shape letters: N voxels, N_s at stage s, C channels.
"""

from torch import Tensor

from train.networks.ptv3.backbone import Stage
from train.networks.ptv3.block import Block
from train.networks.ptv3.hierarchy import Hierarchy


class PTv3Stage(Stage):
    """Pooling or unpooling, and blocks that all attend."""

    def block(self, drop_path: float) -> Block:
        """Build one block."""
        config = self.config
        return Block(
            self.of_side("channels"),
            self.of_side("heads"),
            mlp_ratio=config.mlp_ratio,
            drop_path=drop_path,
            attention=config.attention,
            convolution=config.convolution,
            cpe_input=config.cpe_input,
        )

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

"""LitePT: what its stages' blocks are, and how they run; the decoder mostly only unpools.

Y. Yue, D. Robert, J. Wang, S. Hong, J. D. Wegner, C. Rupprecht, K. Schindler, "LitePT: Lighter Yet
Stronger Point Transformer", CVPR 2026. Module names follow the official code, so that its
checkpoints load. Stem, pooling and unpooling are PTv3's. Shape letters: N voxels, N_s at stage s,
C channels.
"""

from torch import Tensor

from train.networks.litept.block import LitePTBlock
from train.networks.litept.rotary import point_rotation
from train.networks.ptv3.backbone import Stage
from train.networks.ptv3.hierarchy import Hierarchy


class LitePTStage(Stage):
    """Pooling or unpooling, and blocks, if there are any, of convolution or attention or both."""

    def block(self, drop_path: float) -> LitePTBlock:
        """Build one block."""
        config = self.config
        return LitePTBlock(
            self.of_side("channels"),
            config.head_width,
            has_conv=self.of_side("conv"),
            has_attention=self.of_side("attention"),
            mlp_ratio=config.mlp_ratio,
            drop_path=drop_path,
            attention=config.attention,
            convolution=config.convolution,
        )

    def run_blocks(self, feat: Tensor, skipped: Tensor, hierarchy: Hierarchy) -> Tensor:
        """Run the blocks, with one rotation of queries and keys for the whole stage."""
        del skipped
        if not self.num_blocks:
            return feat
        neighbors = rotate = None
        config, level, attends = (
            self.config,
            hierarchy.levels[self.index],
            self.of_side("attention"),
        )
        if self.of_side("conv"):
            neighbors = hierarchy.neighbors(self.index, 3, config.convolution)
        if attends:
            rotate = point_rotation(
                level.grid_coord, config.head_width, config.rotary_base, feat.dtype
            )
        for number in range(self.num_blocks):
            patches = None
            if attends:
                curve = number % level.order.shape[0]
                patches = hierarchy.patches(self.index, curve, config.patch_size)
            feat = self.get_submodule(f"block{number}")(feat, neighbors, patches, rotate)
        return feat

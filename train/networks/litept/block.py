"""LitePT: one block (a convolution, or attention and an MLP, or one after the other), and a stage.

Y. Yue, D. Robert, J. Wang, S. Hong, J. D. Wegner, C. Rupprecht, K. Schindler, "LitePT: Lighter Yet
Stronger Point Transformer", CVPR 2026. Module names follow the official code, so that its
checkpoints load. Stem, pooling and unpooling are PTv3's. Shape letters: N voxels, N_s at stage s,
C channels.
"""

from torch import Tensor, nn

from train.networks.litept.rotary import point_rotation
from train.networks.litept.sizes import LitePTConfig
from train.networks.ptv3.attention import Rotate
from train.networks.ptv3.backbone import Stage
from train.networks.ptv3.block import ResidualBlock
from train.networks.ptv3.conv_backends import Neighbors
from train.networks.ptv3.hierarchy import Hierarchy
from train.networks.ptv3.patches import PatchRows


class LitePTBlock(ResidualBlock):
    """A residual convolution, then two residual branches of attention and MLP; either alone.

    Parameters
    ----------
    channels
        C.
    has_conv, has_attention
        Which parts there are.
    config
        Of the network.
    drop_path
        Rate of attention and MLP; the convolution is never dropped.

    Notes
    -----
    Without a convolution the input is replaced by its layer norm before anything is added to it:
    `norm0` is no residual branch. Queries, keys and values stay in the dtype of the features; the
    official code rounds them to float16 whatever the run's dtype, which is a difference of about
    1e-3 of their size.
    """

    def __init__(
        self,
        channels: int,
        config: LitePTConfig,
        drop_path: float,
        *,
        has_conv: bool,
        has_attention: bool,
    ) -> None:
        super().__init__()
        self.has_conv, self.has_attention = has_conv, has_attention
        if has_conv:
            self.conv = self.make_position_encoding(channels, config)
        elif has_attention:
            self.norm0 = nn.Sequential(nn.LayerNorm(channels))
        if has_attention:
            self.add_attention(channels, channels // config.head_width, config, drop_path)

    def forward(
        self,
        feat: Tensor,
        neighbors: Neighbors | None,
        patches: PatchRows | None,
        rotate: Rotate | None,
    ) -> Tensor:
        """Return [N, C].

        Parameters
        ----------
        feat
            [N, C].
        neighbors
            Of the stage, as the convolution reads them; None for a block without one.
        patches, rotate
            Of the block's curve, and the stage's rotations; None for a block without attention.
        """
        if self.has_conv:
            convolution, linear, norm = self.conv
            feat = feat + norm(linear(convolution(feat, neighbors)))
        elif self.has_attention:
            feat = self.norm0(feat)
        if self.has_attention:
            feat = feat + self.drop_path(self.attn(self.norm1(feat), patches, rotate))
            feat = feat + self.drop_path(self.mlp(self.norm2(feat)))
        return feat


class LitePTStage(Stage):
    """Pooling or unpooling, and blocks, if there are any, of convolution or attention or both."""

    def block(self, drop_path: float) -> LitePTBlock:
        """Build one block."""
        has_conv, has_attention = self.config.parts(self.side, self.index)
        return LitePTBlock(
            self.of_side("channels"),
            self.config,
            drop_path,
            has_conv=has_conv,
            has_attention=has_attention,
        )

    def run_blocks(self, feat: Tensor, skipped: Tensor, hierarchy: Hierarchy) -> Tensor:
        """Run the blocks, with one rotation of queries and keys for the whole stage."""
        del skipped
        if not self.num_blocks:
            return feat
        neighbors = rotate = None
        config, level = self.config, hierarchy.levels[self.index]
        convolves, attends = config.parts(self.side, self.index)
        if convolves:
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

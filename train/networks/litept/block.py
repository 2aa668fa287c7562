"""One LitePT block: a convolution, or attention and an MLP, or one after the other.

Shape letters: N voxels, C channels.
"""

from torch import Tensor, nn

from train.networks.ptv3.attention import AttentionForm, Rotate, SerializedAttention
from train.networks.ptv3.block import MLP
from train.networks.ptv3.conv_backends import ConvBackend, Neighbors, make_convolution
from train.networks.ptv3.drop_path import PointDropPath
from train.networks.ptv3.patches import PatchRows


class LitePTBlock(nn.Module):
    """A residual convolution, then two residual branches of attention and MLP; either alone.

    Parameters
    ----------
    channels
        C.
    head_width
        Channels of an attention head.
    has_conv, has_attention
        Which parts there are.
    mlp_ratio
        Hidden width of the MLP over `channels`.
    drop_path
        Rate of attention and MLP; the convolution is never dropped.
    attention
        See `SerializedAttention`.
    convolution
        See `make_convolution`.

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
        head_width: int,
        *,
        has_conv: bool,
        has_attention: bool,
        mlp_ratio: int,
        drop_path: float,
        attention: AttentionForm,
        convolution: ConvBackend,
    ) -> None:
        super().__init__()
        self.has_conv, self.has_attention = has_conv, has_attention
        if has_conv:
            self.conv = nn.ModuleList(
                [
                    make_convolution(convolution, channels, channels, 3, bias=True),
                    nn.Linear(channels, channels),
                    nn.LayerNorm(channels),
                ]
            )
        elif has_attention:
            self.norm0 = nn.Sequential(nn.LayerNorm(channels))
        if has_attention:
            self.norm1 = nn.Sequential(nn.LayerNorm(channels))
            self.attn = SerializedAttention(channels, channels // head_width, attention)
            self.norm2 = nn.Sequential(nn.LayerNorm(channels))
            self.mlp = nn.Sequential(MLP(channels, mlp_ratio))
            self.drop_path = PointDropPath(drop_path)

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

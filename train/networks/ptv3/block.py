"""One PTv3 block: convolutional position encoding, attention, MLP, each a residual branch.

Shape letters: N voxels, C channels.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from train.networks.ptv3.attention import AttentionForm, SerializedAttention
from train.networks.ptv3.conv_backends import ConvBackend, Neighbors, make_convolution
from train.networks.ptv3.drop_path import PointDropPath
from train.networks.ptv3.patches import PatchRows

CpeInput = Literal["main", "v1.5.1"]


# Rows of an MLP's hidden layer that are alive at once without gradients: few enough for a
# CPU's caches. The hidden layer of a whole frame is the network's largest tensor.
ROWS_AT_ONCE = 4096


class MLP(nn.Module):
    """Two linear layers around an exact GELU, [N, C] to [N, C].

    Parameters
    ----------
    channels
        C.
    ratio
        Hidden width over C.
    """

    def __init__(self, channels: int, ratio: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, ratio * channels)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(ratio * channels, channels)

    def forward(self, feat: Tensor) -> Tensor:
        """Apply both layers; on a CPU without gradients, some rows after the others."""
        if feat.is_cuda or torch.is_grad_enabled() or feat.shape[0] <= ROWS_AT_ONCE:
            return self._apply_layers(feat)
        return torch.cat([self._apply_layers(rows) for rows in torch.split(feat, ROWS_AT_ONCE)])

    def _apply_layers(self, feat: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.act(self.fc1(feat)))
        return out


class Block(nn.Module):
    """Pre-norm block.

    Parameters
    ----------
    channels, num_heads
        Width and heads of the attention.
    mlp_ratio
        Hidden width of the MLP over `channels`.
    drop_path
        Rate for both of attention and MLP; the position encoding is never dropped.
    attention
        See `SerializedAttention`.
    convolution
        See `make_convolution`.
    cpe_input
        What the next block's position encoding reads: ``"main"``: this block's output;
        ``"v1.5.1"``: its MLP branch before the residual sum, as the code did under which
        the released weights were trained. Same parameters, different function.
    """

    def __init__(
        self,
        channels: int,
        num_heads: int,
        *,
        mlp_ratio: int,
        drop_path: float,
        attention: AttentionForm,
        convolution: ConvBackend,
        cpe_input: CpeInput,
    ) -> None:
        super().__init__()
        self.cpe_input = cpe_input
        self.cpe = nn.ModuleList(
            [
                make_convolution(convolution, channels, channels, 3, bias=True),
                nn.Linear(channels, channels),
                nn.LayerNorm(channels),
            ]
        )
        self.norm1 = nn.Sequential(nn.LayerNorm(channels))
        self.attn = SerializedAttention(channels, num_heads, attention)
        self.norm2 = nn.Sequential(nn.LayerNorm(channels))
        self.mlp = nn.Sequential(MLP(channels, mlp_ratio))
        self.drop_path = PointDropPath(drop_path)

    def forward(
        self, feat: Tensor, cpe_feat: Tensor, neighbors: Neighbors, patches: PatchRows
    ) -> tuple[Tensor, Tensor]:
        """Return the block's output and what the next block's position encoding sees.

        Parameters
        ----------
        feat
            [N, C] input of the block.
        cpe_feat
            [N, C] what this block's position encoding reads; not always `feat`.
        neighbors, patches
            The stage's neighbors, as `convolution` reads them, and the patches of this block's
            curve.
        """
        convolution, linear, norm = self.cpe
        feat = feat + norm(linear(convolution(cpe_feat, neighbors)))
        feat = feat + self.drop_path(self.attn(self.norm1(feat), patches))
        branch = self.drop_path(self.mlp(self.norm2(feat)))
        feat = feat + branch
        return feat, (feat if self.cpe_input == "main" else branch)

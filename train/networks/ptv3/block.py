"""One PTv3 block: convolutional position encoding, attention, MLP, each a residual branch.

Shape letters: N voxels, C channels.
"""

from typing import Any, Literal

import torch
from torch import Tensor, nn

from train.networks.ptv3.attention import SerializedAttention
from train.networks.ptv3.conv_backends import Neighbors, make_convolution
from train.networks.ptv3.hierarchy_config import HierarchyConfig
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


class PointDropPath(nn.Module):
    """Drop a residual branch at random voxels in training and scale the others to make up for it.

    Parameters
    ----------
    rate
        Chance of a voxel (not of a cloud) to lose the branch, in [0, 1).
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        if not 0.0 <= rate < 1.0:
            raise ValueError(f"PointDropPath: rate is {rate}, must be in [0, 1)")
        self.rate = rate

    def forward(self, branch: Tensor) -> Tensor:
        """Return [N, C] with rows zeroed or scaled by 1 / (1 - rate); unchanged in evaluation."""
        if self.rate == 0.0 or not self.training:
            return branch
        kept = torch.rand(branch.shape[0], 1, device=branch.device) >= self.rate
        return branch * (kept.to(branch.dtype) / (1.0 - self.rate))

    def extra_repr(self) -> str:
        """Return the rate, for printing."""
        return f"rate={self.rate:.3f}"


class ResidualBlock(nn.Module):
    """What blocks of PTv3 and LitePT are made of, under the names that checkpoints give it."""

    @staticmethod
    def make_position_encoding(channels: int, config: HierarchyConfig) -> nn.ModuleList:
        """Return a 3 x 3 x 3 convolution, a linear map and a layer norm, [N, C] to [N, C]."""
        return nn.ModuleList(
            [
                make_convolution(config.convolution, channels, channels, 3, bias=True),
                nn.Linear(channels, channels),
                nn.LayerNorm(channels),
            ]
        )

    def add_attention(
        self, channels: int, num_heads: int, config: HierarchyConfig, drop_path: float
    ) -> None:
        """Make attention and MLP, both with a norm before them."""
        self.norm1 = nn.Sequential(nn.LayerNorm(channels))
        self.attn = SerializedAttention(channels, num_heads, config.attention)
        self.norm2 = nn.Sequential(nn.LayerNorm(channels))
        self.mlp = nn.Sequential(MLP(channels, config.mlp_ratio))
        self.drop_path = PointDropPath(drop_path)


class Block(ResidualBlock):
    """Pre-norm block.

    Parameters
    ----------
    channels, num_heads
        Width and heads of the attention.
    config
        Of the network. Its `cpe_input` says what the next block's position encoding reads:
        ``"main"``: this block's output; ``"v1.5.1"``: its MLP branch before the residual sum, as
        the code did under which the released weights were trained. Same parameters, different
        function.
    drop_path
        Rate for both of attention and MLP; the position encoding is never dropped.
    """

    def __init__(self, channels: int, num_heads: int, config: Any, drop_path: float) -> None:
        super().__init__()
        self.cpe_input = config.cpe_input
        self.cpe = self.make_position_encoding(channels, config)
        self.add_attention(channels, num_heads, config, drop_path)

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

"""Vision transformers under the names of DINO and DINOv2, so that their checkpoints fit.

Shape letters: V views, H x W pixels, T tokens, D channels.
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional


@dataclass(frozen=True, kw_only=True)
class ViTForm:
    """What differs between the published small ones.

    Attributes
    ----------
    patch
        Edge of a patch in pixels.
    grid
        Patches along an edge of the images that it was trained on.
    layer_scale
        Whether each branch is scaled channel by channel (DINOv2).
    dim, depth, heads
        D, the number of blocks, and the attention's heads.
    """

    patch: int
    grid: int
    layer_scale: bool
    dim: int = 384
    depth: int = 12
    heads: int = 6


FORMS: Final = {
    "dinov2-vits14": ViTForm(patch=14, grid=37, layer_scale=True),
    "dino-vits16": ViTForm(patch=16, grid=14, layer_scale=False),
}


class VisionTransformer(nn.Module):
    """The normalized patch tokens of the last block, as one map.

    Images are resized to the nearest whole number of patches before. Positions are interpolated
    bicubically by the factor that the published code has, a tenth of a patch above the exact one.

    Parameters
    ----------
    form
        Sizes.

    Notes
    -----
    Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021; Oquab et
    al., "DINOv2", TMLR 2024.
    """

    def __init__(self, form: ViTForm) -> None:
        super().__init__()
        self.form, self.channels = form, (form.dim,)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, form.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + form.grid**2, form.dim))
        self.patch_embed = nn.ModuleDict(
            {"proj": nn.Conv2d(3, form.dim, form.patch, stride=form.patch)}
        )
        self.blocks = nn.ModuleList([_Block(form) for _ in range(form.depth)])
        self.norm = nn.LayerNorm(form.dim, eps=1e-6)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return one map [V, D, rows, columns] of patches of images [V, 3, H, W]."""
        patch = self.form.patch
        rows, columns = (max(1, round(int(edge) / patch)) for edge in images.shape[-2:])
        if images.shape[-2:] != (rows * patch, columns * patch):
            images = functional.interpolate(
                images, size=(rows * patch, columns * patch), mode="bilinear", align_corners=False
            )
        tokens = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(images), -1, -1), tokens], dim=1)
        tokens = tokens + self._positions(rows, columns)
        for block in self.blocks:
            tokens = block(tokens)
        found = self.norm(tokens)[:, 1:].transpose(1, 2)
        return (found.reshape(len(images), self.form.dim, rows, columns),)

    def _positions(self, rows: int, columns: int) -> Tensor:
        """Return the positions' embeddings [1, 1 + rows columns, D]."""
        grid = self.form.grid
        if (rows, columns) == (grid, grid):
            return self.pos_embed
        square = self.pos_embed[:, 1:].reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
        found = functional.interpolate(
            square, scale_factor=((rows + 0.1) / grid, (columns + 0.1) / grid), mode="bicubic"
        )
        return torch.cat([self.pos_embed[:, :1], found.flatten(2).transpose(1, 2)], dim=1)


class _Attention(nn.Module):
    def __init__(self, form: ViTForm) -> None:
        super().__init__()
        self.heads = form.heads
        self.qkv = nn.Linear(form.dim, 3 * form.dim)
        self.proj = nn.Linear(form.dim, form.dim)

    def forward(self, tokens: Tensor) -> Tensor:
        views, count, dim = tokens.shape
        query, key, value = (
            self.qkv(tokens).view(views, count, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        )
        found = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.proj(found.transpose(1, 2).reshape(views, count, dim))
        return out


class _Block(nn.Module):
    def __init__(self, form: ViTForm) -> None:
        super().__init__()
        dim = form.dim
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = _Attention(form)
        self.ls1 = _Scale(dim) if form.layer_scale else nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(dim, 4 * dim), "fc2": nn.Linear(4 * dim, dim)})
        self.ls2 = _Scale(dim) if form.layer_scale else nn.Identity()

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        hidden = functional.gelu(self.mlp["fc1"](self.norm2(tokens)))
        out: Tensor = tokens + self.ls2(self.mlp["fc2"](hidden))
        return out


class _Scale(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(dim))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens * self.gamma

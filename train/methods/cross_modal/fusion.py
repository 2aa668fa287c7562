"""The fusion encoder: each point attends to what the views that see it say of it.

Shape letters: N points, P pairs of a point and a view, D channels, H heads.
"""

import math

import torch
from torch import Tensor, nn


class FusionEncoder(nn.Module):
    """Cross-attention of a point's token over the tokens of its views.

    Every point may also attend to one learned token that stands for no view: it is all that a point
    has which no view sees, and what a seen point can turn to when its pixels say nothing. A point's
    result depends on its own token and its own views alone, whatever their order.

    Parameters
    ----------
    width
        D.
    layers, heads
        How many; `heads` divides `width`.

    Notes
    -----
    Our reading of the "cross-modal fusion encoder" of xModel-KD (Pathmanathan, Keisham and Akilan,
    2026, abstract): 2 layers of 4 heads at 128 channels, each with a residual.
    """

    def __init__(self, width: int = 128, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        if heads < 1 or width % heads:
            raise ValueError(f"FusionEncoder: width {width} is no multiple of the {heads} heads")
        self.no_view = nn.Parameter(0.02 * torch.randn(width))
        self.layers = nn.ModuleList([_FusionLayer(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, views: Tensor, point: Tensor) -> Tensor:
        """Return the fused features (N, D).

        Parameters
        ----------
        tokens
            (N, D): of the points.
        views
            (P, D): of the pairs' pixels; P may be 0.
        point
            (P,) int64: the point that each pair is of.
        """
        for layer in self.layers:
            tokens = layer(tokens, views, point, self.no_view)
        fused: Tensor = self.norm(tokens)
        return fused


class _FusionLayer(nn.Module):
    """One step of attention and one MLP, each added to what was there."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.view_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor, views: Tensor, point: Tensor, no_view: Tensor) -> Tensor:
        query = self._split(self.query(self.norm(tokens)))
        offered = self.key_value(self.view_norm(torch.cat([no_view[None], views])))
        key, value = (self._split(each) for each in offered.chunk(2, dim=1))
        found = attend_to_views(query, key[1:], value[1:], point, key[0], value[0])
        tokens = tokens + self.out(found.flatten(1))
        added: Tensor = self.mlp(tokens)
        return tokens + added

    def _split(self, tokens: Tensor) -> Tensor:
        """Return tokens (N, D) by heads, (N, H, D / H)."""
        return tokens.view(len(tokens), self.heads, tokens.shape[1] // self.heads)


def attend_to_views(
    query: Tensor, key: Tensor, value: Tensor, point: Tensor, none_key: Tensor, none_value: Tensor
) -> Tensor:
    """Return the softmax-weighted values of each point's views and of the token for none.

    Parameters
    ----------
    query
        (N, H, D).
    key, value
        (P, H, D): of the pairs.
    point
        (P,) int64: the point of each pair.
    none_key, none_value
        (H, D): every point has it besides.

    Returns
    -------
    Tensor
        (N, H, D): ``softmax(q . k / sqrt(D))`` over a point's keys, times their values. The sums
        over pairs are taken where they are, without padding points to equally many views.
    """
    wide = torch.promote_types(query.dtype, torch.float32)
    query, key, value, none_key, none_value = (
        each.to(wide) for each in (query, key, value, none_key, none_value)
    )
    scale = 1.0 / math.sqrt(query.shape[2])
    of_none = (query * none_key).sum(dim=2) * scale
    scores = (query.index_select(0, point) * key).sum(dim=2) * scale
    # Shifting all scores of a point by a constant changes nothing but what can overflow.
    rows = point[:, None].expand_as(scores)
    highest = of_none.detach().scatter_reduce(0, rows, scores.detach(), "amax")
    none_weight = (of_none - highest).exp()
    weights = (scores - highest.index_select(0, point)).exp()
    total = none_weight.index_add(0, point, weights)
    summed = (none_weight[:, :, None] * none_value).index_add(0, point, weights[:, :, None] * value)
    return summed / total[:, :, None]

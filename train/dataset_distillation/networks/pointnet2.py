"""PointNet++ with one scale per level (Qi et al., NeurIPS 2017), a classifier.

Shape letters: B clouds, N points, M centers, K neighbors, C channels.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.dataset_distillation.networks.neighbors import (
    farthest_points,
    gather_points,
    squared_distances,
)


class PointNet2(nn.Module):
    """Two levels of centers with the points around them, then all centers as one.

    Parameters
    ----------
    num_classes
        Logits.
    centers
        Of the first two levels; fewer where a cloud has fewer points.
    radii
        Of the balls around them, in units of the unit sphere.
    k
        Points of a ball; a ball of fewer repeats its center.
    widths
        Channels of the three levels' layers.
    hidden
        Of the head.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        centers: tuple[int, int] = (512, 128),
        radii: tuple[float, float] = (0.2, 0.4),
        k: int = 32,
        widths: Sequence[Sequence[int]] = ((64, 64, 128), (128, 128, 256), (256, 512, 1024)),
        hidden: int = 256,
    ) -> None:
        super().__init__()
        self.centers, self.radii, self.k = centers, radii, k
        self.levels = nn.ModuleList(
            _SharedMLP((before + 3, *level))
            for before, level in zip((0, widths[0][-1], widths[1][-1]), widths, strict=True)
        )
        self.head = nn.Sequential(
            nn.Linear(widths[-1][-1], hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(0.4),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, points: Tensor) -> Tensor:
        """Return logits (B, classes) of clouds (B, N, 3)."""
        features: Tensor | None = None
        for level, number, radius in zip(self.levels, self.centers, self.radii, strict=False):
            chosen = farthest_points(points, min(number, points.shape[1]))
            centers = gather_points(points, chosen)
            index = self._ball(centers, points, radius)
            around = gather_points(points, index) - centers[:, :, None]
            if features is not None:
                around = torch.cat([around, gather_points(features, index)], dim=-1)
            features, points = level(around).amax(dim=2), centers
        assert features is not None
        whole = self.levels[-1](torch.cat([points, features], dim=-1)[:, None]).amax(dim=2)
        logits: Tensor = self.head(whole[:, 0])
        return logits

    def _ball(self, centers: Tensor, points: Tensor, radius: float) -> Tensor:
        """Return (B, M, K) the nearest points within a radius, the nearest one in place of others.

        The original takes any K of the ball; the nearest ones do not depend on the points' order.
        """
        with torch.no_grad():
            distance, index = squared_distances(centers, points).topk(
                min(self.k, points.shape[1]), dim=2, largest=False
            )
            return torch.where(distance <= radius**2, index, index[..., :1])


class _SharedMLP(nn.Module):
    """The same small network at every point, with batch norms."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b, bias=False) for a, b in pairwise(widths))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in widths[1:])

    def forward(self, hidden: Tensor) -> Tensor:
        for layer, norm in zip(self.layers, self.norms, strict=True):
            made = layer(hidden)
            hidden = functional.relu(norm(made.flatten(0, -2)).view_as(made))
        return hidden

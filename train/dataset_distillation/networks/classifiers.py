"""Networks that name the class of a cloud, by name: PointNet, PointNet++ and DGCNN.

Shape letters: B clouds, N points, M centers, K neighbors, C channels.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.core.errors import UserError
from train.dataset_distillation.networks.pointnet import PointNet

SMALL_POINTNET: Final = "pointnet-small"
SMALL_WIDTHS: Final = (32, 64, 256)
"""Of the small PointNet: an eighth of the work of the full one."""


def squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """Return (B, M, N) squared distances between (B, M, C) and (B, N, C), at least 0."""
    cross = a @ b.transpose(1, 2)
    found = a.square().sum(-1)[:, :, None] - 2 * cross + b.square().sum(-1)[:, None]
    return found.clamp_min(0.0)


def nearest(a: Tensor, b: Tensor, k: int) -> Tensor:
    """Return (B, M, K) which of `b` are nearest to each of `a`; all of them where b has fewer."""
    with torch.no_grad():
        return squared_distances(a, b).topk(min(k, b.shape[1]), dim=2, largest=False).indices


def gather_points(values: Tensor, index: Tensor) -> Tensor:
    """Return values (B, N, C) at index (B, M) or (B, M, K): (B, M, C) or (B, M, K, C)."""
    batch = torch.arange(len(values), device=values.device)
    return values[batch.view(-1, *[1] * (index.ndim - 1)), index]


def farthest_points(points: Tensor, number: int) -> Tensor:
    """Return (B, M) points, each the farthest from those before it; the first is point 0."""
    if not 1 <= number <= points.shape[1]:
        raise ValueError(f"number is {number}; give 1 to {points.shape[1]}")
    with torch.no_grad():
        batch = torch.arange(len(points), device=points.device)
        chosen = torch.zeros(len(points), number, dtype=torch.int64, device=points.device)
        distance = torch.full(points.shape[:2], torch.inf, device=points.device)
        last = chosen[:, 0]
        for place in range(1, number):
            step = (points - points[batch, last][:, None]).square().sum(-1)
            distance = torch.minimum(distance, step)
            last = distance.argmax(dim=1)
            chosen[:, place] = last
        return chosen


class DGCNN(nn.Module):
    """Graphs of neighbors, drawn again in each layer's features (Wang et al., TOG 2019).

    The classifier of the paper's Section 4; widths and neighbors are the caller's choice.

    Parameters
    ----------
    num_classes
        Logits.
    widths
        Channels of the edge layers.
    embedding
        Channels after them.
    hidden
        Of the head.
    k
        Neighbors of a point, itself among them.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        widths: Sequence[int] = (64, 64, 128, 256),
        embedding: int = 1024,
        hidden: int = 256,
        k: int = 20,
    ) -> None:
        super().__init__()
        if k < 1 or not widths:
            raise ValueError(f"k is {k} and widths {tuple(widths)}; give at least one of each")
        self.k = k
        befores = (3, *widths[:-1])
        # An edge is (neighbor - center, center): its layer's weights are two matrices, applied to
        # points and joined at the edges, which is the same sum with N / (N K) of the work.
        self.to_neighbor = nn.ModuleList(
            nn.Linear(a, b, bias=False) for a, b in zip(befores, widths, strict=True)
        )
        self.to_center = nn.ModuleList(
            nn.Linear(a, b, bias=False) for a, b in zip(befores, widths, strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in widths)
        self.embed = nn.Linear(sum(widths), embedding, bias=False)
        self.embed_norm = nn.BatchNorm1d(embedding)
        self.head = nn.Sequential(
            nn.Linear(2 * embedding, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.5),
            nn.Linear(hidden, num_classes),
        )

    def forward(self, points: Tensor) -> Tensor:
        """Return logits (B, classes) of clouds (B, N, 3)."""
        hidden, found = points, []
        for near, center, norm in zip(self.to_neighbor, self.to_center, self.norms, strict=True):
            index = nearest(hidden, hidden, self.k)
            at_neighbor = near(hidden)
            edges = gather_points(at_neighbor, index) - at_neighbor[:, :, None]
            edges = edges + center(hidden)[:, :, None]
            normed = norm(edges.flatten(0, 2)).view_as(edges)
            hidden = functional.leaky_relu(normed, 0.2).amax(dim=2)
            found.append(hidden)
        joined = self.embed(torch.cat(found, dim=2))
        joined = self.embed_norm(joined.flatten(0, 1)).view_as(joined)
        joined = functional.leaky_relu(joined, 0.2)
        logits: Tensor = self.head(torch.cat([joined.amax(dim=1), joined.mean(dim=1)], dim=1))
        return logits


class PointNet2(nn.Module):
    """PointNet++ with one scale per level (Qi et al., NeurIPS 2017).

    Two levels of centers with the points around them, then all centers as one.

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


NETWORKS: Final[Mapping[str, Callable[[int], nn.Module]]] = {
    "pointnet": PointNet,
    "pointnet++": PointNet2,
    "dgcnn": DGCNN,
    SMALL_POINTNET: partial(PointNet, widths=SMALL_WIDTHS),
    "pointnet++-small": partial(
        PointNet2,
        centers=(128, 32),
        k=16,
        widths=((32, 32, 64), (64, 64, 128), (128, 256)),
        hidden=128,
    ),
    "dgcnn-small": partial(DGCNN, widths=(32, 32, 64, 64), embedding=256, hidden=128, k=12),
}
"""Name -> what makes an untrained classifier for a number of classes; `small` ones are for CPUs."""


def build_network(name: str, num_classes: int) -> nn.Module:
    """Return an untrained classifier of clouds (B, N, 3).

    Raises
    ------
    UserError
        If the name is unknown.
    """
    if name not in NETWORKS:
        raise UserError(f"network {name!r} is unknown; choose one of {', '.join(NETWORKS)}")
    return NETWORKS[name](num_classes)

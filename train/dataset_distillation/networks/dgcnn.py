"""DGCNN: graphs of neighbors, drawn again in each layer's features (Wang et al., TOG 2019).

Shape letters: B clouds, N points, K neighbors, C channels.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from train.dataset_distillation.networks.neighbors import gather_points, nearest


class DGCNN(nn.Module):
    """The classifier of the paper's Section 4; widths and neighbors are the caller's choice.

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

"""Persistence diagrams of a batch of clouds in one dimension, padded to equal length.

Shape letters: B clouds, K pairs of the cloud that has most.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from reference.diagram import Diagram


@dataclass(frozen=True, eq=False, kw_only=True)
class BatchedDiagram:
    """The finite pairs of positive persistence of B clouds in one homology dimension.

    Row k of cloud b is a pair if `mask[b, k]`; the rows of a cloud come first and are sorted by
    (rank of the death edge, rank of the birth edge), as in `reference.diagram.Diagram`. Padding
    is 0 in births and deaths, -1 in the integer fields.

    Attributes
    ----------
    dim
        Homology dimension: 0 components, 1 loops.
    births, deaths
        (B, K) filtration values (diameters), copies of entries of the distance matrix, in its
        dtype, and differentiable in it. Births are 0 in dimension 0.
    mask
        (B, K) bool: which rows are pairs.
    counts
        (B,) int64: how many pairs each cloud has.
    birth_edges, death_edges
        (B, K, 2) int64 vertices (smaller, larger) of the edge whose length is the birth, the
        death. Birth edges are -1 in dimension 0, where a vertex creates the class.
    death_simplices
        (B, K, dim + 2) int64, increasing vertices of the simplex that destroys the class.
    num_essential
        (B,) int64: how many classes never die, or with a threshold were not dead there. They
        have no row.
    """

    dim: int
    births: Tensor
    deaths: Tensor
    mask: Tensor
    counts: Tensor
    birth_edges: Tensor
    death_edges: Tensor
    death_simplices: Tensor
    num_essential: Tensor

    def __len__(self) -> int:
        """Return the number of clouds, B."""
        return len(self.counts)

    def __repr__(self) -> str:
        return (
            f"BatchedDiagram(dim={self.dim}, pairs={self.counts.tolist()}, "
            f"dtype={self.deaths.dtype}, device={self.deaths.device})"
        )

    @property
    def pairs(self) -> Tensor:
        """(B, K, 2) rows (birth, death), differentiable; read them under `mask`."""
        return torch.stack([self.births, self.deaths], dim=-1)

    def cloud(self, index: int) -> Diagram:
        """Return one cloud's diagram as numpy arrays, without padding and gradient."""
        count = int(self.counts[index])

        def rows(field: Tensor) -> Tensor:
            return field[index, :count].detach().cpu()

        return Diagram(
            dim=self.dim,
            births=rows(self.births).double().numpy(),
            deaths=rows(self.deaths).double().numpy(),
            birth_edges=rows(self.birth_edges).numpy(),
            death_edges=rows(self.death_edges).numpy(),
            death_simplices=rows(self.death_simplices).numpy(),
            num_essential=int(self.num_essential[index]),
        )

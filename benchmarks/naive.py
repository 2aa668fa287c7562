"""The naive baseline of the paper's Table 6: Rips persistence by plain PyTorch matrix reduction.

Written as one would write it first: every simplex up to triangles, one boolean column a simplex,
columns added left to right until their lowest ones differ. Not slowed down: a triangle's column
has a row an edge only (not a row a simplex), finished columns are found by a dictionary, and only
non-zero ones are kept. Distances and gradients are torch's own.

Shape letters: N points, C channels, E edges, T triangles, K pairs.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class NaiveDiagram:
    """Finite pairs of positive persistence of one dimension, differentiable in the points."""

    births: Tensor  # (K,)
    deaths: Tensor  # (K,)
    birth_edges: Tensor  # (K, 2), empty in dimension 0
    death_edges: Tensor  # (K, 2)
    death_simplices: Tensor  # (K, dim + 2)


@dataclass(frozen=True)
class NaiveResult:
    """The distances (N, N) and the diagrams of H0 and H1."""

    distances: Tensor
    diagrams: tuple[NaiveDiagram, NaiveDiagram]


def naive_rips(points: Tensor) -> NaiveResult:
    """Return the H0 and H1 diagrams of (N, C) points, with critical edges and death simplices."""
    distances = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    edges, rank = _sorted_edges(distances.detach())
    triangles, sides = _sorted_triangles(rank)

    merges = _reduce(edges, num_rows=len(points))
    killers = _reduce(sides, num_rows=len(edges))
    death = edges[[column for _, column in merges]]
    components = _diagram(distances, None, death, death)
    born = edges[[row for row, _ in killers]]
    kills = [column for _, column in killers]
    # The triangle's longest edge is the one of highest rank.
    died = edges[sides[kills].amax(dim=1)]
    return NaiveResult(distances, (components, _diagram(distances, born, died, triangles[kills])))


def _sorted_edges(distances: Tensor) -> tuple[Tensor, Tensor]:
    """Edges (E, 2) by (length, smaller vertex, larger vertex); rank (N, N) of each."""
    n = len(distances)
    i, j = torch.triu_indices(n, n, offset=1)
    order = torch.argsort(distances[i, j], stable=True)
    edges = torch.stack([i[order], j[order]], dim=1)
    rank = torch.zeros(n, n, dtype=torch.int64)
    rank[edges[:, 0], edges[:, 1]] = torch.arange(len(edges))
    return edges, rank + rank.T


def _sorted_triangles(rank: Tensor) -> tuple[Tensor, Tensor]:
    """Triangles (T, 3) by (rank of the longest edge, vertices), and the ranks of their sides."""
    triangles = torch.combinations(torch.arange(len(rank)), 3)
    a, b, c = triangles.unbind(dim=1)
    sides = torch.stack([rank[a, b], rank[a, c], rank[b, c]], dim=1)
    order = torch.argsort(sides.amax(dim=1), stable=True)
    return triangles[order], sides[order]


def _reduce(boundaries: Tensor, num_rows: int) -> list[tuple[int, int]]:
    """Reduce the matrix over Z/2 that is 1 at (boundaries[k], k); return (row, column) pairs."""
    reduced: dict[int, Tensor] = {}
    pairs = []
    for index, facets in enumerate(boundaries):
        column = torch.zeros(num_rows, dtype=torch.bool)
        column[facets] = True
        while len(ones := column.nonzero()):
            pivot = int(ones[-1])
            if pivot not in reduced:
                reduced[pivot] = column
                pairs.append((pivot, index))
                break
            column = column ^ reduced[pivot]
    return pairs


def _diagram(
    distances: Tensor, born: Tensor | None, died: Tensor, simplices: Tensor
) -> NaiveDiagram:
    """Read births and deaths off the distances; drop pairs of zero persistence."""
    deaths = distances[died[:, 0], died[:, 1]]
    births = torch.zeros_like(deaths) if born is None else distances[born[:, 0], born[:, 1]]
    kept = deaths > births
    birth_edges = died[:0] if born is None else born[kept]
    return NaiveDiagram(births[kept], deaths[kept], birth_edges, died[kept], simplices[kept])

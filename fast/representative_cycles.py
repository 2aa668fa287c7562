"""The cycle of edges that each loop of a diagram is: born with its birth edge, filled at its death.

Shape letters: B clouds, N points, E edges of a cycle.
"""

import heapq
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fast.checks import as_precise
from fast.critical_edges import refuse_other_distances
from fast.diagram import BatchedDiagram
from fast.dispatch import disable_compile


@disable_compile  # numpy, and as many steps as the data ask for
@torch.no_grad()
def representative_cycles(loops: BatchedDiagram, distances: Tensor) -> list[list[Tensor]]:
    """Return the edges of a cycle for each loop, to be drawn or to be looked at.

    Parameters
    ----------
    loops
        Dimension 1 of what `rips_persistence` returned.
    distances
        (B, N, N), or (N, N) for a batch of one: the matrices the diagrams were computed from.

    Returns
    -------
    list[list[Tensor]]
        Per cloud and pair, in the order of the diagram, (E, 2) int64 edges (smaller, larger
        vertex), sorted; on the device of the diagram. The longest is the pair's birth edge, and
        every vertex is on an even number of them. At the death triangles fill the cycle.

    Raises
    ------
    ValueError
        If the diagrams are not of dimension 1, have no edges, or are not of these matrices.

    Notes
    -----
    The column of the death simplex in the reduced boundary matrix (`reference.rips_persistence`).
    It is found alone: the triangle's boundary, to which as long as its longest edge is not the
    birth edge the boundary is added that fills this edge: of the first triangle whose longest edge
    it is, or of another loop. Where many lengths are equal, more triangles must be looked at. A
    cycle is one of many, and neither the shortest nor always a single circle. On the CPU; O(N) a
    step after O(N^2 log N).

    Examples
    --------
    >>> square = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    >>> distances = pairwise_distances(square)
    >>> representative_cycles(rips_persistence(distances)[1], distances)[0][0].tolist()
    [[0, 1], [0, 3], [1, 2], [2, 3]]
    """
    name = "representative_cycles"
    if not isinstance(loops, BatchedDiagram) or loops.dim != 1:
        given = f"dimension {loops.dim}" if isinstance(loops, BatchedDiagram) else type(loops)
        raise ValueError(
            f"{name}: loops are of {given}; pass dimension 1 of what rips_persistence returns"
        )
    batch = as_precise(name, "distances", distances).detach().cpu()
    batch = batch[None] if batch.ndim == 2 else batch
    if batch.ndim != 3 or batch.shape[1] != batch.shape[2] or len(batch) != len(loops):
        raise ValueError(
            f"{name}: distances has shape {tuple(distances.shape)}; pass the matrices of the "
            f"diagrams' {len(loops)} cloud(s), (B, N, N)"
        )
    found = loops.detach().to("cpu")
    if found.deaths.numel():
        if bool((found.death_simplices[found.mask] < 0).any()):
            raise ValueError(
                f"{name}: loops have pairs without death simplices; pass diagrams of "
                "rips_persistence"
            )
        if int(found.death_simplices.max()) >= batch.shape[1]:
            raise ValueError(
                f"{name}: loops have the vertex {int(found.death_simplices.max())}; the distances "
                f"are of {batch.shape[1]} points, pass those the diagrams were computed from"
            )
        refuse_other_distances(name, "loops", found, batch, "distances")
    clouds = zip(batch.double().numpy(), found.death_simplices, found.mask, strict=True)
    return [
        [
            torch.from_numpy(edges).to(loops.deaths.device)
            for edges in _cycles(matrix, simplices[mask].tolist())
        ]
        for matrix, simplices, mask in clouds
    ]


def _cycles(
    distances: np.ndarray[Any, Any], simplices: list[list[int]]
) -> list[np.ndarray[Any, Any]]:
    """Return the cycle (E, 2) of each death simplex of one cloud."""
    reduction = _Reduction(distances)
    triangles = [(u, v, w) for u, v, w in simplices]
    for triangle in sorted(triangles, key=reduction.place):  # each may need those before it
        reduction.reduce(triangle)
    cycles = (reduction.ends[reduction.reduced[triangle]] for triangle in triangles)
    return [edges[np.lexsort(edges.T[::-1])] for edges in cycles]


Triangle = tuple[int, int, int]


class _Reduction:
    """Columns of the reduced boundary matrix of one cloud's triangles, as ranks of edges."""

    def __init__(self, distances: np.ndarray[Any, Any]) -> None:
        i, j = np.triu_indices(len(distances), k=1)
        order = np.lexsort((j, i, distances[i, j]))
        self.ends = np.stack([i[order], j[order]], axis=1)
        self.lengths = distances[i[order], j[order]]
        self.rank = np.full(distances.shape, -1)
        self.rank[i[order], j[order]] = self.rank[j[order], i[order]] = np.arange(len(order))
        self.reduced: dict[Triangle, list[int]] = {}
        self.columns: dict[int, list[int]] = {}  # those that are not empty, by their longest edge
        self.finished: set[float] = set()  # lengths all of whose triangles are reduced, or will be

    def place(self, triangle: Triangle) -> tuple[int, Triangle]:
        """Return where a triangle stands in the filtration."""
        return max(self.boundary(triangle)), triangle

    def boundary(self, triangle: Triangle) -> list[int]:
        """Return the ranks of a triangle's edges."""
        u, v, w = triangle
        return [int(self.rank[u, v]), int(self.rank[u, w]), int(self.rank[v, w])]

    def triangles(self, edge: int) -> list[Triangle]:
        """Return the triangles whose longest edge this is, in their order."""
        u, v = self.ends[edge].tolist()
        fillers = np.flatnonzero((self.rank[u] < edge) & (self.rank[v] < edge)).tolist()
        return [_triangle(u, v, w) for w in fillers]

    def reduce(self, triangle: Triangle) -> None:
        """Reduce a triangle's column, which is not the first with its longest edge."""
        if triangle in self.reduced:
            return
        column: set[int] = set()
        heap: list[int] = []  # the edges, and some that are no longer in the column

        def add(edges: list[int]) -> None:
            for edge in edges:
                if edge not in column:
                    heapq.heappush(heap, -edge)
            column.symmetric_difference_update(edges)

        add(self.boundary(triangle))
        length = self.lengths[max(column)]
        while column:
            longest = -heap[0]
            if longest not in column:
                heapq.heappop(heap)
                continue
            other = self.columns.get(longest)
            if other is None and (fillers := self.triangles(longest)):
                other = self.boundary(fillers[0])  # the first cannot be reduced further
            if other is None and self.lengths[longest] not in self.finished:
                # A triangle as long as the edge, which only ties leave, may fill it.
                self.finish(float(self.lengths[longest]))
                if self.lengths[longest] == length:
                    return  # this triangle was among them
                continue
            if other is None:
                self.columns[longest] = sorted(column)
                break
            add(other)
        self.reduced[triangle] = sorted(column)

    def finish(self, length: float) -> None:
        """Reduce all triangles of a length, in their order."""
        self.finished.add(length)
        begin, end = np.searchsorted(self.lengths, [length, np.nextafter(length, np.inf)])
        for edge in range(begin, end):
            for triangle in self.triangles(edge)[1:]:
                self.reduce(triangle)


def _triangle(u: int, v: int, w: int) -> Triangle:
    first, second, third = sorted((u, v, w))
    return first, second, third

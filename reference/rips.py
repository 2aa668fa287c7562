"""Vietoris-Rips persistence of one distance matrix by reducing its boundary matrix over Z/2.

Shape letters: N points. A simplex is a tuple of increasing vertices.
"""

from collections.abc import Iterator
from itertools import combinations, islice

import numpy as np
from jaxtyping import Bool, Float64, Int64

from reference.diagram import Diagram
from reference.validation import as_distances, as_integer

Simplex = tuple[int, ...]

NO_EDGE = (-1, -1)
"""The longest edge of a vertex. As an index it reads the diagonal: rank -1, length 0."""


def rips_persistence(
    distances: Float64[np.ndarray, "n n"],
    max_dim: int = 1,
    threshold: float = np.inf,
    *,
    max_simplices: int = 1_000_000,
) -> list[Diagram]:
    """Return the persistence diagrams of the Vietoris-Rips filtration, one per dimension.

    Parameters
    ----------
    distances
        Symmetric, zero diagonal; `inf` for two points that are never joined. Any unit: births
        and deaths have the same. Nothing else is assumed, not even the triangle inequality.
    max_dim
        Highest homology dimension, at least 0.
    threshold
        Longest edge that enters (inclusive).
    max_simplices
        Refuse an input that has more simplices of dimension 0 to `max_dim` + 1.

    Returns
    -------
    list[Diagram]
        Diagrams of dimension 0 to `max_dim`: finite pairs of positive persistence, sorted by
        (rank of the death edge, rank of the birth edge, death simplex). An empty cloud has
        empty diagrams.

    Raises
    ------
    ValueError
        If `distances` is no distance matrix, an argument is out of range, or there are more than
        `max_simplices` simplices (found by counting, before any is stored).

    Notes
    -----
    The filtration value of a simplex is its longest edge (Theorem 1). Edges are ordered by
    (length, smaller vertex, larger vertex), which gives each a rank; simplices by (rank of their
    longest edge, dimension, vertices). In that order the columns of the boundary matrix are
    reduced from left to right [1]_. Equal lengths therefore have one answer, down to the simplex.

    There are O(N^(max_dim + 2)) simplices; the reduction is cubic in their number at worst.

    References
    ----------
    .. [1] H. Edelsbrunner, D. Letscher, A. Zomorodian, "Topological persistence and
       simplification", Discrete & Computational Geometry 28 (2002).

    Examples
    --------
    A unit square: three merges at 1, and a loop from 1 to the diagonal.

    >>> side, diagonal = 1.0, np.sqrt(2)
    >>> square = np.array([[0, side, diagonal, side], [side, 0, side, diagonal],
    ...                    [diagonal, side, 0, side], [side, diagonal, side, 0]])
    >>> components, loops = rips_persistence(square)
    >>> components.deaths
    array([1., 1., 1.])
    >>> loops.pairs
    array([[1.        , 1.41421356]])
    """
    distances = as_distances("rips_persistence", "distances", distances)
    max_dim = as_integer("rips_persistence", "max_dim", max_dim, least=0)
    max_simplices = as_integer("rips_persistence", "max_simplices", max_simplices, least=1)
    if not threshold >= 0:  # NaN compares False
        raise ValueError(f"rips_persistence: threshold is {threshold}; pass a length of at least 0")

    joined = np.isfinite(distances) & (distances <= threshold)
    max_size = max_dim + 2  # vertices of the simplices that can kill a class of the last dimension
    _refuse_too_many(joined, max_size, max_simplices)

    rank = edge_ranks(distances)
    simplices = _filtration(joined, max_size, rank)
    deaths, essential, _ = _reduce(simplices)
    return [
        _diagram(dim, simplices, deaths, essential, rank, distances) for dim in range(max_dim + 1)
    ]


def edge_ranks(distances: Float64[np.ndarray, "n n"]) -> Int64[np.ndarray, "n n"]:
    """Return every edge's rank by (length, smaller vertex, larger vertex); -1 on the diagonal."""
    i, j = np.triu_indices(len(distances), k=1)
    order = np.lexsort((j, i, distances[i, j]))  # the last key decides first
    rank = np.full(distances.shape, -1)
    rank[i[order], j[order]] = np.arange(len(order))
    rank[j[order], i[order]] = np.arange(len(order))
    return rank


def _refuse_too_many(joined: Bool[np.ndarray, "n n"], max_size: int, limit: int) -> None:
    """Raise if the complex has more than `limit` simplices; store none of them."""
    one_too_many = next(islice(_cliques(joined, max_size), limit, None), None)
    if one_too_many is not None:
        raise ValueError(
            f"rips_persistence: distances of {len(joined)} points make more than {limit} simplices "
            f"of up to {max_size} vertices; lower threshold or max_dim, take fewer points, or "
            "raise max_simplices"
        )


def _cliques(joined: Bool[np.ndarray, "n n"], max_size: int) -> Iterator[Simplex]:
    """Yield every set of 1 to `max_size` vertices that are all joined: the simplices."""
    later = np.triu(joined, k=1)  # each vertex with the larger ones it is joined to

    def grow(simplex: Simplex, candidates: Bool[np.ndarray, " n"]) -> Iterator[Simplex]:
        yield simplex
        if len(simplex) < max_size:
            for vertex in np.flatnonzero(candidates).tolist():
                yield from grow((*simplex, vertex), candidates & later[vertex])

    for vertex in range(len(joined)):
        yield from grow((vertex,), later[vertex])


def _filtration(
    joined: Bool[np.ndarray, "n n"], max_size: int, rank: Int64[np.ndarray, "n n"]
) -> list[Simplex]:
    """Return the simplices by (rank of the longest edge, dimension, vertices)."""

    def order(simplex: Simplex) -> tuple[int, int, Simplex]:
        return int(rank[_longest_edge(simplex, rank)]), len(simplex), simplex

    return sorted(_cliques(joined, max_size), key=order)


def _reduce(
    simplices: list[Simplex],
) -> tuple[dict[int, int], set[int], dict[int, set[int]]]:
    """Reduce the boundary matrix over Z/2; return {birth: death} and what is born and never dies.

    And the reduced columns by birth: the boundary of what is filled at the death.

    A column is the set of row positions where it is 1, so adding two columns is their symmetric
    difference, and its pivot is its largest element.
    """
    position = {simplex: p for p, simplex in enumerate(simplices)}
    reduced: dict[int, set[int]] = {}  # pivot -> the reduced column that has it
    deaths: dict[int, int] = {}
    essential: set[int] = set()
    for p, simplex in enumerate(simplices):
        facets = combinations(simplex, len(simplex) - 1) if len(simplex) > 1 else ()
        column = {position[facet] for facet in facets}
        while column and (pivot := max(column)) in reduced:
            column ^= reduced[pivot]
        if column:  # p destroys the class that its pivot created
            reduced[pivot] = column
            deaths[pivot] = p
            essential.remove(pivot)
        else:  # p creates a class
            essential.add(p)
    return deaths, essential, reduced


def representative_cycles(
    loops: Diagram, distances: Float64[np.ndarray, "n n"]
) -> list[Int64[np.ndarray, "e 2"]]:
    """Return the edges of a cycle for each loop: born with its birth edge, filled at its death.

    Parameters
    ----------
    loops
        Dimension 1 of what `rips_persistence` returned.
    distances
        The matrix that it was computed from.

    Returns
    -------
    list[Int64[np.ndarray, "e 2"]]
        Per pair, in the order of the diagram, edges (smaller, larger vertex), sorted. The longest
        is the pair's birth edge; every vertex is on an even number of them.

    Raises
    ------
    ValueError
        If the diagram is not of dimension 1, or not of this matrix.

    Notes
    -----
    The column of the death simplex in the reduced boundary matrix: one cycle of many, and neither
    the shortest nor always a single circle.

    Examples
    --------
    >>> side, diagonal = 1.0, np.sqrt(2)
    >>> square = np.array([[0, side, diagonal, side], [side, 0, side, diagonal],
    ...                    [diagonal, side, 0, side], [side, diagonal, side, 0]])
    >>> representative_cycles(rips_persistence(square)[1], square)[0].tolist()
    [[0, 1], [0, 3], [1, 2], [2, 3]]
    """
    name = "representative_cycles"
    distances = as_distances(name, "distances", distances)
    if loops.dim != 1:
        raise ValueError(f"{name}: loops are of dimension {loops.dim}; pass dimension 1")
    simplices = _filtration(np.isfinite(distances), 3, edge_ranks(distances))
    deaths, _, reduced = _reduce(simplices)
    columns = {simplices[death]: reduced[birth] for birth, death in deaths.items()}
    cycles = []
    for triangle in loops.death_simplices.tolist():
        if tuple(triangle) not in columns:
            raise ValueError(
                f"{name}: loops have the death simplex {triangle}, which is none of distances; "
                "pass the matrix that the diagram was computed from"
            )
        edges = sorted(simplices[p] for p in columns[tuple(triangle)])
        cycles.append(np.array(edges, dtype=np.int64))
    return cycles


def _diagram(
    dim: int,
    simplices: list[Simplex],
    deaths: dict[int, int],
    essential: set[int],
    rank: Int64[np.ndarray, "n n"],
    distances: Float64[np.ndarray, "n n"],
) -> Diagram:
    """Return the pairs of positive persistence whose creator has dimension `dim`."""
    rows = []
    for birth, death in deaths.items():
        if len(simplices[birth]) == dim + 1:
            birth_edge = _longest_edge(simplices[birth], rank)
            death_edge = _longest_edge(simplices[death], rank)
            born, died = float(distances[birth_edge]), float(distances[death_edge])
            if died > born:
                order = (rank[death_edge], rank[birth_edge], death)
                rows.append((order, born, died, birth_edge, death_edge, simplices[death]))
    rows.sort()

    def integers(column: int, width: int) -> Int64[np.ndarray, "k w"]:
        return np.array([row[column] for row in rows], dtype=np.int64).reshape(len(rows), width)

    return Diagram(
        dim=dim,
        births=np.array([row[1] for row in rows]),
        deaths=np.array([row[2] for row in rows]),
        birth_edges=integers(3, 2),
        death_edges=integers(4, 2),
        death_simplices=integers(5, dim + 2),
        num_essential=sum(len(simplices[p]) == dim + 1 for p in essential),
    )


def _longest_edge(simplex: Simplex, rank: Int64[np.ndarray, "n n"]) -> Simplex:
    """Return the edge of `simplex` that is last in the order; `NO_EDGE` of a vertex."""
    return max(combinations(simplex, 2), key=lambda edge: rank[edge], default=NO_EDGE)

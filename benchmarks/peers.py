"""Every implementation of Rips persistence that is measured, ours among them, behind one face.

`prepare` puts the distances into the form an implementation wants (before the clock starts),
`forward` is what is timed, `read` (after the clock) turns its answer into `outputs.Diagram`s.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from scipy.spatial.distance import squareform

import fast
from benchmarks.clouds import FloatArray, distances
from benchmarks.harness import Optional
from benchmarks.outputs import EXACT_POINTS, Diagram
from train.core.provenance import version


@dataclass(frozen=True)
class Peer(Optional):
    """An implementation: what it is called, what it returns, whether it uses threads."""

    name: str
    distribution: str | None  # None: part of this project
    yields: str  # "values", "edges" (critical edges too), "edges, triangles"
    threaded: bool
    forward: Callable[[Any, int, int], Any]  # (prepared distances, max_dim, threads)
    read: Callable[[Any], list[Diagram]]
    prepare: Callable[[FloatArray], Any] = np.ascontiguousarray
    edges_race: bool = False  # seen: on several threads some critical edges are wrong


def read_fast(output: list[fast.BatchedDiagram], index: int = 0) -> list[Diagram]:
    """Return our diagrams of one cloud."""
    clouds = [diagram.cloud(index) for diagram in output]
    return [
        Diagram(d.pairs, d.birth_edges if d.dim else None, d.death_edges, d.death_simplices)
        for d in clouds
    ]


def _fast(matrix: torch.Tensor, max_dim: int, threads: int) -> Any:
    return fast.rips_persistence(matrix, max_dim)


def _ripser(matrix: FloatArray, max_dim: int, threads: int) -> Any:
    from ripser import ripser

    return ripser(matrix, maxdim=max_dim, distance_matrix=True)


def _read_ripser(output: Any) -> list[Diagram]:
    return [Diagram(pairs) for pairs in output["dgms"]]


def _giotto(matrix: FloatArray, max_dim: int, threads: int) -> Any:
    from gph import ripser_parallel

    return ripser_parallel(
        matrix, maxdim=max_dim, metric="precomputed", n_threads=threads, return_generators=True
    )


def _read_giotto(output: Any) -> list[Diagram]:
    components, higher = output["gens"][:2]
    pairs = [rows[np.isfinite(rows[:, 1])] for rows in output["dgms"]]
    return [Diagram(pairs[0], None, components[:, 1:])] + [
        Diagram(rows, loops[:, :2], loops[:, 2:])
        for rows, loops in zip(pairs[1:], higher, strict=True)
    ]


def their_rips(max_dim: int = 1, threads: int = 1) -> Any:
    """Return torch-topological's Rips layer."""
    from torch_topological.nn import VietorisRipsComplex

    return VietorisRipsComplex(dim=max_dim, n_threads=threads)


def _torch_topological(matrix: torch.Tensor, max_dim: int, threads: int) -> Any:
    return their_rips(max_dim, threads)(matrix, treat_as_distances=True)


def _read_torch_topological(output: Any) -> list[Diagram]:
    return [
        Diagram(
            part.diagram.detach().numpy(),
            part.pairing[:, :2] if part.dimension else None,
            part.pairing[:, -2:],
        )
        for part in output
    ]


def _holos(condensed: FloatArray, max_dim: int, threads: int) -> Any:
    import holos_tda

    return holos_tda.rips_condensed(condensed, max_dim=max_dim, threads=threads)


def _read_holos(output: Any) -> list[Diagram]:
    rows = np.array(output, dtype=np.float64).reshape(-1, 3)
    return [Diagram(rows[rows[:, 0] == dim, 1:]) for dim in (0, 1)]


def _gudhi(matrix: FloatArray, max_dim: int, threads: int) -> Any:
    from gudhi.sklearn.rips_persistence import RipsPersistence

    dimensions = list(range(max_dim + 1))
    rips = RipsPersistence(
        homology_dimensions=dimensions, input_type="full distance matrix", n_jobs=None
    )
    return rips.fit_transform([matrix])[0]


def _read_gudhi(output: Any) -> list[Diagram]:
    return [Diagram(pairs) for pairs in output]


def _gudhi_tree(matrix: FloatArray, max_dim: int, threads: int) -> Any:
    import gudhi

    # Nothing dies beyond the enclosing radius: to stop there is what its own users would do.
    radius = float(matrix.max(axis=1).min())
    tree = gudhi.RipsComplex(distance_matrix=matrix, max_edge_length=radius).create_simplex_tree(
        max_dimension=max_dim + 1
    )
    tree.compute_persistence(homology_coeff_field=2)
    return matrix, tree.flag_persistence_generators()


def _read_gudhi_tree(output: Any) -> list[Diagram]:
    matrix, (components, higher, *_) = output
    diagrams = []
    for born, died in [(None, components[:, 1:]), *((d[:, :2], d[:, 2:]) for d in higher)]:
        deaths = matrix[died[:, 0], died[:, 1]]
        births = np.zeros_like(deaths) if born is None else matrix[born[:, 0], born[:, 1]]
        diagrams.append(Diagram(np.column_stack([births, deaths]), born, died))
    return diagrams


PEERS = {
    peer.name: peer
    for peer in (
        Peer("fast", None, "edges, triangles", True, _fast, read_fast, torch.from_numpy),
        Peer("ripser.py", "ripser", "values", False, _ripser, _read_ripser),
        # 0.2.4 on two threads: right births and deaths, but 0.2 to 3% of H1's birth edges have
        # another length than the birth. On one thread all are right.
        Peer("giotto-ph", "giotto-ph", "edges", True, _giotto, _read_giotto, edges_race=True),
        Peer("giotto-ph, one thread", "giotto-ph", "edges", False, _giotto, _read_giotto),
        Peer("holos-tda", "holos-tda", "values", True, _holos, _read_holos,
             lambda matrix: squareform(matrix, checks=False)),
        Peer("GUDHI", "gudhi", "values", False, _gudhi, _read_gudhi),
        # Stores every triangle, about 10^8 at N = 1024.
        Peer("GUDHI simplex tree", "gudhi", "edges", False, _gudhi_tree, _read_gudhi_tree),
        # Reads births and deaths off giotto-ph's edges: on several threads they would be wrong.
        Peer("torch-topological", "torch-topological", "edges", False, _torch_topological,
             _read_torch_topological, torch.from_numpy),
    )
}  # fmt: skip

LARGEST_FOR_RIPSER = 1024


def values_by_another(
    family: str, num_points: int, seed: int, not_by: str, max_dim: int = 1
) -> list[FloatArray] | None:
    """Return H0 and H1 pairs, or more, of a cloud by an implementation that is not `not_by`.

    None where the reference is small enough to be asked itself.
    """
    if num_points <= EXACT_POINTS:
        return None
    # ripser.py takes long for voids.
    if (num_points > LARGEST_FOR_RIPSER or max_dim > 1) and version("giotto-ph"):
        oracle = "giotto-ph"
    else:
        oracle = "ripser.py"
    by = "fast" if not_by == oracle else oracle
    return _values(family, num_points, seed, by, max(1, max_dim))


@lru_cache(maxsize=32)
def _values(family: str, num_points: int, seed: int, by: str, max_dim: int) -> list[FloatArray]:
    peer = PEERS[by]
    matrix = distances(family, num_points, seed)
    output = peer.forward(peer.prepare(matrix), max_dim, 1)
    return [diagram.pairs for diagram in peer.read(output)]

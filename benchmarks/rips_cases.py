"""Cases that start from distances: an implementation, a family, a size; forward and backward."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import Delaunay

import fast
from benchmarks.clouds import FloatArray, cloud, distances
from benchmarks.gradients import differentiate, on_distances
from benchmarks.harness import Case, Job
from benchmarks.outputs import EXACT_POINTS, Diagram, assert_rips, wrong_edges
from benchmarks.peers import PEERS, read_fast, values_by_another
from benchmarks.schema import Suite
from fast import rips

OF_POINTS = "rips of points, without distances"
LARGEST_WITH_DISTANCES = 4096  # up to here the diagrams are compared with those of the distances


def rips_case(
    suite: Suite, name: str, family: str, num_points: int, threads: int, max_dim: int = 1
) -> Case:
    """Return H0 up to `max_dim` of a family by an implementation."""
    peer = PEERS[name]
    used = threads if peer.threaded else 1

    def build() -> Job:
        matrix = distances(family, num_points)
        prepared = peer.prepare(matrix)

        def check(output: Any) -> str | None:
            told = peer.read(output)
            doubted = peer.edges_race and used > 1
            got = [Diagram(diagram.pairs) for diagram in told] if doubted else told
            assert len(got) == max_dim + 1
            want = values_by_another(family, num_points, 0, name, max_dim)
            assert_rips(got, matrix, want if want is None else want[: len(got)])
            return wrong_edges(told, matrix) if doubted else None

        return Job(lambda: peer.forward(prepared, max_dim, used), check)

    return Case(
        suite=suite, op="rips", implementation=name, yields=peer.yields, build=build, data=family,
        num_points=num_points, channels=None, threads=used, max_dim=max_dim,
    )  # fmt: skip


def rips_backward_case(name: str, family: str, num_points: int, threads: int) -> Case:
    """Return the gradient of births and deaths at the distances; `name` must be differentiable."""
    peer = PEERS[name]
    used = threads if peer.threaded else 1

    def build() -> Job:
        matrix = torch.from_numpy(distances(family, num_points)).requires_grad_()
        output = peer.forward(matrix, 1, used)
        if name == "fast":
            columns = [(d.births[d.mask], d.deaths[d.mask]) for d in output]
        else:
            columns = [(part.diagram[:, 0], part.diagram[:, 1]) for part in output]

        def check(grad: torch.Tensor) -> None:
            got = (grad + grad.T).numpy()  # one entry or both may have it: they are one variable
            np.fill_diagonal(got, 0)
            want = on_distances(num_points, peer.read(output))
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())

        return Job(differentiate(columns, matrix), check)

    return Case(
        suite="backward", op="rips", implementation=name, yields="gradient", build=build,
        data=family, num_points=num_points, channels=None, threads=used, direction="backward",
        max_dim=1,
    )  # fmt: skip


def rips_of_points_case(family: str, num_points: int, threads: int) -> Case:
    """Return H0 and H1 of the points of a family, whose distances are never stored."""

    def build() -> Job:
        points = torch.from_numpy(cloud(family, num_points))

        def run() -> Any:
            limit, rips._LARGE_DISTANCES = rips._LARGE_DISTANCES, 0
            try:
                return fast.rips_persistence_of_points(points)
            finally:
                rips._LARGE_DISTANCES = limit

        def check(output: Any) -> str | None:
            got = read_fast(output)
            if num_points <= LARGEST_WITH_DISTANCES:
                matrix = fast.pairwise_distances(points)
                want = read_fast(fast.rips_persistence(matrix))
                rows = None if num_points <= EXACT_POINTS else [each.pairs for each in want]
                assert_rips(got, matrix.numpy(), rows)
                return None
            np.testing.assert_allclose(
                np.sort(got[0].pairs[:, 1]), _merges_of_points(points.numpy()), rtol=1e-5
            )
            assert (got[1].pairs[:, 0] < got[1].pairs[:, 1]).all()
            assert output[1].num_essential.tolist() == [0]
            return None

        return Job(run, check)

    return Case(
        suite="scaling", op=OF_POINTS, implementation="fast", yields="edges, triangles",
        build=build, data=family, num_points=num_points, channels=cloud(family, 2).shape[1],
        threads=threads, max_dim=1,
    )  # fmt: skip


def large_case(family: str, num_points: int, threads: int) -> Case:
    """Return H0 and H1 from distances where other libraries would take hours.

    H0 is compared with Prim's algorithm in numpy; of H1 the critical edges have the lengths
    that are said. tests/fast compares it in full at smaller sizes.
    """

    def build() -> Job:
        matrix = distances(family, num_points)
        prepared = torch.from_numpy(matrix)

        def check(output: Any) -> None:
            got = read_fast(output)
            rows = None
            if num_points > EXACT_POINTS:
                deaths = _merges_by_prim(lambda i: matrix[i], num_points)
                rows = [np.column_stack([np.zeros(len(deaths)), deaths]), got[1].pairs]
                assert len(got[1].pairs) > 0
                assert (got[1].pairs[:, 0] < got[1].pairs[:, 1]).all()
            assert_rips(got, matrix, rows)
            assert output[1].num_essential.tolist() == [0]

        return Job(lambda: fast.rips_persistence(prepared), check)

    return Case(
        suite="scaling", op="rips", implementation="fast", yields="edges, triangles", build=build,
        data=family, num_points=num_points, channels=None, threads=threads, max_dim=1,
    )  # fmt: skip


def _merges_by_prim(row: Callable[[int], FloatArray], num_points: int) -> FloatArray:
    """Return the lengths of a minimum spanning tree; `row` gives the distances of a vertex."""
    reach = row(0).copy()
    deaths = []
    reach[0] = np.inf
    outside = np.ones(num_points, dtype=bool)
    outside[0] = False
    for _ in range(num_points - 1):
        nearest = int(np.argmin(reach))
        deaths.append(reach[nearest])
        outside[nearest] = False
        np.minimum(reach, row(nearest), out=reach, where=outside)
        reach[nearest] = np.inf
    return np.array(deaths)


def _merges_of_points(points: FloatArray) -> FloatArray:
    """Return the lengths of a minimum spanning tree of points, ascending, in float64."""
    if points.shape[1] <= 3:
        return _merges_by_delaunay(points)
    wide = points.astype(np.float64)
    squares = (wide**2).sum(axis=1)

    def row(i: int) -> FloatArray:
        return np.asarray(np.sqrt(np.maximum(squares + squares[i] - 2 * (wide @ wide[i]), 0)))

    return np.sort(_merges_by_prim(row, len(points)))


def _merges_by_delaunay(points: FloatArray) -> FloatArray:
    """Return the lengths of a minimum spanning tree, ascending: it lies in the triangulation."""
    triangulation = Delaunay(points.astype(np.float64))
    starts, ends = triangulation.vertex_neighbor_vertices
    i = np.repeat(np.arange(len(points)), np.diff(starts))
    lengths = np.linalg.norm(points[i].astype(np.float64) - points[ends], axis=1)
    graph = csr_matrix((lengths, (i, ends)), shape=(len(points), len(points)))
    return np.sort(minimum_spanning_tree(graph).data)

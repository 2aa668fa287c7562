"""H0 and H1 of one cloud on the CPU: drives the edge, lune and pairing kernels chunk by chunk."""

from dataclasses import dataclass

import numpy as np

from fast import threads
from fast.kernels.edges import edges_cpu
from fast.kernels.lunes import lunes_cpu
from fast.kernels.pairing import pairing_cpu
from fast.kernels.pairing.sparse_pairing_cpu import SparsePairing

_SAMPLE = 4096  # keys looked at to place the chunk borders
_FIRST_CHUNK = 0.04  # of the edges that can matter; then each chunk ends this much further out
_GROWTH = 1.6
_FEW_EDGES = 2000  # the first chunk has at least as many: a chunk has a cost of its own
_MIN_EDGES_PER_THREAD = 4096  # edges below which a chunk is not split
_MAX_FULL_SEARCHES = 256  # lunes searched in full before it is too early to ask for the end
_DENSE_SHARE = 1.0  # of the distances' memory that bitsets over births may take
_LEAST_DENSE = 2**22  # bytes that they may always take
_LEAST_RELATIONS = 2**18  # a thread may always hold so many at a time
_RELATIONS_PER_LENGTH = 1 / 16  # and so many per entry of the distances
_NEIGHBORS = 8  # nearest neighbors tried as witnesses that a lune is not empty


@dataclass(frozen=True)
class CloudPairs:
    """Critical simplices of one cloud and one dimension, sorted by death rank, then birth rank."""

    birth_edges: np.ndarray  # (K, 2) int64, -1 in dimension 0
    death_edges: np.ndarray  # (K, 2) int64
    death_simplices: np.ndarray  # (K, dim + 2) int64, vertices ascending
    num_essential: int  # classes that are not dead at the last edge


def no_pairs(dim, num_essential):
    """No pairs in dimension `dim`."""
    return CloudPairs(
        np.empty((0, 2), np.int64),
        np.empty((0, 2), np.int64),
        np.empty((0, dim + 2), np.int64),
        num_essential,
    )


def merge_pairs(smaller, larger, num_essential):
    """H0 pairs that die at the given edges."""
    edges = np.stack([smaller, larger], axis=1)
    return CloudPairs(np.full_like(edges, -1), edges, edges.copy(), num_essential)


class Cloud:
    """The state that is carried from chunk to chunk."""

    def __init__(self, keys, cutoff, num_threads):
        self.keys = keys
        self.cutoff = cutoff
        self.num_threads = num_threads
        self.n = n = keys.shape[0]
        self.adjacency = lunes_cpu.self_loops(n)
        self.neighbors = None
        self.parent = np.arange(n)
        most_bytes = max(_LEAST_DENSE, int(_DENSE_SHARE * keys.nbytes))
        self.dense = pairing_cpu.DensePairing(keys, most_bytes)
        self.sparse = None
        self.birth_edges = np.zeros(0, np.int64)
        self.alive = 0
        self.merge_edges = []
        self.kills = []

    def pairs(self):
        """Run all chunks and return [H0, H1]."""
        low = -1
        uncertain = -1
        for high in self._borders():
            edges = self._run_chunk(low, high)
            low = high
            if self.neighbors is None:
                self.neighbors = lunes_cpu.nearest_neighbors(edges, self.n, _NEIGHBORS)
            # No class is alive and none will be born: whatever happens later is beyond H1.
            if self.alive == 0 and uncertain <= low:
                uncertain = self._first_uncertain_lune(low)
                if uncertain <= low:
                    break
        self.dense = self.sparse = None  # what comes may take as much again
        return [self._h0(), self._h1()]

    def _borders(self):
        """Keys at which the chunks end, from a sample of the lengths; the last is the cutoff."""
        sample = np.empty(_SAMPLE, self.keys.dtype)
        count = edges_cpu.sample_keys(self.keys, self.cutoff, sample)
        sample = np.sort(sample[:count])
        borders = []
        share = max(_FIRST_CHUNK, _FEW_EDGES / (self.n * (self.n - 1) // 2))
        while share < 0.9 and count > 0:
            border = int(sample[int(share * count)])
            if border < self.cutoff and (not borders or border > borders[-1]):
                borders.append(border)
            share *= _GROWTH
        return [*borders, self.cutoff]

    def _run_chunk(self, low, high):
        """Add the edges with low < key <= high."""
        edges = self._sorted_edges(low, high)
        for start, stop, empties, relations in self._examined(edges):
            relations[:, 0] -= start
            self._pair(edges[:start], edges[start:stop], low, empties - start, relations)
        return edges

    def _pair(self, before, edges, low, empties, relations):
        """Add edges, which come after those up to key `low` and those in `before`."""
        merges, births = pairing_cpu.classify_empties(edges, empties, self.n, self.parent)
        if self.sparse is None and not self.dense.fits(len(births)):
            self._turn_sparse(low, before)
        self.merge_edges.append(edges[merges])
        self.birth_edges = np.concatenate([self.birth_edges, edges[births]])
        self.alive += len(births)
        (self.sparse or self.dense).append(edges, merges, births)
        if self.sparse is None:
            kills, self.alive, done = self.dense.eliminate(edges, relations, self.alive)
            self._keep(kills, edges)
            if done < len(relations):
                self._turn_sparse(low, np.concatenate([before, edges]))
                relations = relations[done:]
        if self.sparse is not None:
            kills, self.alive = self.sparse.eliminate(edges, relations, self.alive)
            self._keep(kills, edges)

    def _keep(self, kills, edges):
        """Remember kills, with edges in place of positions."""
        kills[:, 1] = edges[kills[:, 1]]
        self.kills.append(kills.copy())  # without the room that was kept for more

    def _turn_sparse(self, low, edges):
        """Go on with sparse columns: the bitsets would take too much memory.

        All edges so far are those up to key `low`, and `edges` after them.
        """
        edges = np.concatenate([self._sorted_edges(-1, low), edges])
        merges = np.concatenate(self.merge_edges) if self.merge_edges else edges[:0]
        dense, self.dense = self.dense, None
        self.sparse = SparsePairing(self.keys)
        self.sparse.take_over(edges, merges, self.birth_edges, dense.rows, dense.is_dead)

    def _sorted_edges(self, low, high):
        """Edges with low < key <= high as i * N + j, in the total order."""
        bands = [(self.keys, low, high, *band) for band in self._bands()]
        counts = threads.run(edges_cpu.count_edges, bands, self.num_threads)
        ends = np.cumsum(counts)
        edge_keys, spare_keys = (np.empty(ends[-1], self.keys.dtype) for _ in range(2))
        edges, spare_edges = (np.empty(ends[-1], np.int64) for _ in range(2))
        parts = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
        calls = [
            (*band, edge_keys[part], edges[part]) for band, part in zip(bands, parts, strict=True)
        ]
        threads.run(edges_cpu.gather_edges, calls, self.num_threads)
        in_spare = edges_cpu.sort_edges(
            edge_keys, edges, max(low, 0), high, spare_keys, spare_edges
        )
        return spare_edges if in_spare else edges

    def _bands(self):
        """Rows [first, last) for each thread, with about as many edges i < j."""
        parts = self.num_threads
        firsts = [round(self.n * (1 - (1 - part / parts) ** 0.5)) for part in range(parts)]
        return list(zip(firsts, [*firsts[1:], self.n], strict=True))

    def _examined(self, edges):
        """Yield (start, stop, empties, relations) of stretches of the chunk, in order.

        Each thread brings its own adjacency up. Nearly always there is one stretch; more only
        where relations abound, as between the parts of a multipartite graph.
        """
        parts = self.num_threads if len(edges) > _MIN_EDGES_PER_THREAD else 1
        borders = [len(edges) * part // parts for part in range(parts + 1)]
        adjacencies = [self.adjacency, *(self.adjacency.copy() for _ in range(parts - 1))]
        most = max(_LEAST_RELATIONS, int(_RELATIONS_PER_LENGTH * self.keys.size))
        calls = [
            (edges, 0, start, stop, adjacency, self.n, most)
            for start, stop, adjacency in zip(borders, borders[1:], adjacencies, strict=False)
        ]
        found = threads.run(lunes_cpu.examine_lunes, calls, self.num_threads)
        self.adjacency = adjacencies[-1]
        empties, relations, reached = zip(*found, strict=True)
        if list(reached) == borders[1:]:
            yield 0, len(edges), np.concatenate(empties), np.concatenate(relations)
            return
        for call, result in zip(calls, found, strict=True):
            _, _, start, stop, adjacency, *rest = call
            empties, relations, reached = result
            yield start, reached, empties, relations
            while reached < stop:
                start = reached
                empties, relations, reached = lunes_cpu.examine_lunes(
                    edges, start, start, stop, adjacency, *rest
                )
                yield start, reached, empties, relations

    def _first_uncertain_lune(self, low):
        """Key of an edge beyond `low` whose lune may be empty, or `low`."""
        calls = [
            (self.keys, low, self.cutoff, self.adjacency, self.neighbors, _MAX_FULL_SEARCHES, *band)
            for band in self._bands()
        ]
        return max(threads.run(lunes_cpu.first_uncertain_lune, calls, self.num_threads))

    def _h0(self):
        """Return merges at positive length."""
        edges = np.concatenate(self.merge_edges)
        i, j = edges // self.n, edges % self.n
        positive = self.keys[i, j] > 0
        return merge_pairs(i[positive], j[positive], self.n - len(edges))

    def _h1(self):
        """Kills with a death later than the birth."""
        kills = np.concatenate(self.kills)
        born = self.birth_edges[kills[:, 0]]
        died = kills[:, 1]
        n = self.n
        kept = self.keys[born // n, born % n] < self.keys[died // n, died % n]
        # Kills come in the order of their death edge; births are numbered in the order of theirs.
        rank = np.cumsum(np.concatenate([[0], died[1:] != died[:-1]])[: len(died)])
        order = np.lexsort((kills[:, 0], rank))
        kept = order[kept[order]]
        born, died, apex = born[kept], died[kept], kills[kept, 3]
        death_edges = np.stack([died // n, died % n], axis=1)
        return CloudPairs(
            np.stack([born // n, born % n], axis=1),
            death_edges,
            np.sort(np.concatenate([death_edges, apex[:, None]], axis=1), axis=1),
            int(self.alive),
        )

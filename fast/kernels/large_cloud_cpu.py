"""H0 and H1 of one large cloud on the CPU, by snapshots of its adjacency (docs/numerics.md).

The same theorem and the same order as `cloud_cpu`; but edges are not sorted, only those that
matter, and there is no array of the distances' size. These may be stored, or computed from points.
"""

import itertools

import numpy as np

from fast import threads
from fast.kernels import edge_keys_cpu, edges_cpu, lunes_cpu, pairing_cpu, snapshots_cpu
from fast.kernels.cloud_cpu import CloudPairs, merge_pairs
from fast.kernels.point_pairing_cpu import EdgePairing

_SAMPLE = 2**16  # keys looked at to place the chunk borders
_FIRST_EDGES = 32  # edges per vertex in the first chunk, which are sorted and examined in order
_GROWTH = 1.3  # then each chunk ends with so many times as many edges
_PARTS = 16  # of a chunk per thread: rows differ in the work they make
_NEIGHBORS = 8  # nearest neighbors tried as witnesses that a lune is not empty
_MAX_FULL_SEARCHES = 256  # lunes searched in full before it is too early to ask for the end
_MOST_TIES = 4  # times as many edges in the first chunk as planned: lengths are tied, no cloud
_MOST_RELATIONS = 64  # per vertex; those that are no cloud's distances have far more


class LargeCloud:
    """The state that is carried from chunk to chunk."""

    def __init__(self, source, cutoff, num_threads):
        """Prepare edges up to the key `cutoff`, whose keys come from a source of them."""
        self.source = source
        self.cutoff = cutoff
        self.num_threads = num_threads
        self.n = edge_keys_cpu.num_vertices(source)
        self.key_type = source.stored.dtype
        self.words = (self.n + 63) // 64
        self.parent = np.arange(self.n)
        self.hubs = np.full((self.n, snapshots_cpu.NUM_HUBS), -1, np.int32)
        self.merges = []
        self.births = []
        self.kills = []
        self.num_relations = 0

    def pairs(self):
        """Return [H0, H1], or None for what is better done with all edges in their order."""
        first, *borders = self._borders()
        low = self._snapshot(first)
        edges = self._first_edges(low)
        if edges is None:
            return None
        neighbors = lunes_cpu.nearest_neighbors(edges, self.n, _NEIGHBORS)
        self.pairing = SnapshotPairing(self.source, low, self.num_threads)
        self._pair(low, *self._examined_in_order(edges))
        del edges
        bottom = uncertain = first
        for top in [*borders, None]:
            # No class is alive and none will be born: whatever happens later is beyond H1.
            if self.pairing.alive == 0 and uncertain <= bottom:
                uncertain = self._first_uncertain_lune(low, bottom, neighbors)
                if uncertain <= bottom:
                    break
            if top is None:
                break
            high = self._snapshot(top)
            empties, relations = self._examined(low, high)
            self.num_relations += len(relations)
            if self.num_relations > _MOST_RELATIONS * self.n:
                return None
            self._pair(high, empties, relations)
            low, bottom = high, top
        return [self._h0(), self._h1()]

    def _borders(self):
        """Keys at which the chunks end, from a sample of the lengths; the last is the cutoff."""
        sample = np.empty(_SAMPLE, self.key_type)
        count = edge_keys_cpu.sample_keys(self.source, self.cutoff, sample)
        all_edges = self.n * (self.n - 1) // 2
        within = all_edges * count / min(_SAMPLE, all_edges)  # edges up to the cutoff, about
        sample = np.sort(sample[:count])
        borders = []
        share = _FIRST_EDGES * self.n / max(1, within)
        while share < 1 and count > 0:
            border = int(sample[int(share * count)])
            if border < self.cutoff and (not borders or border > borders[-1]):
                borders.append(border)
            share *= _GROWTH
        return [*borders, self.cutoff]

    def _bands(self, parts):
        """Rows [first, last) with about as many edges i < j each."""
        firsts = [round(self.n * (1 - (1 - part / parts) ** 0.5)) for part in range(parts)]
        return list(itertools.pairwise([*firsts, self.n]))

    def _rows(self, parts):
        """Rows [first, last), about as many each."""
        return list(itertools.pairwise(self.n * part // parts for part in range(parts + 1)))

    def _snapshot(self, top):
        """Return the adjacency of the edges up to a key."""
        snapshot = np.empty((1, self.n, self.words), np.uint64)
        tops = np.array([top], self.key_type)
        calls = [(self.source, tops, *rows, snapshot) for rows in self._rows(self.num_threads)]
        threads.run(snapshots_cpu.fill_snapshots, calls, self.num_threads)
        return snapshot[0]

    def _first_edges(self, snapshot):
        """Return the edges of the first chunk as i * N + j, in order; None if they are too many."""
        bands = self._bands(self.num_threads)
        calls = [(snapshot, *band) for band in bands]
        counts = threads.run(snapshots_cpu.count_edges, calls, self.num_threads)
        total = sum(counts)
        if total > _MOST_TIES * _FIRST_EDGES * self.n:
            return None
        edge_keys, spare_keys = (np.empty(total, self.key_type) for _ in range(2))
        edges, spare_edges = (np.empty(total, np.int64) for _ in range(2))
        ends = np.cumsum(counts)
        calls = [
            (self.source, snapshot, *band, edge_keys[end - count : end], edges[end - count : end])
            for band, count, end in zip(bands, counts, ends, strict=True)
        ]
        threads.run(snapshots_cpu.edges_of_snapshot, calls, self.num_threads)
        high = int(edge_keys.max(initial=0))
        in_spare = edges_cpu.sort_edges(edge_keys, edges, 0, high, spare_keys, spare_edges)
        return spare_edges if in_spare else edges

    def _examined_in_order(self, edges):
        """Return the edges with an empty lune (E, 2), and relations (R, 4), of the first chunk.

        Every thread brings its own adjacency up.
        """
        parts = self.num_threads
        borders = [len(edges) * part // parts for part in range(parts + 1)]
        calls = [
            (edges, 0, start, stop, lunes_cpu.self_loops(self.n), self.n, len(edges) * self.n)
            for start, stop in itertools.pairwise(borders)
        ]
        found = threads.run(lunes_cpu.examine_lunes, calls, self.num_threads)
        empties = edges[np.concatenate([part[0] for part in found])]
        relations = np.concatenate([part[1] for part in found]).astype(np.int64)
        died = edges[relations[:, 0]]
        self.num_relations = len(relations)
        rows = np.column_stack([died // self.n, died % self.n, relations[:, 1:]])
        return np.column_stack([empties // self.n, empties % self.n]), rows

    def _examined(self, low, high):
        """Return the edges with an empty lune, and relations, between two snapshots, in order."""
        parts = self.num_threads
        degrees = np.empty(self.n, np.int32)
        calls = [(low, *rows, degrees) for rows in self._rows(parts)]
        threads.run(snapshots_cpu.count_neighbors, calls, self.num_threads)
        calls = [
            (
                self.source, low, high, degrees, self.hubs, *band,
                np.empty((64, 2), np.int64), np.empty((64, 4), np.int64),
            )
            for band in self._bands(_PARTS * parts)
        ]  # fmt: skip
        found = threads.run(snapshots_cpu.examine_rows, calls, self.num_threads)
        empties, relations = (np.concatenate(some) for some in list(zip(*found, strict=True))[:2])
        self.stats = sum(part[2] for part in found)
        order = np.lexsort((empties[:, 1], empties[:, 0], self._keys(empties)))
        empties = empties[order]
        order = np.lexsort(
            (relations[:, 3], relations[:, 1], relations[:, 0], self._keys(relations))
        )
        return empties, relations[order]

    def _keys(self, edges):
        """Return the keys of rows that begin with i and j."""
        keys = np.empty(len(edges), self.key_type)
        snapshots_cpu.keys_of_edges(self.source, edges, keys)
        return keys

    def _lengths(self, edges):
        """Return the lengths of rows that begin with i and j."""
        return self._keys(edges).view(self.source.points.dtype)

    def _pair(self, snapshot, empties, relations):
        """Add what happens in a chunk, whose edges are in the snapshot."""
        codes = empties[:, 0] * self.n + empties[:, 1]
        merges, births = pairing_cpu.classify_empties(
            codes, np.arange(len(codes)), self.n, self.parent
        )
        self.merges.append(empties[merges])
        self.births.append(empties[births])
        self.pairing.append(empties[merges], empties[births], self._lengths(empties[births]))
        self.pairing.latest = snapshot
        dead = self.pairing.eliminate(relations)
        self.kills.append(np.column_stack([dead[:, 0], relations[dead[:, 1]]]))

    def _first_uncertain_lune(self, low, bottom, neighbors):
        """Key of an edge beyond `bottom` whose lune may be empty, or `bottom`."""
        keys = (self.key_type.type(bottom), self.key_type.type(self.cutoff))
        calls = [
            (self.source, low, *keys, neighbors, _MAX_FULL_SEARCHES, *band)
            for band in self._bands(_PARTS * self.num_threads)
        ]
        return max(threads.run(snapshots_cpu.first_uncertain_lune, calls, self.num_threads))

    def _h0(self):
        """Return merges at positive length."""
        edges = np.concatenate(self.merges)
        positive = edges[self._keys(edges) > 0]
        return merge_pairs(positive[:, 0], positive[:, 1], self.n - len(edges))

    def _h1(self):
        """Kills with a death later than the birth, sorted by death edge, then birth."""
        births = np.concatenate(self.births)
        kills = np.concatenate(self.kills)
        born, died = births[kills[:, 0]], kills[:, 1:3]
        kept = self._keys(born) < self._keys(np.ascontiguousarray(died))
        rank = np.cumsum(np.concatenate([[0], (died[1:] != died[:-1]).any(axis=1)])[: len(died)])
        order = np.lexsort((kills[:, 0], rank))
        order = order[kept[order]]
        triangles = kills[order][:, [1, 2, 4]]
        return CloudPairs(
            born[order], triangles[:, :2], np.sort(triangles, axis=1), int(self.pairing.alive)
        )


class SnapshotPairing(EdgePairing):
    """Relations of edges whose lunes are found in snapshots of the adjacency."""

    def __init__(self, source, first, num_threads):
        """Look into the snapshot `first` first: it joins few vertices."""
        super().__init__(edge_keys_cpu.num_vertices(source), num_threads)
        self._source = source
        self._first = first
        self.latest = first  # every edge of the relations is in it

    def _search(self, codes, lengths, sides):
        return snapshots_cpu.lune_vertices(
            self._source, self._first, self.latest, codes, lengths, sides
        )

"""H0 and H1 of one large cloud on the CPU, without an array of the distances' size.

The same theorem, order and chunks as in `cloud_cpu`; but adjacency is in blocks, chunks are of a
bounded length, and relations are paired in a hash table (docs/numerics.md). Distances may be
stored, or computed from points.
"""

import itertools

import numpy as np

from fast import threads
from fast.kernels import block_lunes_cpu, edge_keys_cpu, edges_cpu, lunes_cpu, pairing_cpu
from fast.kernels.cloud_cpu import CloudPairs, merge_pairs
from fast.kernels.point_pairing_cpu import EdgePairing

_SAMPLE = 2**16  # keys looked at to place the chunk borders
_FIRST_EDGES = 32  # edges per vertex in the first chunk
_GROWTH = 1.6  # then each chunk ends with so many times as many edges
_MOST_SHARE = 1 / 20  # of all edges in a chunk: they take 24 bytes each while they are sorted
_MOST_TIES = 4  # times as many edges in a chunk as planned: lengths are tied, no cloud's
_MOST_RELATIONS = 64  # per vertex; those that are no cloud's distances have far more
_LANDMARKS = 64  # vertices that near ones are put together with
_PARTS = 8  # of the last look at all edges, per thread
_NEIGHBORS = 8  # nearest neighbors tried as witnesses that a lune is not empty
_MAX_FULL_SEARCHES = 256  # lunes searched in full before it is too early to ask for the end


class LargeCloud:
    """The state that is carried from chunk to chunk."""

    def __init__(self, source, cutoff, num_threads):
        """Prepare edges up to the key `cutoff`, whose keys come from an `EdgeKeys`."""
        self.source = source
        self.cutoff = cutoff
        self.num_threads = num_threads
        self.n = edge_keys_cpu.num_vertices(source)
        self.key_type = source.stored.dtype
        self.order = edge_keys_cpu.nearby_order(source, min(_LANDMARKS, self.n))
        self.place = np.argsort(self.order)
        self.adjacency, self.summary = block_lunes_cpu.self_loops(self.n)
        self.pairing = BlockPairing(self)
        self.parent = np.arange(self.n)
        self.merges = []
        self.births = []
        self.kills = []
        self.num_relations = 0

    def pairs(self):
        """Return [H0, H1], or None where `Cloud` does better: lengths that are no cloud's."""
        sample, borders, most_edges = self._sampled()
        low = uncertain = -1
        neighbors = None
        for high in borders:
            middles = self._middles(sample, low, high)
            calls = [(*ends, most_edges) for ends in itertools.pairwise([low, *middles, high])]
            parts = threads.run(self._sorted_edges, calls, self.num_threads)
            if any(part is None for part in parts):
                return None
            empties, relations = self._examined(parts)
            if neighbors is None:
                first = np.concatenate(parts)
                neighbors = lunes_cpu.nearest_neighbors(first, self.n, _NEIGHBORS)
                self.pairing.near = self.adjacency.copy()
            del parts
            self.num_relations += len(relations)
            if self.num_relations > _MOST_RELATIONS * self.n:
                return None
            self._pair(empties, relations)
            low = high
            # No class is alive and none will be born: whatever happens later is beyond H1.
            if self.pairing.alive == 0 and uncertain <= low:
                uncertain = self._first_uncertain_lune(low, neighbors)
                if uncertain <= low:
                    break
        return [self._h0(), self._h1()]

    def _sampled(self):
        """Return a sorted sample of the keys, where the chunks end, and their most edges.

        The last border is the cutoff.
        """
        sample = np.empty(_SAMPLE, self.key_type)
        count = edge_keys_cpu.sample_keys(self.source, self.cutoff, sample)
        sample = np.sort(sample[:count])
        all_edges = self.n * (self.n - 1) // 2
        within = max(1, all_edges * count // min(_SAMPLE, all_edges))  # edges up to the cutoff
        borders = []
        edges = _FIRST_EDGES * self.n
        longest = max(edges, int(_MOST_SHARE * all_edges))
        while edges < 0.9 * within and count > 0:
            border = int(sample[int(edges / within * count)])
            if border < self.cutoff and (not borders or border > borders[-1]):
                borders.append(border)
            edges = min(edges * _GROWTH, edges + longest)
        return sample, [*borders, self.cutoff], _MOST_TIES * longest

    def _middles(self, sample, low, high):
        """Keys that cut (low, high] into a part of about as many edges per thread."""
        begin, end = np.searchsorted(sample, [low, high], side="right")
        parts = self.num_threads
        if begin == end:
            return [high] * (parts - 1)
        return [int(sample[begin + (end - begin) * k // parts]) for k in range(1, parts)]

    def _sorted_edges(self, low, high, most_edges):
        """Edges with low < key <= high as i * N + j, in the total order; None if too many."""
        count = edge_keys_cpu.count_edges(self.source, low, high)
        if count > most_edges:
            return None
        edge_keys, spare_keys = (np.empty(count, self.key_type) for _ in range(2))
        edges, spare_edges = (np.empty(count, np.int64) for _ in range(2))
        edge_keys_cpu.gather_edges(self.source, low, high, edge_keys, edges)
        in_spare = edges_cpu.sort_edges(
            edge_keys, edges, max(low, 0), high, spare_keys, spare_edges
        )
        return spare_edges if in_spare else edges

    def _examined(self, parts):
        """Return edges with an empty lune (E, 2), and relations (R, 4), rows (i, j, w1, wk).

        Every thread examines a part, and brings its own adjacency up to it.
        """
        last = len(parts) - 1
        states = [(self.adjacency.copy(), self.summary.copy()) for _ in range(last)]
        states.append((self.adjacency, self.summary))
        calls = [(parts, part, *state) for part, state in enumerate(states)]
        found = threads.run(self._examined_part, calls, self.num_threads)
        empties, relations = (np.concatenate(rows) for rows in zip(*found, strict=True))
        return empties, relations

    def _examined_part(self, parts, part, adjacency, summary):
        """Return the same of one part."""
        for earlier in parts[:part]:
            block_lunes_cpu.insert_edges(earlier, adjacency, summary, self.place)
        edges = parts[part]
        empties, relations = block_lunes_cpu.examine_lunes(
            edges, adjacency, summary, self.place, self.order, _MOST_RELATIONS * self.n
        )
        born, died = edges[empties], edges[relations[:, 0]]
        return (
            np.column_stack([born // self.n, born % self.n]),
            np.column_stack([died // self.n, died % self.n, relations[:, 1:]]),
        )

    def _keys(self, edges):
        """Return the keys of rows that begin with i and j."""
        keys = np.empty(len(edges), self.key_type)
        edge_keys_cpu.keys_of_edges(self.source, np.ascontiguousarray(edges), keys)
        return keys

    def _pair(self, empties, relations):
        """Add what happens in a chunk."""
        codes = empties[:, 0] * self.n + empties[:, 1]
        merges, births = pairing_cpu.classify_empties(
            codes, np.arange(len(codes)), self.n, self.parent
        )
        self.merges.append(empties[merges])
        self.births.append(empties[births])
        birth_lengths = self._keys(empties[births]).view(self.source.points.dtype)
        self.pairing.append(empties[merges], empties[births], birth_lengths)
        dead = self.pairing.eliminate(relations)
        self.kills.append(np.column_stack([dead[:, 0], relations[dead[:, 1]]]))

    def _first_uncertain_lune(self, low, neighbors):
        """Key of an edge beyond `low` whose lune may be empty, or `low`."""
        keys = (self.key_type.type(low), self.key_type.type(self.cutoff))
        witnesses = block_lunes_cpu.busiest_places(self.adjacency, min(_LANDMARKS, self.n))
        to_witnesses = np.empty((self.n, len(witnesses)), self.key_type)
        edge_keys_cpu.keys_to(self.source, self.order[witnesses], to_witnesses)
        before = (self.source, self.adjacency, self.order, witnesses, to_witnesses, *keys)
        parts = _PARTS * self.num_threads
        firsts = [round(self.n * (1 - (1 - part / parts) ** 0.5)) for part in range(parts)]
        calls = [
            (*before, neighbors, _MAX_FULL_SEARCHES, *rows)
            for rows in itertools.pairwise([*firsts, self.n])
        ]
        return max(threads.run(block_lunes_cpu.first_uncertain_lune, calls, self.num_threads))

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
        kept = self._keys(born) < self._keys(died)
        rank = np.cumsum(np.concatenate([[0], (died[1:] != died[:-1]).any(axis=1)])[: len(died)])
        order = np.lexsort((kills[:, 0], rank))
        order = order[kept[order]]
        triangles = kills[order][:, [1, 2, 4]]
        return CloudPairs(
            born[order], triangles[:, :2], np.sort(triangles, axis=1), int(self.pairing.alive)
        )


class BlockPairing(EdgePairing):
    """Relations of edges whose lunes are looked for in the adjacency."""

    def __init__(self, cloud):
        """Look into `near` first, which joins fewer vertices: the adjacency after one chunk."""
        super().__init__(cloud.n, cloud.num_threads)
        self._cloud = cloud
        self.near = None

    def _search(self, codes, lengths, sides):
        cloud = self._cloud
        return block_lunes_cpu.lune_vertices(
            cloud.source, self.near, cloud.adjacency, cloud.place, cloud.order,
            codes, lengths, sides,
        )  # fmt: skip

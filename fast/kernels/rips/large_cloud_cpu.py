"""H0 and H1 of one large cloud on the CPU, without an array of the distances' size.

The same theorem, order and chunks as in `cloud_cpu`; but adjacency is in blocks, chunks are of a
bounded length, and relations are paired in a hash table (docs/numerics.md). Distances may be
stored, or computed from points.
"""

import itertools

import numpy as np

from fast import threads
from fast.kernels.edges import edge_keys_cpu, edges_cpu, hubs_cpu
from fast.kernels.lunes import block_lunes_cpu, later_lunes_cpu, lunes_cpu
from fast.kernels.pairing import pairing_cpu
from fast.kernels.pairing.point_pairing_cpu import EdgePairing
from fast.kernels.rips.cloud_cpu import CloudPairs, merge_pairs

_SAMPLE = 2**16  # keys looked at to place the chunk borders
_FIRST_EDGES = 32  # edges per vertex in the first chunk
_GROWTH = 1.6  # then each chunk ends with so many times as many edges
_MOST_SHARE = 1 / 20  # of all edges in a chunk: they take 24 bytes each while they are sorted
_MOST_TIES = 4  # times as many edges in a chunk as planned: lengths are tied, no cloud's
_MOST_RELATIONS = 64  # per vertex; those that are no cloud's distances have far more
_LANDMARKS = 64  # vertices that near ones are put together with
_PARTS = 8  # of the last look at all edges, per thread
_NEIGHBORS = 8  # nearest neighbors tried as witnesses that a lune is not empty
_HUBS = 64  # vertices that may be another's hub
_LEAST_GROUP = 16  # vertices of which one is a witness that a lune is not empty
_WITNESSES = 128  # about so many that edges longer than the chunk's are looked at to
_FEW_BIRTHS = 1 / 8  # in a chunk, per vertex: with more it is too early to ask for all to come
_SEARCHES = 1  # lunes per vertex that are searched in full to know all that are empty
_TRIAL = 64  # of so many rows one tells how many searches there would be
_SLICES = 8  # of a chunk, after each of which hubs are chosen again
_LEAST_SLICE = 32  # edges per vertex


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
        self.neighbors = None
        self.later = None  # edges with an empty lune that are still to come, once they are known

    def pairs(self):
        """Return [H0, H1], or None where `Cloud` does better: lengths that are no cloud's."""
        sample, borders = self._sampled()
        self._plan(sample, borders)
        born = 0
        for chunk, high in enumerate(borders):
            edges = self._sorted_edges(chunk)
            if edges is None:
                return None
            for part in self._slices(edges):
                self._add(part)
                if self.num_relations > _MOST_RELATIONS * self.n:
                    return None
                if self._is_over():
                    return [self._h0(), self._h1()]
            del edges, part
            born, before = sum(map(len, self.births)), born
            if self.later is None and born - before <= _FEW_BIRTHS * self.n:
                self.later = self._later_empties(high)
                if self._is_over():
                    break
        return [self._h0(), self._h1()]

    def _is_over(self):
        """Whether no class is alive and none will be born: what happens later is beyond H1."""
        return self.pairing.alive == 0 and self.later is not None and len(self.later) == 0

    def _slices(self, edges):
        """Cut a chunk: between, hubs are chosen again, and maybe all is over."""
        count = min(_SLICES, max(1, len(edges) // (_LEAST_SLICE * self.n)))
        return np.array_split(edges, count)

    def _add(self, edges):
        """Add the next edges of the order."""
        if self.later is not None:
            if len(edges) == 0:
                return
            last = self._keys(_ends(edges[-1:], self.n))[0]
            keys = self._keys(_ends(self.later, self.n))
            is_here = (keys < last) | ((keys == last) & (self.later <= edges[-1]))
            self.later = self.later[~is_here]
            if self.pairing.alive == 0 and not is_here.any():
                # Nothing dies, since nothing is alive, and nothing is born.
                block_lunes_cpu.insert_edges(edges, self.adjacency, self.summary, self.place)
                return
        empties, relations = self._examined(edges)
        if self.neighbors is None:
            self.neighbors = lunes_cpu.nearest_neighbors(edges, self.n, _NEIGHBORS)
            self.pairing.near = self.adjacency.copy()
        self.num_relations += len(relations)
        self._pair(empties, relations)

    def _sampled(self):
        """Return a sorted sample of the keys, and where the chunks end: at the cutoff at last."""
        sample = np.empty(_SAMPLE, self.key_type)
        count = edge_keys_cpu.sample_keys(self.source, self.cutoff, sample)
        sample = np.sort(sample[:count])
        all_edges = self.n * (self.n - 1) // 2
        within = max(1, all_edges * count // min(_SAMPLE, all_edges))  # edges up to the cutoff
        borders = []
        edges = _FIRST_EDGES * self.n
        longest = self._longest_chunk()
        while edges < 0.9 * within and count > 0:
            border = int(sample[int(edges / within * count)])
            if border < self.cutoff and (not borders or border > borders[-1]):
                borders.append(border)
            edges = min(edges * _GROWTH, edges + longest)
        return sample, [*borders, self.cutoff]

    def _longest_chunk(self):
        """How many edges a chunk is planned to have at most."""
        return max(_FIRST_EDGES * self.n, int(_MOST_SHARE * self.n * (self.n - 1) // 2))

    def _plan(self, sample, borders):
        """Cut every chunk into a range of keys per thread, and count their edges."""
        ends = [-1]
        for low, high in itertools.pairwise([-1, *borders]):
            ends += [*self._middles(sample, low, high), high]
        self.ranges = np.array(ends, self.key_type)
        calls = [(self.source, self.ranges, *band) for band in self._bands()]
        counts = threads.run(edge_keys_cpu.count_edges, calls, self.num_threads)
        self.counts = np.stack(counts)  # (bands, ranges)

    def _bands(self):
        """Rows [first, last) for each thread, with about as many edges i < j."""
        parts = self.num_threads
        firsts = [round(self.n * (1 - (1 - part / parts) ** 0.5)) for part in range(parts)]
        return list(itertools.pairwise([*firsts, self.n]))

    def _middles(self, sample, low, high):
        """Keys that cut (low, high] into a part of about as many edges per thread."""
        begin, end = np.searchsorted(sample, [low, high], side="right")
        parts = self.num_threads
        if begin == end:
            return [high] * (parts - 1)
        return [int(sample[begin + (end - begin) * k // parts]) for k in range(1, parts)]

    def _sorted_edges(self, chunk):
        """Return the edges of a chunk as i * N + j in the total order; None if they are many."""
        which = slice(chunk * self.num_threads, (chunk + 1) * self.num_threads)
        ranges = self.ranges[which.start : which.stop + 1]
        counts = self.counts[:, which]
        total = int(counts.sum())
        if total > _MOST_TIES * self._longest_chunk():
            return None
        edge_keys, spare_keys = (np.empty(total, self.key_type) for _ in range(2))
        edges, spare_edges = (np.empty(total, np.int64) for _ in range(2))
        # Range after range, in each the rows of one thread after those of another.
        slots = np.cumsum(np.concatenate([[0], counts.T.ravel()[:-1]])).reshape(counts.T.shape).T
        calls = [
            (self.source, ranges, *band, np.ascontiguousarray(slot), edge_keys, edges)
            for band, slot in zip(self._bands(), slots, strict=True)
        ]
        threads.run(edge_keys_cpu.gather_edges, calls, self.num_threads)
        ends = np.cumsum(counts.sum(axis=0))
        places = [slice(start, end) for start, end in itertools.pairwise([0, *ends])]
        calls = [
            (
                edge_keys[place], edges[place], max(int(low), 0), int(high),
                spare_keys[place], spare_edges[place],
            )
            for place, (low, high) in zip(places, itertools.pairwise(ranges), strict=True)
        ]  # fmt: skip
        in_spare = threads.run(edges_cpu.sort_edges, calls, self.num_threads)
        for place, moved in zip(places, in_spare, strict=True):
            if moved != in_spare[0]:  # ranges of keys took an odd and an even number of passes
                source, target = (spare_edges, edges) if moved else (edges, spare_edges)
                target[place] = source[place]
        return spare_edges if in_spare[0] else edges

    def _examined(self, edges):
        """Return edges with an empty lune (E, 2), and relations (R, 4), rows (i, j, w1, wk).

        Every thread examines a part, and brings its own adjacency up to it.
        """
        borders = [len(edges) * part // self.num_threads for part in range(self.num_threads + 1)]
        candidates = self._busiest(_HUBS)
        states = [(self.adjacency.copy(), self.summary.copy()) for _ in borders[2:]]
        states.append((self.adjacency, self.summary))
        calls = [
            (edges, *ends, candidates, *state)
            for ends, state in zip(itertools.pairwise(borders), states, strict=True)
        ]
        found = threads.run(self._examined_part, calls, self.num_threads)
        empties, relations = (np.concatenate(rows) for rows in zip(*found, strict=True))
        return empties, relations

    def _examined_part(self, edges, start, stop, candidates, adjacency, summary):
        """Return the same of edges[start:stop]."""
        block_lunes_cpu.insert_edges(edges[:start], adjacency, summary, self.place)
        hubs = hubs_cpu.no_hubs(self.n if self.n >= hubs_cpu.LEAST_POINTS else 0)
        hubs_cpu.choose_hubs(adjacency, candidates, hubs)
        edges = edges[start:stop]
        empties, relations = block_lunes_cpu.examine_lunes(
            edges, adjacency, summary, self.place, self.order, hubs, _MOST_RELATIONS * self.n
        )
        born, died = edges[empties], edges[relations[:, 0]]
        return _ends(born, self.n), np.column_stack([_ends(died, self.n), relations[:, 1:]])

    def _busiest(self, groups):
        """Places that many are joined to, one of each group of places."""
        return later_lunes_cpu.busiest_places(self.adjacency, min(groups, self.n))

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

    def _later_empties(self, low):
        """Edges beyond the key `low` with an empty lune, in order; None if it is too early to ask.

        It is where many lunes have to be searched in full: a few rows tell.
        """
        witnesses = self._busiest(self.n // _LEAST_GROUP + 1)
        joined = later_lunes_cpu.joined_to(self.adjacency, self.place, witnesses)
        some = self.order[witnesses[:: 1 + len(witnesses) // _WITNESSES]]
        keys = np.empty((self.n, len(some)), self.key_type)
        edge_keys_cpu.keys_to(self.source, some, keys)
        ends = (self.key_type.type(low), self.key_type.type(self.cutoff))
        before = (self.source, joined, some, keys, *ends, self.neighbors)
        most = _SEARCHES * self.n
        rows = np.arange(_TRIAL // 2, self.n, _TRIAL)
        _, searches = later_lunes_cpu.later_empty_lunes(*before, rows, most // _TRIAL)
        if searches > most // _TRIAL:
            return None
        parts = _PARTS * self.num_threads
        calls = [(*before, np.arange(part, self.n, parts), most) for part in range(parts)]
        found = threads.run(later_lunes_cpu.later_empty_lunes, calls, self.num_threads)
        if any(searches > most for _, searches in found):
            return None
        later = np.concatenate([edges for edges, _ in found])
        keys = self._keys(_ends(later, self.n))
        return later[np.lexsort((later, keys))]

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


def _ends(edges, n):
    """Return the vertices (E, 2) of edges i * N + j."""
    return np.column_stack(np.divmod(edges, n))


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

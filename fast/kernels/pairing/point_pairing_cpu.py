"""Which relation kills which H1 class of a point cloud, with no more edges than that takes.

As in `sparse_pairing_cpu`, a relation is a set of edges that is rewritten from its youngest edge
down until that is a birth which is alive. But nothing here has a place for all edges: those met
are in a hash table, and a heap finds the youngest (docs/numerics.md).
"""

import itertools

import numpy as np

from fast import threads
from fast.kernels.edges.point_tree_cpu import NONE, distance, nearest_in_lune
from fast.kernels.numba_cpu import compiled, helper, longer
from fast.kernels.pairing.sparse_pairing_cpu import BIRTH, TREE
from fast.memory import refuse_beyond_memory

_MIN_SEARCHES_PER_THREAD = 256
_ROOM = 1024  # edges at the start
_BYTES_PER_EDGE = 40  # with the table that finds it, and a copy while it grows
_TOO_MANY_EDGES = (
    "rips_persistence_of_points: the loops are made of so many edges that {needed} are needed; "
    "{available} are available. Pass a smaller threshold, or fewer points, e.g. those that "
    "topology_preserving_sampling picks"
)


class EdgePairing:
    """The edges that relations are made of, and the columns that have been reduced so far.

    Those who inherit say by `_search` how a vertex of a lune is found.
    """

    def __init__(self, n, num_threads):
        """Start without an edge of the n vertices."""
        self._num_threads = num_threads
        self._n = n
        self._slots = np.full(2 * _ROOM, NONE, np.int32)
        self._codes = np.empty(_ROOM, np.int64)  # i * N + j of each edge
        self._lengths = np.empty(_ROOM)
        self._older = np.empty((_ROOM, 2), np.int32)
        self._num_edges = 0
        self._columns = np.empty((0, 2), np.int64)  # where in `entries`; -1, -1 while alive
        self._entries = np.empty(1024, np.int32)
        self._num_entries = 0
        self.alive = 0

    def append(self, tree_edges, birth_edges, birth_lengths):
        """Know more of the edges with an empty lune, (E, 2) vertices i < j; births in order."""
        first = len(self._columns)
        births = self._numbers(birth_edges[:, 0] * self._n + birth_edges[:, 1])
        self._lengths[births] = birth_lengths
        self._older[births, 0] = BIRTH
        self._older[births, 1] = np.arange(first, first + len(births))
        merges = self._numbers(tree_edges[:, 0] * self._n + tree_edges[:, 1])
        self._lengths[merges] = 0  # never compared: they are dropped
        self._older[merges] = TREE
        self._columns = np.concatenate([self._columns, np.full((len(births), 2), -1)])
        self.alive += len(births)

    def eliminate(self, relations):
        """Reduce relations (R, 4), rows (i, j, w1, wk) in the order of their edges, then of wk.

        Returns kills (K, 2): birth, and row of the relation that it dies of.
        """
        if self.alive == 0:
            return np.empty((0, 2), np.int64)
        resolved = self._num_edges
        i, j, first, other = relations.T
        sides = [self._numbers(self._coded(a, b)) for b in (first, other) for a in (i, j)]
        while resolved < self._num_edges:
            resolved = self._resolve(resolved)
        kills, self._entries, self._num_entries, self.alive = reduce_relations(
            np.stack(sides, axis=1), self._codes, self._lengths, self._older, self._columns,
            self._entries, self._num_entries, self.alive,
        )  # fmt: skip
        return kills

    def _coded(self, a, b):
        """Edges {a, b} as i * N + j with i < j."""
        return np.minimum(a, b) * self._n + np.maximum(a, b)

    def _numbers(self, codes):
        """Return the numbers of edges; those that are new get the next ones."""
        most = self._num_edges + len(codes)
        if 2 * most > len(self._slots):
            self._slots = np.full(max(4 * most, 2 * len(self._slots)), NONE, np.int32)
            rehash(self._slots, self._codes[: self._num_edges])
        if most > len(self._codes):
            room = most + most // 2
            refuse_beyond_memory(_TOO_MANY_EDGES, room * _BYTES_PER_EDGE)
            self._codes = _with_room(self._codes, room)
            self._lengths = _with_room(self._lengths, room)
            self._older = _with_room(self._older, room)
        numbers = np.empty(len(codes), np.int32)
        self._num_edges = number_edges(codes, self._slots, self._codes, self._num_edges, numbers)
        return numbers

    def _resolve(self, first):
        """Find what edges from number `first` on are homologous to; returns where new ones start.

        {a, b} is a-w-b for a w in its lune, and both of those edges are older.
        """
        last = self._num_edges
        parts = max(1, min(8 * self._num_threads, (last - first) // _MIN_SEARCHES_PER_THREAD))
        borders = [first + (last - first) * part // parts for part in range(parts + 1)]
        sides = np.empty((last - first, 2), np.int64)
        calls = [
            (self._codes[low:high], self._lengths[low:high], sides[low - first :])
            for low, high in itertools.pairwise(borders)
        ]
        if any(threads.run(self._search, calls, self._num_threads)):
            # Only if a birth was missed: without this the reduction would never end.
            raise AssertionError("an edge that is neither tree nor birth has an empty lune")
        numbers = self._numbers(sides.reshape(-1))
        self._older[first:last] = numbers.reshape(-1, 2)
        return last


class PointPairing(EdgePairing):
    """The same for points in a tree, all of whose edges with an empty lune are known."""

    def __init__(self, tree, tree_edges, birth_edges, birth_lengths, num_threads):
        """Know the edges with an empty lune, (E, 2) vertices i < j; births in their order."""
        super().__init__(len(tree.ids), num_threads)
        self._tree = tree
        self.append(tree_edges, birth_edges, birth_lengths)

    def _search(self, codes, lengths, sides):
        return lune_vertices(self._tree, codes, lengths, sides)


def _with_room(rows, room):
    """Return a copy with room for more rows."""
    grown = np.empty((room, *rows.shape[1:]), rows.dtype)
    grown[: len(rows)] = rows
    return grown


@helper
def _slot_of(code, slots):
    """First slot to look at for an edge: the high bits of a product, which all bits reach."""
    mixed = np.uint64(code) * np.uint64(0x9E3779B97F4A7C15)
    return np.int64((mixed >> np.uint64(32)) % np.uint64(slots.shape[0]))


@compiled
def rehash(slots, codes):
    """Enter edges 0, 1, ... into empty slots."""
    for e in range(codes.shape[0]):
        slot = _slot_of(codes[e], slots)
        while slots[slot] != NONE:
            slot = slot + 1 if slot + 1 < slots.shape[0] else 0
        slots[slot] = e


@compiled
def number_edges(wanted, slots, codes, num_edges, numbers):
    """Write the number of each wanted edge; new ones are appended. Returns how many there are."""
    for k in range(wanted.shape[0]):
        slot = _slot_of(wanted[k], slots)
        while slots[slot] != NONE and codes[slots[slot]] != wanted[k]:
            slot = slot + 1 if slot + 1 < slots.shape[0] else 0
        if slots[slot] == NONE:
            slots[slot] = num_edges
            codes[num_edges] = wanted[k]
            num_edges += 1
        numbers[k] = slots[slot]
    return num_edges


@compiled
def lune_vertices(tree, codes, lengths, sides):
    """Write the length of each edge, and its two sides to a vertex of its lune as i * N + j.

    Returns whether an edge has an empty lune.
    """
    n = tree.ids.shape[0]
    stack = np.empty(256, np.int64)
    for e in range(codes.shape[0]):
        i = codes[e] // n
        j = codes[e] - i * n
        v = tree.position[i]
        w = tree.position[j]
        lengths[e] = distance(tree, v, w)
        u = nearest_in_lune(tree, v, w, False, stack)
        if u == NONE:
            return True
        m = tree.ids[u]
        sides[e, 0] = min(i, m) * n + max(i, m)
        sides[e, 1] = min(j, m) * n + max(j, m)
    return False


@compiled
def reduce_relations(sides, codes, lengths, older, columns, entries, num_entries, alive):
    """Reduce the relations in order; returns (kills, entries, num_entries, alive).

    `sides` (R, 4) are the edges of each relation. `columns[b]` is where in `entries` the edges
    lie that the dead birth b is homologous to, all older than b. `heap` holds what is left of the
    relation, the youngest edge on top; an edge that is in it twice counts as none.
    """
    heap = np.empty(1024, np.int32)
    kills = np.empty((min(alive, sides.shape[0]), 2), np.int64)
    num_kills = 0
    for r in range(sides.shape[0]):
        if alive == 0:
            break
        size = 0
        for k in range(4):
            size = _push(heap, size, sides[r, k], codes, lengths, older)
        birth = -1
        while size > 0:
            edge = heap[0]
            size = _pop(heap, size, codes, lengths)
            if size > 0 and heap[0] == edge:
                size = _pop(heap, size, codes, lengths)
                continue
            begin = 0
            end = 0
            if older[edge, 0] == BIRTH:
                begin = columns[older[edge, 1], 0]
                end = columns[older[edge, 1], 1]
                if begin < 0:
                    birth = np.int64(older[edge, 1])
                    break
            if size + 2 + end - begin > heap.shape[0]:
                heap = longer(heap, max(2 * heap.shape[0], size + 2 + end - begin))
            if older[edge, 0] != BIRTH:
                size = _push(heap, size, older[edge, 0], codes, lengths, older)
                size = _push(heap, size, older[edge, 1], codes, lengths, older)
            for slot in range(begin, end):
                size = _push(heap, size, entries[slot], codes, lengths, older)
        if birth < 0:
            continue  # a dependent relation: the birth of an H2 class
        rest = np.sort(heap[:size])
        columns[birth, 0] = num_entries
        if num_entries + size > entries.shape[0]:
            entries = longer(entries, max(2 * entries.shape[0], num_entries + size))
        k = 0
        while k < size:
            if k + 1 < size and rest[k] == rest[k + 1]:
                k += 2
                continue
            entries[num_entries] = rest[k]
            num_entries += 1
            k += 1
        columns[birth, 1] = num_entries
        alive -= 1
        kills[num_kills, 0] = birth
        kills[num_kills, 1] = r
        num_kills += 1
    return kills[:num_kills], entries, num_entries, alive


@helper
def _is_younger(edge, other, codes, lengths):
    """Whether an edge comes after another in the total order."""
    if lengths[edge] != lengths[other]:
        return lengths[edge] > lengths[other]
    return codes[edge] > codes[other]


@helper
def _push(heap, size, edge, codes, lengths, older):
    """Add an edge, unless it is a tree edge, which is worth nothing; returns the new size."""
    if older[edge, 0] == TREE:
        return size
    slot = size
    while slot > 0 and _is_younger(edge, heap[(slot - 1) >> 1], codes, lengths):
        heap[slot] = heap[(slot - 1) >> 1]
        slot = (slot - 1) >> 1
    heap[slot] = edge
    return size + 1


@helper
def _pop(heap, size, codes, lengths):
    """Remove the youngest edge; returns the new size."""
    size -= 1
    last = heap[size]
    slot = 0
    while 2 * slot + 1 < size:
        child = 2 * slot + 1
        if child + 1 < size and _is_younger(heap[child + 1], heap[child], codes, lengths):
            child += 1
        if not _is_younger(heap[child], last, codes, lengths):
            break
        heap[slot] = heap[child]
        slot = child
    heap[slot] = last
    return size

"""Lunes of the edges between two snapshots of a large cloud, many edges at a time.

A snapshot is the adjacency of all edges up to some key: a bitset row per vertex, in which every
vertex is joined to itself. Of an edge between `low` and `high`, the vertices that `low` joins to
both ends are in the lune for certain, and those that `high` does not join to both are not
(docs/numerics.md). Nothing depends on the order in which edges are examined.
"""

import numpy as np
from numba import njit

from fast.kernels.bits_cpu import length_of, lowest_bit, num_bits
from fast.kernels.edge_keys_cpu import ROWS, fill_lengths, is_older, key_between, num_vertices

NUM_HUBS = 4  # remembered per vertex
_STRAGGLERS = 16  # vertices of a lune beyond the hub's neighbors that are linked one by one
_OUTSIDE_PER_EDGE = 2  # a hub that misses more neighbors of a vertex per open edge is not tried
_COVERS = 48  # neighbors of a vertex whose own neighbors are taken off at once


@njit(cache=True, nogil=True)
def fill_snapshots(source, tops, first, last, snapshots):
    """Write rows [first, last) of the snapshots (S, N, words) of edges up to the keys `tops`."""
    n = num_vertices(source)
    is_stored = source.stored.shape[0] > 0
    lengths = np.empty((0 if is_stored else ROWS, n), source.points.dtype)
    computed = lengths.view(source.stored.dtype)
    one = np.uint64(1)
    for begin in range(first, last, ROWS):
        end = min(begin + ROWS, last)
        if not is_stored:
            fill_lengths(source.channels, begin, end, lengths)
        for i in range(begin, end):
            row = source.stored[i] if is_stored else computed[i - begin]
            for s in range(tops.shape[0]):
                top = tops[s]
                for k in range(n >> 6):
                    start = np.uint64(64 * k)
                    word = np.uint64(0)
                    for bit in range(np.uint64(64)):
                        word |= np.uint64(row[start + bit] <= top) << bit
                    snapshots[s, i, k] = word
                if n & 63 != 0:
                    word = np.uint64(0)
                    for j in range(n & ~63, n):
                        word |= np.uint64(row[j] <= top) << np.uint64(j & 63)
                    snapshots[s, i, n >> 6] = word
                snapshots[s, i, i >> 6] |= one << np.uint64(i & 63)


@njit(cache=True, nogil=True)
def count_neighbors(snapshot, first, last, counts):
    """Write how many vertices each of [first, last) is joined to, itself included."""
    for i in range(first, last):
        count = 0
        for k in range(snapshot.shape[1]):
            count += num_bits(snapshot[i, k])
        counts[i] = count


@njit(cache=True, nogil=True)
def edges_of_snapshot(source, snapshot, counts, first, last, edge_keys, edges):
    """Write the edges i < j with i in [first, last), in (i, j) order; returns how many."""
    n = snapshot.shape[0]
    count = 0
    for i in range(first, last):
        for k in range(i >> 6, snapshot.shape[1]):
            word = snapshot[i, k]
            if k == i >> 6:
                word &= _beyond(i)
            while word != np.uint64(0):
                j = k * 64 + lowest_bit(word)
                word &= word - np.uint64(1)
                edges[count] = i * n + j
                edge_keys[count] = key_between(source, i, j)
                count += 1
    return count


@njit(cache=True, nogil=True)
def count_edges(snapshot, first, last):
    """Count the edges i < j with i in [first, last)."""
    count = 0
    for i in range(first, last):
        count += num_bits(snapshot[i, i >> 6] & _beyond(i))
        for k in range((i >> 6) + 1, snapshot.shape[1]):
            count += num_bits(snapshot[i, k])
    return count


@njit(cache=True, nogil=True)
def _beyond(i):
    """Bits of the vertices after i in i's word."""
    return (~np.uint64(0) << np.uint64(i & 63)) << np.uint64(1)


@njit(cache=True, nogil=True)
def examine_rows(source, low, high, degrees, hubs, first, last, empties, relations):
    """Examine the edges i < j in `high` and not in `low` with i in [first, last).

    Returns (empties, relations): rows (i, j) of edges with an empty lune, and (i, j, w1, wk) of
    the relations, in the buffers given or larger ones. `degrees` count neighbors in `low`.
    `hubs[v]` remembers vertices that served well at v: guesses, which change no result.

    A hub in the lune of {i, j} that is joined to all the rest of it proves that nothing happens.
    Once found, it is tried on all other edges of i at once.
    """
    n, words = low.shape
    zero = np.uint64(0)
    one = np.uint64(1)
    is_open = np.empty(words, np.uint64)
    targets = np.empty(words, np.uint64)
    rest = np.empty(words, np.uint64)
    joined = np.empty(words, np.uint64)
    num_empties = 0
    num_relations = 0
    stats = np.zeros(8, np.int64)
    for i in range(first, last):
        begin = i >> 6
        left = zero
        for k in range(begin, words):
            is_open[k] = high[i, k] & ~low[i, k]
            left |= is_open[k]
        is_open[begin] &= _beyond(i)
        if left == zero:
            continue
        for slot in range(hubs.shape[1]):
            hub = np.int64(hubs[i, slot])
            if hub >= 0 and (low[i, hub >> 6] >> np.uint64(hub & 63)) & one != zero:
                stats[0] += 1
                closed = _close_edges(i, hub, begin, low, high, is_open, targets, rest)
                stats[1] += closed
                if closed == 0:
                    hubs[i, slot] = -1
        k = begin
        while k < words:
            if is_open[k] == zero:
                k += 1
                continue
            j = k * 64 + lowest_bit(is_open[k])
            is_open[k] &= is_open[k] - one
            stats[2] += 1
            hub = -1
            for slot in range(hubs.shape[1]):
                guess = np.int64(hubs[j, slot])
                if (
                    guess >= 0
                    and (low[i, guess >> 6] & low[j, guess >> 6]) >> np.uint64(guess & 63) & one
                    != zero
                ):
                    hub = guess
                    break
            is_connected = False
            links = 0
            if hub >= 0:
                links = _link_stragglers(i, j, hub, low, high, rest, joined)
                is_connected = links >= 0
            if not is_connected:
                hub = _busiest(i, j, low, degrees)
                if hub >= 0:
                    links = _link_stragglers(i, j, hub, low, high, rest, joined)
                    is_connected = links >= 0
            if is_connected:
                if links == 0:
                    stats[3] += 1
                    closed = _close_edges(i, hub, k, low, high, is_open, targets, rest)
                    stats[4] += closed
                    if closed > 0:
                        _remember(hubs, i, hub)
                    _remember(hubs, j, hub)
                continue
            stats[5] += 1
            key = key_between(source, i, j)
            size = _lune(source, i, j, key, low, high, rest)
            if size == 0:
                if num_empties == empties.shape[0]:
                    empties = _taller(empties)
                empties[num_empties, 0] = i
                empties[num_empties, 1] = j
                num_empties += 1
            elif size > 1:
                relations, num_relations = _components(
                    source, i, j, key, low, high, rest, joined, relations, num_relations
                )
    return empties[:num_empties], relations[:num_relations], stats


@njit(cache=True, nogil=True)
def _remember(hubs, v, hub):
    """Put a hub in front of those that v remembers."""
    slot = 0
    while slot < hubs.shape[1] - 1 and hubs[v, slot] != hub:
        slot += 1
    while slot > 0:
        hubs[v, slot] = hubs[v, slot - 1]
        slot -= 1
    hubs[v, 0] = hub


@njit(cache=True, nogil=True)
def _busiest(i, j, low, degrees):
    """Return the vertex in the lune of {i, j} for certain that has most neighbors, or -1."""
    best = -1
    most = 0
    for k in range(low.shape[1]):
        word = low[i, k] & low[j, k]
        while word != np.uint64(0):
            w = k * 64 + lowest_bit(word)
            word &= word - np.uint64(1)
            if degrees[w] > most:
                most = degrees[w]
                best = w
    return best


@njit(cache=True, nogil=True)
def _close_edges(i, hub, begin, low, high, is_open, targets, outside):
    """Close open edges of i whose lune is joined to `hub`, a neighbor of i; returns how many.

    Words before `begin` hold no open edge. What `outside` holds, neighbors of i that the hub is
    not joined to, must not be in the lune: not be joined to j.
    """
    words = low.shape[1]
    zero = np.uint64(0)
    num_outside = 0
    for k in range(words):
        outside[k] = high[i, k] & ~low[hub, k]
        num_outside += num_bits(outside[k])
    count = 0
    for k in range(begin, words):
        targets[k] = is_open[k] & low[hub, k]
        count += num_bits(targets[k])
    if count == 0 or num_outside > _OUTSIDE_PER_EDGE * count:
        return 0
    for k in range(words):
        some = outside[k]
        while some != zero:
            v = k * 64 + lowest_bit(some)
            some &= some - np.uint64(1)
            left = zero
            for m in range(begin, words):
                targets[m] &= ~high[v, m]
                left |= targets[m]
            if left == zero:
                return 0
    count = 0
    for k in range(begin, words):
        is_open[k] &= ~targets[k]
        count += num_bits(targets[k])
    return count


@njit(cache=True, nogil=True)
def _link_stragglers(i, j, hub, low, high, rest, joined):
    """Prove that the lune of {i, j}, which `hub` is in, is connected; -1 if that fails.

    Returns how many vertices that the hub is not joined to had to be linked to its neighbors one
    by one. Whoever may be in the lune is linked, by edges and vertices that are there for certain.
    """
    words = low.shape[1]
    zero = np.uint64(0)
    one = np.uint64(1)
    left = zero
    for k in range(words):
        rest[k] = high[i, k] & high[j, k] & ~low[hub, k]
        left |= rest[k]
    if left == zero:
        return 0
    for k in range(words):
        joined[k] = low[i, k] & low[j, k] & low[hub, k]
    links = 0
    while left != zero:
        if links == _STRAGGLERS:
            return -1
        k = 0
        while rest[k] == zero:
            k += 1
        bit = np.uint64(lowest_bit(rest[k]))
        straggler = k * 64 + np.int64(bit)
        met = zero
        for m in range(words):
            met |= joined[m] & low[straggler, m]
        if met == zero:
            return -1
        if (low[i, k] & low[j, k]) >> bit & one != zero:
            left = zero
            for m in range(words):
                near = low[straggler, m]
                joined[m] |= low[i, m] & low[j, m] & near
                rest[m] &= ~near
                left |= rest[m]
        else:  # it may not be in the lune: it links no other
            rest[k] ^= one << bit
            left = zero
            for m in range(k, words):
                left |= rest[m]
        links += 1
    return links


@njit(cache=True, nogil=True)
def _lune(source, i, j, key, low, high, lune):
    """Write the lune of {i, j}, an edge of that key, as a bitset; returns its size."""
    one = np.uint64(1)
    size = 0
    for k in range(low.shape[1]):
        lune[k] = low[i, k] & low[j, k]
        doubtful = high[i, k] & high[j, k] & ~lune[k]
        if k == i >> 6:
            doubtful &= ~(one << np.uint64(i & 63))
        if k == j >> 6:
            doubtful &= ~(one << np.uint64(j & 63))
        while doubtful != np.uint64(0):
            bit = np.uint64(lowest_bit(doubtful))
            doubtful &= doubtful - one
            u = k * 64 + np.int64(bit)
            if is_older(source, i, u, key, i, j) and is_older(source, j, u, key, i, j):
                lune[k] |= one << bit
        size += num_bits(lune[k])
    return size


@njit(cache=True, nogil=True)
def _components(source, i, j, key, low, high, rest, front, relations, num_relations):
    """Append the relations of edge {i, j}: one per component of its lune `rest` but the first."""
    words = rest.shape[0]
    zero = np.uint64(0)
    one = np.uint64(1)
    front[:] = zero
    first = -1
    lowest = 0  # no vertex is left in the words below
    while True:
        # Everything reachable is done: the smallest vertex left opens a component.
        while lowest < words and rest[lowest] == zero:
            lowest += 1
        if lowest == words:
            return relations, num_relations
        vertex = lowest * 64 + lowest_bit(rest[lowest])
        rest[lowest] &= rest[lowest] - one
        if first < 0:
            first = vertex
        else:
            if num_relations == relations.shape[0]:
                relations = _taller(relations)
            relations[num_relations, 0] = i
            relations[num_relations, 1] = j
            relations[num_relations, 2] = first
            relations[num_relations, 3] = vertex
            num_relations += 1
        # Remove all that can be reached from it.
        while True:
            left = zero
            ahead = zero
            for k in range(words):
                fresh = rest[k] & low[vertex, k]
                doubtful = rest[k] & high[vertex, k] & ~fresh
                while doubtful != zero:
                    bit = np.uint64(lowest_bit(doubtful))
                    doubtful &= doubtful - one
                    if is_older(source, vertex, k * 64 + np.int64(bit), key, i, j):
                        fresh |= one << bit
                front[k] |= fresh
                rest[k] ^= fresh
                left |= rest[k]
                ahead |= front[k]
            if left == zero:
                return relations, num_relations
            if ahead == zero:
                break
            k = 0
            while front[k] == zero:
                k += 1
            vertex = k * 64 + lowest_bit(front[k])
            front[k] &= front[k] - one


@njit(cache=True, nogil=True)
def _taller(rows):
    """Return a copy with twice the rows."""
    grown = np.empty((2 * rows.shape[0], rows.shape[1]), rows.dtype)
    grown[: rows.shape[0]] = rows
    return grown


@njit(cache=True, nogil=True)
def keys_of_edges(source, edges, keys):
    """Write the keys of edges (E, 2)."""
    for e in range(edges.shape[0]):
        keys[e] = key_between(source, edges[e, 0], edges[e, 1])


@njit(cache=True, nogil=True)
def lune_vertices(source, near, far, codes, lengths, sides):
    """Write the length of each edge, and its two sides to a vertex of its lune as i * N + j.

    `near` and `far` are snapshots; all the edges are in `far`. Returns whether an edge has an
    empty lune.
    """
    n = near.shape[0]
    for e in range(codes.shape[0]):
        i = codes[e] // n
        j = codes[e] - i * n
        key = key_between(source, i, j)
        w = _nearest_in_lune(source, near, i, j, key)
        if w < 0:
            w = _nearest_in_lune(source, far, i, j, key)
        if w < 0:
            return True
        lengths[e] = length_of(key)
        sides[e, 0] = min(i, w) * n + max(i, w)
        sides[e, 1] = min(j, w) * n + max(j, w)
    return False


@njit(cache=True, nogil=True)
def _nearest_in_lune(source, snapshot, i, j, key):
    """Return the vertex of the lune of {i, j} whose farther end is nearest, of those it joins.

    -1 if the snapshot joins none of the lune's vertices to both ends.
    """
    one = np.uint64(1)
    best = key
    nearest = -1
    for k in range(snapshot.shape[1]):
        word = snapshot[i, k] & snapshot[j, k]
        while word != np.uint64(0):
            w = k * 64 + lowest_bit(word)
            word &= word - one
            farther = max(key_between(source, i, w), key_between(source, j, w))
            if farther > best or w == i or w == j:
                continue
            if farther < best:
                best = farther
                nearest = w
            elif (
                nearest < 0
                and is_older(source, i, w, key, i, j)
                and is_older(source, j, w, key, i, j)
            ):
                nearest = w
    return nearest


@njit(cache=True, nogil=True)
def first_uncertain_lune(source, low, bottom, cutoff, neighbors, searches_left, first, last):
    """Return the key of an edge in (bottom, cutoff] with an empty lune, or bottom if none has.

    Looks at edges i < j with i in [first, last). `low` is the snapshot of the edges up to
    `bottom`: any vertex that it joins to both ends is in the lune. `neighbors` (N, M) are joined
    to each vertex by it. As `lunes_cpu.first_uncertain_lune`, it returns bottom + 1 where more
    than `searches_left` lunes have to be searched in full.
    """
    n, words = low.shape
    zero = np.uint64(0)
    one = np.uint64(1)
    stride = 1 + n // 32
    is_open = np.empty(words, np.uint64)
    for i in range(first, last):
        begin = i >> 6
        for k in range(begin, words):
            is_open[k] = ~low[i, k]
        is_open[begin] &= _beyond(i)
        if n & 63 != 0:
            is_open[words - 1] &= (one << np.uint64(n & 63)) - one
        left = one
        tried = 0
        for k in range(words):
            word = low[i, k]
            while word != zero and left != zero and tried < _COVERS:
                v = k * 64 + lowest_bit(word)
                word &= word - one
                tried += 1
                left = zero
                for m in range(begin, words):
                    is_open[m] &= ~low[v, m]
                    left |= is_open[m]
        if left == zero:
            continue
        for k in range(begin, words):
            while is_open[k] != zero:
                j = k * 64 + lowest_bit(is_open[k])
                is_open[k] &= is_open[k] - one
                key = key_between(source, i, j)
                if key > cutoff:
                    continue
                met = False
                for m in range(neighbors.shape[1]):
                    w = neighbors[i, m]
                    if w >= 0 and key_between(source, w, j) < key:
                        met = True
                        break
                if not met:
                    for m in range(neighbors.shape[1]):
                        w = neighbors[j, m]
                        if w >= 0 and key_between(source, w, i) < key:
                            met = True
                            break
                if not met:
                    for w in range(0, n, stride):
                        met |= key_between(source, i, w) < key and key_between(source, j, w) < key
                if met:
                    continue
                searches_left -= 1
                if searches_left < 0:
                    return bottom + source.stored.dtype.type(1)
                for w in range(n):
                    if (
                        w != i
                        and w != j
                        and is_older(source, i, w, key, i, j)
                        and is_older(source, j, w, key, i, j)
                    ):
                        met = True
                        break
                if not met:
                    return key
    return bottom

"""One sweep over the sorted edges of a small cloud: merges, births and deaths as they come.

A lune is a few words of bits, and every edge gets its *chain*, the births it is homologous to, as
soon as it has its rank: that of the two edges that join its ends to a vertex of its lune, added up.
So a relation is the sum of four chains that are known (docs/numerics.md). Nothing here depends on
the lengths' type. Legend: `edge` i * 256 + j with i < j; `slot` of an edge its place in the lower
triangle, j * (j - 1) / 2 + i; `width` how many words a bitset over births has.
"""

import numpy as np

from fast.kernels.edges.small_edges_cpu import merge
from fast.kernels.numba_cpu import helper, highest_bit, lowest_bit, taller

MOST_WORDS = 16  # of a bitset over births: with more than 1,024 they would take much memory

_ZERO, _ONE = np.uint64(0), np.uint64(1)
_SIX, _EIGHT = np.uint64(6), np.uint64(8)
_LOW_SIX, _LOW_EIGHT = np.uint64(63), np.uint64(255)


@helper
def sweep(
    edges, levels, count, n, lanes, adjacency, parent, hubs,
    width, births, chains, rows, merges, pairs, num_pairs,
):  # fmt: skip
    """Go through the first `count` edges; returns the numbers found and the buffers, if grown.

    Parameters
    ----------
    edges, levels
        The sorted edges, and for each how many different lengths above 0 there are up to its own.
    lanes
        A tuple as long as a row of `adjacency`: the compiler knows its length, which is all that
        is read.
    width
        Words of a bitset over births to begin with.
    births, chains, rows
        Buffers: the birth edges' positions; each slot's chain; the reduced relation that killed a
        birth, which is its youngest. A relation is reduced from its youngest birth down.
    merges
        Where H0's death edges go.
    pairs, num_pairs
        Rows (birth edge, death edge, apex), of which `num_pairs` are taken.

    Returns
    -------
    tuple
        Numbers of merges, trees and births alive (-1: more births than MOST_WORDS have room for),
        `num_pairs`, the width for the next cloud, `births`, `chains`, `rows`, `pairs`.
    """
    words = len(lanes)
    here = np.int64(0)  # not a literal: numba would compile its users for it alone
    begin = num_pairs
    joined = np.empty(words, np.uint64)
    rest = np.empty(words, np.uint64)
    total = np.empty(MOST_WORDS, np.uint64)
    is_dead = np.zeros(MOST_WORDS, np.uint64)
    num_births = 0
    num_trees = n
    num_merges = 0
    alive = 0
    for e in range(count):
        edge = np.uint64(edges[e])
        i = edge >> _EIGHT
        j = edge & _LOW_EIGHT
        slot = _slot(i, j)
        left = _ZERO
        for k in range(words):
            left |= adjacency[i, k] & adjacency[j, k]
        if left == _ZERO:
            joins = num_trees > 1 and merge(parent, i, j)
            if joins:
                num_trees -= 1
                if levels[e] > 0:
                    merges[num_merges] = edges[e]
                    num_merges += 1
            elif num_births == 64 * width:
                if width == MOST_WORDS:
                    return 0, n, -1, begin, 1, births, chains, rows, pairs
                births, chains, rows = _widen(
                    births, chains, rows, width, edges, e, levels.shape[0]
                )
                width *= 2
            _clear(chains, slot, width)
            if not joins:
                births[num_births] = e
                chains[slot * width + (num_births >> 6)] = _ONE << np.uint64(num_births & 63)
                num_births += 1
                alive += 1
        else:
            hub = hubs[i]
            if not _in_lune(adjacency, i, j, hub):
                hub = hubs[j]
                if not _in_lune(adjacency, i, j, hub):
                    hub = _lowest_in_lune(adjacency, i, j, lanes)
            if width == 1:
                chains[slot] = chains[_slot(i, hub)] ^ chains[_slot(j, hub)]
            else:
                _clear(chains, slot, width)
                _add(chains, slot, chains, _slot(i, hub), width)
                _add(chains, slot, chains, _slot(j, hub), width)
            left = _ZERO
            for k in range(words):
                left |= adjacency[i, k] & adjacency[j, k] & ~adjacency[hub, k]
            if alive == 0 or left == _ZERO:
                hubs[i] = hub
                hubs[j] = hub
            elif _is_connected(adjacency, i, j, hub, rest, joined, lanes):
                hubs[i] = i  # another hub may do better next time, and i is never in its own lunes
                hubs[j] = j
            else:
                hubs[i] = i
                hubs[j] = j
                # Component by component, in the order of their smallest vertices.
                for k in range(words):
                    rest[k] = adjacency[i, k] & adjacency[j, k]
                first = _take_component(adjacency, rest, joined)
                while alive > 0:
                    w = _take_component(adjacency, rest, joined)
                    if w < 0:
                        break
                    _clear(total, here, width)
                    for apex in (first, w):
                        _add(total, here, chains, _slot(i, np.uint64(apex)), width)
                        _add(total, here, chains, _slot(j, np.uint64(apex)), width)
                    birth = _reduce(total, width, rows, is_dead)
                    if birth >= 0:
                        alive -= 1
                        if levels[births[birth]] < levels[e]:
                            if num_pairs == pairs.shape[0]:
                                pairs = taller(pairs, 2 * num_pairs)
                            # Pairs of one death are in the order of their births.
                            place = num_pairs
                            while (
                                place > begin
                                and pairs[place - 1, 1] == e
                                and pairs[place - 1, 0] > births[birth]
                            ):
                                for column in range(3):
                                    pairs[place, column] = pairs[place - 1, column]
                                place -= 1
                            pairs[place, 0] = births[birth]
                            pairs[place, 1] = e
                            pairs[place, 2] = w
                            num_pairs += 1
        adjacency[i, j >> _SIX] |= _ONE << (j & _LOW_SIX)
        adjacency[j, i >> _SIX] |= _ONE << (i & _LOW_SIX)
    for p in range(begin, num_pairs):
        pairs[p, 0] = edges[pairs[p, 0]]
        pairs[p, 1] = edges[pairs[p, 1]]
    while width > 1 and num_births <= 32 * width:
        width //= 2  # the next cloud is likely to have as many
    return num_merges, num_trees, alive, num_pairs, width, births, chains, rows, pairs


@helper
def _slot(a, b):
    """Return where the lower triangle has {a, b}."""
    high = max(a, b)
    return np.int64(((high * (high - _ONE)) >> _ONE) + min(a, b))


@helper
def _clear(bits, slot, width):
    """Set the bitset of `slot` to zero."""
    for k in range(slot * width, (slot + 1) * width):
        bits[k] = _ZERO


@helper
def _add(target, slot, chains, other, width):
    """Add the chain of `other` to `target`'s of `slot`, modulo 2."""
    for k in range(width):
        target[slot * width + k] ^= chains[other * width + k]


@helper
def _in_lune(adjacency, i, j, vertex):
    """Whether both i and j are joined to a vertex."""
    word = vertex >> _SIX
    return ((adjacency[i, word] & adjacency[j, word]) >> (vertex & _LOW_SIX)) & _ONE != _ZERO


@helper
def _lowest_in_lune(adjacency, i, j, lanes):
    """Return the smallest vertex joined to both i and j; there is one."""
    for k in range(len(lanes)):
        lune = adjacency[i, k] & adjacency[j, k]
        if lune != _ZERO:
            return np.uint64(k * 64 + lowest_bit(lune))
    return _ZERO


@helper
def _is_connected(adjacency, i, j, hub, rest, joined, lanes):
    """Whether the lune is connected for sure: each straggler meets a neighbor of the hub's."""
    words = len(lanes)
    for k in range(words):
        lune = adjacency[i, k] & adjacency[j, k]
        joined[k] = lune & adjacency[hub, k]
        rest[k] = lune ^ joined[k]
    while True:
        k = 0
        while k < words and rest[k] == _ZERO:
            k += 1
        if k == words:
            return True
        straggler = np.uint64(k * 64 + lowest_bit(rest[k]))
        met = _ZERO
        for k in range(words):
            met |= joined[k] & adjacency[straggler, k]
            rest[k] &= ~adjacency[straggler, k]
        if met == _ZERO:
            return False


@helper
def _take_component(adjacency, rest, front):
    """Remove the component of the smallest vertex from `rest`; returns that vertex, or -1."""
    words = rest.shape[0]
    smallest = -1
    for k in range(words):
        front[k] = _ZERO
        if smallest < 0 and rest[k] != _ZERO:
            smallest = k * 64 + lowest_bit(rest[k])
            front[k] = rest[k] & (~rest[k] + _ONE)
            rest[k] ^= front[k]
    if smallest < 0:
        return -1
    k = 0
    while k < words:
        if front[k] == _ZERO:
            k += 1
            continue
        vertex = np.uint64(k * 64 + lowest_bit(front[k]))
        front[k] &= front[k] - _ONE
        left = _ZERO
        for m in range(words):
            fresh = rest[m] & adjacency[vertex, m]
            front[m] |= fresh
            rest[m] ^= fresh
            left |= rest[m]
        if left == _ZERO:
            break
        k = 0
    return smallest


@helper
def _reduce(total, width, rows, is_dead):
    """Reduce a relation; returns the birth it kills, with `total` as its row, or -1."""
    word = width - 1
    while word >= 0:
        if total[word] == _ZERO:
            word -= 1
            continue
        bit = highest_bit(total[word])
        row = (word * 64 + bit) * width
        if (is_dead[word] >> np.uint64(bit)) & _ONE == _ZERO:
            is_dead[word] |= _ONE << np.uint64(bit)
            for k in range(width):
                rows[row + k] = total[k]
            return word * 64 + bit
        for k in range(word + 1):
            total[k] ^= rows[row + k]
    return -1


@helper
def _widen(births, chains, rows, width, edges, count, most_edges):
    """Return buffers for twice the births: bitsets of 2 * width words."""
    more_births = np.empty(2 * 64 * width, np.uint16)
    for birth in range(64 * width):
        more_births[birth] = births[birth]
    more_chains = np.empty(most_edges * 2 * width, np.uint64)
    for e in range(count):
        edge = np.uint64(edges[e])
        slot = _slot(edge >> _EIGHT, edge & _LOW_EIGHT)
        for k in range(width):
            more_chains[2 * slot * width + k] = chains[slot * width + k]
            more_chains[(2 * slot + 1) * width + k] = _ZERO
    more_rows = np.empty(2 * 64 * width * 2 * width, np.uint64)
    for birth in range(64 * width):
        for k in range(width):
            more_rows[2 * birth * width + k] = rows[birth * width + k]
            more_rows[(2 * birth + 1) * width + k] = _ZERO
    return more_births, more_chains, more_rows

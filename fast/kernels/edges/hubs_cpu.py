"""Hubs: for each vertex a neighbor that nearly all its other neighbors are joined to.

Let the hub w of a be joined to b. Then w is in the lune of {a, b}, and the lune is connected if b
is joined to none of the neighbors of a that w is not joined to. Those are *missing*, and few: the
words of a's row that have any are kept in a list, and one look into b's row at these words settles
the edge. A list is short where w is more central than a is, which in a cluster one vertex is to
nearly all others. Legend: `a`, `b`, `w` places.
"""

from typing import NamedTuple

import numpy as np

from fast.kernels.numba_cpu import compiled, helper, lowest_bit

_ROOM = 64  # words of a list
_MOST_AT_START = 48  # more, and a hub is none: there must be room for edges to come
LEAST_POINTS = 6144  # with fewer, a row has not many more words than a list
_MOST_STRAGGLERS = 8  # one by one; more are joined faster together


class Hubs(NamedTuple):
    """The hubs of N vertices, as far as they have one."""

    places: np.ndarray  # (N,) int64, -1 without a hub
    counts: np.ndarray  # (N,) int64 words in the list
    words: np.ndarray  # (N, ROOM) uint16, which words those are
    missing: np.ndarray  # (N, ROOM) uint64, their bits


def no_hubs(n):
    """Return N vertices without a hub; for N = 0 nobody is to have one."""
    return Hubs(
        np.full(n, -1),
        np.zeros(n, np.int64),
        np.empty((n, _ROOM), np.uint16),
        np.empty((n, _ROOM), np.uint64),
    )


@compiled
def choose_hubs(adjacency, candidates, hubs):
    """Give each vertex the best hub among some places and the one it has, or none."""
    words = adjacency.shape[1]
    zero = np.uint64(0)
    one = np.uint64(1)
    for a in range(hubs.places.shape[0]):
        best = hubs.places[a]
        least = _MOST_AT_START + 1
        if best >= 0:
            least = 0
            for k in range(words):
                least += (adjacency[a, k] & ~adjacency[best, k]) != zero
        for w in candidates:
            if w != a and (adjacency[a, w >> 6] >> np.uint64(w & 63)) & one != zero:
                count = 0
                for k in range(words):
                    count += (adjacency[a, k] & ~adjacency[w, k]) != zero
                if count < least:
                    least = count
                    best = w
        hubs.places[a] = -1
        if least <= _MOST_AT_START:
            hubs.places[a] = best
            count = 0
            for k in range(words):
                missing = adjacency[a, k] & ~adjacency[best, k]
                if missing != zero:
                    hubs.words[a, count] = k
                    hubs.missing[a, count] = missing
                    count += 1
            hubs.counts[a] = count


@helper
def enter_edge(a, b, adjacency, hubs):
    """Enter each end of a new edge where the other end's hub is not joined to it."""
    for p, q in ((a, b), (b, a)):
        if hubs.places[p] < 0:
            continue
        w = np.uint64(hubs.places[p])
        if (adjacency[q, w >> np.uint64(6)] >> (w & np.uint64(63))) & np.uint64(1) != np.uint64(0):
            continue
        k = q >> np.uint64(6)
        count = hubs.counts[p]
        slot = 0
        while slot < count and hubs.words[p, slot] != k:
            slot += 1
        if slot == _ROOM:
            hubs.places[p] = -1
            continue
        if slot == count:
            hubs.words[p, slot] = k
            hubs.missing[p, slot] = np.uint64(0)
            hubs.counts[p] = count + 1
        hubs.missing[p, slot] |= np.uint64(1) << (q & np.uint64(63))


@helper
def join_stragglers(a, b, adjacency, hubs):
    """Whether those missing at a that b is joined to are joined to the rest of the lune for sure.

    Each must be joined to a vertex of the lune that a's hub is joined to. Those that the hub has
    been joined to by now are taken off the list.
    """
    zero = np.uint64(0)
    hub = hubs.places[a]
    stragglers = 0
    slot = 0
    while slot < hubs.counts[a]:
        k = np.int64(hubs.words[a, slot])
        missing = hubs.missing[a, slot] & ~adjacency[hub, k]
        if missing == zero:
            last = hubs.counts[a] - 1
            hubs.counts[a] = last
            hubs.words[a, slot] = hubs.words[a, last]
            hubs.missing[a, slot] = hubs.missing[a, last]
            continue
        hubs.missing[a, slot] = missing
        rest = missing & adjacency[b, k]
        while rest != zero:
            straggler = k * 64 + lowest_bit(rest)
            rest &= ~adjacency[straggler, k]  # what it is joined to comes with it
            stragglers += 1
            if stragglers > _MOST_STRAGGLERS or not meets(a, b, hub, straggler, adjacency):
                return False
        slot += 1
    return True


@helper
def meets(a, b, hub, straggler, adjacency):
    """Whether a vertex of the lune of a and b is joined to the hub and to the straggler."""
    words = np.uint64(adjacency.shape[1])
    begin = np.uint64(hub) >> np.uint64(6)  # near the hub most words have vertices of the lune
    for step in range(words):
        k = begin + step
        if k >= words:
            k -= words
        both = adjacency[a, k] & adjacency[b, k]
        if both & adjacency[hub, k] & adjacency[straggler, k] != np.uint64(0):
            return True
    return False

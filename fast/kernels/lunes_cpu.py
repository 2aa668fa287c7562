"""Lunes of the edges: which are empty, and where a lune falls apart (docs/numerics.md).

The lune of an edge is the set of vertices joined to both its ends by older edges. Adjacency is a
bitset row a vertex, so that a lune is one AND.
"""

import numpy as np
from numba import njit

from fast.kernels.bits_cpu import lowest_bit


@njit(cache=True, nogil=True)
def insert_edges(edges, start, stop, adjacency, n):
    """Set the bits of edges[start:stop]."""
    one = np.uint64(1)
    for e in range(start, stop):
        i = edges[e] // n
        j = edges[e] - i * n
        adjacency[i, j >> 6] |= one << np.uint64(j & 63)
        adjacency[j, i >> 6] |= one << np.uint64(i & 63)


@njit(cache=True, nogil=True)
def examine_lunes(edges, start, stop, adjacency, n):
    """Return the positions of empty-luned edges, and (position, w1, wk) of each relation.

    `adjacency` holds the edges before `start` and is brought up to `stop`.
    """
    words = adjacency.shape[1]
    one = np.uint64(1)
    zero = np.uint64(0)
    rest = np.empty(words, np.uint64)
    front = np.empty(words, np.uint64)
    empties = np.empty(256, np.int64)
    num_empties = 0
    relations = np.empty((256, 3), np.int64)
    num_relations = 0
    for e in range(start, stop):
        i = edges[e] // n
        j = edges[e] - i * n
        seen = zero
        for k in range(words):
            word = adjacency[i, k] & adjacency[j, k]
            rest[k] = word
            seen |= word
        if seen == zero:
            if num_empties == empties.shape[0]:
                empties = _doubled(empties)
            empties[num_empties] = e
            num_empties += 1
        else:
            k = 0
            while rest[k] == zero:
                k += 1
            w = k * 64 + lowest_bit(rest[k])
            rest[k] &= ~(one << np.uint64(w & 63))
            first = w
            for k in range(words):
                front[k] = zero
            while True:
                left = zero
                ahead = zero
                for k in range(words):
                    fresh = rest[k] & adjacency[w, k]
                    front[k] |= fresh
                    rest[k] ^= fresh
                    left |= rest[k]
                    ahead |= front[k]
                if left == zero:
                    break
                if ahead != zero:
                    k = 0
                    while front[k] == zero:
                        k += 1
                    w = k * 64 + lowest_bit(front[k])
                    front[k] &= ~(one << np.uint64(w & 63))
                else:
                    # Everything reachable is done: the smallest vertex left opens a component.
                    k = 0
                    while rest[k] == zero:
                        k += 1
                    w = k * 64 + lowest_bit(rest[k])
                    rest[k] &= ~(one << np.uint64(w & 63))
                    if num_relations == relations.shape[0]:
                        relations = _doubled_rows(relations)
                    relations[num_relations, 0] = e
                    relations[num_relations, 1] = first
                    relations[num_relations, 2] = w
                    num_relations += 1
        adjacency[i, j >> 6] |= one << np.uint64(j & 63)
        adjacency[j, i >> 6] |= one << np.uint64(i & 63)
    return empties[:num_empties], relations[:num_relations]


@njit(cache=True, nogil=True)
def all_lunes_met(keys, low, high, adjacency, candidate):
    """Whether every edge with low < key <= high already has a vertex in its lune.

    `candidate` (2,) is the edge that failed last time, tried first; the failing edge is kept there.
    """
    n = keys.shape[0]
    words = adjacency.shape[1]
    zero = np.uint64(0)
    i = candidate[0]
    j = candidate[1]
    if low < keys[i, j] and keys[i, j] <= high:
        met = zero
        for k in range(words):
            met |= adjacency[i, k] & adjacency[j, k]
        if met == zero:
            return False
    for i in range(n):
        for j in range(i + 1, n):
            if low < keys[i, j] and keys[i, j] <= high:
                found = False
                for k in range(words):
                    if adjacency[i, k] & adjacency[j, k] != zero:
                        found = True
                        break
                if not found:
                    candidate[0] = i
                    candidate[1] = j
                    return False
    return True


@njit(cache=True, nogil=True)
def _doubled(items):
    """Return a copy with twice the room."""
    grown = np.empty(2 * items.shape[0], items.dtype)
    grown[: items.shape[0]] = items
    return grown


@njit(cache=True, nogil=True)
def _doubled_rows(items):
    """Return a copy with twice the rows."""
    grown = np.empty((2 * items.shape[0], items.shape[1]), items.dtype)
    grown[: items.shape[0]] = items
    return grown

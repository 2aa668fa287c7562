"""Edges of a large cloud that are still to come and have an empty lune.

An edge beyond those in the adjacency has a vertex in its lune if the adjacency joins one to both
ends: a few *witnesses* that it joins to many settle most edges. `i`, `j` and `w` are vertices.
"""

import numpy as np

from fast.kernels.edges.edge_keys_cpu import is_older, key_between, num_vertices
from fast.kernels.numba_cpu import compiled, helper, longer, num_bits

_NEAREST_WITNESSES = 8  # that are tried for all edges of a vertex at once


@compiled
def busiest_places(adjacency, groups):
    """Return the place with most neighbors of each group of places that follow each other."""
    n = adjacency.shape[0]
    best = np.empty(groups, np.int64)
    for g in range(groups):
        most = -1
        for a in range(g * n // groups, (g + 1) * n // groups):
            count = 0
            for k in range(adjacency.shape[1]):
                count += num_bits(adjacency[a, k])
            if count > most:
                most = count
                best[g] = a
    return best


@compiled
def joined_to(adjacency, place, witnesses):
    """Return (N, M / 64) bitsets: which of the M witnesses each vertex is joined to."""
    n = adjacency.shape[0]
    joined = np.zeros((n, (witnesses.shape[0] + 63) // 64), np.uint64)
    for i in range(n):
        for m in range(witnesses.shape[0]):
            w = witnesses[m]
            bit = (adjacency[place[i], w >> 6] >> np.uint64(w & 63)) & np.uint64(1)
            joined[i, m >> 6] |= bit << np.uint64(m & 63)
    return joined


@compiled
def later_empty_lunes(
    source, joined, witnesses, keys, bottom, cutoff, neighbors, rows, most_searches
):
    """Return the edges in (bottom, cutoff] with an empty lune as i * N + j, and how many searches.

    Looks at vertices i < j with i among `rows`. The `neighbors` of each vertex, and the witnesses
    that `joined` (see `joined_to`) says, are joined to it by edges up to `bottom`: one that is so
    to both is in the lune, and a neighbor that is nearer to the other end. To the vertices
    `witnesses` (M,), the `keys` (N, M) of all edges are known. The lunes left are searched in
    full; with more than `most_searches` it ends early.
    """
    n = joined.shape[0]
    is_stored = source.stored.shape[0] > 0
    closest = np.empty(n if is_stored else 0, source.stored.dtype)
    found = np.empty(16, np.int64)
    num_found = 0
    searches = 0
    for i in rows:
        if is_stored:  # for all j at once, the longer side by way of a vertex near i
            row = source.stored[i]
            closest[:] = cutoff
            for w in neighbors[i]:
                if w >= 0:
                    other = source.stored[w]
                    for j in range(np.uint64(i + 1), np.uint64(n)):  # unsigned, to vectorize
                        closest[j] = min(closest[j], other[j])
            before = bottom - bottom  # of the key's type
            for _ in range(_NEAREST_WITNESSES):
                m = _next_above(keys[i], before)
                before = keys[i, m]
                other = source.stored[witnesses[m]]
                for j in range(np.uint64(i + 1), np.uint64(n)):
                    closest[j] = min(closest[j], max(before, other[j]))
        for j in range(np.uint64(i + 1), np.uint64(n)):
            if is_stored and (closest[j] < row[j] or row[j] <= bottom):
                continue
            met = False
            for k in range(joined.shape[1]):
                if joined[i, k] & joined[j, k] != np.uint64(0):
                    met = True
                    break
            if met:
                continue
            key = key_between(source, i, j)
            if key <= bottom or key > cutoff:
                continue
            if _has_nearer_neighbor(source, i, np.int64(j), key, neighbors):
                continue
            if _has_witness(keys, i, j, key):
                continue
            searches += 1
            if searches > most_searches:
                return found[:num_found], searches
            if not _has_vertex(source, i, np.int64(j), key):
                if num_found == found.shape[0]:
                    found = longer(found, 2 * num_found)
                found[num_found] = i * n + j
                num_found += 1
    return found[:num_found], searches


@helper
def _next_above(keys, before):
    """Return where the least key above `before` is, or the last one."""
    best = keys.shape[0] - 1
    for m in range(keys.shape[0]):
        if keys[m] > before and (keys[m] < keys[best] or keys[best] <= before):
            best = m
    return best


@helper
def _has_nearer_neighbor(source, i, j, key, neighbors):
    """Whether a neighbor of i or j is nearer to the other one than that is, by its key."""
    for m in range(neighbors.shape[1]):
        w = neighbors[i, m]
        v = neighbors[j, m]
        if (w >= 0 and key_between(source, w, j) < key) or (
            v >= 0 and key_between(source, v, i) < key
        ):
            return True
    return False


@helper
def _has_witness(keys, i, j, key):
    """Whether a witness is nearer to both i and j than they are to each other."""
    for begin in range(np.uint64(0), np.uint64(keys.shape[1]), np.uint64(16)):
        least = key
        for m in range(begin, min(begin + np.uint64(16), np.uint64(keys.shape[1]))):
            least = min(least, max(keys[i, m], keys[j, m]))
        if least < key:
            return True
    return False


@helper
def _has_vertex(source, i, j, key):
    """Whether the lune of {i, j}, i < j, has a vertex."""
    for w in range(num_vertices(source)):
        if (
            w not in (i, j)
            and is_older(source, i, w, key, i, j)
            and is_older(source, j, w, key, i, j)
        ):
            return True
    return False

"""Lunes of the edges: which are empty, and where a lune falls apart (docs/numerics.md).

The lune of an edge is the set of vertices joined to both its ends by older edges. Adjacency is a
bitset row per vertex, so that a lune is one AND.
"""

import numpy as np

from fast.kernels.numba_cpu import compiled, helper, longer, lowest_bit, taller


def self_loops(n):
    """Return the adjacency of a cloud without edges: every vertex is joined to itself.

    No lune is changed by that, and a vertex then counts as reached from itself.
    """
    adjacency = np.zeros((n, (n + 63) // 64), np.uint64)
    vertices = np.arange(n)
    adjacency[vertices, vertices >> 6] = np.uint64(1) << (vertices & 63).astype(np.uint64)
    return adjacency


@compiled
def insert_edges(edges, start, stop, adjacency, n):
    """Set the bits of edges[start:stop]."""
    one = np.uint64(1)
    for e in range(start, stop):
        i = edges[e] // n
        j = edges[e] - i * n
        adjacency[i, j >> 6] |= one << np.uint64(j & 63)
        adjacency[j, i >> 6] |= one << np.uint64(i & 63)


@compiled
def examine_lunes(edges, known, start, stop, adjacency, n, most_relations):
    """Examine edges[start:stop]; returns (empties, relations, reached).

    `empties` are the positions of empty-luned edges, `relations` has (position, w1, wk) of each
    relation (int32), and with `most_relations` of them or more, edges from `reached` on are left.
    `adjacency`, in which every vertex is joined to itself, holds the edges of earlier chunks and
    edges[:known], and is brought up to `reached`.

    The usual lune is settled here, without a call: numba counts references at each call that
    takes an array, which would cost more than the test itself. One of its vertices, the hub,
    joins the lune's vertices next to it; then each straggler that meets one of those brings its
    own neighbors. `hubs[v]` remembers a vertex that served well at v; a guess that changes no
    result. What is not settled so is searched properly.
    """
    words = adjacency.shape[1]
    zero = np.uint64(0)
    one = np.uint64(1)
    six = np.uint64(6)
    low_bits = np.uint64(63)
    empties = np.empty(256, np.int64)
    num_empties = 0
    relations = np.empty((256, 3), np.int32)
    num_relations = np.int64(0)
    hubs = np.empty(n, np.int64)
    for v in range(n):
        hubs[v] = -1
    joined = np.empty(words, np.uint64)
    rest = np.empty(words, np.uint64)
    insert_edges(edges, known, start, adjacency, n)
    reached = stop
    for e in range(start, stop):
        # Unsigned: numba then needs no code for negative indices and floored division.
        i = np.uint64(edges[e]) // np.uint64(n)
        j = np.uint64(edges[e]) - i * np.uint64(n)
        left = zero
        for k in range(words):
            left |= adjacency[i, k] & adjacency[j, k]
        if left == zero:
            if num_empties == empties.shape[0]:
                empties = longer(empties, 2 * num_empties)
            empties[num_empties] = e
            num_empties += 1
        else:
            known = hubs[i]
            hub = np.uint64(known)
            lune = zero if known < 0 else adjacency[i, hub >> six] & adjacency[j, hub >> six]
            if (lune >> (hub & low_bits)) & one == zero:
                known = hubs[j]
                hub = np.uint64(known)
                lune = zero if known < 0 else adjacency[i, hub >> six] & adjacency[j, hub >> six]
                if (lune >> (hub & low_bits)) & one == zero:
                    k = 0
                    while adjacency[i, k] & adjacency[j, k] == zero:
                        k += 1
                    hub = np.uint64(k * 64 + lowest_bit(adjacency[i, k] & adjacency[j, k]))
            left = zero
            for k in range(words):  # nothing is stored: this settles most edges, and must be fast
                left |= adjacency[i, k] & adjacency[j, k] & ~adjacency[hub, k]
            sweeps = 0
            met = one
            if left != zero:
                for k in range(words):
                    lune = adjacency[i, k] & adjacency[j, k]
                    joined[k] = lune & adjacency[hub, k]
                    rest[k] = lune ^ joined[k]
                while left != zero and met != zero:
                    k = 0
                    while rest[k] == zero:
                        k += 1
                    straggler = np.uint64(k * 64 + lowest_bit(rest[k]))
                    met = zero
                    left = zero
                    for k in range(words):
                        met |= joined[k] & adjacency[straggler, k]
                        others = rest[k] & ~adjacency[straggler, k]
                        rest[k] = others
                        left |= others
                    sweeps += 1
            if sweeps <= 2 and met != zero:
                hubs[i] = hub
                hubs[j] = hub
            else:  # another hub may do better next time
                hubs[i] = -1
                hubs[j] = -1
            if met == zero:
                relations, num_relations = _search(
                    e, i, j, adjacency, rest, joined, relations, num_relations
                )
        adjacency[i, j >> six] |= one << (j & low_bits)
        adjacency[j, i >> six] |= one << (i & low_bits)
        if num_relations >= most_relations:
            reached = e + 1
            break
    return empties[:num_empties], relations[:num_relations], reached


@helper
def _search(e, i, j, adjacency, rest, front, relations, num_relations):
    """Append the relations of edge {i, j} at position e: one per component of its lune but one."""
    words = rest.shape[0]
    zero = np.uint64(0)
    one = np.uint64(1)
    for k in range(words):
        rest[k] = adjacency[i, k] & adjacency[j, k]
        front[k] = zero
    first = np.uint64(64 * words)
    lowest = 0  # no vertex is left in the words below
    while True:
        # Everything reachable is done: the smallest vertex left opens a component.
        while lowest < words and rest[lowest] == zero:
            lowest += 1
        if lowest == words:
            return relations, num_relations
        vertex = np.uint64(lowest * 64 + lowest_bit(rest[lowest]))
        rest[lowest] &= rest[lowest] - one
        if first == np.uint64(64 * words):
            first = vertex
        else:
            if num_relations == relations.shape[0]:
                relations = taller(relations, 2 * num_relations)
            relations[num_relations, 0] = e
            relations[num_relations, 1] = first
            relations[num_relations, 2] = vertex
            num_relations += 1
        # Remove all that can be reached from it.
        while True:
            left = zero
            ahead = zero
            for k in range(words):
                fresh = rest[k] & adjacency[vertex, k]
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
            vertex = np.uint64(k * 64 + lowest_bit(front[k]))
            front[k] &= front[k] - one


@compiled
def nearest_neighbors(edges, n, most):
    """Return each vertex's first partners in the sorted edges, (N, most), -1 where it has less."""
    found = np.empty(n, np.int64)
    neighbors = np.empty((n, most), np.int64)
    for i in range(n):
        found[i] = 0
        for m in range(most):
            neighbors[i, m] = -1
    for edge in edges:
        i = edge // n
        j = edge - i * n
        if found[i] < neighbors.shape[1]:
            neighbors[i, found[i]] = j
            found[i] += 1
        if found[j] < neighbors.shape[1]:
            neighbors[j, found[j]] = i
            found[j] += 1
    return neighbors


@compiled
def first_uncertain_lune(keys, low, high, adjacency, neighbors, searches_left, first, last):
    """Return the key of an edge in (low, high] with an empty lune, or low if there is none.

    Looks at edges i < j with i in [first, last). Nearly all have a vertex in their lune that is
    easy to find: one joined to both ends by edges up to `low`, which `adjacency` and `neighbors`
    hold, a neighbor of one end that is nearer to the other end than it is, or one of a few
    vertices taken anywhere. Only `searches_left` edges are searched in full; beyond that it is too
    early to ask, and low + 1 is returned.
    """
    n = keys.shape[0]
    words = adjacency.shape[1]
    bottom = keys.dtype.type(low)
    top = keys.dtype.type(high)
    stride = 1 + n // 32
    from_i = np.empty(n, keys.dtype)  # key of the shortest edge from a neighbor of i to each j
    for i in range(first, last):
        for j in range(n):
            from_i[j] = top
        for m in range(neighbors.shape[1]):
            if neighbors[i, m] >= 0:
                w = np.uint64(neighbors[i, m])
                for j in range(np.uint64(n)):  # unsigned, or it would not vectorize
                    from_i[j] = min(from_i[j], keys[w, j])
        for j in range(np.uint64(i + 1), np.uint64(n)):
            key = keys[i, j]
            if from_i[j] >= key and bottom < key and key <= top:
                met = False
                for k in range(words):
                    if adjacency[i, k] & adjacency[j, k] != np.uint64(0):
                        met = True
                        break
                if not met:
                    for m in range(neighbors.shape[1]):
                        w = neighbors[j, m]
                        met |= w >= 0 and keys[w, i] < key
                if not met:
                    for w in range(0, n, stride):
                        met |= keys[i, w] < key and keys[j, w] < key
                if not met:
                    searches_left -= 1
                    if searches_left < 0:
                        return bottom + keys.dtype.type(1)
                    if nearest_in_lune(keys, i, np.int64(j)) < 0:
                        return key
    return bottom


@compiled
def nearest_in_lune(keys, a, b):
    """Find the vertex in the lune of {a, b} whose farther distance to a and b is least, or -1."""
    n = keys.shape[0]
    limit = keys[a, b]
    best = limit
    for w in range(n):
        # For a and b themselves this is the limit, so they drop out.
        best = min(best, max(keys[a, w], keys[b, w]))
    if best < limit:
        block = 64
        for begin in range(np.uint64(0), np.uint64(n), np.uint64(block)):
            end = min(begin + np.uint64(block), np.uint64(n))
            hits = 0
            for w in range(begin, end):  # counting vectorizes, stopping at the first does not
                hits += max(keys[a, w], keys[b, w]) == best
            if hits > 0:
                for w in range(begin, end):
                    if max(keys[a, w], keys[b, w]) == best:
                        return np.int64(w)
    for w in range(n):
        if (
            w != a
            and w != b
            and _is_older(keys[a, w], a, w, limit, a, b)
            and _is_older(keys[b, w], b, w, limit, a, b)
        ):
            return w
    return -1


@helper
def _is_older(key, i, j, other_key, k, m):
    """Whether edge {i, j} comes before edge {k, m} in the total order."""
    if key != other_key:
        return key < other_key
    if min(i, j) != min(k, m):
        return min(i, j) < min(k, m)
    return max(i, j) < max(k, m)

"""Lunes of a large cloud's edges: adjacency in blocks, of which most are empty.

As in `lunes_cpu`, a bitset row per vertex, in which it is joined to itself. But vertices are
placed in an order in which near ones are together (`nearby_order`), and a summary of each row says
which blocks of it hold a bit: a lune is looked for only where both rows have one. Legend: `a`, `b`
places, `i`, `j` the vertices there.
"""

import numpy as np

from fast.kernels.edges.edge_keys_cpu import is_older, key_between
from fast.kernels.edges.hubs_cpu import enter_edge, join_stragglers
from fast.kernels.numba_cpu import compiled, helper, length_of, longer, lowest_bit, taller

WORDS = 4  # of a block


def self_loops(n):
    """Return (adjacency, summary) of a cloud without edges."""
    blocks = -(-n // (64 * WORDS))
    adjacency = np.zeros((n, blocks * WORDS), np.uint64)
    summary = np.zeros((n, -(-blocks // 64)), np.uint64)
    places = np.arange(n)
    adjacency[places, places >> 6] = np.uint64(1) << (places & 63).astype(np.uint64)
    block = places // (64 * WORDS)
    summary[places, block >> 6] = np.uint64(1) << (block & 63).astype(np.uint64)
    return adjacency, summary


@compiled
def insert_edges(edges, adjacency, summary, place):
    """Set the bits of edges, i * N + j."""
    n = np.uint64(adjacency.shape[0])
    for e in range(edges.shape[0]):
        i = np.uint64(edges[e]) // n
        a = place[i]
        b = place[np.uint64(edges[e]) - i * n]
        _join(a, b, adjacency, summary)


@helper
def _join(a, b, adjacency, summary):
    """Set the bits of one edge."""
    one = np.uint64(1)
    six = np.uint64(6)
    low_bits = np.uint64(63)
    per_block = np.uint64(64 * WORDS)
    a = np.uint64(a)
    b = np.uint64(b)
    adjacency[a, b >> six] |= one << (b & low_bits)
    adjacency[b, a >> six] |= one << (a & low_bits)
    block = b // per_block
    summary[a, block >> six] |= one << (block & low_bits)
    block = a // per_block
    summary[b, block >> six] |= one << (block & low_bits)


@compiled
def examine_lunes(edges, adjacency, summary, place, order, hubs, most_relations):
    """Examine edges, in their order; returns (empties, relations), or too many of the latter.

    `empties` are the positions of empty-luned edges, `relations` has (position, w1, wk) of each
    relation. `adjacency` holds all earlier edges and is brought up, and so are `hubs`; with more
    than `most_relations` this ends early. Where no hub's list settles a lune, it is settled as in
    `lunes_cpu.examine_lunes`.
    """
    n = np.uint64(adjacency.shape[0])
    words = adjacency.shape[1]
    zero = np.uint64(0)
    one = np.uint64(1)
    six = np.uint64(6)
    low_bits = np.uint64(63)
    empties = np.empty(256, np.int64)
    num_empties = 0
    relations = np.empty((256, 3), np.int64)
    num_relations = 0
    hub_of, counts, listed, missing = hubs
    has_hubs = hub_of.shape[0] > 0
    recent = np.full(adjacency.shape[0], -1)
    where = np.empty(words // WORDS, np.uint64)
    joined = np.empty(words, np.uint64)
    rest = np.empty(words, np.uint64)
    for e in range(edges.shape[0]):
        i = np.uint64(edges[e]) // n
        a = np.uint64(place[i])
        b = np.uint64(place[np.uint64(edges[e]) - i * n])
        settled = False
        if has_hubs:
            for p, q in ((a, b), (b, a)):
                if hub_of[p] >= 0 and not settled:
                    w = np.uint64(hub_of[p])
                    if (adjacency[q, w >> six] >> (w & low_bits)) & one != zero:
                        left = zero
                        for slot in range(np.uint64(counts[p])):
                            left |= adjacency[q, listed[p, slot]] & missing[p, slot]
                        settled = left == zero or join_stragglers(p, q, adjacency, hubs)
        if settled:
            _join(a, b, adjacency, summary)
            enter_edge(a, b, adjacency, hubs)
            continue
        hub = np.uint64(0)
        found = False
        for known in (recent[a], recent[b]):
            if known >= 0:
                hub = np.uint64(known)
                both = adjacency[a, hub >> six] & adjacency[b, hub >> six]
                if (both >> (hub & low_bits)) & one != zero:
                    found = True
                    break
        if not found:
            for s in range(summary.shape[1]):
                some = summary[a, s] & summary[b, s]
                while some != zero and not found:
                    k = np.uint64(WORDS) * (np.uint64(64 * s) + np.uint64(lowest_bit(some)))
                    some &= some - one
                    for m in range(k, k + np.uint64(WORDS)):
                        both = adjacency[a, m] & adjacency[b, m]
                        if both != zero:
                            hub = (m << six) + np.uint64(lowest_bit(both))
                            found = True
                            break
                if found:
                    break
        if not found:
            if num_empties == empties.shape[0]:
                empties = longer(empties, 2 * empties.shape[0])
            empties[num_empties] = e
            num_empties += 1
            _join(a, b, adjacency, summary)
            if has_hubs:
                enter_edge(a, b, adjacency, hubs)
            continue
        left = zero
        for s in range(summary.shape[1]):
            some = summary[a, s] & summary[b, s]
            while some != zero:  # nothing is stored: this settles most edges, and must be fast
                k = np.uint64(WORDS) * (np.uint64(64 * s) + np.uint64(lowest_bit(some)))
                some &= some - one
                for m in range(np.uint64(WORDS)):
                    left |= adjacency[a, k + m] & adjacency[b, k + m] & ~adjacency[hub, k + m]
        sweeps = 0
        met = one
        if left != zero:
            count = zero
            for s in range(summary.shape[1]):
                some = summary[a, s] & summary[b, s]
                while some != zero:
                    k = np.uint64(WORDS) * (np.uint64(64 * s) + np.uint64(lowest_bit(some)))
                    some &= some - one
                    left = zero
                    for m in range(np.uint64(WORDS)):
                        lune = adjacency[a, k + m] & adjacency[b, k + m]
                        left |= lune
                        joined[count * np.uint64(WORDS) + m] = lune & adjacency[hub, k + m]
                        rest[count * np.uint64(WORDS) + m] = lune & ~adjacency[hub, k + m]
                    where[count] = k
                    count += np.uint64(left != zero)
            left = one
            first = 0
            while left != zero and met != zero:
                while rest[first] == zero:
                    first += 1
                k = where[first // WORDS] + np.uint64(first % WORDS)
                straggler = (k << six) + np.uint64(lowest_bit(rest[first]))
                met = zero
                left = zero
                for block in range(count):
                    k = where[block]
                    for m in range(np.uint64(WORDS)):
                        near = adjacency[straggler, k + m]
                        met |= joined[block * np.uint64(WORDS) + m] & near
                        others = rest[block * np.uint64(WORDS) + m] & ~near
                        rest[block * np.uint64(WORDS) + m] = others
                        left |= others
                sweeps += 1
        if sweeps <= 2 and met != zero:
            recent[a] = np.int64(hub)
            recent[b] = np.int64(hub)
        else:  # another hub may do better next time
            recent[a] = -1
            recent[b] = -1
        if met == zero:
            relations, num_relations = _search(
                e, a, b, adjacency, order, rest, joined, relations, num_relations
            )
            if num_relations > most_relations:
                break
        _join(a, b, adjacency, summary)
        if has_hubs:
            enter_edge(a, b, adjacency, hubs)
    return empties[:num_empties], relations[:num_relations]


@helper
def _search(e, a, b, adjacency, order, rest, front, relations, num_relations):
    """Append the relations of the edge at position e: one per component of its lune but one."""
    words = rest.shape[0]
    zero = np.uint64(0)
    one = np.uint64(1)
    for k in range(words):
        rest[k] = adjacency[a, k] & adjacency[b, k]
        front[k] = zero
    smallest = np.empty(16, np.int64)  # vertex of each component
    count = 0
    for lowest in range(words):
        while rest[lowest] != zero:
            u = lowest * 64 + lowest_bit(rest[lowest])
            rest[lowest] &= rest[lowest] - one
            least = np.int64(order[u])
            ahead = True
            while ahead:
                ahead = False
                for k in range(lowest, words):
                    fresh = rest[k] & adjacency[u, k]
                    rest[k] ^= fresh
                    front[k] |= fresh
                for k in range(lowest, words):
                    if front[k] != zero:
                        u = k * 64 + lowest_bit(front[k])
                        front[k] &= front[k] - one
                        least = min(least, np.int64(order[u]))
                        ahead = True
                        break
            if count == smallest.shape[0]:
                smallest = longer(smallest, 2 * smallest.shape[0])
            smallest[count] = least
            count += 1
    vertices = np.sort(smallest[:count])
    for c in range(1, count):
        if num_relations == relations.shape[0]:
            relations = taller(relations, 2 * num_relations)
        relations[num_relations, 0] = e
        relations[num_relations, 1] = vertices[0]
        relations[num_relations, 2] = vertices[c]
        num_relations += 1
    return relations, num_relations


@compiled
def lune_vertices(source, near, far, place, order, codes, lengths, sides):
    """Write the length of each edge, and its two sides to a vertex of its lune as i * N + j.

    `near` and `far` are adjacencies; all the edges are in `far`. Returns whether an edge has an
    empty lune.
    """
    n = near.shape[0]
    for e in range(codes.shape[0]):
        i = codes[e] // n
        j = codes[e] - i * n
        key = key_between(source, i, j)
        w = _nearest_in_lune(source, near, place, order, i, j, key)
        if w < 0:
            w = _nearest_in_lune(source, far, place, order, i, j, key)
        if w < 0:
            return True
        lengths[e] = length_of(key)
        sides[e, 0] = min(i, w) * n + max(i, w)
        sides[e, 1] = min(j, w) * n + max(j, w)
    return False


@helper
def _nearest_in_lune(source, adjacency, place, order, i, j, key):
    """Return the vertex of the lune of {i, j} whose farther end is nearest, of those it joins.

    -1 if the adjacency joins none of the lune's vertices to both ends.
    """
    one = np.uint64(1)
    best = key
    nearest = -1
    for k in range(adjacency.shape[1]):
        word = adjacency[place[i], k] & adjacency[place[j], k]
        while word != np.uint64(0):
            w = np.int64(order[k * 64 + lowest_bit(word)])
            word &= word - one
            farther = max(key_between(source, i, w), key_between(source, j, w))
            if farther > best or w in (i, j):
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

"""H2 of clouds on the CPU: cohomology of the few triangles that neither lunes nor H1 pair.

A triangle is its longest edge and an apex, a tetrahedron its longest edge and two apexes, the
smaller first. As bits of one number, edges by rank, they are in the total order. No tetrahedron is
stored but those of the column at work: docs/numerics.md.
"""

import numpy as np
import torch

from fast import threads
from fast.kernels.lunes import lunes_cpu
from fast.kernels.numba_cpu import compiled, helper, longer, lowest_bit, taller
from fast.kernels.rips import rips_cpu
from fast.kernels.rips.cloud_cpu import CloudPairs

_BITS = 10  # of a vertex: fast.rips_persistence lets no more than 1,024 pass
_VERTEX = 2**_BITS - 1
_MOST_WAITING = 256  # tetrahedra of a column, over N, that are kept in lists: 4 MiB
_MOST_RELATIONS = 2**24  # where lunes fall apart: 600 MiB
_MOST_KEPT = 2**27  # triangles of all columns: 1 GiB
_ESSENTIAL, _CROWDED = -1, -2  # no tetrahedron fills a void; too many entries


def rips_pairs(distances, sizes, max_dim, threshold):
    """Return what `rips_cpu.rips_pairs` returns, and dimension 2: `max_dim` is 2.

    Raises
    ------
    ValueError
        If an entry is no distance.
    MemoryError
        If columns grow beyond 1 GiB.
    """
    found = rips_cpu.rips_pairs(distances, sizes, max_dim - 1, threshold)
    lengths = distances.numpy()
    if sizes is None:
        sizes = [lengths.shape[1]] * len(lengths)
    ranked = [
        _ranked(each[:size, :size], threshold) for each, size in zip(lengths, sizes, strict=True)
    ]
    # Ranks differ where lengths tie: as lengths, they leave no pair of H1 out.
    ranks = np.full_like(lengths, np.inf)
    for of_cloud, size, (rank, edges) in zip(ranks, sizes, ranked, strict=True):
        of_cloud[:size, :size] = np.where(rank < len(edges), rank + 1, np.inf)
        np.fill_diagonal(of_cloud, 0)
    loops = rips_cpu.rips_pairs(torch.from_numpy(ranks), sizes, 1, np.inf)[1]
    calls = [
        (each[:size, :size], *of_cloud, triangles[:count])
        for each, size, of_cloud, triangles, count in zip(
            lengths, sizes, ranked, loops["death_simplices"].numpy(), loops["counts"], strict=True
        )
    ]
    voids = threads.run(_voids_of_cloud, calls, torch.get_num_threads())
    return [*found, rips_cpu.padded_dimension(voids)]


def _ranked(lengths, threshold):
    """Return ranks (N, N) int32, and the edges (E, 2) that matter: of rank below E.

    By (length, smaller vertex, larger vertex). Beyond the enclosing radius the complex is a cone.
    """
    n = len(lengths)
    i, j = np.triu_indices(n, k=1)
    each = lengths[i, j]
    order = np.argsort(each, kind="stable")
    joined = np.count_nonzero(np.isfinite(each) & (each.astype(np.float64) <= threshold))
    edges = np.stack([i, j], axis=1)[order[:joined]]
    rank = np.full((n, n), n * n, np.int32)
    rank[edges[:, 0], edges[:, 1]] = rank[edges[:, 1], edges[:, 0]] = np.arange(joined)
    farthest = np.where(np.eye(n, dtype=bool), -1, rank).max(axis=1, initial=-1)
    return rank, edges[: farthest.min(initial=n * n) + 1]


def _voids_of_cloud(lengths, rank, edges, loop_triangles):
    """Return CloudPairs of dimension 2; `loop_triangles` (K, 3) are all that kill a loop."""
    n = len(rank)
    numbers = edges[:, 0] * n + edges[:, 1]
    _, relations, reached = lunes_cpu.examine_lunes(
        numbers, 0, 0, len(edges), lunes_cpu.self_loops(n), n, _MOST_RELATIONS
    )
    relations = relations.astype(np.int64)
    sides = rank[loop_triangles[:, [0, 0, 1]], loop_triangles[:, [1, 2, 2]]]
    opposite = loop_triangles[np.arange(len(sides)), 2 - sides.argmax(axis=1)]
    triangles = relations[:, 0] << _BITS | relations[:, 2]
    triangles = np.setdiff1d(
        triangles, sides.max(axis=1, initial=-1).astype(np.int64) << _BITS | opposite
    )
    if reached == len(edges):
        fillings = find_fillings(rank, edges, triangles, _MOST_WAITING * n, _MOST_KEPT)
    if reached < len(edges) or _CROWDED in fillings[:1]:
        raise MemoryError(
            f"rips_persistence: the voids of a cloud of {n} points take more than "
            "1 GiB; pass fewer points, a lower threshold or max_dim=1"
        )
    filled = fillings >= 0
    births, fillings = triangles[filled] >> _BITS, fillings[filled]
    deaths = fillings >> 2 * _BITS
    apexes = np.stack([fillings >> _BITS & _VERTEX, fillings & _VERTEX], axis=1)
    order = np.lexsort((fillings, births, deaths))
    born, died = edges[births[order]].T, edges[deaths[order]].T
    order = order[lengths[born[0], born[1]] < lengths[died[0], died[1]]]
    death_edges = edges[deaths[order]]
    return CloudPairs(
        edges[births[order]],
        death_edges,
        np.sort(np.concatenate([death_edges, apexes[order]], axis=1), axis=1),
        len(triangles) - len(births),
    )


@compiled
def find_fillings(rank, edges, triangles, most_waiting, most_kept):
    """Return the tetrahedron (K,) that fills the void of each triangle (K,), in ascending order.

    _ESSENTIAL where none does; _CROWDED in the first place where memory would not do.

    Persistent cohomology: columns, of all triangles that are not paired otherwise, are reduced
    from the youngest to the oldest. What is added is a cochain whose coboundary begins with the
    tetrahedron where the column begins: a column that was reduced before, or the triangles over
    a component of a lune that this tetrahedron joins to another one, found where it is needed.

    A column's coboundary waits in a list for each edge; where those grow long, bits of all
    triangles are held instead, N^3 / 8 bytes, and it is read off them edge by edge.
    """
    n = rank.shape[0]
    num_triangles = triangles.shape[0]
    fillings = np.full(num_triangles, _ESSENTIAL)
    words = (n + 63) // 64
    odd = np.zeros((n, words), np.uint64)  # the coboundary at the edge in hand: a row's b
    heads = np.full(edges.shape[0], -1)  # and at later edges: each edge's last in `waiting`
    waiting = np.empty((1024, 2), np.int64)  # a tetrahedron, and where the one before it waits
    cochain = np.zeros((0, n, words), np.uint64)  # bit w of [u, v]: triangle {u, v, w}
    adjacency = np.zeros((n, words), np.uint64)  # by edges before the one in hand, with `cochain`
    column = np.empty(1024, np.int64)
    kept = np.empty(1024, np.int64)  # columns that have a tetrahedron, one after the other
    ends = np.zeros((num_triangles, 2), np.int64)  # of a triangle's column in it
    num_kept = np.int64(0)
    slots = np.int64(1)
    while slots < 2 * num_triangles:
        slots *= 2
    owners = np.full(slots, -1)  # hashed tetrahedra: which triangle's column has it
    stack = np.empty(n, np.int64)
    seen = np.zeros(n, np.bool_)
    for t in range(num_triangles - 1, -1, -1):
        edge = triangles[t] >> _BITS
        count = _component(rank, edges, edge, n, n, triangles[t] & _VERTEX, stack, seen)
        current = edge + 1  # up to here all cancels: nothing leaves the component
        row = np.int64(0)
        width = np.int64(0)
        num_waiting = np.int64(0)
        in_bits = False
        owner = -1
        while True:
            begin = ends[owner, 0] if owner >= 0 else np.int64(0)
            end = ends[owner, 1] if owner >= 0 else count
            for k in range(begin, end):
                added = kept[k] if owner >= 0 else edge << _BITS | stack[k]
                if width == column.shape[0]:
                    column = longer(column, 2 * width)
                column[width] = added
                width += 1
                if num_waiting + n > waiting.shape[0]:
                    waiting = taller(waiting, 2 * (num_waiting + n))
                if in_bits:
                    _flip_triangle(cochain, edges, added)
                num_waiting = _add_coboundary(
                    rank, edges, added, current, odd, heads, waiting, num_waiting, in_bits
                )
                if num_waiting > most_waiting:
                    in_bits = True
                    if cochain.shape[0] == 0:
                        cochain = np.zeros((n, n, words), np.uint64)
                    for m in range(width):
                        _flip_triangle(cochain, edges, column[m])
                    for m in range(num_waiting):
                        heads[waiting[m, 0] >> 2 * _BITS] = -1
                    num_waiting = np.int64(0)
                    adjacency[:] = 0
                    for earlier in range(current):
                        _join(adjacency, edges, earlier)
            if num_kept + width > most_kept:
                fillings[0] = _CROWDED
                return fillings
            place = _first(odd, row)
            while place < 0 and current + 1 < edges.shape[0]:
                if in_bits:
                    _join(adjacency, edges, current)
                current += 1
                entry = heads[current]
                if in_bits:
                    _read_coboundary(cochain, adjacency, edges, current, odd)
                    place = _first(odd, np.int64(0))
                elif entry >= 0:
                    heads[current] = -1
                    while entry >= 0:
                        _flip(odd, waiting[entry, 0])
                        entry = waiting[entry, 1]
                    place = _first(odd, np.int64(0))
            if place < 0:
                break
            row = place >> _BITS
            tetrahedron = current << 2 * _BITS | place
            slot = _slot(tetrahedron, owners, fillings)
            owner = owners[slot]
            if owner >= 0:
                continue
            edge = current
            b = place & _VERTEX
            count = _component(rank, edges, edge, row, b, b, stack, seen)
            if count == 0:
                owners[slot] = t
                fillings[t] = tetrahedron
                width = _cancel(column, width)
                while kept.shape[0] < num_kept + width:
                    kept = longer(kept, 2 * kept.shape[0])
                for k in range(width):
                    kept[num_kept + k] = column[k]
                ends[t, 0] = num_kept
                num_kept += width
                ends[t, 1] = num_kept
                break
        odd[:] = 0
        if in_bits:
            for k in range(width):
                _flip_triangle(cochain, edges, column[k])
        for k in range(num_waiting):
            heads[waiting[k, 0] >> 2 * _BITS] = -1
    return fillings


@helper
def _slot(tetrahedron, owners, fillings):
    """Where a tetrahedron is in the hash table, or has its place."""
    mask = owners.shape[0] - 1
    slot = (tetrahedron ^ (tetrahedron >> 17)) * 0x9E3779B1 & mask
    while owners[slot] >= 0 and fillings[owners[slot]] != tetrahedron:
        slot = (slot + 1) & mask
    return slot


@helper
def _component(rank, edges, edge, a, b, start, stack, seen):
    """Write the component of `start` in an edge's lune, by its edges before {a, b}; its size.

    0 if it is b's and holds a. With a = b = n, by all edges.
    """
    n = rank.shape[0]
    i = edges[edge, 0]
    j = edges[edge, 1]
    stack[0] = start
    seen[start] = True
    count = np.int64(1)
    k = 0
    while k < count:
        v = stack[k]
        k += 1
        if start == b and a < n and v < b and rank[v, a] < edge:
            for m in range(count):
                seen[stack[m]] = False
            return np.int64(0)
        for w in range(n if v < a else b if v == a else a + 1 if v < b else a):
            if not seen[w] and rank[v, w] < edge and rank[i, w] < edge and rank[j, w] < edge:
                seen[w] = True
                stack[count] = w
                count += 1
    for m in range(count):
        seen[stack[m]] = False
    return count


@helper
def _add_coboundary(rank, edges, triangle, current, odd, heads, waiting, num_waiting, in_bits):
    """Add the tetrahedra over a triangle, at the current edge and in lists; how many wait then."""
    n = rank.shape[0]
    num_edges = edges.shape[0]
    edge = triangle >> _BITS
    apex = triangle & _VERTEX
    i = edges[edge, 0]
    j = edges[edge, 1]
    for v in range(n):
        to_i = np.int64(rank[i, v])
        to_j = np.int64(rank[j, v])
        to_apex = np.int64(rank[apex, v])
        longest = max(edge, to_i, to_j, to_apex)
        if longest < current or longest >= num_edges:
            continue
        if longest == edge:
            one = apex
            other = v
        elif longest == to_i:
            one = j
            other = apex
        elif longest == to_j:
            one = i
            other = apex
        else:
            one = i
            other = j
        tetrahedron = (longest << _BITS | min(one, other)) << _BITS | max(one, other)
        if longest == current:
            _flip(odd, tetrahedron)
        elif not in_bits:
            waiting[num_waiting, 0] = tetrahedron
            waiting[num_waiting, 1] = heads[longest]
            heads[longest] = num_waiting
            num_waiting += 1
    return num_waiting


@helper
def _flip(odd, tetrahedron):
    """Flip the bit of a tetrahedron's apexes."""
    _set(odd, tetrahedron >> _BITS & _VERTEX, tetrahedron & _VERTEX)


@helper
def _set(rows, row, bit):
    """Flip a bit of a row."""
    rows[row, bit >> 6] ^= np.uint64(1) << np.uint64(bit & 63)


@helper
def _join(adjacency, edges, edge):
    """Set the bits of an edge."""
    _set(adjacency, edges[edge, 0], edges[edge, 1])
    _set(adjacency, edges[edge, 1], edges[edge, 0])


@helper
def _flip_triangle(cochain, edges, triangle):
    """Flip the bits of a triangle."""
    i = edges[triangle >> _BITS, 0]
    j = edges[triangle >> _BITS, 1]
    apex = triangle & _VERTEX
    for u, v, w in ((i, j, apex), (i, apex, j), (j, apex, i)):
        _set(cochain[u], v, w)
        _set(cochain[v], u, w)


@helper
def _read_coboundary(cochain, adjacency, edges, edge, odd):
    """Write the coboundary at an edge that no triangle of the cochain has as its longest.

    Of a tetrahedron over the edge {i, j} the facets {i, a, b} and {j, a, b} are then left.
    """
    i = edges[edge, 0]
    j = edges[edge, 1]
    for word in range(odd.shape[1]):
        lune = adjacency[i, word] & adjacency[j, word]
        while lune != np.uint64(0):
            a = word << 6 | lowest_bit(lune)
            lune &= lune - np.uint64(1)
            larger = lune  # in this word; all bits in later ones
            for other in range(word, odd.shape[1]):
                odd[a, other] = (
                    (cochain[i, a, other] ^ cochain[j, a, other])
                    & adjacency[i, other] & adjacency[j, other] & adjacency[a, other] & larger
                )  # fmt: skip
                larger = ~np.uint64(0)


@helper
def _first(odd, row):
    """Return the first apexes, as bits of one number, from a `row` on, whose bit is set; or -1."""
    for a in range(row, odd.shape[0]):
        for word in range(odd.shape[1]):
            if odd[a, word] != np.uint64(0):
                return a << _BITS | word << 6 | lowest_bit(odd[a, word])
    return np.int64(-1)


@helper
def _cancel(numbers, count):
    """Sort the first `count` numbers and leave one of each that is there an odd number of times."""
    ordered = np.sort(numbers[:count])
    left = np.int64(0)
    for k in range(count):
        if left > 0 and numbers[left - 1] == ordered[k]:
            left -= 1
        else:
            numbers[left] = ordered[k]
            left += 1
    return left

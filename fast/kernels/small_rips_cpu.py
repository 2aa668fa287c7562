"""Rips pairs of small clouds on the CPU: every cloud of a batch in one compiled loop.

The algorithm is that of `rips_cpu` (docs/numerics.md), without chunks. All edges up to the
enclosing radius are sorted at once, and one sweep over them does the rest: a lune is a few words of
bits, and every edge gets its chain, a bitset over births, as soon as it has its rank. So a relation
is the sum of four chains that are known. Legend: `edge` i * 256 + j with i < j; `slot` of an edge
its place in the lower triangle, j * (j - 1) / 2 + i; `lanes` a tuple as long as a bitset over
points has words: its length is known to the compiler, its entries are not read.
"""

from itertools import pairwise

import numpy as np
import torch
from numba import njit

from fast import threads
from fast.kernels import lengths as length_keys
from fast.kernels.bits_cpu import highest_bit, lowest_bit
from fast.kernels.edges_cpu import sort_edges

MOST_POINTS = 256
"""Points that an edge's number has room for."""

DONE, REFUSED, CROWDED = range(3)
"""What `status` says of a cloud: done; an entry is no distance, or -0.0; too many births."""

_MOST_WORDS = 16  # of a bitset over births: 1,024 are alive or dead, then memory would grow fast
_MOST_IN_BUCKET = 64  # edges of one bucket that insertion may sort
_MOST_BUCKETS = 4096
_OPERATIONS = (4, 24)  # H0's and H1's, per entry of a matrix: what `threads` counts
_LANES = tuple((0,) * words for words in range(5))
_INFINITY = {kind: np.array(np.inf, kind).view(f"i{np.dtype(kind).itemsize}") for kind in "fd"}

_ZERO, _ONE, _TWO = np.uint64(0), np.uint64(1), np.uint64(2)
_SIX, _EIGHT = np.uint64(6), np.uint64(8)
_LOW_SIX, _LOW_EIGHT = np.uint64(63), np.uint64(255)


def rips_pairs(distances, sizes, max_dim, threshold):
    """Return what `rips_cpu.rips_pairs` returns, and `status` of each cloud.

    `distances` is a (B, N, N) array, N at most MOST_POINTS. Where a status is not DONE, the cloud
    has no pairs.
    """
    num_clouds, n = distances.shape[:2]
    integer = np.int32 if distances.dtype == np.float32 else np.int64
    infinity = integer(_INFINITY[distances.dtype.char])
    limit = integer(length_keys.longest_key(distances.dtype, threshold))
    lengths = np.ascontiguousarray(distances).reshape(-1)
    keys = lengths.view(integer)
    sizes = np.full(num_clouds, n) if sizes is None else np.array(sizes)
    status = np.empty(num_clouds, np.int64)
    counts = np.empty((4, num_clouds), np.int64)
    merges = np.empty((num_clouds, max(1, n)), np.uint16)
    function = find_pairs if max_dim else find_merges
    given = (keys, lengths, sizes)
    told = (n, infinity, limit, *([_LANES[(n + 63) // 64]] if max_dim else []))
    found = (status, counts, merges)
    borders = _shares(sizes, max_dim)
    calls = [
        (*given, first, last, *told, *found)
        for first, last in pairwise(borders)
    ]
    parts = threads.run(function, calls, len(calls))
    diagrams = [_h0(counts, merges)]
    if max_dim:
        diagrams.append(_h1(counts, parts, borders))
    return diagrams, status


def _shares(sizes, max_dim):
    """Return where each thread's range of clouds begins, and the last one's end."""
    num_clouds = len(sizes)
    if num_clouds == 1:
        return [0, 1]
    work = np.cumsum(sizes * sizes)
    num_threads = min(num_clouds, threads.number_for(int(work[-1]) * _OPERATIONS[max_dim]))
    if num_threads == 1:
        return [0, num_clouds]
    inner = np.searchsorted(work, work[-1] * np.arange(1, num_threads) / num_threads)
    return [0, *inner.tolist(), num_clouds]


def _h0(counts, merges):
    """Return the padded tensors of dimension 0."""
    num_clouds = counts.shape[1]
    longest = int(counts[0].max())
    birth_edges = np.full((num_clouds, longest, 2), -1)
    death_edges = np.empty((num_clouds, longest, 2), np.int64)
    death_simplices = np.empty((num_clouds, longest, 2), np.int64)
    write_merges(merges, counts, death_edges, death_simplices)
    return _fields(birth_edges, death_edges, death_simplices, counts[0], counts[1])


def _h1(counts, parts, borders):
    """Return the padded tensors of dimension 1; `parts` are the shares' pairs."""
    num_clouds = counts.shape[1]
    longest = int(counts[2].max())
    birth_edges = np.full((num_clouds, longest, 2), -1)
    death_edges = np.full((num_clouds, longest, 2), -1)
    death_simplices = np.full((num_clouds, longest, 3), -1)
    for pairs, first in zip(parts, borders, strict=False):
        write_pairs(pairs, first, counts, birth_edges, death_edges, death_simplices)
    return _fields(birth_edges, death_edges, death_simplices, counts[2], counts[3])


def _fields(birth_edges, death_edges, death_simplices, counts, num_essential):
    """Return the integer fields of one dimension as tensors."""
    return {
        "birth_edges": torch.from_numpy(birth_edges),
        "death_edges": torch.from_numpy(death_edges),
        "death_simplices": torch.from_numpy(death_simplices),
        "counts": torch.from_numpy(counts),
        "num_essential": torch.from_numpy(num_essential),
    }


@njit(cache=True, nogil=True)
def find_merges(keys, lengths, sizes, first, last, n, infinity, limit, status, counts, merges):
    """Find the H0 pairs of clouds [first, last): writes what `find_pairs` writes of them.

    Prim's algorithm. A key and its edge in one integer give the total order, so that ties need no
    care; for float64, where they do not fit, the tree is that of the sorted edges.
    """
    num_edges = n * (n - 1) // 2 + 1
    reach = np.empty(n, np.int64)
    inside = np.empty(n, np.int64)
    tree = np.empty(n, np.int64)
    edge_keys = np.empty(num_edges, keys.dtype)
    spare_keys = np.empty(num_edges, keys.dtype)
    edges = np.empty(num_edges, np.uint16)
    spare_edges = np.empty(num_edges, np.uint16)
    starts = np.empty(_MOST_BUCKETS + 1, np.int32)
    parent = np.empty(n, np.int64)
    for cloud in range(first, last):
        size = sizes[cloud]
        base = cloud * n * n
        accepted, radius = _scan(keys, base, n, size, infinity)
        status[cloud] = DONE if accepted else REFUSED
        if not accepted or size < 2:
            counts[0, cloud] = 0
            counts[1, cloud] = size
            continue
        cutoff = min(radius, limit)
        if keys.itemsize == 4:
            num_merges, num_trees = _prim(keys, base, n, size, cutoff, reach, inside, tree)
            for m in range(num_merges):
                merges[cloud, m] = tree[m] & 65535
        else:
            count = _gather(keys, base, n, size, cutoff, edge_keys, edges)
            in_spare = _sort(edge_keys, edges, count, spare_keys, spare_edges, starts, lengths)
            sorted_edges = spare_edges if in_spare else edges
            num_merges, num_trees = _kruskal(
                keys, base, n, size, sorted_edges, count, parent, merges[cloud]
            )
        counts[0, cloud] = num_merges
        counts[1, cloud] = num_trees


@njit(cache=True, nogil=True)
def find_pairs(
    keys, lengths, sizes, first, last, n, infinity, limit, lanes, status, counts, merges
):
    """Find the H0 and H1 pairs of clouds [first, last); returns H1's, cloud after cloud.

    `keys`, flat, holds B matrices of n x n lengths as integers and `lengths` is the same memory as
    floats. Written per cloud: `status`; `counts[:, cloud]`, how many pairs and classes that never
    die in H0, then in H1; `merges[cloud]`, H0's death edges. A row of H1 is (birth edge, death
    edge, apex).
    """
    num_edges = n * (n - 1) // 2 + 1
    edge_keys = np.empty(num_edges, keys.dtype)
    spare_keys = np.empty(num_edges, keys.dtype)
    edges = np.empty(num_edges, np.uint16)
    spare_edges = np.empty(num_edges, np.uint16)
    starts = np.empty(_MOST_BUCKETS + 1, np.int32)
    adjacency = np.empty((n, len(lanes)), np.uint64)
    parent = np.empty(n, np.int64)
    hubs = np.empty(n, np.uint64)
    chains = np.empty(num_edges, np.uint64)
    rows = np.empty(64, np.uint64)
    births = np.empty(64, np.uint16)
    pairs = np.empty((16 * (last - first) + 64, 3), np.uint16)
    num_pairs = 0
    width = 1
    for cloud in range(first, last):
        size = sizes[cloud]
        base = cloud * n * n
        accepted, radius = _scan(keys, base, n, size, infinity)
        status[cloud] = DONE if accepted else REFUSED
        counts[0, cloud] = 0
        counts[1, cloud] = size
        counts[2, cloud] = 0
        counts[3, cloud] = 0
        if not accepted or size < 2:
            continue
        count = _gather(keys, base, n, size, min(radius, limit), edge_keys, edges)
        in_spare = _sort(edge_keys, edges, count, spare_keys, spare_edges, starts, lengths)
        sorted_edges = spare_edges if in_spare else edges
        for i in range(size):
            parent[i] = i
            hubs[i] = np.uint64(i)
            for k in range(len(lanes)):
                adjacency[i, k] = _ZERO
            adjacency[i, i >> 6] = _ONE << np.uint64(i & 63)
        begin = num_pairs
        num_merges, num_trees, alive, num_pairs, width, births, chains, rows, pairs = _sweep(
            keys, base, n, size, sorted_edges, count, lanes, adjacency, parent, hubs,
            width, births, chains, rows, merges[cloud], pairs, num_pairs,
        )  # fmt: skip
        if alive < 0:
            status[cloud] = CROWDED
            continue
        counts[0, cloud] = num_merges
        counts[1, cloud] = num_trees
        counts[2, cloud] = num_pairs - begin
        counts[3, cloud] = alive
    return pairs[:num_pairs]


@njit(cache=True, nogil=True)
def _scan(keys, base, stride, n, infinity):
    """Return whether all is well with a matrix, and its enclosing radius as a key.

    What is wrong, if something is, the caller finds out elsewhere: a sign, NaN, a diagonal that is
    not 0, or a lack of symmetry.
    """
    together = keys.dtype.type(0)
    different = keys.dtype.type(0)
    most = keys.dtype.type(0)
    radius = np.iinfo(keys.dtype).max
    for i in range(np.uint64(n)):
        row = np.uint64(base) + i * np.uint64(stride)
        high = keys.dtype.type(0)
        for j in range(np.uint64(n)):  # unsigned, or it would not vectorize
            key = keys[row + j]
            together |= key
            high = max(high, key)
        different |= keys[row + i]
        column = np.uint64(base) + i
        for j in range(i):
            different |= keys[row + j] ^ keys[column + j * np.uint64(stride)]
        most = max(most, high)
        radius = min(radius, high)
    return together >= 0 and most <= infinity and different == 0, radius


@njit(cache=True, nogil=True)
def _gather(keys, base, stride, n, cutoff, edge_keys, edges):
    """Write the edges up to the cutoff in (i, j) order; returns how many."""
    count = _ZERO
    for i in range(np.uint64(n)):
        row = np.uint64(base) + i * np.uint64(stride)
        for j in range(i + _ONE, np.uint64(n)):
            key = keys[row + j]
            edge_keys[count] = key
            edges[count] = (i << _EIGHT) | j
            count += np.uint64(key <= cutoff)  # without a branch: which edges stay is random
    return np.int64(count)


@njit(cache=True, nogil=True)
def _sort(edge_keys, edges, count, spare_keys, spare_edges, starts, lengths):
    """Sort edges by length, stable; returns whether the result lies in the spare arrays.

    One pass deals them out to buckets of equal width, insertion does the rest. Where a bucket
    is too full for that, lengths are too uneven, and a radix sort takes over. Only the dtype of
    `lengths` counts.
    """
    if count < 2:
        return False
    values = edge_keys.view(lengths.dtype)
    low = values[0]
    high = values[0]
    for e in range(1, count):
        low = min(low, values[e])
        high = max(high, values[e])
    num_buckets = 16
    while num_buckets < count and num_buckets < _MOST_BUCKETS:
        num_buckets *= 2
    spread = np.float64(high) - np.float64(low)
    if spread == 0:
        return False
    fullest = _MOST_IN_BUCKET + 1
    origin = np.float64(low)
    scale = (num_buckets - 0.5) / spread
    if scale < np.inf:  # else all lengths are nearly equal
        starts[: num_buckets + 1] = 0
        for e in range(count):
            starts[np.uint64(np.int64((values[e] - origin) * scale)) + _ONE] += 1
        fullest = 0
        for bucket in range(1, num_buckets + 1):
            fullest = max(fullest, starts[bucket])
            starts[bucket] += starts[bucket - 1]
    if fullest > _MOST_IN_BUCKET:
        low_key = edge_keys[0]
        high_key = edge_keys[0]
        for e in range(1, count):
            low_key = min(low_key, edge_keys[e])
            high_key = max(high_key, edge_keys[e])
        return sort_edges(
            edge_keys[:count], edges[:count], low_key, high_key, spare_keys, spare_edges
        )
    for e in range(count):
        bucket = np.uint64(np.int64((values[e] - origin) * scale))
        slot = np.uint64(starts[bucket])
        starts[bucket] += 1
        spare_keys[slot] = edge_keys[e]
        spare_edges[slot] = edges[e]
    for e in range(_ONE, np.uint64(count)):
        key = spare_keys[e]
        if key < spare_keys[e - _ONE]:
            edge = spare_edges[e]
            slot = e
            while slot > _ZERO and spare_keys[slot - _ONE] > key:
                spare_keys[slot] = spare_keys[slot - _ONE]
                spare_edges[slot] = spare_edges[slot - _ONE]
                slot -= _ONE
            spare_keys[slot] = key
            spare_edges[slot] = edge
    return True


@njit(cache=True, nogil=True)
def _prim(keys, base, stride, n, cutoff, reach, inside, tree):
    """Write the forest's edges of positive length in order; returns how many, and of trees.

    An item of `reach` and `tree` is key * 2**32 + edge. `inside` is all ones where a vertex is in
    the tree: such an item is then beyond any edge.
    """
    far = np.int64(0x7FFFFFFFFFFFFFFF)
    most = (np.int64(cutoff) << 32) | 0xFFFFFFFF
    for w in range(np.uint64(n)):
        reach[w] = far
        inside[w] = 0
    count = 0
    num_trees = 0
    least = far
    for _ in range(n):
        if least > most:  # nothing is in reach: the next tree
            num_trees += 1
            v = 0
            while inside[v] != 0:
                v += 1
        else:
            edge = least & 65535
            v = edge >> 8
            if inside[v] != 0:
                v = edge & 255
            if least >> 32 > 0:
                slot = count
                while slot > 0 and tree[slot - 1] > least:
                    tree[slot] = tree[slot - 1]
                    slot -= 1
                tree[slot] = least
                count += 1
        inside[v] = far
        row = np.uint64(base + v * stride)
        least = far
        for w in range(np.uint64(v)):
            item = (np.int64(keys[row + w]) << 32) | np.int64(w << _EIGHT) | np.int64(v)
            item = min(reach[w], item) | inside[w]
            reach[w] = item
            least = min(least, item)
        for w in range(np.uint64(v), np.uint64(n)):
            item = (np.int64(keys[row + w]) << 32) | np.int64(v << 8) | np.int64(w)
            item = min(reach[w], item) | inside[w]
            reach[w] = item
            least = min(least, item)
    return count, num_trees


@njit(cache=True, nogil=True)
def _kruskal(keys, base, stride, n, edges, count, parent, merges):
    """Write the forest's edges of positive length in order; returns how many, and of trees."""
    for v in range(n):
        parent[v] = v
    num_trees = n
    num_merges = 0
    for e in range(count):
        i = np.int64(edges[e]) >> 8
        j = np.int64(edges[e]) & 255
        if _merge(parent, i, j):
            num_trees -= 1
            if keys[base + i * stride + j] > 0:
                merges[num_merges] = edges[e]
                num_merges += 1
            if num_trees == 1:
                break
    return num_merges, num_trees


@njit(cache=True, nogil=True)
def _merge(parent, i, j):
    """Join the components of i and j; returns whether they were two."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    while parent[j] != j:
        parent[j] = parent[parent[j]]
        j = parent[j]
    parent[max(i, j)] = min(i, j)
    return i != j


@njit(cache=True, nogil=True)
def _slot(a, b):
    """Return where the lower triangle has {a, b}."""
    high = max(a, b)
    return ((high * (high - _ONE)) >> _ONE) + min(a, b)


@njit(cache=True, nogil=True)
def _sweep(
    keys, base, stride, n, edges, count, lanes, adjacency, parent, hubs,
    width, births, chains, rows, merges, pairs, num_pairs,
):  # fmt: skip
    """Go through the sorted edges once; returns the numbers found and the buffers, if grown.

    `width` words are a bitset over births. `rows[b]` is the reduced relation that killed b, its
    youngest birth; a relation is reduced from its youngest birth down, as in the textbook.
    """
    words = len(lanes)
    begin = num_pairs
    joined = np.empty(words, np.uint64)
    rest = np.empty(words, np.uint64)
    front = np.empty(words, np.uint64)
    total = np.empty(_MOST_WORDS, np.uint64)
    is_dead = np.zeros(_MOST_WORDS, np.uint64)
    num_births = 0
    num_trees = n
    num_merges = 0
    alive = 0
    for e in range(count):
        i = np.uint64(edges[e]) >> _EIGHT
        j = np.uint64(edges[e]) & _LOW_EIGHT
        slot = ((j * (j - _ONE)) >> _ONE) + i
        left = _ZERO
        for k in range(words):
            left |= adjacency[i, k] & adjacency[j, k]
        if left == _ZERO:
            if num_trees > 1 and _merge(parent, np.int64(i), np.int64(j)):
                num_trees -= 1
                if keys[base + np.int64(i) * stride + np.int64(j)] > 0:
                    merges[num_merges] = edges[e]
                    num_merges += 1
                for k in range(width):
                    chains[np.int64(slot) * width + k] = _ZERO
            else:
                if num_births == 64 * width:
                    if width == _MOST_WORDS:
                        return 0, n, -1, begin, 1, births, chains, rows, pairs
                    births, chains, rows = _widen(births, chains, rows, width, edges, e, n)
                    width *= 2
                births[num_births] = edges[e]
                for k in range(width):
                    chains[np.int64(slot) * width + k] = _ZERO
                chains[np.int64(slot) * width + (num_births >> 6)] = _ONE << np.uint64(
                    num_births & 63
                )
                num_births += 1
                alive += 1
        else:
            hub = hubs[i]
            if (
                (adjacency[i, hub >> _SIX] & adjacency[j, hub >> _SIX]) >> (hub & _LOW_SIX)
            ) & _ONE == _ZERO:
                hub = hubs[j]
                if (
                    (adjacency[i, hub >> _SIX] & adjacency[j, hub >> _SIX]) >> (hub & _LOW_SIX)
                ) & _ONE == _ZERO:
                    k = 0
                    while adjacency[i, k] & adjacency[j, k] == _ZERO:
                        k += 1
                    hub = np.uint64(k * 64 + lowest_bit(adjacency[i, k] & adjacency[j, k]))
            one_side = np.int64(_slot(i, hub)) * width
            other_side = np.int64(_slot(j, hub)) * width
            for k in range(width):
                chains[np.int64(slot) * width + k] = chains[one_side + k] ^ chains[other_side + k]
            if alive > 0:
                left = _ZERO
                for k in range(words):
                    left |= adjacency[i, k] & adjacency[j, k] & ~adjacency[hub, k]
                met = _ONE
                sweeps = 0
                if left != _ZERO:
                    for k in range(words):
                        lune = adjacency[i, k] & adjacency[j, k]
                        joined[k] = lune & adjacency[hub, k]
                        rest[k] = lune ^ joined[k]
                    while left != _ZERO and met != _ZERO:
                        k = 0
                        while rest[k] == _ZERO:
                            k += 1
                        straggler = np.uint64(k * 64 + lowest_bit(rest[k]))
                        met = _ZERO
                        left = _ZERO
                        for k in range(words):
                            met |= joined[k] & adjacency[straggler, k]
                            rest[k] &= ~adjacency[straggler, k]
                            left |= rest[k]
                        sweeps += 1
                if sweeps <= 2 and met != _ZERO:
                    hubs[i] = hub
                    hubs[j] = hub
                else:  # another hub may do better next time: i's own number never serves
                    hubs[i] = i
                    hubs[j] = j
                if met == _ZERO:
                    # Component by component, in the order of their smallest vertices.
                    for k in range(words):
                        rest[k] = adjacency[i, k] & adjacency[j, k]
                    first = _take_lowest(rest)
                    left = _take_reached(adjacency, first, rest, front)
                    while left != _ZERO and alive > 0:
                        w = _take_lowest(rest)
                        left = _take_reached(adjacency, w, rest, front)
                        for k in range(width):
                            total[k] = (
                                chains[np.int64(_slot(i, first)) * width + k]
                                ^ chains[np.int64(_slot(j, first)) * width + k]
                                ^ chains[np.int64(_slot(i, w)) * width + k]
                                ^ chains[np.int64(_slot(j, w)) * width + k]
                            )
                        birth = _reduce(total, width, rows, is_dead)
                        if birth >= 0:
                            alive -= 1
                            born = births[birth]
                            if (
                                keys[base + np.int64(born >> 8) * stride + np.int64(born & 255)]
                                < keys[base + np.int64(i) * stride + np.int64(j)]
                            ):
                                if num_pairs == pairs.shape[0]:
                                    pairs = _doubled(pairs)
                                # Pairs of one death are in the order of their births.
                                place = num_pairs
                                while (
                                    place > begin
                                    and pairs[place - 1, 1] == edges[e]
                                    and _is_younger(births, pairs[place - 1, 0], birth)
                                ):
                                    for column in range(3):
                                        pairs[place, column] = pairs[place - 1, column]
                                    place -= 1
                                pairs[place, 0] = born
                                pairs[place, 1] = edges[e]
                                pairs[place, 2] = w
                                num_pairs += 1
        adjacency[i, j >> _SIX] |= _ONE << (j & _LOW_SIX)
        adjacency[j, i >> _SIX] |= _ONE << (i & _LOW_SIX)
    while width > 1 and num_births <= 32 * width:
        width //= 2  # the next cloud is likely to have as many
    return num_merges, num_trees, alive, num_pairs, width, births, chains, rows, pairs


@njit(cache=True, nogil=True)
def _take_lowest(bits):
    """Remove the lowest vertex from a non-empty bitset and return it."""
    k = 0
    while bits[k] == _ZERO:
        k += 1
    vertex = np.uint64(k * 64 + lowest_bit(bits[k]))
    bits[k] &= bits[k] - _ONE
    return vertex


@njit(cache=True, nogil=True)
def _take_reached(adjacency, vertex, rest, front):
    """Remove from `rest` all that can be reached from `vertex` inside it; returns what is left."""
    for k in range(rest.shape[0]):
        front[k] = _ZERO
    while True:
        left = _ZERO
        ahead = _ZERO
        for k in range(rest.shape[0]):
            fresh = rest[k] & adjacency[vertex, k]
            front[k] |= fresh
            rest[k] ^= fresh
            left |= rest[k]
            ahead |= front[k]
        if left == _ZERO or ahead == _ZERO:
            return left
        vertex = _take_lowest(front)


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True)
def _is_younger(births, edge, birth):
    """Whether `edge` was born after number `birth`."""
    return edge not in births[:birth]


@njit(cache=True, nogil=True)
def _widen(births, chains, rows, width, edges, count, n):
    """Return buffers for twice the births: bitsets of 2 * width words."""
    more_births = np.empty(2 * 64 * width, np.uint16)
    more_births[: 64 * width] = births[: 64 * width]
    more_chains = np.empty(n * (n - 1) // 2 * 2 * width, np.uint64)
    for e in range(count):
        slot = np.int64(_slot(np.uint64(edges[e]) >> _EIGHT, np.uint64(edges[e]) & _LOW_EIGHT))
        for k in range(width):
            more_chains[2 * slot * width + k] = chains[slot * width + k]
            more_chains[(2 * slot + 1) * width + k] = _ZERO
    more_rows = np.empty(2 * 64 * width * 2 * width, np.uint64)
    for birth in range(64 * width):
        for k in range(width):
            more_rows[2 * birth * width + k] = rows[birth * width + k]
            more_rows[(2 * birth + 1) * width + k] = _ZERO
    return more_births, more_chains, more_rows


@njit(cache=True, nogil=True)
def _doubled(pairs):
    """Return a copy with twice the room."""
    grown = np.empty((2 * pairs.shape[0], pairs.shape[1]), pairs.dtype)
    grown[: pairs.shape[0]] = pairs
    return grown


@njit(cache=True, nogil=True)
def write_merges(merges, counts, death_edges, death_simplices):
    """Write H0's death edges as vertices, padded with -1."""
    for cloud in range(death_edges.shape[0]):
        for m in range(death_edges.shape[1]):
            i = np.int64(-1)
            j = np.int64(-1)
            if m < counts[0, cloud]:
                i = np.int64(merges[cloud, m]) >> 8
                j = np.int64(merges[cloud, m]) & 255
            death_edges[cloud, m, 0] = i
            death_edges[cloud, m, 1] = j
            death_simplices[cloud, m, 0] = i
            death_simplices[cloud, m, 1] = j


@njit(cache=True, nogil=True)
def write_pairs(pairs, first, counts, birth_edges, death_edges, death_simplices):
    """Write H1's rows of the clouds from `first` on as vertices; `pairs` is one `find_pairs`."""
    cloud = first
    start = 0
    while start < pairs.shape[0]:
        for m in range(counts[2, cloud]):
            birth_edges[cloud, m, 0] = pairs[start + m, 0] >> 8
            birth_edges[cloud, m, 1] = pairs[start + m, 0] & 255
            i = np.int64(pairs[start + m, 1]) >> 8
            j = np.int64(pairs[start + m, 1]) & 255
            w = np.int64(pairs[start + m, 2])
            death_edges[cloud, m, 0] = i
            death_edges[cloud, m, 1] = j
            death_simplices[cloud, m, 0] = min(i, w)
            death_simplices[cloud, m, 1] = max(i, min(j, w))
            death_simplices[cloud, m, 2] = max(j, w)
        start += counts[2, cloud]
        cloud += 1

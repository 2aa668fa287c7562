"""Edges of a small cloud: checks, the sort, and the spanning forest that is H0.

Legend: `keys` lengths as integers (`edges_cpu`), flat: entry (i, j) of a cloud is at
base + i * stride + j; `edge` i * 256 + j with i < j.
"""

import numpy as np

from fast.kernels.edges.edges_cpu import sort_edges
from fast.kernels.numba_cpu import helper, length_of

MOST_BUCKETS = 4096

_MOST_IN_BUCKET = 64  # edges of one bucket that insertion may sort
_ONE, _ZERO, _EIGHT = np.uint64(1), np.uint64(0), np.uint64(8)


@helper
def scan(keys, base, stride, n, infinity):
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


@helper
def gather(keys, base, stride, n, cutoff, edge_keys, edges):
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


@helper
def sort_small(edge_keys, edges, count, spare_keys, spare_edges, starts):
    """Sort edges by length, stable; returns whether the result lies in the spare arrays.

    One pass deals them out to buckets of equal width, insertion does the rest. Where a bucket
    is too full for that, lengths are too uneven, and a radix sort takes over.
    """
    if count < 2:
        return False
    low_key = edge_keys[0]
    high_key = edge_keys[0]
    for e in range(1, count):
        low_key = min(low_key, edge_keys[e])
        high_key = max(high_key, edge_keys[e])
    low = length_of(low_key)
    high = length_of(high_key)
    num_buckets = 16
    while num_buckets < count and num_buckets < MOST_BUCKETS:
        num_buckets *= 2
    spread = np.float64(high) - np.float64(low)
    if spread == 0:
        return False
    fullest = _MOST_IN_BUCKET + 1
    origin = np.float64(low)
    scale = (num_buckets - 0.5) / spread
    if scale < np.inf:  # else all lengths are nearly equal
        for bucket in range(num_buckets + 1):
            starts[bucket] = 0
        for e in range(count):
            starts[np.uint64(np.int64((length_of(edge_keys[e]) - origin) * scale)) + _ONE] += 1
        fullest = 0
        for bucket in range(1, num_buckets + 1):
            fullest = max(fullest, starts[bucket])
            starts[bucket] += starts[bucket - 1]
    if fullest > _MOST_IN_BUCKET:
        return sort_edges(
            edge_keys[:count], edges[:count], low_key, high_key, spare_keys, spare_edges
        )
    for e in range(count):
        bucket = np.uint64(np.int64((length_of(edge_keys[e]) - origin) * scale))
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


@helper
def prim(keys, base, stride, n, cutoff, reach, inside, tree):
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


@helper
def kruskal(edge_keys, edges, count, n, parent, merges):
    """Write the forest's edges of positive length in order; returns how many, and of trees."""
    for v in range(n):
        parent[v] = np.uint64(v)
    num_trees = n
    num_merges = 0
    for e in range(count):
        i = np.uint64(edges[e]) >> _EIGHT
        j = np.uint64(edges[e]) & np.uint64(255)
        if merge(parent, i, j):
            num_trees -= 1
            if edge_keys[e] > 0:
                merges[num_merges] = edges[e]
                num_merges += 1
            if num_trees == 1:
                break
    return num_merges, num_trees


@helper
def merge(parent, i, j):
    """Join the components of i and j; returns whether they were two."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    while parent[j] != j:
        parent[j] = parent[parent[j]]
        j = parent[j]
    parent[max(i, j)] = min(i, j)
    return i != j


@helper
def rank_lengths(edge_keys, count, levels):
    """Write for each sorted edge how many different lengths above 0 there are up to its own."""
    level = 0
    before = edge_keys.dtype.type(0)
    for e in range(count):
        level += edge_keys[e] != before
        before = edge_keys[e]
        levels[e] = level

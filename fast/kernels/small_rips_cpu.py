"""Rips pairs of small clouds on the CPU: every cloud of a batch in one compiled loop."""

from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch
from numba import njit

from fast import threads
from fast.kernels.lengths import longest_key
from fast.kernels.small_edges_cpu import (
    MOST_BUCKETS,
    gather,
    kruskal,
    prim,
    rank_lengths,
    scan,
    sort_small,
)
from fast.kernels.small_lunes_cpu import sweep

MOST_POINTS = 256
"""Points that an edge's number, 16 bits, has room for."""

DONE, REFUSED, CROWDED = 0, 1, 2  # what is not DONE is true
"""Status of a cloud: done; an entry is no distance, or -0.0; too many births."""

_OPERATIONS = (4, 24)  # H0's and H1's, per entry of a matrix: what `threads` counts
_LANES = ((0,), (0,), (0,) * 2, (0,) * 4, (0,) * 4)  # by words of a bitset over points
_ZERO, _ONE = np.uint64(0), np.uint64(1)


def rips_pairs(distances, sizes, max_dim, threshold):
    """Return what `rips_cpu.rips_pairs` returns and the clouds' `status`, or None if all are DONE.

    `distances` is a (B, N, N) array, N at most MOST_POINTS. A cloud that is not DONE has no pairs.
    """
    num_clouds, n = distances.shape[:2]
    infinity, limit = _bounds(distances.dtype, float(threshold))
    lengths = np.ascontiguousarray(distances).reshape(-1)
    keys = lengths.view(infinity.dtype)
    if sizes is None:
        sizes = np.empty(num_clouds, np.int64)
        sizes.fill(n)
    else:
        sizes = np.array(sizes)
    counts = np.empty((2 * max_dim + 3, num_clouds), np.int64)
    merges = np.empty((num_clouds, max(1, n)), np.uint16)
    borders = _shares(sizes, max_dim)
    tail = (n, infinity, limit, counts, merges)
    if max_dim:
        tail = (*tail, _LANES[(n + 63) // 64])
    calls = [(keys, lengths, sizes, first, last, *tail) for first, last in pairwise(borders)]
    parts = threads.run(find_pairs if max_dim else find_merges, calls, len(calls))
    most = counts.max(axis=1).tolist()
    diagrams = [_h0(counts, most[1], merges)]
    if max_dim:
        diagrams.append(_h1(counts, most[3], parts, borders))
    return diagrams, (counts[0] if most[0] else None)


@lru_cache(maxsize=64)
def _bounds(dtype, threshold):
    """Return infinity and the longest length that counts as keys; looked up, for small clouds."""
    integer = np.dtype(f"i{dtype.itemsize}").type
    return np.array(np.inf, dtype).view(integer)[()], integer(longest_key(dtype, threshold))


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


def _h0(counts, longest, merges):
    """Return the padded tensors of dimension 0."""
    rows = np.empty((3, counts.shape[1], longest, 2), np.int64)
    write_merges(merges, counts, rows)
    return _fields(rows[0], rows[1], rows[2], counts[1], counts[2])


def _h1(counts, longest, parts, borders):
    """Return the padded tensors of dimension 1; `parts` are the shares' pairs."""
    edges = np.empty((2, counts.shape[1], longest, 2), np.int64)
    simplices = np.empty((counts.shape[1], longest, 3), np.int64)
    for pairs, (first, last) in zip(parts, pairwise(borders), strict=True):
        write_pairs(pairs, first, last, counts, edges, simplices)
    return _fields(edges[0], edges[1], simplices, counts[3], counts[4])


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
def find_merges(keys, lengths, sizes, first, last, n, infinity, limit, counts, merges):
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
    starts = np.empty(MOST_BUCKETS + 1, np.int32)
    parent = np.empty(n, np.uint64)
    for cloud in range(first, last):
        size = sizes[cloud]
        base = cloud * n * n
        accepted, radius = scan(keys, base, n, size, infinity)
        counts[0, cloud] = DONE if accepted else REFUSED
        if not accepted or size < 2:
            counts[1, cloud] = 0
            counts[2, cloud] = size
            continue
        cutoff = min(radius, limit)
        if keys.itemsize == 4:
            num_merges, num_trees = prim(keys, base, n, size, cutoff, reach, inside, tree)
            for m in range(num_merges):
                merges[cloud, m] = tree[m] & 65535
        else:
            count = gather(keys, base, n, size, cutoff, edge_keys, edges)
            in_spare = sort_small(edge_keys, edges, count, spare_keys, spare_edges, starts, lengths)
            sorted_keys = spare_keys if in_spare else edge_keys
            sorted_edges = spare_edges if in_spare else edges
            num_merges, num_trees = kruskal(
                sorted_keys, sorted_edges, count, size, parent, merges[cloud]
            )
        counts[1, cloud] = num_merges
        counts[2, cloud] = num_trees


@njit(cache=True, nogil=True)
def find_pairs(keys, lengths, sizes, first, last, n, infinity, limit, counts, merges, lanes):
    """Find the H0 and H1 pairs of clouds [first, last); returns H1's, cloud after cloud.

    `keys`, flat, holds B matrices of n x n lengths as integers and `lengths` is the same memory as
    floats. Written per cloud: `counts[:, cloud]`, the status, how many pairs and classes that never
    die in H0, then in H1; `merges[cloud]`, H0's death edges. A row of H1 is (birth edge, death
    edge, apex).
    """
    num_edges = n * (n - 1) // 2 + 1
    edge_keys = np.empty(num_edges, keys.dtype)
    spare_keys = np.empty(num_edges, keys.dtype)
    edges = np.empty(num_edges, np.uint16)
    spare_edges = np.empty(num_edges, np.uint16)
    starts = np.empty(MOST_BUCKETS + 1, np.int32)
    adjacency = np.empty((n, len(lanes)), np.uint64)
    parent = np.empty(n, np.uint64)
    hubs = np.empty(n, np.uint64)
    chains = np.empty(num_edges, np.uint64)
    rows = np.empty(64, np.uint64)
    births = np.empty(64, np.uint16)
    levels = np.empty(num_edges, np.uint16)
    pairs = np.empty((16 * (last - first) + 64, 3), np.uint16)
    num_pairs = np.int64(0)  # no literals: `sweep` would be compiled for them alone
    width = np.int64(1)
    for cloud in range(first, last):
        size = sizes[cloud]
        base = cloud * n * n
        accepted, radius = scan(keys, base, n, size, infinity)
        counts[0, cloud] = DONE if accepted else REFUSED
        counts[1, cloud] = 0
        counts[2, cloud] = size
        counts[3, cloud] = 0
        counts[4, cloud] = 0
        if not accepted or size < 2:
            continue
        count = gather(keys, base, n, size, min(radius, limit), edge_keys, edges)
        in_spare = sort_small(edge_keys, edges, count, spare_keys, spare_edges, starts, lengths)
        sorted_keys = spare_keys if in_spare else edge_keys
        sorted_edges = spare_edges if in_spare else edges
        rank_lengths(sorted_keys, count, levels)
        for i in range(size):
            parent[i] = np.uint64(i)
            hubs[i] = np.uint64(i)
            for k in range(len(lanes)):
                adjacency[i, k] = _ZERO
            adjacency[i, i >> 6] = _ONE << np.uint64(i & 63)
        begin = num_pairs
        num_merges, num_trees, alive, num_pairs, width, births, chains, rows, pairs = sweep(
            sorted_edges, levels, count, size, lanes, adjacency, parent, hubs,
            width, births, chains, rows, merges[cloud], pairs, num_pairs,
        )  # fmt: skip
        if alive < 0:
            counts[0, cloud] = CROWDED
            continue
        counts[1, cloud] = num_merges
        counts[2, cloud] = num_trees
        counts[3, cloud] = num_pairs - begin
        counts[4, cloud] = alive
    return pairs[:num_pairs]


@njit(cache=True, nogil=True)
def write_merges(merges, counts, rows):
    """Write H0's birth edges, death edges and death simplices (3, B, K, 2), padded with -1."""
    for cloud in range(rows.shape[1]):
        for m in range(rows.shape[2]):
            i = np.int64(-1)
            j = np.int64(-1)
            if m < counts[1, cloud]:
                i = np.int64(merges[cloud, m]) >> 8
                j = np.int64(merges[cloud, m]) & 255
            rows[0, cloud, m, 0] = -1
            rows[0, cloud, m, 1] = -1
            for field in (1, 2):
                rows[field, cloud, m, 0] = i
                rows[field, cloud, m, 1] = j


@njit(cache=True, nogil=True)
def write_pairs(pairs, first, last, counts, edges, simplices):
    """Write H1's birth and death edges (2, B, K, 2) and triangles, padded with -1.

    Of clouds [first, last), whose rows `pairs` are, one cloud's after the other's.
    """
    start = 0
    for cloud in range(first, last):
        for m in range(simplices.shape[1]):
            if m < counts[3, cloud]:
                i = np.int64(pairs[start, 1]) >> 8
                j = np.int64(pairs[start, 1]) & 255
                w = np.int64(pairs[start, 2])
                edges[0, cloud, m, 0] = pairs[start, 0] >> 8
                edges[0, cloud, m, 1] = pairs[start, 0] & 255
                edges[1, cloud, m, 0] = i
                edges[1, cloud, m, 1] = j
                simplices[cloud, m, 0] = min(i, w)
                simplices[cloud, m, 1] = max(i, min(j, w))
                simplices[cloud, m, 2] = max(j, w)
                start += 1
            else:
                for corner in range(2):
                    edges[0, cloud, m, corner] = -1
                    edges[1, cloud, m, corner] = -1
                for corner in range(3):
                    simplices[cloud, m, corner] = -1

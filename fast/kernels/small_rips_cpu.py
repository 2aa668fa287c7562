"""Rips pairs of small clouds on the CPU: every cloud of a batch in one compiled loop."""

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

DONE, REFUSED, CROWDED = range(3)
"""What `status` says of a cloud: done; an entry is no distance, or -0.0; too many births."""

_OPERATIONS = (4, 24)  # H0's and H1's, per entry of a matrix: what `threads` counts
_LANES = ((0,), (0,), (0,) * 2, (0,) * 4, (0,) * 4)  # by words of a bitset over points
_ZERO, _ONE = np.uint64(0), np.uint64(1)


def rips_pairs(distances, sizes, max_dim, threshold):
    """Return what `rips_cpu.rips_pairs` returns, and `status` of each cloud.

    `distances` is a (B, N, N) array, N at most MOST_POINTS. Where a status is not DONE, the cloud
    has no pairs.
    """
    num_clouds, n = distances.shape[:2]
    integer = np.int32 if distances.dtype == np.float32 else np.int64
    infinity = np.array(np.inf, distances.dtype).view(integer)[()]
    limit = integer(longest_key(distances.dtype, threshold))
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
    calls = [(*given, first, last, *told, *found) for first, last in pairwise(borders)]
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
    starts = np.empty(MOST_BUCKETS + 1, np.int32)
    parent = np.empty(n, np.uint64)
    for cloud in range(first, last):
        size = sizes[cloud]
        base = cloud * n * n
        accepted, radius = scan(keys, base, n, size, infinity)
        status[cloud] = DONE if accepted else REFUSED
        if not accepted or size < 2:
            counts[0, cloud] = 0
            counts[1, cloud] = size
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
        status[cloud] = DONE if accepted else REFUSED
        counts[0, cloud] = 0
        counts[1, cloud] = size
        counts[2, cloud] = 0
        counts[3, cloud] = 0
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
            status[cloud] = CROWDED
            continue
        counts[0, cloud] = num_merges
        counts[1, cloud] = num_trees
        counts[2, cloud] = num_pairs - begin
        counts[3, cloud] = alive
    return pairs[:num_pairs]


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

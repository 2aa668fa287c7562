"""Rips pairs of small clouds on the CPU: every cloud of a batch in one compiled loop."""

from functools import lru_cache
from itertools import pairwise

import numpy as np
import torch

from fast import threads
from fast.kernels.distances.lengths import longest_key
from fast.kernels.edges.small_edges_cpu import (
    MOST_BUCKETS,
    gather,
    kruskal,
    prim,
    rank_lengths,
    scan,
    sort_small,
)
from fast.kernels.lunes.small_lunes_cpu import sweep
from fast.kernels.numba_cpu import compiled

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
    most = (counts[:, 0] if num_clouds == 1 else counts.max(axis=1)).tolist()
    rows = np.empty((3, num_clouds, most[1], 2), np.int64)
    values = np.empty((2, num_clouds, most[1]), lengths.dtype)
    mask = np.empty((num_clouds, most[1]), np.bool_)
    write_merges(merges, counts, lengths, n, rows, values, mask)
    diagrams = [_fields(rows, rows[2], values, mask, counts[1:3])]
    if max_dim:
        pairs = parts[0] if len(parts) == 1 else np.concatenate(parts)
        edges = np.empty((2, num_clouds, most[3], 2), np.int64)
        triangles = np.empty((num_clouds, most[3], 3), np.int64)
        values = np.empty((2, num_clouds, most[3]), lengths.dtype)
        mask = np.empty((num_clouds, most[3]), np.bool_)
        write_pairs(pairs, counts, lengths, n, edges, triangles, values, mask)
        diagrams.append(_fields(edges, triangles, values, mask, counts[3:]))
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


def _fields(edges, simplices, values, mask, counts):
    """Return one dimension's fields as tensors; `edges`, `values` and `counts` hold two each."""
    return {
        "birth_edges": torch.from_numpy(edges[0]),
        "death_edges": torch.from_numpy(edges[1]),
        "death_simplices": torch.from_numpy(simplices),
        "births": torch.from_numpy(values[0]),
        "deaths": torch.from_numpy(values[1]),
        "mask": torch.from_numpy(mask),
        "counts": torch.from_numpy(counts[0]),
        "num_essential": torch.from_numpy(counts[1]),
    }


@compiled
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
            in_spare = sort_small(edge_keys, edges, count, spare_keys, spare_edges, starts)
            sorted_keys = spare_keys if in_spare else edge_keys
            sorted_edges = spare_edges if in_spare else edges
            num_merges, num_trees = kruskal(
                sorted_keys, sorted_edges, count, size, parent, merges[cloud]
            )
        counts[1, cloud] = num_merges
        counts[2, cloud] = num_trees


@compiled
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
        in_spare = sort_small(edge_keys, edges, count, spare_keys, spare_edges, starts)
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


@compiled
def write_merges(merges, counts, lengths, n, rows, values, mask):
    """Write H0's birth edges, death edges and death simplices (3, B, K, 2) and the rest.

    `values` (2, B, K) get births and deaths. Padding is -1, 0 and False.
    """
    for cloud in range(rows.shape[1]):
        for m in range(rows.shape[2]):
            is_pair = m < counts[1, cloud]
            i = np.int64(-1)
            j = np.int64(-1)
            death = lengths.dtype.type(0)
            if is_pair:
                i = np.int64(merges[cloud, m]) >> 8
                j = np.int64(merges[cloud, m]) & 255
                death = lengths[(cloud * n + i) * n + j]
            rows[0, cloud, m, 0] = -1
            rows[0, cloud, m, 1] = -1
            for field in (1, 2):
                rows[field, cloud, m, 0] = i
                rows[field, cloud, m, 1] = j
            values[0, cloud, m] = 0
            values[1, cloud, m] = death
            mask[cloud, m] = is_pair


@compiled
def write_pairs(pairs, counts, lengths, n, edges, triangles, values, mask):
    """Write H1's birth and death edges (2, B, K, 2), triangles and the rest.

    `pairs` are the rows of all clouds, one cloud's after the other's. `values` (2, B, K) get births
    and deaths. Padding is -1, 0 and False.
    """
    start = 0
    for cloud in range(edges.shape[1]):
        for m in range(edges.shape[2]):
            is_pair = m < counts[3, cloud]
            mask[cloud, m] = is_pair
            if is_pair:
                for field in range(2):
                    i = np.int64(pairs[start, field]) >> 8
                    j = np.int64(pairs[start, field]) & 255
                    edges[field, cloud, m, 0] = i
                    edges[field, cloud, m, 1] = j
                    values[field, cloud, m] = lengths[(cloud * n + i) * n + j]
                w = np.int64(pairs[start, 2])
                triangles[cloud, m, 0] = min(i, w)
                triangles[cloud, m, 1] = max(i, min(j, w))
                triangles[cloud, m, 2] = max(j, w)
                start += 1
            else:
                for field in range(2):
                    edges[field, cloud, m, 0] = -1
                    edges[field, cloud, m, 1] = -1
                    values[field, cloud, m] = 0
                for corner in range(3):
                    triangles[cloud, m, corner] = -1

"""Minimum spanning forest of one cloud, in the total order of edges: H0 without any lune."""

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def spanning_forest(keys, cutoff):
    """Return the forest's edges of positive length as i * N + j, in order, and how many trees.

    Prim's algorithm on the edges up to the cutoff; under a total order the forest is unique, so
    that it equals Kruskal's.
    """
    n = keys.shape[0]
    far = np.int64(np.iinfo(np.int64).max)
    nearest_key = np.full(n, far)
    nearest = np.full(n, -1)
    outside = np.arange(n)
    num_outside = n
    tree_keys = np.empty(n, np.int64)
    tree = np.empty(n, np.int64)
    count = 0
    num_trees = 0
    while num_outside > 0:
        best = 0
        for s in range(1, num_outside):
            a = outside[s]
            b = outside[best]
            if nearest_key[a] < nearest_key[b] or (
                nearest_key[a] == nearest_key[b]
                and nearest_key[a] != far
                and _edge(a, nearest[a], n) < _edge(b, nearest[b], n)
            ):
                best = s
        v = outside[best]
        num_outside -= 1
        outside[best] = outside[num_outside]
        if nearest_key[v] == far:
            num_trees += 1
        elif nearest_key[v] > 0:
            tree_keys[count] = nearest_key[v]
            tree[count] = _edge(v, nearest[v], n)
            count += 1
        for s in range(num_outside):
            w = outside[s]
            key = np.int64(keys[v, w])
            if key <= cutoff and (
                key < nearest_key[w]
                or (key == nearest_key[w] and _edge(v, w, n) < _edge(nearest[w], w, n))
            ):
                nearest_key[w] = key
                nearest[w] = v
    by_edge = np.argsort(tree[:count])
    by_key = np.argsort(tree_keys[:count][by_edge], kind="mergesort")
    return tree[:count][by_edge][by_key], num_trees


@njit(cache=True, nogil=True)
def _edge(a, b, n):
    """Edge {a, b} as i * N + j with i < j: ordered by smaller, then larger vertex."""
    return min(a, b) * n + max(a, b)

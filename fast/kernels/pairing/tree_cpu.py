"""Minimum spanning forest of one cloud, in the total order of edges: H0 without any lune."""

import numpy as np

from fast.kernels.edges.edge_keys_cpu import fill_lengths, num_vertices
from fast.kernels.numba_cpu import compiled, helper


@compiled
def spanning_forest(source, cutoff):
    """Return the forest's edges of positive length as i * N + j, in order, and how many trees.

    Prim's algorithm on the edges up to the cutoff, whose keys come from an `EdgeKeys`; under a
    total order the forest is unique, so that it equals Kruskal's. Equal keys are counted on the
    way, which vectorizes, and looked into only where there are any.
    """
    n = num_vertices(source)
    is_stored = source.stored.shape[0] > 0
    lengths = np.empty((0 if is_stored else 1, n), source.points.dtype)
    computed = lengths.view(source.stored.dtype)
    far = np.iinfo(source.stored.dtype).max
    reach = np.full(
        n, far, source.stored.dtype
    )  # key of the shortest edge into the tree; far once inside
    nearest = np.zeros(n, np.int32)  # where that edge comes from
    outside = np.full(n, np.int8(1))
    tree_keys = np.empty(n, np.int64)
    tree = np.empty(n, np.int64)
    count = 0
    num_trees = 0
    for _ in range(n):
        least = reach[0]
        for w in range(n):
            least = min(least, reach[w])
        if least == far:
            num_trees += 1
            v = 0
            while outside[v] == 0:
                v += 1
        else:
            v = _first_edge(reach, nearest, least)
            if least > 0:
                tree_keys[count] = least
                tree[count] = _edge(v, nearest[v], n)
                count += 1
        outside[v] = 0
        reach[v] = far
        if not is_stored:
            fill_lengths(source.channels, v, v + 1, 0, lengths)
        row = source.stored[v] if is_stored else computed[0]
        ties = 0
        for w in range(n):
            key = row[w]
            usable = (outside[w] != 0) & (key <= cutoff)
            ties += usable & (key == reach[w])
            if usable & (key < reach[w]):
                reach[w] = key
                nearest[w] = v
        if ties > 0:
            for w in range(n):
                if (
                    outside[w] != 0
                    and row[w] == reach[w]
                    and _edge(v, w, n) < _edge(nearest[w], w, n)
                ):
                    nearest[w] = v
    by_edge = np.argsort(tree[:count])
    by_key = np.argsort(tree_keys[:count][by_edge], kind="mergesort")
    return tree[:count][by_edge][by_key], num_trees


@helper
def _first_edge(reach, nearest, least):
    """Return the vertex outside whose edge of key `least` comes first in the order of edges."""
    n = reach.shape[0]
    best = -1
    for w in range(n):
        if reach[w] == least and (
            best < 0 or _edge(w, nearest[w], n) < _edge(best, nearest[best], n)
        ):
            best = w
    return best


@helper
def _edge(a, b, n):
    """Edge {a, b} as i * N + j with i < j: ordered by smaller, then larger vertex."""
    return min(a, b) * n + max(a, b)

"""Minimum spanning forests of all clouds on the GPU: Prim's algorithm, one block per cloud.

Edges are compared as (key, i * N + j), the total order, so the forest is unique.
"""

import numpy as np
from numba import cuda

THREADS = 512  # a block; a power of two
_FAR = 2**63 - 1


@cuda.jit(cache=True)
def spanning_forests(keys, sizes, cutoffs, magnitude, reach, nearest, tree_keys, tree, num_trees):
    """Write each cloud's forest in the order of growth, zero lengths included, and its trees.

    `tree_keys` and `tree` (B, N) get a key and an edge i * N + j for each merge, and are not
    touched beyond. `reach` and `nearest` (B, N) are scratch: the key of the shortest edge into
    the tree, -1 inside it, and where that edge comes from. A thread touches its own vertices
    alone; only the next vertex is agreed on through shared memory.
    """
    best_keys = cuda.shared.array(THREADS, np.int64)
    best_edges = cuda.shared.array(THREADS, np.int64)
    best_vertices = cuda.shared.array(THREADS, np.int64)
    n = keys.shape[1]
    t = cuda.threadIdx.x
    for b in range(cuda.blockIdx.x, keys.shape[0], cuda.gridDim.x):
        size = int(sizes[b])
        cutoff = int(cutoffs[b])
        for w in range(t, size, cuda.blockDim.x):
            reach[b, w] = _FAR
            nearest[b, w] = w
        v = 0
        merges = 0
        trees = 0
        for step in range(size + 1):
            best_key = _FAR
            best_edge = _FAR
            best_vertex = -1
            for w in range(t, size, cuda.blockDim.x):
                known = int(reach[b, w])
                source = int(nearest[b, w])
                if step > 0 and w == v:
                    known = -1
                    reach[b, w] = -1
                if known >= 0:
                    edge = min(source, w) * n + max(source, w) if known < _FAR else w
                    if step > 0:
                        key = int(keys[b, v, w]) & magnitude
                        other = min(v, w) * n + max(v, w)
                        if key <= cutoff and (
                            known == _FAR or key < known or (key == known and other < edge)
                        ):
                            known = key
                            edge = other
                            reach[b, w] = key
                            nearest[b, w] = v
                    if (
                        best_vertex < 0
                        or known < best_key
                        or (known == best_key and edge < best_edge)
                    ):
                        best_key = known
                        best_edge = edge
                        best_vertex = w
            best_keys[t] = best_key
            best_edges[t] = best_edge
            best_vertices[t] = best_vertex
            cuda.syncthreads()
            half = cuda.blockDim.x // 2
            while half > 0:
                if t < half and best_vertices[t + half] >= 0:
                    key = best_keys[t + half]
                    edge = best_edges[t + half]
                    ties = key == best_keys[t] and edge < best_edges[t]
                    if best_vertices[t] < 0 or key < best_keys[t] or ties:
                        best_keys[t] = key
                        best_edges[t] = edge
                        best_vertices[t] = best_vertices[t + half]
                cuda.syncthreads()
                half //= 2
            best_key = int(best_keys[0])
            best_edge = int(best_edges[0])
            v = int(best_vertices[0])
            cuda.syncthreads()  # before the next step writes there
            if v < 0:  # every vertex is inside; all threads see it
                break
            if best_key == _FAR:
                trees += 1
            else:
                if t == 0:
                    tree_keys[b, merges] = best_key
                    tree[b, merges] = best_edge
                merges += 1
        if t == 0:
            num_trees[b] = trees

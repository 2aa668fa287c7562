"""Lunes of all edges on the GPU: which are empty, and where a lune falls apart.

Legend: B clouds, N points, M edges, W words of 64 vertices, S + 1 snapshots. Snapshot s of a cloud
is the adjacency by the edges of rank below `borders[s]`, a bitset row per vertex. An edge of rank p
lies between two snapshots: what the earlier one holds is certain, what only the later one holds
is looked up in the ranks. So every edge is examined by itself, exactly. Rules for kernels:
launch_gpu.
"""

import numpy as np
from numba import cuda

# Values of `edge_status` (B, M); above 0: 1 + a vertex of the edge's lune; below -2: see pairing.
SEE_SNAPSHOTS, TREE, EMPTY = 0, -1, -2

_STRAGGLERS = 8  # vertices away from the hub that are linked one by one before a search is due
_JOINED = _STRAGGLERS + 1  # they and the hub
_THREE_QUARTERS = 3  # of the way to the edge's own snapshot the hub is first sought: it is central


@cuda.jit(device=True)
def snapshot_below(borders, b, p):
    """Return the last s with borders[b, s] <= p."""
    low = 0
    high = borders.shape[1] - 1
    while high - low > 1:
        middle = (low + high) // 2
        if int(borders[b, middle]) <= p:
            low = middle
        else:
            high = middle
    return low


@cuda.jit(device=True)
def lowest_bit(word):
    """Position of the lowest set bit of a non-zero uint64 word."""
    return np.int64(cuda.popc(~word & (word - np.uint64(1))))


@cuda.jit(device=True)
def common_neighbor(snapshots, b, s, i, j):
    """Return the lowest vertex joined to i and j in snapshot s, or -1."""
    for k in range(snapshots.shape[3]):
        both = snapshots[b, s, i, k] & snapshots[b, s, j, k]
        if both != np.uint64(0):
            return k * 64 + lowest_bit(both)
    return -1


@cuda.jit(cache=True)
def take_snapshots(ranks, counts, borders, snapshots):
    """Fill `snapshots` (B, S + 1, N, W), zero before, from `ranks`; one thread per word."""
    n = snapshots.shape[2]
    words = snapshots.shape[3]
    one = np.uint64(1)
    for index in range(cuda.grid(1), snapshots.shape[0] * n * words, cuda.gridsize(1)):
        b = index // (n * words)
        v = index // words % n
        k = index % words
        count = int(counts[b])
        for w in range(k * 64, min(n, k * 64 + 64)):
            rank = int(ranks[b, v, w])
            if rank < count:
                s = snapshot_below(borders, b, rank) + 1
                snapshots[b, s, v, k] |= one << np.uint64(w & 63)
        known = np.uint64(0)
        for s in range(snapshots.shape[1]):
            known |= snapshots[b, s, v, k]
            snapshots[b, s, v, k] = known


@cuda.jit(cache=True)
def find_empty_lunes(edges, counts, ranks, borders, snapshots, edge_status):
    """Mark edges with empty lunes EMPTY; a witness that no snapshot holds is written down."""
    n = ranks.shape[1]
    m = edges.shape[1]
    for index in range(cuda.grid(1), edges.shape[0] * m, cuda.gridsize(1)):
        b = index // m
        p = index - b * m
        if p < counts[b]:
            edge = int(edges[b, p])
            i = edge // n
            j = edge - i * n
            s = snapshot_below(borders, b, p)
            if common_neighbor(snapshots, b, s, i, j) < 0:
                edge_status[b, p] = EMPTY
                for k in range(snapshots.shape[3]):
                    left = snapshots[b, s + 1, i, k] & snapshots[b, s + 1, j, k]
                    while left != np.uint64(0):
                        w = k * 64 + lowest_bit(left)
                        left &= left - np.uint64(1)
                        if ranks[b, i, w] < p and ranks[b, j, w] < p:
                            edge_status[b, p] = 1 + w


@cuda.jit(cache=True)
def flag_uncertain_lunes(
    edges,
    starts,
    stops,
    done,
    span,
    ranks,
    borders,
    snapshots,
    edge_status,
    uncertain,
    num_uncertain,
):
    """List the edges p with starts <= p < stops whose lunes are not proved connected, unsorted.

    The proof: a hub, each other vertex of the lune joined to the hub, or to a straggler that was
    linked to the hub through a third vertex of the lune.
    """
    n = ranks.shape[1]
    words = snapshots.shape[3]
    one = np.uint64(1)
    joined = cuda.local.array(_JOINED, np.int32)
    for index in range(cuda.grid(1), edges.shape[0] * span, cuda.gridsize(1)):
        b = index // span
        p = int(starts[b]) + index - b * span
        if done[b] != 0 or p >= stops[b] or edge_status[b, p] < 0:
            continue
        edge = int(edges[b, p])
        i = edge // n
        j = edge - i * n
        s = snapshot_below(borders, b, p)
        hub = common_neighbor(snapshots, b, s * _THREE_QUARTERS // 4, i, j)
        if hub < 0:
            hub = common_neighbor(snapshots, b, s, i, j)
        if hub < 0:
            hub = int(edge_status[b, p]) - 1  # no snapshot has one: the witness then found
        proved = True
        num_joined = 1
        joined[0] = hub
        k = 0
        while proved and k < words:
            left = snapshots[b, s + 1, i, k] & snapshots[b, s + 1, j, k]
            left &= ~snapshots[b, s, hub, k]
            while proved and left != np.uint64(0):
                w = k * 64 + lowest_bit(left)
                left &= left - one
                if ranks[b, i, w] < p and ranks[b, j, w] < p and w != hub:
                    covered = False
                    for q in range(num_joined):
                        covered = covered or ranks[b, joined[q], w] < p
                    if not covered:
                        proved = num_joined <= _STRAGGLERS and _are_linked(
                            snapshots, b, s, i, j, hub, w
                        )
                        if proved:
                            joined[num_joined] = w
                            num_joined += 1
            k += 1
        if not proved:
            slot = cuda.atomic.add(num_uncertain, b, 1)
            uncertain[b, slot] = p


@cuda.jit(device=True)
def _are_linked(snapshots, b, s, i, j, v, w):
    """Whether snapshot s has a vertex joined to all of i, j, v and w."""
    for k in range(snapshots.shape[3]):
        both = snapshots[b, s, i, k] & snapshots[b, s, j, k]
        if both & snapshots[b, s, v, k] & snapshots[b, s, w, k] != np.uint64(0):
            return True
    return False


@cuda.jit(cache=True)
def search_lunes(
    edges, ranks, uncertain, num_uncertain, unseen, queue, found, first_vertices, num_found
):
    """Write the relations of uncertain edges, unsorted: one per component of a lune but its first.

    A relation of edge p is p * N + w_k in `found` (B, R) and w_1 in `first_vertices`, where w_1 <
    w_2 < ... are the smallest vertices of the components. `num_found` counts on beyond R. One
    block an edge; `unseen` and `queue` (blocks, N) are its scratch.
    """
    shared = cuda.shared.array(2, np.int32)  # the smallest unseen vertex; the queue's length
    block = cuda.blockIdx.x
    for b in range(edges.shape[0]):
        # Another block begins with each cloud, or the first would have all of every small one.
        for index in range((block + 61 * b) % cuda.gridDim.x, num_uncertain[b], cuda.gridDim.x):
            _search_lune(
                edges, ranks, b, int(uncertain[b, index]), unseen, queue, found, first_vertices,
                num_found, shared,
            )  # fmt: skip


@cuda.jit(device=True)
def _search_lune(edges, ranks, b, p, unseen, queue, found, first_vertices, num_found, shared):
    """Search the lune of edge p of cloud b by a block, which waits for its threads at the end."""
    n = ranks.shape[1]
    t = cuda.threadIdx.x
    block = cuda.blockIdx.x
    edge = int(edges[b, p])
    i = edge // n
    j = edge - i * n
    for w in range(t, n, cuda.blockDim.x):
        unseen[block, w] = 1 if ranks[b, i, w] < p and ranks[b, j, w] < p else 0
    first = -1
    while True:
        if t == 0:
            shared[0] = n
            shared[1] = 1
        cuda.syncthreads()
        w = t
        while w < n and unseen[block, w] == 0:
            w += cuda.blockDim.x
        if w < n:
            cuda.atomic.min(shared, 0, w)
        cuda.syncthreads()
        opener = int(shared[0])
        if opener == n:
            break
        if t == 0:
            unseen[block, opener] = 0
            queue[block, 0] = opener
            if first >= 0:
                slot = cuda.atomic.add(num_found, b, 1)
                if slot < found.shape[1]:
                    found[b, slot] = p * n + opener
                    first_vertices[b, slot] = first
        if first < 0:
            first = opener
        head = 0
        while True:
            cuda.syncthreads()
            tail = int(shared[1])
            cuda.syncthreads()  # before anyone appends
            if head == tail:
                break
            for w in range(t, n, cuda.blockDim.x):
                if unseen[block, w] != 0:
                    q = head
                    while q < tail and ranks[b, queue[block, q], w] >= p:
                        q += 1
                    if q < tail:
                        unseen[block, w] = 0
                        queue[block, cuda.atomic.add(shared, 1, 1)] = w
            head = tail
    cuda.syncthreads()  # before the next edge overwrites shared[0]

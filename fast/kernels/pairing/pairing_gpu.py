"""Which relation kills which H1 class, on the GPU: Gauss-Jordan elimination over Z/2.

Legend: B clouds, N points, M edges, R relations, K births, W words of 64 births. Row r of `rows`
(B, R, W) is relation r as a bitset over births, oldest first. The edge_status (lunes_gpu) of a
birth is -3 - its number. Rules for kernels: launch_gpu.
"""

import numpy as np
from numba import cuda

from fast.kernels.lunes.lunes_gpu import EMPTY, TREE, common_neighbor, lowest_bit, snapshot_below

_PANEL = 64  # relations that are eliminated together: their pivots fit in a word
THREADS = 512  # a block of `eliminate`
_LANES = 32  # threads side by side on a row


@cuda.jit(cache=True)
def mark_tree(tree, tree_counts, ranks, edge_status):
    """Mark the tree's edges (B, N), of which each cloud has `tree_counts`."""
    n = ranks.shape[1]
    for index in range(cuda.grid(1), tree.shape[0] * n, cuda.gridsize(1)):
        b = index // n
        if index - b * n < tree_counts[b]:
            edge = int(tree[b, index - b * n])
            i = edge // n
            rank = int(ranks[b, i, edge - i * n])
            if rank < edge_status.shape[1]:  # always, but for an asymmetric matrix, refused later
                edge_status[b, rank] = TREE


@cuda.jit(cache=True)
def number_births(ordinals, edge_status, births):
    """Give each edge still EMPTY its ordinal (B, M), less 1; write ranks to `births` (B, K)."""
    m = edge_status.shape[1]
    for index in range(cuda.grid(1), edge_status.shape[0] * m, cuda.gridsize(1)):
        b = index // m
        p = index - b * m
        if edge_status[b, p] == EMPTY:
            birth = int(ordinals[b, p]) - 1
            edge_status[b, p] = -3 - birth
            if birth < births.shape[1]:
                births[b, birth] = p


@cuda.jit(cache=True)
def express_relations(
    edges, ranks, borders, snapshots, edge_status, done, found, first_vertices, starts, num_found,
    pending, relations, rows, lists, lengths, overflow,
):  # fmt: skip
    """Write the relations of a round, sorted, to `relations` (B, R, 2), and what they hold.

    That goes to the bits of `rows`, zero before; or, if `rows` has none, to `lists` (B, R, E), with
    `lengths` (B, R), zero before: list_pairing_gpu.

    Relation r = starts[b] + its place in `found`: (rank of its edge, w_k), and the births that
    the 4-cycle i-w_1-j-w_k is homologous to. An edge with a witness w stands for the path over w,
    whose edges are older; always the youngest pending edge is replaced, so each is replaced at
    most once. `pending` (threads, P) is scratch; `overflow` (1,) tells if P or E is too short.
    """
    n = ranks.shape[1]
    limit = found.shape[1]
    room = pending.shape[1]
    one = np.uint64(1)
    thread = cuda.grid(1)
    for index in range(thread, found.shape[0] * limit, cuda.gridsize(1)):
        b = index // limit
        r = int(starts[b]) + index - b * limit
        if done[b] != 0 or index - b * limit >= num_found[b] or r >= relations.shape[1]:
            continue
        p = int(found[b, index - b * limit]) // n
        last = int(found[b, index - b * limit]) - p * n
        first = int(first_vertices[b, index - b * limit])
        relations[b, r, 0] = p
        relations[b, r, 1] = last
        edge = int(edges[b, p])
        i = edge // n
        j = edge - i * n
        waiting = 0
        step = 0
        while step < 4 or waiting > 0:
            if step < 4:  # the sides of the 4-cycle
                end = i if step < 2 else j
                w = first if step % 2 == 0 else last
                left = int(ranks[b, end, w])
                right = -1
                step += 1
            else:
                youngest = 0
                for q in range(1, waiting):
                    if pending[thread, q] > pending[thread, youngest]:
                        youngest = q
                replaced = int(pending[thread, youngest])
                waiting -= 1
                pending[thread, youngest] = pending[thread, waiting]
                edge = int(edges[b, replaced])
                a = edge // n
                c = edge - a * n
                status = int(edge_status[b, replaced])
                w = status - 1
                if status == 0:
                    w = _most_central(snapshots, borders, b, replaced, a, c)
                left = int(ranks[b, a, w])
                right = int(ranks[b, c, w])
            for side in range(2):
                added = left if side == 0 else right
                if added < 0:
                    continue
                status = int(edge_status[b, added])
                if status < EMPTY:
                    birth = -3 - status
                    if rows.shape[1] > 0:
                        rows[b, r, birth >> 6] ^= one << np.uint64(birth & 63)
                    else:
                        q = 0
                        while q < lengths[b, r] and lists[b, r, q] != birth:
                            q += 1
                        if q < lengths[b, r]:  # twice is not at all
                            lengths[b, r] -= 1
                            lists[b, r, q] = lists[b, r, lengths[b, r]]
                        elif q < lists.shape[2]:
                            lists[b, r, q] = birth
                            lengths[b, r] += 1
                        else:
                            overflow[0] = 1
                elif status != TREE:
                    q = 0
                    while q < waiting and pending[thread, q] != added:
                        q += 1
                    if q < waiting:  # twice is not at all
                        waiting -= 1
                        pending[thread, q] = pending[thread, waiting]
                    elif waiting < room:
                        pending[thread, waiting] = added
                        waiting += 1
                    else:
                        overflow[0] = 1
                        waiting = 0
                        step = 4


@cuda.jit(device=True)
def _most_central(snapshots, borders, b, p, i, j):
    """Return a vertex of the lune whose longer side is about shortest: the first to be seen."""
    low = 0
    high = snapshot_below(borders, b, p)
    best = common_neighbor(snapshots, b, high, i, j)
    while low < high:
        middle = (low + high) // 2
        w = common_neighbor(snapshots, b, middle, i, j)
        if w < 0:
            low = middle + 1
        else:
            best = w
            high = middle
    return best


@cuda.jit(cache=True)
def eliminate(rows, starts, stops, num_births, done, killed, killer, mask, hits, alive):
    """Reduce relations starts <= r < stops, in order; one block per cloud.

    `killed` (B, R) gets the birth that a relation kills, -1 before; `killer` (B, K) the relation
    of a birth; `alive` (B,) is brought up to date. The row of a kill holds its birth and births
    that are alive, nothing else; rows of later rounds meet it so. `mask` (B, W) and `hits`
    (B, R), both zero, are scratch.
    """
    chosen = cuda.shared.array(2, np.int32)
    flags = cuda.shared.array(_PANEL, np.int32)
    zero = np.uint64(0)
    one = np.uint64(1)
    t = cuda.threadIdx.x
    lanes = min(_LANES, cuda.blockDim.x)
    for b in range(cuda.blockIdx.x, rows.shape[0], cuda.gridDim.x):
        if done[b] != 0:
            continue
        start = int(starts[b])
        stop = int(stops[b])
        words = (int(num_births[b]) + 63) // 64
        living = int(alive[b])
        for top in range(0, start, _PANEL):  # kills of earlier rounds
            _clear(rows, b, top, min(top + _PANEL, start), start, stop, words, killed, killer, mask,
                   hits)  # fmt: skip
        for top in range(start, stop, _PANEL):
            bottom = min(top + _PANEL, stop)
            for r in range(top, bottom):
                if t == 0:
                    chosen[0] = -1
                cuda.syncthreads()
                for k in range(t, words, cuda.blockDim.x):
                    if rows[b, r, k] != zero:
                        cuda.atomic.max(chosen, 0, k)
                cuda.syncthreads()
                word = int(chosen[0])
                if word < 0:
                    cuda.syncthreads()  # before chosen is set again
                    continue  # a dependent relation: the birth of an H2 class
                bit = np.uint64(highest_bit(rows[b, r, word]))
                for q in range(t, bottom - top, cuda.blockDim.x):
                    held = top + q != r and (rows[b, top + q, word] >> bit) & one != zero
                    flags[q] = 1 if held else 0
                if t == 0:
                    birth = word * 64 + int(bit)
                    killed[b, r] = birth
                    killer[b, birth] = r
                living -= 1
                cuda.syncthreads()
                for q in range(t // lanes, bottom - top, cuda.blockDim.x // lanes):
                    if flags[q] != 0:
                        for k in range(t % lanes, words, lanes):
                            rows[b, top + q, k] ^= rows[b, r, k]
                cuda.syncthreads()
            _clear(rows, b, top, bottom, 0, top, words, killed, killer, mask, hits)
            _clear(rows, b, top, bottom, bottom, stop, words, killed, killer, mask, hits)
            if living == 0:
                break
        if t == 0:
            alive[b] = living
        cuda.syncthreads()


@cuda.jit(device=True)
def _clear(rows, b, top, bottom, start, stop, words, killed, killer, mask, hits):
    """Add rows top to bottom, which share no pivots, to rows start to stop that hold theirs."""
    zero = np.uint64(0)
    one = np.uint64(1)
    t = cuda.threadIdx.x
    lanes = min(_LANES, cuda.blockDim.x)
    for k in range(t, words, cuda.blockDim.x):
        mask[b, k] = zero
    for r in range(start + t, stop, cuda.blockDim.x):
        hits[b, r] = zero
    cuda.syncthreads()
    for r in range(top + t, bottom, cuda.blockDim.x):
        birth = int(killed[b, r])
        if birth >= 0:
            cuda.atomic.or_(mask, (b, birth >> 6), one << np.uint64(birth & 63))
    cuda.syncthreads()
    for r in range(start + t // lanes, stop, cuda.blockDim.x // lanes):
        for k in range(t % lanes, words, lanes):
            held = rows[b, r, k] & mask[b, k]
            while held != zero:
                birth = k * 64 + lowest_bit(held)
                held &= held - one
                cuda.atomic.or_(hits, (b, r), one << np.uint64(int(killer[b, birth]) - top))
    cuda.syncthreads()
    for r in range(start + t // lanes, stop, cuda.blockDim.x // lanes):
        if hits[b, r] != zero:
            for k in range(t % lanes, words, lanes):
                which = hits[b, r]
                total = rows[b, r, k]
                while which != zero:
                    total ^= rows[b, top + lowest_bit(which), k]
                    which &= which - one
                rows[b, r, k] = total
    cuda.syncthreads()


@cuda.jit(device=True)
def highest_bit(word):
    """Position of the highest set bit of a non-zero uint64 word."""
    for shift in (1, 2, 4, 8, 16, 32):
        word |= word >> np.uint64(shift)
    return np.int64(cuda.popc(word)) - 1

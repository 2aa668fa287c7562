"""Edges of all clouds on the GPU: checks, and the rank of every edge in the total order.

Legend: B clouds, N points, M = N (N - 1) / 2 edges. `keys` are the bits of the lengths, read as
signed integers, which order as the lengths do; the sign bit is masked, so that -0.0 is 0. After
the sort nothing but ranks is compared, whatever the dtype. Rules for kernels: launch_gpu.
"""

from numba import cuda

from fast.kernels.distances.lengths import ASYMMETRIC, DIAGONAL, NEGATIVE, NOT_A_NUMBER

NO_ERROR = 2**63 - 1


@cuda.jit(cache=True)
def check_rows(keys, sizes, infinity, magnitude, row_max, first_error):
    """Write each row's largest key to `row_max` (B, N), zero before; the first error, packed.

    `first_error` (1,) is NO_ERROR before; `unpack_error` reads it. One block per row.
    """
    n = keys.shape[1]
    for row in range(cuda.blockIdx.x, keys.shape[0] * n, cuda.gridDim.x):
        b = row // n
        i = row - b * n
        size = int(sizes[b])
        if i < size:
            high = 0
            for j in range(cuda.threadIdx.x, size, cuda.blockDim.x):
                key = int(keys[b, i, j])
                absolute = key & magnitude
                high = max(high, absolute)
                if absolute > infinity:
                    _keep_first(first_error, b, 0, i, j, n, NOT_A_NUMBER)
                elif key < 0 and absolute > 0:
                    _keep_first(first_error, b, 0, i, j, n, NEGATIVE)
                elif i == j and absolute > 0:
                    _keep_first(first_error, b, 1, i, j, n, DIAGONAL)
                elif i < j and absolute != int(keys[b, j, i]) & magnitude:
                    _keep_first(first_error, b, 2, i, j, n, ASYMMETRIC)
            cuda.atomic.max(row_max, (b, i), high)


@cuda.jit(device=True)
def _keep_first(first_error, b, stage, i, j, n, code):
    """Keep the first error: first cloud, first stage, first entry."""
    cuda.atomic.min(first_error, 0, (((b * 3 + stage) * n + i) * n + j) * 8 + code)


def unpack_error(packed, n):
    """Return (cloud, i, j, code) of a packed error."""
    entry, code = divmod(packed, 8)
    row, j = divmod(entry, n)
    stage, i = divmod(row, n)
    return stage // 3, i, j, code


@cuda.jit(cache=True)
def rank_edges(order, pairs, counts, edges, ranks):
    """Write the edges i * N + j in order to `edges` (B, M), and their ranks to `ranks` (B, N, N).

    `order` (B, M) holds positions in `pairs` (M,), the edges in (i, j) order, sorted by key.
    """
    n = ranks.shape[1]
    m = order.shape[1]
    for index in range(cuda.grid(1), order.shape[0] * m, cuda.gridsize(1)):
        b = index // m
        p = index - b * m
        if p < counts[b]:
            edge = int(pairs[order[b, p]])
            i = edge // n
            j = edge - i * n
            edges[b, p] = edge
            ranks[b, i, j] = p
            ranks[b, j, i] = p

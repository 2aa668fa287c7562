"""Nearest pairs between two diagrams on the GPU."""

import torch
from numba import cuda

from fast.kernels.launch_gpu import launch

_THREADS = 128


def nearest_pairs(pairs, others, others_mask):
    """Return (B, K) rows of `others` (B, M, 2) nearest to `pairs` (B, K, 2), lowest at ties.

    Rows outside the mask are out of the question; where it has none the answer is 0.
    """
    nearest = torch.zeros(pairs.shape[:2], dtype=torch.int64, device=pairs.device)
    if nearest.numel() and others_mask.shape[1]:
        blocks = -(-nearest.numel() // _THREADS)
        arrays = (array.contiguous() for array in (pairs, others, others_mask))
        launch(_find, blocks, _THREADS, *arrays, nearest)
    return nearest


@cuda.jit(cache=True)
def _find(pairs, others, others_mask, nearest):
    """Find the nearest row of one pair a thread; squares are rounded one by one, as on the CPU."""
    num_clouds, num_pairs = nearest.shape
    zero = pairs.dtype.type(0)
    for work in range(cuda.grid(1), num_clouds * num_pairs, cuda.gridsize(1)):
        cloud = work // num_pairs
        p = work - cloud * num_pairs
        least = zero
        found = -1
        for q in range(others.shape[1]):
            if others_mask[cloud, q]:
                birth = pairs[cloud, p, 0] - others[cloud, q, 0]
                death = pairs[cloud, p, 1] - others[cloud, q, 1]
                cost = cuda.fma(birth, birth, zero) + cuda.fma(death, death, zero)
                if found < 0 or cost < least:
                    least = cost
                    found = q
        nearest[cloud, p] = max(found, 0)

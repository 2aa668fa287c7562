"""Nearest pairs between two diagrams on the CPU."""

import numpy as np
import torch

from fast import threads
from fast.kernels.numba_cpu import compiled


def nearest_pairs(pairs, others, others_mask):
    """Return (B, K) rows of `others` (B, M, 2) nearest to `pairs` (B, K, 2), lowest at ties.

    Rows outside the mask are out of the question; where it has none the answer is 0.
    """
    nearest = torch.zeros(pairs.shape[:2], dtype=torch.int64)
    pairs, others, others_mask = pairs.numpy(), others.numpy(), others_mask.numpy()
    integer = np.int32 if pairs.dtype == np.float32 else np.int64
    calls = []
    for own, theirs, mask, found in zip(pairs, others, others_mask, nearest.numpy(), strict=True):
        rows = np.flatnonzero(mask)
        if len(rows) and len(own):
            births, deaths = (np.ascontiguousarray(theirs[rows, side]) for side in range(2))
            costs = np.empty(len(rows), pairs.dtype)
            calls.append((own, births, deaths, costs, costs.view(integer), rows, found))
    if calls:
        threads.run(_find, calls, threads.number_for(pairs.size * others.shape[1]))
    return nearest


@compiled
def _find(pairs, births, deaths, costs, keys, rows, nearest):
    """Find the nearest row of each pair; `keys` are the bits of `costs`, which order alike."""
    m = costs.shape[0]
    block = np.uint64(64)
    for p in range(pairs.shape[0]):
        birth = pairs[p, 0]
        death = pairs[p, 1]
        for q in range(m):
            costs[q] = (birth - births[q]) * (birth - births[q]) + (death - deaths[q]) * (
                death - deaths[q]
            )
        least = keys[0]
        for q in range(m):  # integers: a minimum of floats would not vectorize
            least = min(least, keys[q])
        for start in range(np.uint64(0), np.uint64(m), block):
            stop = min(start + block, np.uint64(m))
            hits = 0
            for q in range(start, stop):
                hits += keys[q] == least
            if hits > 0:
                while keys[start] != least:
                    start += np.uint64(1)
                nearest[p] = rows[start]
                break

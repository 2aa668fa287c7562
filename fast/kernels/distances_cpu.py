"""Euclidean distances by direct differences on the CPU."""

from itertools import pairwise

import numpy as np
from numba import njit

from fast import threads


def pairwise_distances(clouds):
    """Return (B, N, N) for (B, N, C) float32 or float64, symmetric to the last bit."""
    num_clouds, n = clouds.shape[:2]
    num_threads = threads.number_for(clouds.numel() * n)
    distances = clouds.new_empty(num_clouds, n, n)
    channels, out = clouds.mT.contiguous().numpy(), distances.numpy()
    if num_clouds >= num_threads:  # whole clouds: one call per thread, however many there are
        ends = [num_clouds * part // num_threads for part in range(num_threads + 1)]
        threads.run(_fill_clouds, [(channels, out, *ends_of) for ends_of in pairwise(ends)],
                    num_threads)  # fmt: skip
    else:
        calls = [
            (channels[cloud], out[cloud], first, num_threads)
            for cloud in range(num_clouds)
            for first in range(num_threads)
        ]
        threads.run(_fill, calls, num_threads)
    return distances


@njit(cache=True, nogil=True)
def _fill_clouds(channels, distances, first, last):
    """Fill the matrices of clouds [first, last) of (B, C, N) channels."""
    for cloud in range(first, last):
        _fill(channels[cloud], distances[cloud], 0, 1)


@njit(cache=True, nogil=True)
def _fill(channels, distances, first, step):
    """Fill every `step`-th block of rows from block `first` on, and the columns that mirror it.

    `channels` (C, N): points lie side by side, so that each channel's differences vectorize and
    every pair sums its channels in the same order.
    """
    num_channels, n = channels.shape
    block = 16  # rows mirrored together fill whole cache lines
    squares = np.empty(n, channels.dtype)
    for begin in range(first * block, n, step * block):
        end = min(begin + block, n)
        for i in range(begin, end):
            squares[:] = 0
            for c in range(num_channels):
                here = channels[c, i]
                for j in range(np.uint64(begin), np.uint64(n)):  # unsigned, or it stays scalar
                    difference = channels[c, j] - here
                    squares[j] += difference * difference
            for j in range(np.uint64(begin), np.uint64(n)):
                distances[i, j] = np.sqrt(squares[j])
        for j in range(end, n):
            for i in range(np.uint64(begin), np.uint64(end)):
                distances[j, i] = distances[i, j]

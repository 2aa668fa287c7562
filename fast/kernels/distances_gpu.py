"""Euclidean distances by direct differences on the GPU."""

import math

from numba import cuda

from fast.kernels.launch_gpu import launch

_THREADS = 128
_ROWS = 4  # of the matrix a thread fills at a time, so that a coordinate is loaded once for four


def pairwise_distances(clouds):
    """Return (B, N, N) for (B, N, C) float32 or float64, symmetric to the last bit."""
    num_clouds, n = clouds.shape[:2]
    channels = clouds.mT.contiguous()  # (B, C, N): neighbors load together
    distances = clouds.new_empty(num_clouds, n, n)
    if distances.numel():
        blocks = num_clouds * -(-n // _ROWS) * -(-n // _THREADS)
        launch(_fill, blocks, _THREADS, channels, distances)
    return distances


@cuda.jit(cache=True)
def _fill(channels, distances):
    """Fill four rows of one column a thread; (a - b)^2 = (b - a)^2, so nothing is mirrored.

    Each square is rounded by itself (fma with 0) and channels are summed in order: the CPU's bits.
    """
    num_clouds, n = distances.shape[:2]
    zero = channels.dtype.type(0)
    bands = (n + _ROWS - 1) // _ROWS
    for work in range(cuda.grid(1), num_clouds * bands * n, cuda.gridsize(1)):
        j = work % n
        cloud = work // n // bands
        first = work // n % bands * _ROWS
        second = min(first + 1, n - 1)
        third = min(first + 2, n - 1)
        fourth = min(first + 3, n - 1)
        to_first = to_second = to_third = to_fourth = zero
        for c in range(channels.shape[1]):
            here = channels[cloud, c, j]
            gap = here - channels[cloud, c, first]
            to_first += cuda.fma(gap, gap, zero)
            gap = here - channels[cloud, c, second]
            to_second += cuda.fma(gap, gap, zero)
            gap = here - channels[cloud, c, third]
            to_third += cuda.fma(gap, gap, zero)
            gap = here - channels[cloud, c, fourth]
            to_fourth += cuda.fma(gap, gap, zero)
        distances[cloud, first, j] = math.sqrt(to_first)
        distances[cloud, second, j] = math.sqrt(to_second)
        distances[cloud, third, j] = math.sqrt(to_third)
        distances[cloud, fourth, j] = math.sqrt(to_fourth)

"""Farthest point sampling on the CPU."""

import itertools

import numpy as np
import torch
from numba import njit

from fast.kernels import threads


def farthest_points(clouds, num_samples, start):
    """Sample each (N_b, C) of a list of tensors; returns lists of (M_b,) indices and radii.

    `num_samples` has one entry a cloud. Indices are -1 once only duplicates are left.
    """
    indices = [torch.full((count,), -1, dtype=torch.int64) for count in num_samples]
    radii = [cloud.new_zeros(count) for cloud, count in zip(clouds, num_samples, strict=True)]
    calls = [
        (cloud.mT.contiguous().numpy(), start, picked.numpy(), radius.numpy())
        for cloud, picked, radius in zip(clouds, indices, radii, strict=True)
    ]
    threads.run(_sample, calls, torch.get_num_threads())
    return indices, radii


@njit(cache=True, nogil=True)
def _sample(channels, start, picked, radii):
    """Sample one cloud (C, N): channel-major, so that points lie side by side in vectors."""
    num_channels, n = channels.shape
    nearest = np.full(n, np.inf, channels.dtype)  # squared distance to the nearest sample
    block = 512
    squares = np.empty(block, channels.dtype)
    pick = start
    for k in range(picked.shape[0]):
        picked[k] = pick
        farthest = channels.dtype.type(-1)
        for first in range(0, n, block):
            size = min(block, n - first)
            squares[:size] = 0
            for c in range(num_channels):
                row = channels[c, first : first + size]
                centre = channels[c, picked[k]]
                for p in range(size):
                    difference = row[p] - centre
                    squares[p] += difference * difference
            for p in range(size):
                here = min(nearest[first + p], squares[p])
                nearest[first + p] = here
                if here > farthest:  # strictly: the lowest index wins
                    farthest = here
                    pick = first + p
        radii[k] = np.sqrt(farthest)
        if farthest == 0:
            return


def covering_radius(points, samples):
    """Return the largest distance () from a row of `points` (N, C) to its nearest of `samples`."""
    channels = points.mT.contiguous().numpy()
    samples = samples.numpy()
    num_threads = torch.get_num_threads()
    borders = [len(points) * part // num_threads for part in range(num_threads + 1)]
    calls = [
        (channels, samples, first, last)
        for first, last in itertools.pairwise(borders)
        if first < last
    ]
    return points.new_tensor(max(threads.run(_farthest, calls, num_threads)))


@njit(cache=True, nogil=True)
def _farthest(channels, samples, first, last):
    """Return the covering radius of points [first, last), block by block in the fastest cache."""
    num_channels = channels.shape[0]
    block = 512
    squares = np.empty(block, channels.dtype)
    nearest = np.empty(block, channels.dtype)
    farthest = channels.dtype.type(0)
    for begin in range(first, last, block):
        size = min(block, last - begin)
        nearest[:] = np.inf
        for m in range(samples.shape[0]):
            squares[:] = 0
            for c in range(num_channels):
                row = channels[c, begin : begin + size]
                centre = samples[m, c]
                for p in range(size):
                    difference = row[p] - centre
                    squares[p] += difference * difference
            for p in range(size):
                nearest[p] = min(nearest[p], squares[p])
        for p in range(size):
            farthest = max(farthest, nearest[p])
    return np.sqrt(farthest)

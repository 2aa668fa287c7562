"""Euclidean distances and lengths by direct differences on the GPU, with the CPU's bits."""

import math

import torch
from numba import cuda

from fast.kernels.distances.squares import safe_range
from fast.kernels.launch_gpu import launch

_THREADS = 128
_ROWS = 4  # of the matrix a thread fills at a time, so that a coordinate is loaded once for four


def pairwise_distances(clouds):
    """Return (B, N, N) for (B, N, C) float32 or float64, symmetric to the last bit.

    What is larger than the largest float is infinite: nothing is read from the device.
    """
    num_clouds, n = clouds.shape[:2]
    channels = clouds.mT.contiguous()  # (B, C, N): neighbors load together
    distances = clouds.new_empty(num_clouds, n, n)
    if distances.numel():
        blocks = num_clouds * -(-n // _ROWS) * -(-n // _THREADS)
        limits = safe_range(clouds.dtype)
        scales = limits.least_root, limits.shrink, limits.grow
        launch(_fill, blocks, _THREADS, channels, distances, *scales)
    return distances


@cuda.jit(device=True, cache=True)
def _root(channels, cloud, i, j, square, least, shrink, grow):
    """Return the distance of points i and j, whose computed square may be out of range."""
    root = math.sqrt(square)
    if i == j or least <= root < math.inf:
        return root
    # Large points first: their difference may overflow, the product of near ones too.
    first_scale = channels.dtype.type(1 if root < least else shrink)
    then_scale = channels.dtype.type(grow if root < least else 1)
    zero = channels.dtype.type(0)
    total = zero
    for c in range(channels.shape[1]):
        gap = channels[cloud, c, j] * first_scale - channels[cloud, c, i] * first_scale
        gap *= then_scale
        total += cuda.fma(gap, gap, zero)
    return math.sqrt(total) / (first_scale * then_scale)


@cuda.jit(cache=True)
def _fill(channels, distances, least, shrink, grow):
    """Fill four rows of one column a thread; (a - b)^2 = (b - a)^2, so nothing is mirrored.

    Each square is rounded by itself (fma with 0) and channels are summed in order: the CPU's bits.
    """
    num_clouds, n = distances.shape[:2]
    zero = channels.dtype.type(0)
    bands = (n + _ROWS - 1) // _ROWS
    scales = least, shrink, grow
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
        distances[cloud, first, j] = _root(channels, cloud, first, j, to_first, *scales)
        distances[cloud, second, j] = _root(channels, cloud, second, j, to_second, *scales)
        distances[cloud, third, j] = _root(channels, cloud, third, j, to_third, *scales)
        distances[cloud, fourth, j] = _root(channels, cloud, fourth, j, to_fourth, *scales)


def row_lengths(rows):
    """Return lengths and factors (N,) of rows (N, C); row times factor has that length.

    The factor is 1, or a power of two where the square of the row itself would be out of range.
    """
    rows = rows.contiguous()
    lengths, factors = rows.new_empty(len(rows)), rows.new_empty(len(rows))
    limits = safe_range(rows.dtype)
    scales = limits.least_root, limits.shrink, limits.grow
    launch(_measure, -(-len(rows) // _THREADS), _THREADS, rows, lengths, factors, *scales)
    return lengths, factors


@cuda.jit(device=True, cache=True)
def _length(rows, i, factor):
    """Return the length of a row times a factor; each square is rounded by itself."""
    zero = rows.dtype.type(0)
    total = zero
    for c in range(rows.shape[1]):
        entry = rows[i, c] * factor
        total += cuda.fma(entry, entry, zero)
    return math.sqrt(total)


@cuda.jit(cache=True)
def _measure(rows, lengths, factors, least, shrink, grow):
    """Write length and factor of each row."""
    for i in range(cuda.grid(1), rows.shape[0], cuda.gridsize(1)):
        factor = rows.dtype.type(1)
        length = _length(rows, i, factor)
        if not least <= length < math.inf:
            factor = rows.dtype.type(grow if length < least else shrink)
            length = _length(rows, i, factor)
        lengths[i] = length
        factors[i] = factor


def column_means(rows):
    """Return the means (C,) of the columns of rows (N, C), summed in float64 in torch's order."""
    return rows.double().mean(dim=0).to(rows.dtype)


def farthest_pair(points):
    """Return the two of points (N, C) that are farthest apart, () each; the first pair at ties."""
    channels = points.mT.contiguous()
    farthest = points.new_empty(len(points))
    partners = torch.empty(len(points), dtype=torch.int64, device=points.device)
    launch(_farthest_of_rows, -(-len(points) // _THREADS), _THREADS, channels, farthest, partners)
    first = farthest.argmax()
    return first, partners[first]


@cuda.jit(cache=True)
def _farthest_of_rows(channels, farthest, partners):
    """Write the largest distance of each point to itself and later ones, and to whom."""
    zero = channels.dtype.type(0)
    n = channels.shape[1]
    for i in range(cuda.grid(1), n, cuda.gridsize(1)):
        largest = zero
        partner = i
        for j in range(i + 1, n):
            total = zero
            for c in range(channels.shape[0]):
                gap = channels[c, j] - channels[c, i]
                total += cuda.fma(gap, gap, zero)
            root = math.sqrt(total)
            if root > largest:
                largest = root
                partner = j
        farthest[i] = largest
        partners[i] = partner

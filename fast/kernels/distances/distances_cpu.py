"""Euclidean distances and lengths by direct differences on the CPU.

numpy's root is correctly rounded here; torch's is not on every machine.
"""

import itertools

import numpy as np
import torch

from fast import threads
from fast.kernels.distances.squares import safe_range
from fast.kernels.numba_cpu import compiled


def pairwise_distances(clouds):
    """Return (B, N, N) for (B, N, C) float32 or float64, symmetric to the last bit.

    Raises ValueError if a distance is larger than the largest float.
    """
    num_clouds, n = clouds.shape[:2]
    num_threads = threads.number_for(clouds.numel() * n)
    distances = clouds.new_empty(num_clouds, n, n)
    out = distances.numpy()
    if num_clouds >= num_threads:  # whole clouds: one call per thread, however many there are
        rows = clouds.contiguous().numpy()
        ends = [num_clouds * part // num_threads for part in range(num_threads + 1)]
        calls = [(rows, out, *ends_of) for ends_of in itertools.pairwise(ends)]
        threads.run(_fill_clouds, calls, num_threads)
    else:
        channels = clouds.mT.contiguous().numpy()
        calls = [
            (channels[cloud], out[cloud], first, num_threads)
            for cloud in range(num_clouds)
            for first in range(num_threads)
        ]
        threads.run(_fill, calls, num_threads)
    _repair_clouds(clouds, distances, num_threads)
    return distances


@compiled
def _fill_clouds(clouds, distances, first, last):
    """Fill the matrices of clouds [first, last) of (B, N, C)."""
    channels = np.empty((clouds.shape[2], clouds.shape[1]), clouds.dtype)
    for cloud in range(first, last):
        for i in range(clouds.shape[1]):
            for c in range(clouds.shape[2]):
                channels[c, i] = clouds[cloud, i, c]
        _fill(channels, distances[cloud], np.int64(0), np.int64(1))


@compiled
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


def _repair_clouds(clouds, distances, num_threads):
    """Compute again what may be out of range; raise ValueError if a distance is."""
    limits = safe_range(clouds.dtype)
    entries = clouds.contiguous().view(-1).numpy()
    if not _leave_range(entries, limits.least_entry, limits.largest_entry):
        return
    scales = limits.least_root, limits.shrink, limits.grow
    calls = [
        (cloud.mT.contiguous().numpy(), out.numpy(), *scales, first, num_threads)
        for cloud, out in zip(clouds, distances, strict=True)
        for first in range(num_threads)
    ]
    if any(threads.run(_repair, calls, num_threads)):
        raise ValueError(
            f"pairwise_distances: points has entries of up to {clouds.abs().max():.1e}, too far "
            f"apart for a distance in {clouds.dtype}; pass a larger unit, "
            f"e.g. points * {limits.shrink:.0e}"
        )


@compiled
def _leave_range(entries, least, largest):
    """Whether an entry that is not 0 is so small or so large that squares may be lost."""
    outside = 0
    for e in range(entries.shape[0]):
        size = abs(entries[e])
        outside += (size > largest) | ((size < least) & (size != 0))
    return outside > 0


@compiled
def _repair(channels, distances, least, shrink, grow, first, step):
    """Compute again, scaled, what overflowed or may have underflowed; whether one is infinite.

    Rows `first`, `first` + `step`, ...
    """
    n = channels.shape[1]
    is_infinite = False
    for i in range(first, n, step):
        for j in range(i + 1, n):
            if not least <= distances[i, j] < np.inf:
                is_small = distances[i, j] < least
                # Large points first: their difference may overflow, the product of near ones too.
                first_scale = channels.dtype.type(1 if is_small else shrink)
                then_scale = channels.dtype.type(grow if is_small else 1)
                square = channels.dtype.type(0)
                for c in range(channels.shape[0]):
                    difference = channels[c, j] * first_scale - channels[c, i] * first_scale
                    difference *= then_scale
                    square += difference * difference
                distances[i, j] = np.sqrt(square) / (first_scale * then_scale)
                distances[j, i] = distances[i, j]
                is_infinite |= distances[i, j] == np.inf
    return is_infinite


def row_lengths(rows):
    """Return lengths and factors (N,) of rows (N, C); row times factor has that length.

    The factor is 1, or a power of two where the square of the row itself would be out of range.
    """
    lengths, factors = rows.new_empty(len(rows)), rows.new_empty(len(rows))
    limits = safe_range(rows.dtype)
    num_threads = threads.number_for(rows.numel())
    borders = [len(rows) * part // num_threads for part in range(num_threads + 1)]
    arrays = [tensor.numpy() for tensor in (rows.contiguous(), lengths, factors)]
    scales = limits.least_root, limits.shrink, limits.grow
    calls = [(*arrays, *scales, *band) for band in itertools.pairwise(borders)]
    threads.run(_measure, calls, num_threads)
    return lengths, factors


@compiled
def _measure(rows, lengths, factors, least, shrink, grow, first, last):
    """Write length and factor of rows [first, last)."""
    for i in range(first, last):
        square = rows.dtype.type(0)
        for c in range(rows.shape[1]):
            square += rows[i, c] * rows[i, c]
        factor = rows.dtype.type(1)
        length = np.sqrt(square)
        if not least <= length < np.inf:
            factor = rows.dtype.type(grow if length < least else shrink)
            square = rows.dtype.type(0)
            for c in range(rows.shape[1]):
                entry = rows[i, c] * factor
                square += entry * entry
            length = np.sqrt(square)
        lengths[i] = length
        factors[i] = factor


def column_means(rows):
    """Return the means (C,) of the columns of rows (N, C), N at least 1, summed in float64."""
    return torch.from_numpy(_means(rows.contiguous().numpy())).to(rows.dtype)


@compiled
def _means(rows):
    """Return the mean of each column, added row by row."""
    totals = np.zeros(rows.shape[1])
    for i in range(rows.shape[0]):
        for c in range(rows.shape[1]):
            totals[c] += rows[i, c]
    return totals / rows.shape[0]


def farthest_pair(points):
    """Return the two of points (N, C) that are farthest apart, () each; the first pair at ties."""
    n = len(points)
    num_threads = threads.number_for(points.numel() * n)
    channels = points.mT.contiguous().numpy()
    farthest, partners = points.new_empty(n), torch.empty(n, dtype=torch.int64)
    calls = [
        (channels, farthest.numpy(), partners.numpy(), first, num_threads)
        for first in range(num_threads)
    ]
    threads.run(_farthest_of_rows, calls, num_threads)
    first = farthest.argmax()
    return first, partners[first]


@compiled
def _farthest_of_rows(channels, farthest, partners, first, step):
    """Write the largest distance of every `step`-th point to itself and later ones, and to whom."""
    num_channels, n = channels.shape
    squares = np.empty(n, channels.dtype)
    for i in range(first, n, step):
        squares[:] = 0
        for c in range(num_channels):
            here = channels[c, i]
            for j in range(np.uint64(i), np.uint64(n)):  # unsigned, or it stays scalar
                difference = channels[c, j] - here
                squares[j] += difference * difference
        largest = squares[i]
        for j in range(np.uint64(i), np.uint64(n)):
            largest = max(largest, squares[j])
        # Different squares may have one root, and equal distances count as equal.
        farthest[i] = np.sqrt(largest)
        partners[i] = i
        for j in range(i, n):
            if np.sqrt(squares[j]) == farthest[i]:
                partners[i] = j
                break

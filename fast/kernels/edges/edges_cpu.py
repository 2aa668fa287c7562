"""Edges of one cloud in the total order (length, smaller vertex, larger vertex), chunk by chunk.

Lengths are compared as integers: a non-negative float and its bits, read as a signed integer,
order alike, and integer minima vectorize without fastmath. Legend: `key` the bits of a length.
"""

import numpy as np

from fast.kernels.distances.lengths import (
    ASYMMETRIC,
    DIAGONAL,
    NEGATIVE,
    NEGATIVE_ZERO,
    NOT_A_NUMBER,
    VALID,
)
from fast.kernels.numba_cpu import compiled

_DIGIT_BITS = 11
_DIGITS = 1 << _DIGIT_BITS
_KEY_BITS = 63  # of a non-negative key
TILE = 32  # rows and columns compared together


@compiled
def scan_rows(keys, infinity, magnitude_mask, row_max, first, last):
    """Check rows [first, last) of (N, N) keys and write their maxima; returns (code, row, column).

    Whether they are symmetric is for `scan_symmetry` to say.
    """
    n = keys.shape[0]
    minus_zero = False
    for i in range(first, last):
        low = keys[i, 0]
        high = keys[i, 0]
        for j in range(n):
            low = min(low, keys[i, j])
            high = max(high, keys[i, j])
        row_max[i] = high
        if low < 0:
            for j in range(n):
                if keys[i, j] < 0:
                    magnitude = np.int64(keys[i, j]) & magnitude_mask
                    if magnitude > infinity:
                        return NOT_A_NUMBER, i, j
                    if magnitude != 0:
                        return NEGATIVE, i, j
                    minus_zero = True
        if high > infinity:
            for j in range(n):
                if keys[i, j] > infinity:
                    return NOT_A_NUMBER, i, j
    return NEGATIVE_ZERO if minus_zero else VALID, 0, 0


@compiled
def scan_symmetry(keys, first, last):
    """Compare rows [first, last) with their columns from the diagonal on; as `scan_rows`."""
    n = keys.shape[0]
    for i in range(first, last):
        if keys[i, i] != 0:
            return DIAGONAL, i, i
    for top in range(first, last, TILE):
        for left in range(top, n, TILE):
            for i in range(top, min(top + TILE, last)):
                different = 0
                for j in range(left, min(left + TILE, n)):
                    different |= keys[i, j] ^ keys[j, i]
                if different != 0:
                    for j in range(left, min(left + TILE, n)):
                        if keys[i, j] != keys[j, i]:
                            return ASYMMETRIC, i, j
    return VALID, 0, 0


@compiled
def count_edges(keys, low, high, first, last):
    """Count edges i < j with low < key <= high and i in [first, last)."""
    n = keys.shape[0]
    bottom = keys.dtype.type(low)
    top = keys.dtype.type(high)
    total = 0
    for i in range(first, last):
        for j in range(np.uint64(i + 1), np.uint64(n)):  # unsigned, or it would not vectorize
            if bottom < keys[i, j] and keys[i, j] <= top:
                total += 1
    return total


@compiled
def gather_edges(keys, low, high, first, last, edge_keys, edges):
    """Write the edges that `count_edges` counts in (i, j) order, as key and as i * N + j."""
    n = keys.shape[0]
    bottom = keys.dtype.type(low)
    top = keys.dtype.type(high)
    count = np.uint64(0)
    for i in range(first, last):
        for j in range(np.uint64(i + 1), np.uint64(n)):
            key = keys[i, j]
            if bottom < key and key <= top:
                edge_keys[count] = key
                edges[count] = np.uint64(i * n) + j
                count += np.uint64(1)


@compiled
def sort_edges(edge_keys, edges, low, high, spare_keys, spare_edges):
    """Radix sort by key, stable; returns whether the result lies in the spare arrays.

    Keys lie in [low, high], as they do in a chunk. One pass for every 11 bits that differ.
    """
    count = edge_keys.shape[0]
    smallest = np.int64(low)
    if smallest == 0:  # the first chunk, whose shortest edge is far above
        smallest = np.int64(high)
        for e in range(count):
            smallest = min(smallest, np.int64(edge_keys[e]))
    spread = np.int64(high) - smallest
    in_spare = False
    starts = np.empty(_DIGITS, np.int64)
    shift = 0
    # Beyond 63 bits a shift is undefined: the processor takes it modulo 64 and never comes to 0.
    while shift < _KEY_BITS and spread >> shift > 0:
        starts[:] = 0
        for e in range(count):
            starts[((np.int64(edge_keys[e]) - smallest) >> shift) & (_DIGITS - 1)] += 1
        total = 0
        for digit in range(_DIGITS):
            here = starts[digit]
            starts[digit] = total
            total += here
        for e in range(count):
            digit = ((np.int64(edge_keys[e]) - smallest) >> shift) & (_DIGITS - 1)
            slot = starts[digit]
            starts[digit] = slot + 1
            spare_keys[slot] = edge_keys[e]
            spare_edges[slot] = edges[e]
        edge_keys, spare_keys = spare_keys, edge_keys
        edges, spare_edges = spare_edges, edges
        in_spare = not in_spare
        shift += _DIGIT_BITS
    return in_spare


@compiled
def sample_keys(keys, cutoff, sample):
    """Write about evenly spread upper-triangle keys up to the cutoff; returns how many."""
    n = keys.shape[0]
    count = 0
    step = max(1, n * (n - 1) // 2 // sample.shape[0])
    position = step // 2
    for i in range(n):
        width = n - 1 - i
        while position < width and count < sample.shape[0]:
            key = keys[i, i + 1 + position]
            if key <= cutoff:
                sample[count] = key
                count += 1
            position += step
        position -= width
    return count

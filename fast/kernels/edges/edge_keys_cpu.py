"""Keys of a large cloud's edges: read from its distances, or computed from its points.

A key is the bits of a length, read as a signed integer. Both ways give the same bits.
"""

from typing import NamedTuple

import numpy as np

from fast.kernels.numba_cpu import bits_of, compiled, helper

ROWS = 16  # computed together
_WIDTH = 256  # vertices whose lengths to those rows are computed together: they stay in the cache


class EdgeKeys(NamedTuple):
    """Where the keys of a cloud of N points come from; either `stored` or the points are empty."""

    stored: np.ndarray  # (N, N) int32 or int64, or (0, 0)
    points: np.ndarray  # (N, C) float32 or float64, or (0, 0)
    channels: np.ndarray  # (C, N) the same


def of_distances(keys):
    """Return the keys (N, N) of stored distances, int32 or int64, as a source of keys."""
    nothing = np.empty((0, 0), f"f{keys.itemsize}")
    return EdgeKeys(keys, nothing, nothing)


def of_points(points):
    """Return a source of keys that computes them from (N, C) points.

    No square of a difference may overflow or underflow (`squares.safe_range`).
    """
    points = np.ascontiguousarray(points)
    nothing = np.empty((0, 0), f"i{points.itemsize}")
    return EdgeKeys(nothing, points, np.ascontiguousarray(points.T))


@compiled
def num_vertices(source):
    """Return N."""
    return max(source.stored.shape[0], source.points.shape[0])


@helper
def key_between(source, i, j):
    """Return the key of edge {i, j}: channels are summed in the order of the distances' kernel."""
    if source.stored.shape[0] > 0:
        return source.stored[i, j]
    square = source.points.dtype.type(0)
    for c in range(source.points.shape[1]):
        difference = source.points[j, c] - source.points[i, c]
        square += difference * difference
    return bits_of(np.sqrt(square))


@helper
def is_older(source, i, j, key, a, b):
    """Whether edge {i, j} comes before edge {a, b}, a < b, of that key, in the total order."""
    other = key_between(source, i, j)
    if other != key:
        return other < key
    if min(i, j) != a:
        return min(i, j) < a
    return max(i, j) < b


@compiled
def fill_lengths(channels, first, last, others, lengths):
    """Write the lengths from vertices [first, last) to [others, N), one row per vertex."""
    num_channels, n = channels.shape
    squares = np.empty(_WIDTH, channels.dtype)
    for begin in range(others, n, _WIDTH):
        start = np.uint64(begin)  # unsigned, or it stays scalar
        stop = np.uint64(min(begin + _WIDTH, n))
        for i in range(first, last):
            squares[:] = 0
            for c in range(num_channels):
                here = channels[c, i]
                for j in range(start, stop):
                    difference = channels[c, j] - here
                    squares[j - start] += difference * difference
            for j in range(start, stop):
                lengths[i - first, j] = np.sqrt(squares[j - start])


@compiled
def sample_keys(source, cutoff, sample):
    """Write about evenly spread keys of edges i < j up to the cutoff; returns how many."""
    n = num_vertices(source)
    count = 0
    step = max(1, n * (n - 1) // 2 // sample.shape[0])
    position = step // 2
    for i in range(n):
        width = n - 1 - i
        while position < width and count < sample.shape[0]:
            key = key_between(source, i, i + 1 + position)
            if key <= cutoff:
                sample[count] = key
                count += 1
            position += step
        position -= width
    return count


@compiled
def largest_keys(source, first, last, row_max):
    """Write the largest key of each row in [first, last)."""
    n = num_vertices(source)
    is_stored = source.stored.shape[0] > 0
    lengths = np.empty((0 if is_stored else ROWS, n), source.points.dtype)
    computed = lengths.view(source.stored.dtype)
    for begin in range(first, last, ROWS):
        end = min(begin + ROWS, last)
        if not is_stored:
            fill_lengths(source.channels, begin, end, 0, lengths)
        for i in range(begin, end):
            row = source.stored[i] if is_stored else computed[i - begin]
            largest = row[0]
            for j in range(np.uint64(n)):
                largest = max(largest, row[j])
            row_max[i] = largest


@compiled
def count_edges(source, borders, first, last):
    """Count the edges i < j, i in [first, last), with borders[r] < key <= borders[r + 1], each r.

    `borders` ascend, of the type of keys.
    """
    n = num_vertices(source)
    is_stored = source.stored.shape[0] > 0
    lengths = np.empty((0 if is_stored else ROWS, n), source.points.dtype)
    computed = lengths.view(source.stored.dtype)
    within = np.zeros(borders.shape[0], np.int64)
    for begin in range(first, last, ROWS):
        end = min(begin + ROWS, last)
        if not is_stored:
            fill_lengths(source.channels, begin, end, begin, lengths)
        for i in range(begin, end):
            row = source.stored[i] if is_stored else computed[i - begin]
            for r in range(borders.shape[0]):  # the row stays in the cache
                border = borders[r]
                count = 0
                for j in range(np.uint64(i + 1), np.uint64(n)):  # unsigned, or it stays scalar
                    count += row[j] <= border
                within[r] += count
    return within[1:] - within[:-1]


@compiled
def gather_edges(source, borders, first, last, slots, edge_keys, edges):
    """Write the edges that `count_edges` counts, as key and as i * N + j, in (i, j) order.

    Those of range r go to `slots[r]` and on, which is brought up.
    """
    n = num_vertices(source)
    is_stored = source.stored.shape[0] > 0
    lengths = np.empty((0 if is_stored else ROWS, n), source.points.dtype)
    computed = lengths.view(source.stored.dtype)
    bottom = borders[0]
    top = borders[-1]
    for begin in range(first, last, ROWS):
        end = min(begin + ROWS, last)
        if not is_stored:
            fill_lengths(source.channels, begin, end, begin, lengths)
        for i in range(begin, end):
            row = source.stored[i] if is_stored else computed[i - begin]
            for j in range(np.uint64(i + 1), np.uint64(n)):
                key = row[j]
                if bottom < key and key <= top:
                    r = np.uint64(0)
                    while key > borders[r + np.uint64(1)]:
                        r += np.uint64(1)
                    slot = np.uint64(slots[r])
                    slots[r] += 1
                    edge_keys[slot] = key
                    edges[slot] = np.uint64(i * n) + j


@compiled
def nearby_order(source, num_landmarks):
    """Return an order of the vertices in which near ones are mostly together: a guess.

    By the nearest of some vertices, the landmarks, which follow each other as near as may be.
    """
    n = num_vertices(source)
    nearest = np.zeros(n, np.int64)
    reach = np.full(n, np.iinfo(source.stored.dtype).max, source.stored.dtype)
    used = np.zeros(num_landmarks, np.bool_)
    landmark = 0
    for rank in range(num_landmarks):
        used[landmark] = True
        following = -1
        least = np.iinfo(source.stored.dtype).max
        at = landmark * n // num_landmarks
        for v in range(n):
            key = key_between(source, at, v)
            if key < reach[v]:
                reach[v] = key
                nearest[v] = rank
        for other in range(num_landmarks):
            if not used[other]:
                key = key_between(source, at, other * n // num_landmarks)
                if following < 0 or key < least:
                    least = key
                    following = other
        landmark = following
    return np.argsort(nearest, kind="mergesort")


@compiled
def keys_of_edges(source, edges, keys):
    """Write the keys of edges (E, 2)."""
    for e in range(edges.shape[0]):
        keys[e] = key_between(source, edges[e, 0], edges[e, 1])


@compiled
def keys_to(source, some, keys):
    """Write the keys (N, M) of the edges from every vertex to some M."""
    for m in range(some.shape[0]):
        for v in range(keys.shape[0]):
            keys[v, m] = key_between(source, some[m], v)

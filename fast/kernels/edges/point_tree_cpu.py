"""A k-d tree over points in at most three dimensions, with distances to the dense path's bits.

Bounds are float64 and leave room for the rounding of the distances that they stand for: what they
settle is settled for the computed distances, too (docs/numerics.md).
"""

from typing import NamedTuple

import numpy as np

from fast.kernels.distances.squares import safe_range
from fast.kernels.numba_cpu import compiled, helper

LEAF = 8  # points up to which a node is not split
NONE = -1
# Bounds are loosened by this share, above the rounding of two distances and of the bound itself.
_SLACK = {np.dtype(np.float32): 2.0**-18, np.dtype(np.float64): 2.0**-44}
_GRAIN = 2.0**-38  # of the largest coordinate, see `Tree.grain`
_TINY = 1e-150  # and by so much: squares of tiny differences may be 0


class Tree(NamedTuple):
    """Points in the tree's order, and its nodes; the root is node 0. Legend: `v` a position."""

    points: np.ndarray  # (N, 3) float32 or float64, zeros in what dimensions there are not
    ids: np.ndarray  # (N,) the vertex at each position
    position: np.ndarray  # (N,) its inverse
    start: np.ndarray  # (M,) first position of each node
    stop: np.ndarray  # (M,) one beyond its last
    left: np.ndarray  # (M,) first child, NONE in a leaf; the second is next to it
    low: np.ndarray  # (M, 3) float64 corners of the smallest box
    high: np.ndarray  # (M, 3)
    integer: np.ndarray  # (0,) of the integers that hold the bits of a distance
    grain: float  # a shorter edge may have a middle that is rounded by a part of its length
    slack: float  # relative room of bounds
    scales: tuple[float, float, float]  # least root, shrink, grow: see squares.SafeRange


def build(points):
    """Return the tree of (N, C) points, C at most 3 and N at least 1."""
    n, channels = points.shape
    padded = np.zeros((n, 3), points.dtype)
    padded[:, :channels] = points
    order = np.arange(n)
    start, stop, left, low, high = _split(padded, order)
    position = np.empty(n, np.int64)
    position[order] = np.arange(n)
    limits = safe_range(points.dtype)
    return Tree(
        padded[order], order, position, start, stop, left, low, high,
        np.empty(0, f"i{points.dtype.itemsize}"), _GRAIN * float(np.abs(points).max()),
        _SLACK[points.dtype], (limits.least_root, limits.shrink, limits.grow),
    )  # fmt: skip


@compiled
def _split(points, order):
    """Order the points so that every node is a range; halves at the median of the longest side."""
    n = points.shape[0]
    most = 4 * (n // LEAF + 1)
    start = np.empty(most, np.int64)
    stop = np.empty(most, np.int64)
    left = np.full(most, NONE)
    low = np.empty((most, 3))
    high = np.empty((most, 3))
    start[0] = 0
    stop[0] = n
    count = 1
    node = 0
    while node < count:
        begin = start[node]
        end = stop[node]
        for c in range(3):
            low[node, c] = np.inf
            high[node, c] = -np.inf
        for v in range(begin, end):
            for c in range(3):
                low[node, c] = min(low[node, c], points[order[v], c])
                high[node, c] = max(high[node, c], points[order[v], c])
        if end - begin > LEAF:
            axis = 0
            for c in range(1, 3):
                if high[node, c] - low[node, c] > high[node, axis] - low[node, axis]:
                    axis = c
            part = order[begin:end]
            values = np.empty(end - begin, points.dtype)
            for v in range(end - begin):
                values[v] = points[part[v], axis]
            part[:] = part[np.argsort(values, kind="mergesort")]
            middle = (begin + end) // 2
            left[node] = count
            start[count] = begin
            stop[count] = middle
            start[count + 1] = middle
            stop[count + 1] = end
            count += 2
        node += 1
    return start[:count], stop[:count], left[:count], low[:count], high[:count]


@compiled
def distance(tree, v, w):
    """Return the distance of two positions, with the bits of `fast.pairwise_distances`."""
    points = tree.points
    x = points[w, 0] - points[v, 0]
    y = points[w, 1] - points[v, 1]
    z = points[w, 2] - points[v, 2]
    length = np.sqrt(x * x + y * y + z * z)
    if length < tree.scales[0]:
        return _small_distance(points, v, w, tree.scales[2])
    return length


@helper
def _small_distance(points, v, w, grow):
    """Return a distance whose squares may have underflowed, from differences times `grow`."""
    scale = points.dtype.type(grow)
    square = points.dtype.type(0)
    for c in range(3):
        difference = points[w, c] - points[v, c]
        difference *= scale
        square += difference * difference
    return np.sqrt(square) / scale


@helper
def is_older(length, i, j, other, k, m):
    """Whether edge {i, j} comes before edge {k, m} in the total order; vertices, not positions."""
    if length != other:
        return length < other
    if min(i, j) != min(k, m):
        return min(i, j) < min(k, m)
    return max(i, j) < max(k, m)


@compiled
def nearest_to_box(tree, node, v):
    """Return a lower bound of the distances of position v to the points of a node."""
    square = 0.0
    for c in range(3):
        here = np.float64(tree.points[v, c])
        gap = max(0.0, max(tree.low[node, c] - here, here - tree.high[node, c]))
        square += gap * gap
    return max(0.0, np.sqrt(square) * (1 - tree.slack) - _TINY)


@compiled
def farthest_from_box(tree, node, v):
    """Return an upper bound of the distances of position v to the points of a node."""
    square = 0.0
    for c in range(3):
        here = np.float64(tree.points[v, c])
        gap = max(here - tree.low[node, c], tree.high[node, c] - here)
        square += gap * gap
    return np.sqrt(square) * (1 + tree.slack) + _TINY


@compiled
def between_boxes(tree, a, b):
    """Return lower and upper bounds of the distances between the points of two nodes."""
    near = 0.0
    far = 0.0
    for c in range(3):
        one = tree.low[b, c] - tree.high[a, c]
        other = tree.low[a, c] - tree.high[b, c]
        gap = max(0.0, max(one, other))
        near += gap * gap
        width = max(-one, -other)
        far += width * width
    return (
        max(0.0, np.sqrt(near) * (1 - tree.slack) - _TINY),
        np.sqrt(far) * (1 + tree.slack) + _TINY,
    )


@helper
def nearest_in_lune(tree, v, w, any_will_do, stack):
    """Return the position in the lune of {v, w} whose longer side is shortest, or NONE.

    With `any_will_do` the first that is found. Equal sides: which one depends on the tree alone.
    """
    limit = distance(tree, v, w)
    i = tree.ids[v]
    j = tree.ids[w]
    best = np.float64(limit)
    found = NONE
    stack[0] = 0
    depth = 1
    while depth > 0:
        depth -= 1
        node = stack[depth]
        bound = max(nearest_to_box(tree, node, v), nearest_to_box(tree, node, w))
        if bound > best or (found != NONE and bound == best):
            continue
        child = tree.left[node]
        if child != NONE:
            one = max(nearest_to_box(tree, child, v), nearest_to_box(tree, child, w))
            other = max(nearest_to_box(tree, child + 1, v), nearest_to_box(tree, child + 1, w))
            # The nearer child last, so that it is looked at first.
            first = child if one <= other else child + 1
            stack[depth] = 2 * child + 1 - first
            stack[depth + 1] = first
            depth += 2
            continue
        for u in range(tree.start[node], tree.stop[node]):
            if u in (v, w):
                continue
            one = distance(tree, u, v)
            other = distance(tree, u, w)
            longer = np.float64(max(one, other))
            if longer > best or (found != NONE and longer == best):
                continue
            k = tree.ids[u]
            if is_older(one, i, k, limit, i, j) and is_older(other, j, k, limit, i, j):
                if any_will_do:
                    return u
                best = longer
                found = u
    return found


@compiled
def enclosing_radius(tree, order):
    """Return min_i max_j of the distances; `order` says which positions to try first."""
    radius = np.inf
    stack = np.empty(256, np.int64)
    for v in order:
        farthest = 0.0
        stack[0] = 0
        depth = 1
        while depth > 0 and farthest < radius:
            depth -= 1
            node = stack[depth]
            if farthest_from_box(tree, node, v) <= farthest:
                continue
            child = tree.left[node]
            if child == NONE:
                for w in range(tree.start[node], tree.stop[node]):
                    farthest = max(farthest, np.float64(distance(tree, v, w)))
                continue
            nearer = child
            if farthest_from_box(tree, child, v) > farthest_from_box(tree, child + 1, v):
                nearer = child + 1
            stack[depth] = nearer
            stack[depth + 1] = 2 * child + 1 - nearer
            depth += 2
        radius = min(radius, farthest)
    return radius

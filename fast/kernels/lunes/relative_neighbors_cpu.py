"""Edges of a point cloud whose lune is empty (its relative neighbors), without all the distances.

If j's lune with i is empty, no neighbor w of i is nearer to both: j lies on i's side of the
bisector of i and w, or is nearer to i than w. So only what lies in i's cell among its nearest
neighbors is looked at; boxes of the tree beyond one bisector are skipped (docs/numerics.md).
"""

import numpy as np

from fast.kernels.edges.point_tree_cpu import (
    NONE,
    distance,
    is_older,
    nearest_in_lune,
    nearest_to_box,
)
from fast.kernels.numba_cpu import compiled, helper, longer, taller

_NEIGHBORS = 24  # nearest ones of a point, whose bisectors bound its cell


@compiled
def empty_lunes(tree, cutoff, first, last):
    """Return lengths and vertices (E, 2) of the edges up to `cutoff` whose lune is empty.

    Those whose smaller vertex is at a position in [first, last), in no particular order.
    """
    points = tree.points
    lengths = np.empty(256, points.dtype)
    edges = np.empty((256, 2), np.int64)
    count = 0
    stack = np.empty(256, np.int64)
    spare = np.empty(256, np.int64)
    neighbors = np.empty(_NEIGHBORS, np.int64)
    near = np.empty(_NEIGHBORS, points.dtype)  # their distances
    aside = np.empty((_NEIGHBORS, 4))  # where they are from v, and that vector's square
    for v in range(first, last):
        num_neighbors = _nearest_neighbors(tree, v, neighbors, near, stack)
        for k in range(num_neighbors):
            aside[k, 3] = 0.0
            for c in range(3):
                aside[k, c] = np.float64(points[neighbors[k], c]) - np.float64(points[v, c])
                aside[k, 3] += aside[k, c] * aside[k, c]
        i = tree.ids[v]
        stack[0] = 0
        depth = 1
        while depth > 0:
            depth -= 1
            node = stack[depth]
            if _is_beyond(tree, node, v, cutoff, aside, num_neighbors):
                continue
            child = tree.left[node]
            if child != NONE:
                stack[depth] = child
                stack[depth + 1] = child + 1
                depth += 2
                continue
            for w in range(tree.start[node], tree.stop[node]):
                j = tree.ids[w]
                if j <= i:
                    continue
                length = distance(tree, v, w)
                if length > cutoff:
                    continue
                met = False
                for k in range(num_neighbors):
                    u = neighbors[k]
                    if near[k] > length:
                        break
                    if u != w:
                        m = tree.ids[u]
                        if is_older(near[k], i, m, length, i, j) and is_older(
                            distance(tree, u, w), j, m, length, i, j
                        ):
                            met = True
                            break
                if met or nearest_in_lune(tree, v, w, True, spare) != NONE:
                    continue
                if count == lengths.shape[0]:
                    lengths = longer(lengths, 2 * count)
                    edges = taller(edges, 2 * count)
                lengths[count] = length
                edges[count, 0] = i
                edges[count, 1] = j
                count += 1
    return lengths[:count], edges[:count]


@helper
def _nearest_neighbors(tree, v, neighbors, near, stack):
    """Write the positions nearest to v and their distances, in order; returns how many."""
    most = neighbors.shape[0]
    count = 0
    stack[0] = 0
    depth = 1
    while depth > 0:
        depth -= 1
        node = stack[depth]
        if count == most and nearest_to_box(tree, node, v) >= near[most - 1]:
            continue
        child = tree.left[node]
        if child != NONE:
            first = child
            if nearest_to_box(tree, child, v) > nearest_to_box(tree, child + 1, v):
                first = child + 1
            stack[depth] = 2 * child + 1 - first
            stack[depth + 1] = first
            depth += 2
            continue
        for w in range(tree.start[node], tree.stop[node]):
            if w == v:
                continue
            length = distance(tree, v, w)
            if count == most:
                if length >= near[most - 1]:
                    continue
            else:
                count += 1
            slot = count - 1
            while slot > 0 and near[slot - 1] > length:
                near[slot] = near[slot - 1]
                neighbors[slot] = neighbors[slot - 1]
                slot -= 1
            near[slot] = length
            neighbors[slot] = w
    return count


@helper
def _is_beyond(tree, node, v, cutoff, aside, num_neighbors):
    """Whether all points of a node are beyond `cutoff` or nearer to one neighbor of v than to v.

    For y from v to such a point and a neighbor at u, |y - u| < |y| means 2 <y, u> > |u|^2. The
    neighbor that served is moved to the front, as the next node often is in its direction.
    """
    bound = nearest_to_box(tree, node, v)
    if bound > cutoff:
        return True
    low_x = tree.low[node, 0] - tree.points[v, 0]
    low_y = tree.low[node, 1] - tree.points[v, 1]
    low_z = tree.low[node, 2] - tree.points[v, 2]
    high_x = tree.high[node, 0] - tree.points[v, 0]
    high_y = tree.high[node, 1] - tree.points[v, 1]
    high_z = tree.high[node, 2] - tree.points[v, 2]
    far = (
        max(low_x * low_x, high_x * high_x)
        + max(low_y * low_y, high_y * high_y)
        + max(low_z * low_z, high_z * high_z)
    )
    if not far < 1e300:
        return False
    room = tree.slack * far + 1e-290
    nearest = bound * bound * (1 - tree.slack)
    for k in range(num_neighbors):
        square = aside[k, 3]
        if square < nearest:
            least = (
                min(aside[k, 0] * low_x, aside[k, 0] * high_x)
                + min(aside[k, 1] * low_y, aside[k, 1] * high_y)
                + min(aside[k, 2] * low_z, aside[k, 2] * high_z)
            )
            if 2 * least - square > room:
                return True
    return False

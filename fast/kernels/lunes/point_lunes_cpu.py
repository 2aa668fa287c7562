"""The lune of one edge of a point cloud, among vertices that were gathered for it."""

import numpy as np

from fast.kernels.edges.point_tree_cpu import distance, is_older
from fast.kernels.numba_cpu import helper

CONNECTED, OPEN, TIED = range(3)  # what is known of a lune


@helper
def fill_distances(points, start, stop, region, size, rows):
    """Write the distances of positions [start, stop) to the vertices of the region, row by row."""
    for v in range(start, stop):
        row = rows[v - start]
        here_x = points[v, 0]
        here_y = points[v, 1]
        here_z = points[v, 2]
        for u in range(np.uint64(size)):  # unsigned, or it would not vectorize
            x = region[0, u] - here_x
            y = region[1, u] - here_y
            z = region[2, u] - here_z
            row[u] = np.sqrt(x * x + y * y + z * z)


@helper
def examine_lune(region, size, row_v, row_w, length, limit):
    """Say whether the lune of {v, w} is connected for certain, or else whether sides are tied.

    Rows hold the keys of the distances to both ends, `limit` that of the length. Those below the
    least root may be wrong, but the edge is longer: they count as shorter all the same.
    """
    best = limit
    ties = 0
    for u in range(np.uint64(size)):  # integers: float minima would not vectorize
        longer = max(row_v[u], row_w[u])
        best = min(best, longer)
        ties += longer == limit
    if ties > 2:  # v and w themselves are two
        return TIED
    if best == limit:
        return OPEN
    hub = 0
    while max(row_v[hub], row_w[hub]) != best:
        hub += 1
    here_x = region[0, hub]
    here_y = region[1, hub]
    here_z = region[2, hub]
    missed = 0
    for u in range(np.uint64(size)):
        x = region[0, u] - here_x
        y = region[1, u] - here_y
        z = region[2, u] - here_z
        apart = np.sqrt(x * x + y * y + z * z)
        missed += (max(row_v[u], row_w[u]) < limit) & (apart >= length)
    return OPEN if missed > 0 else CONNECTED


@helper
def lune_members(tree, v, w, length, limit, region_ids, size, row_v, row_w, ties, members):
    """Write the vertices of the lune of {v, w}; returns how many.

    Without ties, rows hold the keys of the distances to both ends.
    """
    i = tree.ids[v]
    j = tree.ids[w]
    count = 0
    if not ties:
        for slot in range(size):
            if max(row_v[slot], row_w[slot]) < limit:
                members[count] = region_ids[slot]
                count += 1
        return count
    for slot in range(size):
        m = region_ids[slot]
        if m in (i, j):
            continue
        u = tree.position[m]
        if is_older(distance(tree, u, v), i, m, length, i, j) and is_older(
            distance(tree, u, w), j, m, length, i, j
        ):
            members[count] = m
            count += 1
    return count


@helper
def lune_components(tree, v, w, length, members, num_members, smallest):
    """Write the smallest vertex of each component of a lune, ascending.

    Returns how many there are, and how many pairs of vertices were looked at.
    """
    i = tree.ids[v]
    j = tree.ids[w]
    count = 0
    steps = 0
    head = 0  # members[:head] are done, members[head:tail] are reached, the rest is not
    tail = 0
    while tail < num_members:
        tail += 1
        least = members[head]
        while head < tail:
            here = members[head]
            head += 1
            least = min(least, here)
            steps += num_members - tail
            for slot in range(tail, num_members):
                other = members[slot]
                apart = distance(tree, tree.position[here], tree.position[other])
                if is_older(apart, here, other, length, i, j):
                    members[slot] = members[tail]
                    members[tail] = other
                    tail += 1
        slot = count
        while slot > 0 and smallest[slot - 1] > least:
            smallest[slot] = smallest[slot - 1]
            slot -= 1
        smallest[slot] = least
        count += 1
    return count, steps


@helper
def wider(rows, room):
    """Return a copy with more columns."""
    grown = np.empty((rows.shape[0], room), rows.dtype)
    for r in range(rows.shape[0]):
        for c in range(rows.shape[1]):
            grown[r, c] = rows[r, c]
    return grown

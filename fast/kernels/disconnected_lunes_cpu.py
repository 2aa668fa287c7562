"""Edges of a point cloud whose lune falls apart, without all the distances and without adjacency.

Pairs of tree nodes are split until all their edges are known to have a connected lune, or both
are leaves, whose edges are examined one by one (docs/numerics.md).
"""

import numpy as np
from numba import njit

from fast.kernels.point_tree_cpu import (
    NONE,
    between_boxes,
    distance,
    farthest_from_box,
    is_older,
    nearest_to_box,
)

# A vertex w so near to the middle of {a, b}, in lengths of {a, b}, is joined to the whole lune, of
# which no point is farther from the middle than sqrt(3) / 2: 1 - sqrt(3) / 2 and some room.
_CENTRAL = 0.1335
_MOST_IN_LEAF = 8  # of point_tree_cpu
_MOST_CENTRAL = 64  # vertices tried so for the edges of two leaves
_WORK_PER_RELATION = 64  # in vertices looked at
_CONNECTED, _OPEN, _TIED = range(3)
_LONG_FOR_ITS_BOXES = 4.0  # sizes of its boxes that an edge must be long to seek one hub for all


@njit(cache=True, nogil=True)
def first_node_pairs(tree, low, high, most):
    """Return pairs of nodes (P, 2), at least `most` if there are, with all edges in (low, high]."""
    pairs = np.zeros((4 * most + 8, 2), np.int64)
    done = 0
    count = 1
    while done < count and count - done < most:
        a = pairs[done, 0]
        b = pairs[done, 1]
        done += 1
        near, far = between_boxes(tree, a, b)
        if near > high or far <= low:
            continue
        if tree.left[a] == NONE and tree.left[b] == NONE:
            done -= 1
            break
        count = _split_pair(tree, a, b, pairs, count)
    return pairs[done:count].copy()


@njit(cache=True, nogil=True)
def _split_pair(tree, a, b, pairs, count):
    """Append the pairs that a pair, of which not both are leaves, is split into."""
    if a == b:
        child = tree.left[a]
        pairs[count, 0] = child
        pairs[count, 1] = child
        pairs[count + 1, 0] = child
        pairs[count + 1, 1] = child + 1
        pairs[count + 2, 0] = child + 1
        pairs[count + 2, 1] = child + 1
        return count + 3
    if tree.left[b] == NONE or (tree.left[a] != NONE and _size(tree, a) >= _size(tree, b)):
        child = tree.left[a]
        other = b
    else:
        child = tree.left[b]
        other = a
    pairs[count, 0] = child
    pairs[count, 1] = other
    pairs[count + 1, 0] = child + 1
    pairs[count + 1, 1] = other
    return count + 2


@njit(cache=True, nogil=True)
def _size(tree, node):
    """Half the diagonal of a node's box."""
    square = 0.0
    for c in range(3):
        width = tree.high[node, c] - tree.low[node, c]
        square += width * width
    return 0.5 * np.sqrt(square)


@njit(cache=True, nogil=True)
def disconnected_lunes(tree, pairs, low, high, most_work):
    """Return the relations of the edges of some pairs of nodes, and what they cost.

    Parameters
    ----------
    tree, pairs
        (P, 2) nodes; each edge between the two of a pair is looked at.
    low, high
        Edges with low < length <= high are examined.
    most_work
        Vertices that may be looked at; beyond, what is returned is incomplete.

    Returns
    -------
    lengths, relations, work
        Of each relation the length of its edge, and (i, j, w1, wk): edge, i < j, and smallest
        vertices of the first and of another component of its lune. Sorted within an edge only.
    """
    points = tree.points
    ids = tree.ids
    lengths = np.empty(256, points.dtype)
    relations = np.empty((256, 4), np.int64)
    count = 0
    work = 0
    stack = np.empty((1024, 2), np.int64)
    walk = np.empty(256, np.int64)
    room = 256
    region = np.empty((3, room), points.dtype)  # the vertices that any lune may hold
    region_ids = np.empty(room, np.int64)
    keys_a = np.empty((_MOST_IN_LEAF, room), tree.integer.dtype)
    keys_b = np.empty((_MOST_IN_LEAF, room), tree.integer.dtype)
    is_open = np.empty((_MOST_IN_LEAF, _MOST_IN_LEAF), np.bool_)
    central = np.empty((_MOST_CENTRAL, 3))
    members = np.empty(room, np.int64)
    smallest = np.empty(room, np.int64)
    one = np.empty(1, points.dtype)
    one_key = one.view(tree.integer.dtype)  # its bits as an integer
    least = points.dtype.type(4 * tree.scales[0])
    for pair in range(pairs.shape[0]):
        stack[0, 0] = pairs[pair, 0]
        stack[0, 1] = pairs[pair, 1]
        depth = 1
        while depth > 0:
            if work > most_work:
                return lengths[:count], relations[:count], work
            depth -= 1
            work += 1
            a = stack[depth, 0]
            b = stack[depth, 1]
            near, far = between_boxes(tree, a, b)
            if near > high or far <= low:
                continue
            if a != b and _have_a_hub(tree, a, b, max(near, low), min(far, high), walk):
                continue
            if tree.left[a] != NONE or tree.left[b] != NONE:
                depth = _split_pair(tree, a, b, stack, depth)
                continue
            # Both are leaves. The longest of their open edges says which vertices matter.
            longest = _open_edges(tree, a, b, low, high, is_open)
            if longest < 0:
                continue
            if 4 * _CENTRAL * longest > _size(tree, a) + _size(tree, b):
                count_central = _central_vertices(tree, a, b, longest, central, walk)
                longest = _close_edges(tree, a, b, central, count_central, is_open)
                if longest < 0:
                    continue
            size = 0
            walk[0] = 0
            steps = 1
            while steps > 0:
                steps -= 1
                work += 1
                node = walk[steps]
                if (
                    between_boxes(tree, a, node)[0] > longest
                    or between_boxes(tree, b, node)[0] > longest
                ):
                    continue
                child = tree.left[node]
                if child != NONE:
                    walk[steps] = child
                    walk[steps + 1] = child + 1
                    steps += 2
                    continue
                for u in range(tree.start[node], tree.stop[node]):
                    if nearest_to_box(tree, a, u) > longest or nearest_to_box(tree, b, u) > longest:
                        continue
                    if size == room:
                        room *= 2
                        region = _wider(region, room)
                        region_ids = _wider_row(region_ids, room)
                        keys_a = np.empty((_MOST_IN_LEAF, room), tree.integer.dtype)
                        keys_b = np.empty((_MOST_IN_LEAF, room), tree.integer.dtype)
                        members = np.empty(room, np.int64)
                        smallest = np.empty(room, np.int64)
                    for c in range(3):
                        region[c, size] = points[u, c]
                    region_ids[size] = ids[u]
                    size += 1
            start_a = tree.start[a]
            start_b = tree.start[b]
            _fill_distances(points, start_a, tree.stop[a], region, size, keys_a.view(points.dtype))
            if a != b:
                rows = keys_b.view(points.dtype)
                _fill_distances(points, start_b, tree.stop[b], region, size, rows)
            for v in range(start_a, tree.stop[a]):
                for w in range(v + 1 if a == b else start_b, tree.stop[b]):
                    if not is_open[v - start_a, w - start_b]:
                        continue
                    work += size
                    length = distance(tree, v, w)
                    one[0] = length
                    limit = one_key[0]
                    row_v = keys_a[v - start_a]
                    row_w = keys_a[w - start_a] if a == b else keys_b[w - start_b]
                    ties = True
                    if length >= least:
                        state = _examine(region, size, row_v, row_w, length, limit)
                        if state == _CONNECTED:
                            continue
                        ties = state == _TIED
                    num_members = _members(
                        tree, v, w, length, limit, region_ids, size, row_v, row_w, ties, members
                    )
                    num_parts = _components(tree, v, w, length, members, num_members, smallest)
                    work += num_members
                    for k in range(1, num_parts):
                        if count == lengths.shape[0]:
                            lengths = _wider_row(lengths, 2 * count)
                            relations = _taller(relations, 2 * count)
                        lengths[count] = length
                        relations[count, 0] = min(ids[v], ids[w])
                        relations[count, 1] = max(ids[v], ids[w])
                        relations[count, 2] = smallest[0]
                        relations[count, 3] = smallest[k]
                        count += 1
                        work += _WORK_PER_RELATION
    return lengths[:count], relations[:count], work


@njit(cache=True, nogil=True)
def _have_a_hub(tree, a, b, shortest, longest, walk):
    """Whether some vertex is joined to the whole lune of every edge between two nodes.

    Of those with a length in [shortest, longest], all lengths of the tree's bounds. No is no
    proof: only a vertex next to the middle of the boxes is tried.
    """
    size_a = _size(tree, a)
    size_b = _size(tree, b)
    reach = _CENTRAL * shortest * (1 - tree.slack) - 0.5 * (size_a + size_b) * (1 + tree.slack)
    is_long = shortest > _LONG_FOR_ITS_BOXES * (size_a + size_b)
    if reach <= _tiny() and not is_long:
        return False
    x = 0.25 * (tree.low[a, 0] + tree.high[a, 0] + tree.low[b, 0] + tree.high[b, 0])
    y = 0.25 * (tree.low[a, 1] + tree.high[a, 1] + tree.low[b, 1] + tree.high[b, 1])
    z = 0.25 * (tree.low[a, 2] + tree.high[a, 2] + tree.low[b, 2] + tree.high[b, 2])
    node = 0
    while tree.left[node] != NONE:
        child = tree.left[node]
        node = child
        if _to_box(tree, child, x, y, z) > _to_box(tree, child + 1, x, y, z):
            node = child + 1
    hub = NONE
    best = np.inf
    for u in range(tree.start[node], tree.stop[node]):
        square = (
            (tree.points[u, 0] - x) ** 2
            + (tree.points[u, 1] - y) ** 2
            + (tree.points[u, 2] - z) ** 2
        )
        if square < best:
            best = square
            hub = u
    if np.sqrt(best) * (1 + tree.slack) + _tiny() < reach:
        return True
    return is_long and _is_joined_to_all(tree, hub, a, b, shortest, longest, walk)


@njit(cache=True, nogil=True)
def _is_joined_to_all(tree, hub, a, b, shortest, longest, walk):
    """Whether a vertex lies in the lunes of all edges between two nodes, joined to the rest."""
    if farthest_from_box(tree, a, hub) >= shortest or farthest_from_box(tree, b, hub) >= shortest:
        return False
    walk[0] = 0
    steps = 1
    while steps > 0:
        steps -= 1
        node = walk[steps]
        if (
            farthest_from_box(tree, node, hub) < shortest
            or between_boxes(tree, a, node)[0] > longest
            or between_boxes(tree, b, node)[0] > longest
        ):
            continue
        child = tree.left[node]
        if child != NONE:
            walk[steps] = child
            walk[steps + 1] = child + 1
            steps += 2
            continue
        for u in range(tree.start[node], tree.stop[node]):
            if (
                nearest_to_box(tree, a, u) <= longest
                and nearest_to_box(tree, b, u) <= longest
                and distance(tree, u, hub) >= shortest
            ):
                return False
    return True


@njit(cache=True, nogil=True)
def _tiny():
    """Room for squares that underflow."""
    return 1e-150


@njit(cache=True, nogil=True)
def _to_box(tree, node, x, y, z):
    """Squared distance of a place to a node's box."""
    one = max(0.0, max(tree.low[node, 0] - x, x - tree.high[node, 0]))
    two = max(0.0, max(tree.low[node, 1] - y, y - tree.high[node, 1]))
    three = max(0.0, max(tree.low[node, 2] - z, z - tree.high[node, 2]))
    return one * one + two * two + three * three


@njit(cache=True, nogil=True)
def _fill_distances(points, start, stop, region, size, rows):
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


@njit(cache=True, nogil=True)
def _open_edges(tree, a, b, low, high, is_open):
    """Say which edges between two leaves are longer than low up to high; returns the longest."""
    longest = tree.points.dtype.type(-1)
    for v in range(tree.start[a], tree.stop[a]):
        for w in range(v + 1 if a == b else tree.start[b], tree.stop[b]):
            length = distance(tree, v, w)
            is_open[v - tree.start[a], w - tree.start[b]] = low < length <= high
            if low < length <= high:
                longest = max(longest, length)
    return longest


@njit(cache=True, nogil=True)
def _central_vertices(tree, a, b, longest, central, walk):
    """Write places of vertices that may be near the middle of an edge; returns how many."""
    reach = _CENTRAL * np.float64(longest)
    count = 0
    walk[0] = 0
    steps = 1
    while steps > 0:
        steps -= 1
        node = walk[steps]
        square = 0.0
        for c in range(3):
            low = 0.5 * (tree.low[a, c] + tree.low[b, c])
            high = 0.5 * (tree.high[a, c] + tree.high[b, c])
            gap = max(0.0, max(low - tree.high[node, c], tree.low[node, c] - high))
            square += gap * gap
        if square > reach * reach:
            continue
        child = tree.left[node]
        if child != NONE:
            walk[steps] = child
            walk[steps + 1] = child + 1
            steps += 2
            continue
        for u in range(tree.start[node], tree.stop[node]):
            if count < central.shape[0]:
                for c in range(3):
                    central[count, c] = tree.points[u, c]
                count += 1
    return count


@njit(cache=True, nogil=True)
def _close_edges(tree, a, b, central, count, is_open):
    """Close the edges that have a vertex next to their middle; returns the longest left open."""
    points = tree.points
    longest = points.dtype.type(-1)
    for v in range(tree.start[a], tree.stop[a]):
        for w in range(v + 1 if a == b else tree.start[b], tree.stop[b]):
            if not is_open[v - tree.start[a], w - tree.start[b]]:
                continue
            length = distance(tree, v, w)
            reach = (_CENTRAL * np.float64(length)) ** 2
            x = 0.5 * (np.float64(points[v, 0]) + np.float64(points[w, 0]))
            y = 0.5 * (np.float64(points[v, 1]) + np.float64(points[w, 1]))
            z = 0.5 * (np.float64(points[v, 2]) + np.float64(points[w, 2]))
            hits = 0
            for k in range(count):
                square = (central[k, 0] - x) ** 2
                square += (central[k, 1] - y) ** 2
                square += (central[k, 2] - z) ** 2
                hits += square < reach
            if hits > 0:
                is_open[v - tree.start[a], w - tree.start[b]] = False
            else:
                longest = max(longest, length)
    return longest


@njit(cache=True, nogil=True)
def _examine(region, size, row_v, row_w, length, limit):
    """Say whether the lune of {v, w} is connected for certain, or else whether sides are tied.

    Rows hold the keys of the distances to both ends, `limit` that of the length. Those below the least root may be wrong, and
    the edge is longer: they count as shorter all the same.
    """
    best = limit
    ties = 0
    for u in range(np.uint64(size)):  # integers: float minima would not vectorize
        longer = max(row_v[u], row_w[u])
        best = min(best, longer)
        ties += longer == limit
    if ties > 2:  # v and w themselves are two
        return _TIED
    if best == limit:
        return _OPEN
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
    return _OPEN if missed > 0 else _CONNECTED


@njit(cache=True, nogil=True)
def _members(tree, v, w, length, limit, region_ids, size, row_v, row_w, ties, members):
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
        if m == i or m == j:
            continue
        u = tree.position[m]
        if is_older(distance(tree, u, v), i, m, length, i, j) and is_older(
            distance(tree, u, w), j, m, length, i, j
        ):
            members[count] = m
            count += 1
    return count


@njit(cache=True, nogil=True)
def _components(tree, v, w, length, members, num_members, smallest):
    """Write the smallest vertex of each component of a lune, ascending; returns how many."""
    i = tree.ids[v]
    j = tree.ids[w]
    count = 0
    head = 0  # members[:head] are done, members[head:tail] are reached, the rest is not
    tail = 0
    while tail < num_members:
        tail += 1
        least = members[head]
        while head < tail:
            here = members[head]
            head += 1
            least = min(least, here)
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
    return count


@njit(cache=True, nogil=True)
def _wider_row(row, room):
    """Return a copy with room for more."""
    grown = np.empty(room, row.dtype)
    grown[: row.shape[0]] = row
    return grown


@njit(cache=True, nogil=True)
def _wider(rows, room):
    """Return a copy with more columns."""
    grown = np.empty((rows.shape[0], room), rows.dtype)
    grown[:, : rows.shape[1]] = rows
    return grown


@njit(cache=True, nogil=True)
def _taller(rows, room):
    """Return a copy with more rows."""
    grown = np.empty((room, rows.shape[1]), rows.dtype)
    grown[: rows.shape[0]] = rows
    return grown

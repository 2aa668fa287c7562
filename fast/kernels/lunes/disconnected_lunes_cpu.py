"""Edges of a point cloud whose lune falls apart, without all the distances and without adjacency.

Pairs of tree nodes are split until all their edges are known to have a connected lune, or both
are leaves, whose edges are examined one by one (docs/numerics.md).
"""

import numpy as np

from fast.kernels.edges.point_tree_cpu import (
    NONE,
    between_boxes,
    distance,
    farthest_from_box,
    nearest_to_box,
)
from fast.kernels.lunes.point_lunes_cpu import (
    CONNECTED,
    TIED,
    examine_lune,
    fill_distances,
    lune_components,
    lune_members,
    wider,
)
from fast.kernels.numba_cpu import compiled, helper, longer, taller

# A vertex w so near to the middle of {a, b}, in lengths of {a, b}, is joined to the whole lune, of
# which no point is farther from the middle than sqrt(3) / 2: 1 - sqrt(3) / 2 and some room.
_CENTRAL = 0.1335
_MOST_IN_LEAF = 8  # of point_tree_cpu
_MOST_CENTRAL = 64  # vertices tried so for the edges of two leaves
_WORK_PER_RELATION = 64  # in vertices looked at
_LONG_FOR_ITS_BOXES = 4.0  # sizes of its boxes that an edge must be long to seek one hub for all


@compiled
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


@helper
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


@helper
def _size(tree, node):
    """Half the diagonal of a node's box."""
    square = 0.0
    for c in range(3):
        width = tree.high[node, c] - tree.low[node, c]
        square += width * width
    return 0.5 * np.sqrt(square)


@compiled
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
                        region = wider(region, room)
                        region_ids = longer(region_ids, room)
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
            fill_distances(points, start_a, tree.stop[a], region, size, keys_a.view(points.dtype))
            if a != b:
                rows = keys_b.view(points.dtype)
                fill_distances(points, start_b, tree.stop[b], region, size, rows)
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
                        state = examine_lune(region, size, row_v, row_w, length, limit)
                        if state == CONNECTED:
                            continue
                        ties = state == TIED
                    num_members = lune_members(
                        tree, v, w, length, limit, region_ids, size, row_v, row_w, ties, members
                    )
                    num_parts, steps = lune_components(
                        tree, v, w, length, members, num_members, smallest
                    )
                    work += num_members + steps
                    for k in range(1, num_parts):
                        if count == lengths.shape[0]:
                            lengths = longer(lengths, 2 * count)
                            relations = taller(relations, 2 * count)
                        lengths[count] = length
                        relations[count, 0] = min(ids[v], ids[w])
                        relations[count, 1] = max(ids[v], ids[w])
                        relations[count, 2] = smallest[0]
                        relations[count, 3] = smallest[k]
                        count += 1
                        work += _WORK_PER_RELATION
    return lengths[:count], relations[:count], work


@helper
def _have_a_hub(tree, a, b, shortest, longest, walk):
    """Whether some vertex is joined to the whole lune of every edge between two nodes.

    Of those with a length in [shortest, longest], all lengths of the tree's bounds. No is no
    proof: only a vertex next to the middle of the boxes is tried.
    """
    size_a = _size(tree, a)
    size_b = _size(tree, b)
    reach = _CENTRAL * shortest * (1 - tree.slack) - 0.5 * (size_a + size_b) * (1 + tree.slack)
    is_long = shortest > _LONG_FOR_ITS_BOXES * (size_a + size_b)
    if shortest <= tree.grain:
        reach = 0.0
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


@helper
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


@helper
def _tiny():
    """Room for squares that underflow."""
    return 1e-150


@helper
def _to_box(tree, node, x, y, z):
    """Squared distance of a place to a node's box."""
    one = max(0.0, max(tree.low[node, 0] - x, x - tree.high[node, 0]))
    two = max(0.0, max(tree.low[node, 1] - y, y - tree.high[node, 1]))
    three = max(0.0, max(tree.low[node, 2] - z, z - tree.high[node, 2]))
    return one * one + two * two + three * three


@helper
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


@helper
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


@helper
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
            if hits > 0 and length > tree.grain:
                is_open[v - tree.start[a], w - tree.start[b]] = False
            else:
                longest = max(longest, length)
    return longest

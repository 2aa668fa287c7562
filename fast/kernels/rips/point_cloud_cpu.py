"""H0 and H1 of one point cloud in at most three dimensions, without its distance matrix.

The same theorem and the same order as `cloud_cpu`; what differs is how the edges are found that
matter: by a tree over the points (docs/numerics.md).
"""

import itertools

import numpy as np

from fast import threads
from fast.kernels.edges import point_tree_cpu
from fast.kernels.lunes import disconnected_lunes_cpu, relative_neighbors_cpu
from fast.kernels.pairing import pairing_cpu
from fast.kernels.pairing.point_pairing_cpu import PointPairing
from fast.kernels.rips.cloud_cpu import CloudPairs, merge_pairs, no_pairs
from fast.memory import refuse_beyond_memory

_PARTS = 32  # that the points are cut into, for the threads to share
_NODE_PAIRS = 1024  # that a chunk starts from, dealt out to the parts
_WAVE = 4  # parts after which it is seen whether a chunk takes too much
_FIRST_END = 0.9  # quantile of the births' lengths at which the first chunk ends
_GROWTH = 1.2  # each chunk's edges are longer by this factor
_LEAST_GROWTH, _MOST_GROWTH = 1.01, 2.0  # after a chunk that was cut; where edges cost little
_CHEAP, _DEAR = 0.25, 4.0  # shares of all work so far that make chunks longer, and shorter
_NARROW = 1e-3  # a chunk of such a share of its length is not cut: its edges may be tied
_BYTES_PER_POINT = 800  # of the tree, the edges with an empty lune and what sorts them
_TOO_MANY_POINTS = (
    "rips_persistence_of_points: points has so many rows that {needed} are needed; {available} are "
    "available. Pass fewer points, e.g. those that topology_preserving_sampling picks"
)
_LEAST_WORK = 1024  # vertices looked at per point that are always allowed


class PointCloud:
    """The state that is carried from chunk to chunk."""

    def __init__(self, points, threshold, num_threads, most_work=np.inf):
        """Prepare (N, C) points, N at least 1; edges up to `threshold`, a length, enter.

        `most_work`: vertices looked at, over N^2, after which `pairs` gives up.
        """
        refuse_beyond_memory(_TOO_MANY_POINTS, len(points) * _BYTES_PER_POINT)
        self.num_threads = num_threads
        self.vertices = _distinct(points)
        self.n = len(self.vertices)
        self.work_left = most_work * self.n**2
        self.tree = point_tree_cpu.build(np.ascontiguousarray(points[self.vertices]))
        middle = (self.tree.low[0] + self.tree.high[0]) / 2
        # Points in the middle first: their farthest point is nearest.
        order = np.argsort(((self.tree.points - middle) ** 2).sum(axis=1), kind="stable")
        self.cutoff = min(threshold, point_tree_cpu.enclosing_radius(self.tree, order))

    def pairs(self, max_dim):
        """Return the pairs of dimension 0, or of 0 and 1; None if that is too much work."""
        lengths, edges = self._empty_lunes()
        codes = edges[:, 0] * self.n + edges[:, 1]
        merges, births = pairing_cpu.classify_empties(
            codes, np.arange(len(codes)), self.n, np.arange(self.n)
        )
        positive = self.vertices[edges[merges[lengths[merges] > 0]]]
        components = merge_pairs(positive[:, 0], positive[:, 1], self.n - len(merges))
        if max_dim == 0:
            return [components]
        if not len(births):
            return [components, no_pairs(1, 0)]
        pairing = PointPairing(
            self.tree, edges[merges], edges[births], lengths[births], self.num_threads
        )
        kills = self._kills(pairing, lengths[births])
        if kills is None:
            return None
        return [components, self._loops(kills, edges[births], lengths[births], pairing.alive)]

    def _empty_lunes(self):
        """Return lengths (E,) and vertices (E, 2) of edges with an empty lune, in their order."""
        parts = max(1, min(_PARTS, self.n // 64))
        borders = [self.n * part // parts for part in range(parts + 1)]
        calls = [
            (self.tree, self.cutoff, first, last) for first, last in itertools.pairwise(borders)
        ]
        found = threads.run(relative_neighbors_cpu.empty_lunes, calls, self.num_threads)
        lengths, edges = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.lexsort((edges[:, 1], edges[:, 0], lengths))
        return lengths[order].astype(np.float64), edges[order]

    def _kills(self, pairing, birth_lengths):
        """Run all chunks; returns a list of (births, death lengths, relations that they die of).

        None if more vertices are looked at than is allowed.
        """
        kills = []
        # Relations older than every birth are made of tree edges: they kill nothing.
        low = np.nextafter(birth_lengths[0], -1.0)
        high = float(np.quantile(birth_lengths, _FIRST_END))
        growth = _GROWTH
        total = 0
        while pairing.alive and low < self.cutoff:
            high = min(max(high, np.nextafter(low, np.inf)), self.cutoff)
            lengths, relations, work = self._relations(low, high, total)
            self.work_left -= work
            if self.work_left <= 0:
                return None
            if relations is None:
                growth = max(growth**0.5, _LEAST_GROWTH)
                # Lengths may be of any order between the two: come near in few steps.
                far_apart = 0 < 2 * low < high
                high = low**0.5 * high**0.5 if far_apart else low + (high - low) / 4
                continue
            dead = pairing.eliminate(relations)
            kills.append((dead[:, 0], lengths[dead[:, 1]], relations[dead[:, 1]]))
            is_cheap = work < _CHEAP * total
            growth = min(growth**1.5, _MOST_GROWTH) if is_cheap else min(growth, _GROWTH)
            total += work
            low, high = high, high * growth
        return kills

    def _relations(self, low, high, work_so_far):
        """Relations of edges with low < length <= high, sorted; None where that takes too much."""
        is_narrow = high - low <= _NARROW * high
        most = np.inf if is_narrow else float(max(_DEAR * work_so_far, _LEAST_WORK * self.n))
        most = min(most, self.work_left)
        pairs = disconnected_lunes_cpu.first_node_pairs(self.tree, low, high, _NODE_PAIRS)
        parts = [pairs[part::_PARTS].copy() for part in range(min(_PARTS, len(pairs)))]
        found, work = [], 0
        for first in range(0, len(parts), _WAVE):
            limit = (most - work) / _WAVE
            calls = [
                (self.tree, part, float(low), float(high), limit)
                for part in parts[first : first + _WAVE]
            ]
            found += threads.run(disconnected_lunes_cpu.disconnected_lunes, calls, self.num_threads)
            if any(result[2] > limit for result in found[first:]):
                return None, None, most
            work = sum(result[2] for result in found)
        if not found:
            return np.empty(0), np.empty((0, 4), np.int64), work
        lengths = np.concatenate([result[0] for result in found]).astype(np.float64)
        relations = np.concatenate([result[1] for result in found])
        order = np.lexsort((relations[:, 3], relations[:, 1], relations[:, 0], lengths))
        return lengths[order], relations[order], work

    def _loops(self, kills, birth_edges, birth_lengths, alive):
        """Kills with a death later than the birth, sorted by death edge, then birth."""
        births, died, relations = (np.concatenate(parts) for parts in zip(*kills, strict=True))
        same = (relations[1:, :2] == relations[:-1, :2]).all(axis=1)
        rank = np.cumsum(np.concatenate([[0], ~same])[: len(births)])
        order = np.lexsort((births, rank))
        order = order[birth_lengths[births[order]] < died[order]]
        triangles = self.vertices[relations[order][:, [0, 1, 3]]]
        return CloudPairs(
            self.vertices[birth_edges[births[order]]],
            triangles[:, :2],
            np.sort(triangles, axis=1),
            int(alive),
        )


def _distinct(points):
    """Return the first vertex at every place, ascending.

    A vertex at the place of an earlier one dies at once, and no edge of it matters.
    """
    n = len(points)
    columns = (points + points.dtype.type(0)).T  # no -0.0
    order = np.lexsort((np.arange(n), *columns))
    ordered = columns[:, order]
    is_new = np.ones(n, np.bool_)
    is_new[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
    return np.sort(order[is_new])

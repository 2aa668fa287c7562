"""Rips pairs of clouds on the CPU: drives the edge, lune and pairing kernels chunk by chunk."""

from dataclasses import dataclass

import numpy as np
import torch

from fast import threads
from fast.kernels import edges_cpu, lengths, lunes_cpu, pairing_cpu, small_rips_cpu, tree_cpu

_SAMPLE = 4096  # keys looked at to place the chunk borders
_FIRST_CHUNK = 0.04  # of the edges that can matter; then each chunk ends this much further out
_GROWTH = 1.6
_FEW_EDGES = 2000  # the first chunk has at least as many: a chunk has a cost of its own
_MIN_EDGES_PER_THREAD = 4096  # edges below which a chunk is not split
_MIN_POINTS_TO_SPLIT = 320  # points below which a cloud is not split: handing over takes longer
_MIN_POINTS_FOR_THREADS = 64  # points of a cloud; below, Python's part is the larger
_MAX_FULL_SEARCHES = 256  # lunes searched in full before it is too early to ask for the end
_MOST_POINTS_SMALL = 256  # points up to which a batch is one compiled loop
_NEIGHBORS = 8  # nearest neighbors tried as witnesses that a lune is not empty


@dataclass(frozen=True)
class CloudPairs:
    """Critical simplices of one cloud and one dimension, sorted by death rank, then birth rank."""

    birth_edges: np.ndarray  # (K, 2) int64, -1 in dimension 0
    death_edges: np.ndarray  # (K, 2) int64
    death_simplices: np.ndarray  # (K, dim + 2) int64, vertices ascending
    num_essential: int  # classes that are not dead at the last edge


def rips_pairs(distances, sizes, max_dim, threshold):
    """Return the finite pairs of positive persistence, one dict of padded tensors per dimension.

    Parameters
    ----------
    distances
        (B, N, N) float32 or float64 tensor.
    sizes
        How many points each of the B clouds has, or None for N each.
    max_dim, threshold
        As in `fast.rips_persistence`.

    Returns
    -------
    list[dict[str, torch.Tensor]]
        The int64 fields of `fast.BatchedDiagram`: birth_edges, death_edges, death_simplices,
        counts, num_essential.

    Raises
    ------
    ValueError
        If an entry is no distance.
    """
    if distances.shape[1] <= _MOST_POINTS_SMALL:
        found = _pairs_of_small_clouds(distances.numpy(), sizes, max_dim, threshold)
        if found is not None:
            return found
    clouds = list(distances.numpy())
    if sizes is not None:
        clouds = [cloud[:size, :size] for cloud, size in zip(clouds, sizes, strict=True)]
    clouds = [np.ascontiguousarray(cloud) for cloud in clouds]
    found = _pairs_of_clouds(clouds, max_dim, threshold, torch.get_num_threads())
    return [
        {
            "birth_edges": _padded_rows([cloud[dim].birth_edges for cloud in found]),
            "death_edges": _padded_rows([cloud[dim].death_edges for cloud in found]),
            "death_simplices": _padded_rows([cloud[dim].death_simplices for cloud in found]),
            "counts": torch.tensor([len(cloud[dim].death_edges) for cloud in found]),
            "num_essential": torch.tensor([cloud[dim].num_essential for cloud in found]),
        }
        for dim in range(max_dim + 1)
    ]


def _pairs_of_small_clouds(distances, sizes, max_dim, threshold):
    """Return what `rips_pairs` returns, or None if a cloud has too many births for that."""
    found, status = small_rips_cpu.rips_pairs(distances, sizes, max_dim, threshold)
    if status is None:
        return found
    refused = np.flatnonzero(status == small_rips_cpu.REFUSED)
    for cloud in refused:
        size = distances.shape[1] if sizes is None else sizes[cloud]
        _checked_keys(np.ascontiguousarray(distances[cloud, :size, :size]))
    if len(refused):  # but nothing was raised: the signs are those of zeros
        distances = distances + distances.dtype.type(0)
        found, status = small_rips_cpu.rips_pairs(distances, sizes, max_dim, threshold)
    return found if status is None else None


def _padded_rows(rows):
    """Stack (K_b, width) arrays to (B, K, width), -1 where a cloud has no row."""
    longest = max(len(row) for row in rows)
    out = np.full((len(rows), longest, rows[0].shape[1]), -1, np.int64)
    for cloud, row in enumerate(rows):
        out[cloud, : len(row)] = row
    return torch.from_numpy(out)


def _pairs_of_clouds(clouds, max_dim, threshold, num_threads):
    """Return a list over clouds of one CloudPairs per dimension."""
    # Whole clouds need no waiting for each other, so threads go inside a cloud only if idle.
    inside = max(1, num_threads // max(1, len(clouds)))
    largest = max((len(cloud) for cloud in clouds), default=0)
    if inside > 1 and largest >= _MIN_POINTS_TO_SPLIT:
        return [_pairs_of_cloud(cloud, max_dim, threshold, num_threads) for cloud in clouds]
    calls = [(cloud, max_dim, threshold, 1) for cloud in clouds]
    num_threads = num_threads if largest >= _MIN_POINTS_FOR_THREADS else 1
    return threads.run(_pairs_of_cloud, calls, num_threads)


def _pairs_of_cloud(distances, max_dim, threshold, num_threads):
    """Pairs of one cloud, one CloudPairs per dimension."""
    n = distances.shape[0]
    keys, row_max = _checked_keys(distances)
    if n < 2:
        return [_no_pairs(dim, n if dim == 0 else 0) for dim in range(max_dim + 1)]
    # Beyond the enclosing radius the complex is a cone.
    cutoff = min(int(row_max.min()), lengths.longest_key(distances.dtype, threshold))
    if max_dim == 0:
        tree, num_trees = tree_cpu.spanning_forest(keys, cutoff)
        return [_merge_pairs(tree // n, tree % n, num_trees)]
    return _Cloud(keys, cutoff, num_threads).pairs()


def _checked_keys(distances):
    """Return the lengths as ordered integers, and each row's maximum."""
    integer = np.int32 if distances.dtype == np.float32 else np.int64
    infinity = np.int64(np.array(np.inf, distances.dtype).view(integer))
    keys = distances.view(integer)
    row_max = np.zeros(distances.shape[0], integer)
    if distances.shape[0] == 0:
        return keys, row_max
    mask = np.int64(np.iinfo(integer).max)
    code, i, j = edges_cpu.scan_keys(keys, infinity, mask, row_max)
    if code == lengths.NEGATIVE_ZERO:
        keys = (distances + distances.dtype.type(0)).view(integer)
        code, i, j = edges_cpu.scan_keys(keys, infinity, mask, row_max)
    if code != lengths.VALID:
        raise ValueError(lengths.error_message(code, i, j, distances[i, j], distances[j, i]))
    return keys, row_max


def _no_pairs(dim, num_essential):
    """No pairs in dimension `dim`."""
    return CloudPairs(
        np.empty((0, 2), np.int64),
        np.empty((0, 2), np.int64),
        np.empty((0, dim + 2), np.int64),
        num_essential,
    )


def _merge_pairs(smaller, larger, num_essential):
    """H0 pairs that die at the given edges."""
    edges = np.stack([smaller, larger], axis=1)
    return CloudPairs(np.full_like(edges, -1), edges, edges.copy(), num_essential)


class _Cloud:
    """The state that is carried from chunk to chunk."""

    def __init__(self, keys, cutoff, num_threads):
        self.keys = keys
        self.cutoff = cutoff
        self.num_threads = num_threads
        self.n = n = keys.shape[0]
        self.adjacency = lunes_cpu.self_loops(n)
        self.neighbors = None
        self.parent = np.arange(n)
        self.codes = np.zeros((n, n), np.int32)
        self.sums = np.zeros((1024, 1), np.uint64)
        self.num_sums = 0
        self.rows = np.zeros((64, 1), np.uint64)
        self.columns = np.zeros((64, 1), np.uint64)
        self.is_dead = np.zeros(1, np.uint64)
        self.birth_edges = np.zeros(0, np.int64)
        self.alive = 0
        self.merge_edges = []
        self.kills = []

    def pairs(self):
        """Run all chunks and return [H0, H1]."""
        low = -1
        uncertain = -1
        for high in self._borders():
            edges = self._run_chunk(low, high)
            low = high
            if self.neighbors is None:
                self.neighbors = lunes_cpu.nearest_neighbors(edges, self.n, _NEIGHBORS)
            # No class is alive and none will be born: whatever happens later is beyond H1.
            if self.alive == 0 and uncertain <= low:
                uncertain = self._first_uncertain_lune(low)
                if uncertain <= low:
                    break
        return [self._h0(), self._h1()]

    def _borders(self):
        """Keys at which the chunks end, from a sample of the lengths; the last is the cutoff."""
        sample = np.empty(_SAMPLE, self.keys.dtype)
        count = edges_cpu.sample_keys(self.keys, self.cutoff, sample)
        sample = np.sort(sample[:count])
        borders = []
        share = max(_FIRST_CHUNK, _FEW_EDGES / (self.n * (self.n - 1) // 2))
        while share < 0.9 and count > 0:
            border = int(sample[int(share * count)])
            if border < self.cutoff and (not borders or border > borders[-1]):
                borders.append(border)
            share *= _GROWTH
        return [*borders, self.cutoff]

    def _run_chunk(self, low, high):
        """Add the edges with low < key <= high."""
        edges = self._sorted_edges(low, high)
        empties, relations = self._examine_lunes(edges)
        merges, births = pairing_cpu.classify_empties(
            edges, empties, self.n, self.parent, self.codes, len(self.birth_edges)
        )
        self.merge_edges.append(edges[merges])
        self.birth_edges = np.concatenate([self.birth_edges, edges[births]])
        self.alive += len(births)
        self._make_room()
        kills, self.sums, self.num_sums, self.alive = pairing_cpu.eliminate(
            self.keys, edges, relations, (len(self.birth_edges) + 63) // 64, self.codes,
            self.sums, self.num_sums, self.rows, self.columns, self.is_dead, self.alive,
        )  # fmt: skip
        kills[:, 1] = edges[kills[:, 1]]
        self.kills.append(kills)
        return edges

    def _sorted_edges(self, low, high):
        """Edges with low < key <= high as i * N + j, in the total order."""
        bands = [(self.keys, low, high, *band) for band in self._bands()]
        counts = threads.run(edges_cpu.count_edges, bands, self.num_threads)
        ends = np.cumsum(counts)
        edge_keys, spare_keys = (np.empty(ends[-1], self.keys.dtype) for _ in range(2))
        edges, spare_edges = (np.empty(ends[-1], np.int64) for _ in range(2))
        parts = [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]
        calls = [
            (*band, edge_keys[part], edges[part]) for band, part in zip(bands, parts, strict=True)
        ]
        threads.run(edges_cpu.gather_edges, calls, self.num_threads)
        in_spare = edges_cpu.sort_edges(
            edge_keys, edges, max(low, 0), high, spare_keys, spare_edges
        )
        return spare_edges if in_spare else edges

    def _bands(self):
        """Rows [first, last) for each thread, with about as many edges i < j."""
        parts = self.num_threads
        firsts = [round(self.n * (1 - (1 - part / parts) ** 0.5)) for part in range(parts)]
        return list(zip(firsts, [*firsts[1:], self.n], strict=True))

    def _examine_lunes(self, edges):
        """Empty lunes and relations of the chunk; each thread brings its own adjacency up."""
        parts = self.num_threads if len(edges) > _MIN_EDGES_PER_THREAD else 1
        borders = [len(edges) * part // parts for part in range(parts + 1)]
        adjacencies = [self.adjacency, *(self.adjacency.copy() for _ in range(parts - 1))]
        calls = [
            (edges, start, stop, adjacency, self.n)
            for start, stop, adjacency in zip(borders, borders[1:], adjacencies, strict=False)
        ]
        found = threads.run(lunes_cpu.examine_lunes, calls, self.num_threads)
        self.adjacency = adjacencies[-1]
        empties, relations = zip(*found, strict=True)
        return np.concatenate(empties), np.concatenate(relations)

    def _first_uncertain_lune(self, low):
        """Key of an edge beyond `low` whose lune may be empty, or `low`."""
        calls = [
            (self.keys, low, self.cutoff, self.adjacency, self.neighbors, _MAX_FULL_SEARCHES, *band)
            for band in self._bands()
        ]
        return max(threads.run(lunes_cpu.first_uncertain_lune, calls, self.num_threads))

    def _make_room(self):
        """Widen the bitsets so that every birth has a bit."""
        words = (len(self.birth_edges) + 63) // 64
        if words > self.rows.shape[1]:
            words = 2 * words
            self.rows = _padded(self.rows, (64 * words, words))
            self.columns = _padded(self.columns, (64 * words, words))
            self.sums = _padded(self.sums, (self.sums.shape[0], words))
            self.is_dead = _padded(self.is_dead, (words,))

    def _h0(self):
        """Return merges at positive length."""
        edges = np.concatenate(self.merge_edges)
        i, j = edges // self.n, edges % self.n
        positive = self.keys[i, j] > 0
        return _merge_pairs(i[positive], j[positive], self.n - len(edges))

    def _h1(self):
        """Kills with a death later than the birth."""
        kills = np.concatenate(self.kills)
        born = self.birth_edges[kills[:, 0]]
        died = kills[:, 1]
        n = self.n
        kept = self.keys[born // n, born % n] < self.keys[died // n, died % n]
        # Kills come in the order of their death edge; births are numbered in the order of theirs.
        rank = np.cumsum(np.concatenate([[0], died[1:] != died[:-1]])[: len(died)])
        order = np.lexsort((kills[:, 0], rank))
        kept = order[kept[order]]
        born, died, apex = born[kept], died[kept], kills[kept, 3]
        death_edges = np.stack([died // n, died % n], axis=1)
        return CloudPairs(
            np.stack([born // n, born % n], axis=1),
            death_edges,
            np.sort(np.concatenate([death_edges, apex[:, None]], axis=1), axis=1),
            int(self.alive),
        )


def _padded(array, shape):
    """Return a copy with zeros appended up to `shape`."""
    grown = np.zeros(shape, array.dtype)
    grown[tuple(slice(size) for size in array.shape)] = array
    return grown

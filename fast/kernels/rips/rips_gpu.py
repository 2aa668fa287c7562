"""Rips pairs of a batch of clouds on the GPU: drives the kernels, all clouds at once.

Legend: B clouds, N points, M = N (N - 1) / 2 edges, K births, R relations. The host waits once,
for what is wrong, how many pairs there are, and whether the room for births and relations was
enough; if not, H1 is found again with more, or by lists (list_pairing_gpu). (Sending `sizes` to
the device waits too.)
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch

from fast.kernels.distances import lengths
from fast.kernels.edges import edges_gpu
from fast.kernels.launch_gpu import launch
from fast.kernels.lunes import lunes_gpu
from fast.kernels.pairing import pairing_gpu, tree_gpu
from fast.kernels.pairing.list_pairing_gpu import ListPairing

_SNAPSHOTS = 32  # of the adjacency; edges between two look up what happened since
_ROUNDS = (0, 5, 35, 70, 100)  # per cent of the edges; once all births are dead, no more are read
_THREADS = 128
_MOST_BLOCKS = 8192
_SEARCH_BLOCKS = 1056  # 8 for each of an H100's 132 processors; each has scratch of its own
_EXPRESS_BLOCKS = 512
_FAR = 2**63 - 1
_ROWS_PER_MATRIX = 4  # rows of bits may take as much memory as so many matrices of 32-bit distances
_LEAST_ROW_BYTES = 1 << 20  # and this much in any case


@dataclass(frozen=True)
class _Room:
    """How many births and relations a cloud may have, and how many edges may wait."""

    births: int
    relations: int
    pending: int

    def bytes_of_rows(self):
        """Return how many bytes a cloud's relations take as rows of bits."""
        return self.relations * (-(-self.births // 64)) * 8

    def grown(self, births, relations, pending):
        """Return room for what was needed, or None if there was enough."""
        if births <= self.births and relations <= self.relations and not pending:
            return None
        # Relations were not all found if births had no room, so they are given more as well.
        more_births = births > self.births
        return replace(
            self,
            births=max(self.births, births),
            relations=max(self.relations * (2 if more_births else 1), 2 * relations),
            pending=self.pending * (4 if pending else 1),
        )


def rips_pairs(distances, sizes, max_dim, threshold):
    """Return the critical simplices of each dimension, padded; see `rips_cpu.rips_pairs`."""
    num_clouds, n = distances.shape[:2]
    device = distances.device
    if n == 0:
        return [_nothing(dim, num_clouds, device) for dim in range(max_dim + 1)]
    distances = distances.contiguous()
    keys = distances.view(torch.int32 if distances.dtype == torch.float32 else torch.int64)
    magnitude = torch.iinfo(keys.dtype).max
    if sizes is None:
        sizes = torch.full((num_clouds,), n, dtype=torch.int32, device=device)
    else:
        sizes = torch.tensor(sizes, dtype=torch.int32, device=device)
    room = _first_room(n)
    row_max = torch.zeros(num_clouds, n, dtype=torch.int64, device=device)
    first_error = torch.full((1,), edges_gpu.NO_ERROR, dtype=torch.int64, device=device)
    infinity = torch.tensor(torch.inf, dtype=distances.dtype).view(keys.dtype).item()
    launch(
        edges_gpu.check_rows, _at_most(num_clouds * n), _THREADS,
        keys, sizes, infinity, magnitude, row_max, first_error,
    )  # fmt: skip
    dtype = np.dtype(np.float32 if distances.dtype == torch.float32 else np.float64)
    cutoffs = _cutoffs(row_max, sizes, dtype, threshold)
    h0, tree = _components(keys, sizes, cutoffs, magnitude)
    while True:
        parts, needs = [h0], [first_error[0], h0["counts"].amax()]
        if max_dim == 1:
            h1, of_h1 = _loops(keys, sizes, cutoffs, magnitude, tree, room)
            parts.append(h1)
            needs += [h1["counts"].amax(), *of_h1]
        packed, *numbers = torch.stack([number.long() for number in needs]).tolist()
        if packed != edges_gpu.NO_ERROR:
            raise ValueError(_error_message(packed, distances))
        grown = room.grown(*numbers[2:]) if max_dim == 1 else None
        if grown is None:
            return [_trimmed(part, most) for part, most in zip(parts, numbers, strict=False)]
        room = grown


def _first_room(n):
    return _Room(births=4 * n, relations=8 * n, pending=256)


def _at_most(blocks):
    return min(blocks, _MOST_BLOCKS)


def _launch_each(kernel, items, *arguments):
    """Launch with a thread an item."""
    launch(kernel, _at_most(-(-items // _THREADS)), _THREADS, *arguments)


def _error_message(packed, distances):
    cloud, i, j, code = edges_gpu.unpack_error(packed, distances.shape[1])
    value, mirrored = distances[cloud, i, j].item(), distances[cloud, j, i].item()
    return lengths.error_message(code, i, j, value, mirrored)


def _cutoffs(row_max, sizes, dtype, threshold):
    """Key of the longest edge that matters in each cloud (B,): the enclosing radius, or less."""
    longest = lengths.longest_key(dtype, threshold)
    inside = torch.arange(row_max.shape[1], device=sizes.device) < sizes[:, None]
    return row_max.where(inside, _FAR).amin(dim=1).clamp(max=longest)


def _components(keys, sizes, cutoffs, magnitude):
    """Return H0 and, for H1, every merge: edges (B, N) and how many (B,)."""
    num_clouds, n = keys.shape[:2]
    reach = keys.new_empty((num_clouds, n), dtype=torch.int64)
    nearest = keys.new_empty((num_clouds, n), dtype=torch.int32)
    tree_keys = torch.full_like(reach, _FAR)
    tree = torch.full_like(reach, _FAR)
    num_trees = keys.new_zeros(num_clouds, dtype=torch.int64)
    launch(
        tree_gpu.spanning_forests, num_clouds, tree_gpu.THREADS,
        keys, sizes, cutoffs, magnitude, reach, nearest, tree_keys, tree, num_trees,
    )  # fmt: skip
    # Pairs of no persistence go to the end, beyond the counts.
    deadlines = tree_keys.where(tree_keys > 0, _FAR)
    by_edge, order = tree.sort(dim=1)
    order = deadlines.gather(1, order).argsort(dim=1, stable=True)
    edges = by_edge.gather(1, order)
    deaths = torch.stack([edges // n, edges % n], dim=-1)
    h0 = {
        "birth_edges": torch.full_like(deaths, -1),
        "death_edges": deaths,
        "death_simplices": deaths,
        "counts": (deadlines < _FAR).sum(dim=1),
        "num_essential": num_trees,
    }
    return h0, (tree, (tree < _FAR).sum(dim=1))


def _loops(keys, sizes, cutoffs, magnitude, tree, room):
    """Return H1, and what it needed: births, relations, whether too many edges were waiting."""
    if keys.shape[1] < 3:
        none = _nothing(1, len(keys), keys.device)
        return none, [none["counts"].amax()] * 3
    filtration = _Filtration.of(keys, sizes, cutoffs, magnitude)
    num_births, births = filtration.find_births(*tree, room)
    if room.bytes_of_rows() > max(_LEAST_ROW_BYTES, _ROWS_PER_MATRIX * 4 * keys.shape[1] ** 2):
        return _loops_by_lists(filtration, num_births, births, room)
    pairing = _Pairing(filtration, num_births, room)
    for first, last in pairwise(_ROUNDS):
        starts, stops = ((filtration.counts.long() * part // 100).int() for part in (first, last))
        span = filtration.edges.shape[1] * (last - first) // 100 + 2
        pairing.run_round(starts, stops, span)
    needed = num_births.amax(), pairing.totals.amax(), pairing.overflow[0]
    return pairing.pairs(births), needed


def _loops_by_lists(filtration, num_births, births, room):
    """Return what `_loops` does, with memory for the births that there are and not their square."""
    needed = num_births.amax(), torch.zeros_like(num_births[0]), torch.zeros_like(num_births[0])
    if int(needed[0]) > room.births:  # found again with room for all
        none = _nothing(1, len(num_births), num_births.device)
        return none, needed
    pairing = ListPairing(filtration, num_births, room.births, room.pending)
    pairing.run()
    numbers = torch.arange(room.births, device=births.device).expand(len(births), -1)
    dead = pairing.deaths >= 0
    h1 = _pairs(
        filtration, births, numbers.where(dead, -1), pairing.deaths.where(dead, 0).long(),
        pairing.apexes.long(), pairing.alive,
    )  # fmt: skip
    return h1, needed


def _pairs(filtration, births, killed, died, apexes, alive):
    """Return H1 in the order of the deaths, then the births.

    `killed` (B, R) holds births, or -1; `died` and `apexes` the edge and the vertex that kill them.
    """
    n = filtration.ranks.shape[1]
    born = births.long().gather(1, killed.clamp(min=0))
    persists = filtration.sorted_keys.gather(1, born) < filtration.sorted_keys.gather(1, died)
    kept = (killed >= 0) & persists
    order = (died * births.shape[1] + killed).where(kept, _FAR).argsort(dim=1)

    def ends(ranks):
        edges = filtration.edges.long().gather(1, ranks.gather(1, order))
        return torch.stack([edges // n, edges % n], dim=-1)

    death_edges = ends(died)
    apexes = apexes.gather(1, order)
    return {
        "birth_edges": ends(born),
        "death_edges": death_edges,
        "death_simplices": torch.cat([death_edges, apexes[..., None]], dim=-1).sort().values,
        "counts": kept.sum(dim=1),
        "num_essential": alive.long(),
    }


@dataclass(frozen=True)
class _Filtration:
    """The edges of all clouds in order, and their lunes."""

    sorted_keys: torch.Tensor  # (B, M) keys of the dtype's width
    counts: torch.Tensor  # (B,) int32 edges up to the cutoff
    edges: torch.Tensor  # (B, M) int32 i * N + j
    ranks: torch.Tensor  # (B, N, N) int32, the largest beyond the cutoff
    borders: torch.Tensor  # (B, S + 1) int32 ranks at which the snapshots are taken
    snapshots: torch.Tensor  # (B, S + 1, N, W) uint64
    edge_status: torch.Tensor  # (B, M) int32

    @classmethod
    def of(cls, keys, sizes, cutoffs, magnitude):
        num_clouds, n = keys.shape[:2]
        device = keys.device
        i, j = torch.triu_indices(n, n, 1, device=device)
        pairs = i * n + j
        upper = keys.flatten(1).index_select(1, pairs) & magnitude
        outside = (j >= sizes[:, None]) | (upper > cutoffs[:, None])
        sorted_keys, order = upper.masked_fill_(outside, magnitude).sort(dim=1, stable=True)
        counts = (len(pairs) - outside.sum(dim=1)).int()
        edges = torch.zeros(num_clouds, len(pairs), dtype=torch.int32, device=device)
        far = torch.iinfo(torch.int32).max
        ranks = torch.full((num_clouds, n, n), far, dtype=torch.int32, device=device)
        _launch_each(edges_gpu.rank_edges, edges.numel(), order, pairs, counts, edges, ranks)
        # Squares, so that a snapshot is not far behind the few edges of an early one.
        steps = torch.arange(_SNAPSHOTS + 1, device=device) ** 2
        borders = (counts[:, None].long() * steps // _SNAPSHOTS**2).int()
        shape = num_clouds, _SNAPSHOTS + 1, n, (n + 63) // 64
        snapshots = torch.zeros(shape, dtype=torch.int64, device=device).view(torch.uint64)
        rows = num_clouds * n * shape[3]
        _launch_each(lunes_gpu.take_snapshots, rows, ranks, counts, borders, snapshots)
        edge_status = torch.zeros_like(edges)
        _launch_each(
            lunes_gpu.find_empty_lunes, edges.numel(),
            edges, counts, ranks, borders, snapshots, edge_status,
        )  # fmt: skip
        return cls(sorted_keys, counts, edges, ranks, borders, snapshots, edge_status)

    def find_births(self, tree, tree_counts, room):
        """Tell births from merges; return how many there are (B,) and their ranks (B, K)."""
        edge_status = self.edge_status
        _launch_each(
            pairing_gpu.mark_tree, tree.numel(), tree, tree_counts, self.ranks, edge_status
        )
        ordinals = (edge_status == lunes_gpu.EMPTY).cumsum(dim=1, dtype=torch.int32)
        births = edge_status.new_zeros(len(edge_status), room.births)
        _launch_each(pairing_gpu.number_births, edge_status.numel(), ordinals, edge_status, births)
        return ordinals[:, -1].contiguous(), births


class _Pairing:
    """The elimination, carried from round to round."""

    def __init__(self, filtration, num_births, room):
        num_clouds = len(num_births)

        def filled(value, *shape, dtype=torch.int32):
            return torch.full(shape, value, dtype=dtype, device=num_births.device)

        words = (room.births + 63) // 64
        self.filtration = filtration
        self.num_births = num_births
        self.alive = num_births.clone()  # births that are not dead
        # 1 where nothing later matters, or where there is too little room to go on.
        self.done = ((num_births == 0) | (num_births > room.births)).int()
        self.totals = filled(0, num_clouds)  # relations so far
        self.relations = filled(0, num_clouds, room.relations, 2)  # rank of the edge, w_k
        self.rows = filled(0, num_clouds, room.relations, words, dtype=torch.int64)
        self.killed = filled(-1, num_clouds, room.relations)  # birth, or -1
        self.killer = filled(-1, num_clouds, room.births)
        self.mask = filled(0, num_clouds, words, dtype=torch.int64)
        self.hits = filled(0, num_clouds, room.relations, dtype=torch.int64)
        self.overflow = filled(0, 1)
        self.no_lists = filled(0, num_clouds, 0, 0)
        self.pending = self.killed.new_empty(_EXPRESS_BLOCKS * _THREADS, room.pending)
        n = filtration.ranks.shape[1]
        self.unseen, self.queue = self.killed.new_empty(2, _SEARCH_BLOCKS, n)

    def run_round(self, starts, stops, span):
        """Examine edges starts <= rank < stops of each cloud, at most `span`; kill what dies."""
        found, first_vertices, num_found = self._find_relations(starts, stops, span)
        first_rows = self.totals
        self.totals = first_rows + num_found
        room = self.killed.shape[1]
        self.done |= self.totals > room
        filtration = self.filtration
        launch(
            pairing_gpu.express_relations, _EXPRESS_BLOCKS, _THREADS,
            filtration.edges, filtration.ranks, filtration.borders, filtration.snapshots,
            filtration.edge_status, self.done, found, first_vertices, first_rows, num_found,
            self.pending, self.relations, self.rows.view(torch.uint64), self.no_lists,
            self.killed, self.overflow,
        )  # fmt: skip
        launch(
            pairing_gpu.eliminate, len(self.done), pairing_gpu.THREADS,
            self.rows.view(torch.uint64), first_rows, self.totals, self.num_births, self.done,
            self.killed, self.killer, self.mask.view(torch.uint64), self.hits.view(torch.uint64),
            self.alive,
        )  # fmt: skip
        self.done |= self.alive == 0

    def _find_relations(self, starts, stops, span):
        """Return the round's relations in order (B, R): p * N + w_k, w_1; and how many (B,)."""
        filtration = self.filtration
        num_clouds = len(self.done)
        uncertain = self.killed.new_empty(num_clouds, span)
        num_uncertain = torch.zeros_like(self.totals)
        _launch_each(
            lunes_gpu.flag_uncertain_lunes, num_clouds * span,
            filtration.edges, starts, stops, self.done, span, filtration.ranks,
            filtration.borders, filtration.snapshots, filtration.edge_status, uncertain,
            num_uncertain,
        )  # fmt: skip
        found = torch.full_like(self.hits, _FAR)
        first_vertices = torch.zeros_like(self.killed)
        num_found = torch.zeros_like(self.totals)
        launch(
            lunes_gpu.search_lunes, _SEARCH_BLOCKS, _THREADS,
            filtration.edges, filtration.ranks, uncertain, num_uncertain, self.unseen,
            self.queue, found, first_vertices, num_found,
        )  # fmt: skip
        found, order = found.sort(dim=1)
        return found, first_vertices.gather(1, order), num_found

    def pairs(self, births):
        """Return H1 in the order of the deaths, then the births."""
        died, apexes = self.relations.long().unbind(dim=-1)
        return _pairs(self.filtration, births, self.killed.long(), died, apexes, self.alive)


def _trimmed(part, most):
    """Cut the rows to `most`, and write -1 beyond each cloud's count."""
    inside = torch.arange(most, device=part["counts"].device) < part["counts"][:, None]
    return {
        field: value[:, :most].where(inside[..., None], -1) if value.ndim == 3 else value
        for field, value in part.items()
    }


def _nothing(dim, num_clouds, device):
    """Return no pairs in dimension `dim`."""
    widths = {"birth_edges": 2, "death_edges": 2, "death_simplices": dim + 2}
    none = torch.zeros(num_clouds, dtype=torch.int64, device=device)
    fields = {field: none.new_empty(num_clouds, 0, width) for field, width in widths.items()}
    return fields | {"counts": none, "num_essential": none}

"""Which relation kills which H1 class, on the GPU, where bitsets would take too much memory.

Rows of bits over all births grow as the births squared: two opposite sides of 512 points, 1 apart,
have 261,121 births. Here a row is a list of the births it holds, a relation is reduced in a bitset
of its own cloud, and lists are kept for the kills alone: memory is what the lists take.

Legend as in pairing_gpu; A entries of all lists of a cloud, E entries of a relation. The host waits
once for each `ListPairing.run` of edges. Rules for kernels: launch_gpu.
"""

import numpy as np
import torch
from numba import cuda

from fast.kernels.launch_gpu import launch
from fast.kernels.lunes import lunes_gpu
from fast.kernels.pairing import pairing_gpu

_THREADS = 128
_BLOCKS = 512
_FEWEST_ENTRIES = 16
_FAR = 2**63 - 1


class ListPairing:
    """The elimination of all clouds, some edges after the others."""

    def __init__(self, filtration, num_births, most_births, pending):
        num_clouds, n = len(num_births), filtration.ranks.shape[1]

        def filled(value, *shape, dtype=torch.int32):
            return torch.full(shape, value, dtype=dtype, device=num_births.device)

        self.filtration = filtration
        self.num_births = num_births
        self.alive = num_births.clone()
        self.done = (num_births == 0).int()
        self.span = max(1, n // 4)  # edges at a time: their relations are a quarter of the matrix
        room = self.span * max(1, n - 2)  # a lune has at most n - 2 components
        self.found = filled(_FAR, num_clouds, room, dtype=torch.int64)
        self.first_vertices = filled(0, num_clouds, room)
        self.relations = filled(0, num_clouds, room, 2)
        self.lists = filled(0, num_clouds, room, _FEWEST_ENTRIES)
        self.lengths = filled(0, num_clouds, room)
        self.pending = filled(0, _BLOCKS * _THREADS, pending)
        self.unseen, self.queue = filled(0, 2, _BLOCKS, n)
        self.sums = filled(0, num_clouds, (most_births + 63) // 64, dtype=torch.int64)
        self.list_starts = filled(-1, num_clouds, most_births, dtype=torch.int64)
        self.list_lengths = filled(0, num_clouds, most_births)
        self.deaths = filled(-1, num_clouds, most_births)  # rank of the edge that kills a birth
        self.apexes = filled(-1, num_clouds, most_births)
        self.arena = filled(0, num_clouds, 2 * most_births + 64)
        self.used = filled(0, num_clouds, dtype=torch.int64)

    def run(self):
        """Examine edges in order until every birth of every cloud is dead, or there are no more."""
        filtration = self.filtration
        last = int(filtration.counts.max())
        for first in range(0, last, self.span):
            starts = filtration.counts.clamp(max=first)
            stops = filtration.counts.clamp(max=first + self.span)
            num_found = self._find(starts, stops)
            if int(num_found.max()) > 0:
                self._express(num_found)
                self._eliminate(num_found)
                self.done |= self.alive == 0
                if bool(self.done.all()):
                    break

    def _find(self, starts, stops):
        """Write the relations of edges in order: `found`, `first_vertices`; return how many."""
        filtration = self.filtration
        uncertain = self.lengths.new_empty(len(self.done), self.span)
        num_uncertain, num_found = torch.zeros(2, len(self.done), dtype=torch.int32).to(
            self.done.device
        )
        launch(
            lunes_gpu.flag_uncertain_lunes, _BLOCKS, _THREADS,
            filtration.edges, starts, stops, self.done, self.span, filtration.ranks,
            filtration.borders, filtration.snapshots, filtration.edge_status, uncertain,
            num_uncertain,
        )  # fmt: skip
        self.found.fill_(_FAR)
        launch(
            lunes_gpu.search_lunes, _BLOCKS, _THREADS,
            filtration.edges, filtration.ranks, uncertain, num_uncertain, self.unseen,
            self.queue, self.found, self.first_vertices, num_found,
        )  # fmt: skip
        self.found, order = self.found.sort(dim=1)
        self.first_vertices = self.first_vertices.gather(1, order)
        return num_found

    def _express(self, num_found):
        """Write the births that each relation holds, with as much room as that takes."""
        filtration = self.filtration
        while True:
            self.lengths.zero_()
            overflow = torch.zeros_like(self.done[:1])
            launch(
                pairing_gpu.express_relations, _BLOCKS, _THREADS,
                filtration.edges, filtration.ranks, filtration.borders, filtration.snapshots,
                filtration.edge_status, self.done, self.found, self.first_vertices,
                torch.zeros_like(num_found), num_found, self.pending, self.relations,
                self.sums.new_empty(len(self.done), 0, 0).view(torch.uint64), self.lists,
                self.lengths, overflow,
            )  # fmt: skip
            if not int(overflow):
                return
            # Either may be short; what was written is written again.
            self.pending = self.pending.new_empty(len(self.pending), 2 * self.pending.shape[1])
            self.lists = self.lists.new_empty(*self.lengths.shape, 2 * self.lists.shape[2])

    def _eliminate(self, num_found):
        """Reduce the relations; where lists find no room, go on with more."""
        progress = torch.zeros_like(num_found)
        while True:
            needed = torch.zeros_like(self.used)
            launch(
                eliminate_lists, len(self.done), pairing_gpu.THREADS,
                self.relations, self.lists, self.lengths, num_found, progress, self.num_births,
                self.done, self.sums.view(torch.uint64), self.list_starts, self.list_lengths,
                self.deaths, self.apexes, self.arena, self.used, self.alive, needed,
            )  # fmt: skip
            most = int(needed.max())
            if not most:
                return
            room = max(most, 2 * self.arena.shape[1])
            more = self.arena.new_zeros(len(self.arena), room - self.arena.shape[1])
            self.arena = torch.cat([self.arena, more], dim=1)


@cuda.jit(cache=True)
def eliminate_lists(
    relations, lists, lengths, num_found, progress, num_births, done, sums, list_starts,
    list_lengths, deaths, apexes, arena, used, alive, needed,
):  # fmt: skip
    """Reduce the relations progress <= r < num_found of each cloud, in order; one block a cloud.

    A relation is added up in `sums` (B, W), zero before and after; as long as its youngest birth is
    dead, the list of what killed that birth is added. Else it kills the birth: `deaths` and
    `apexes` (B, K) say by which edge and vertex; its list goes to `arena` (B, A). Where that has
    no room, `needed` (B,), zero before, gets how much there must be, and `progress` where to go on.
    """
    chosen = cuda.shared.array(2, np.int64)
    zero = np.uint64(0)
    one = np.uint64(1)
    t = cuda.threadIdx.x
    for b in range(cuda.blockIdx.x, relations.shape[0], cuda.gridDim.x):
        if done[b] != 0:
            continue
        r = int(progress[b])
        stop = min(int(num_found[b]), lists.shape[1])
        living = int(alive[b])
        top_word = (int(num_births[b]) + 63) // 64 - 1
        taken = int(used[b])
        has_room = True
        cuda.syncthreads()  # all have read what thread 0 writes at the end
        while has_room and r < stop and living > 0:
            for k in range(t, lengths[b, r], cuda.blockDim.x):
                entry = int(lists[b, r, k])
                cuda.atomic.xor(sums, (b, entry >> 6), one << np.uint64(entry & 63))
            word = _last_word(sums, b, top_word, chosen)
            birth = -1
            reducing = word >= 0
            while reducing:
                birth = word * 64 + pairing_gpu.highest_bit(sums[b, word])
                begin = int(list_starts[b, birth])
                reducing = begin >= 0
                cuda.syncthreads()  # all have read the word
                if reducing:
                    for k in range(t, list_lengths[b, birth], cuda.blockDim.x):
                        entry = int(arena[b, begin + k])
                        cuda.atomic.xor(sums, (b, entry >> 6), one << np.uint64(entry & 63))
                    word = _last_word(sums, b, word, chosen)
                    reducing = word >= 0
            if word >= 0:
                if t == 0:
                    chosen[0] = 0
                    chosen[1] = taken
                cuda.syncthreads()
                for k in range(t, word + 1, cuda.blockDim.x):
                    if sums[b, k] != zero:
                        cuda.atomic.add(chosen, 0, np.int64(cuda.popc(sums[b, k])))
                cuda.syncthreads()
                size = int(chosen[0])
                has_room = taken + size <= arena.shape[1]
                for k in range(t, word + 1, cuda.blockDim.x):
                    left = sums[b, k]
                    if left != zero:
                        if has_room:
                            place = cuda.atomic.add(chosen, 1, np.int64(cuda.popc(left)))
                            while left != zero:
                                arena[b, place] = k * 64 + lunes_gpu.lowest_bit(left)
                                left &= left - one
                                place += 1
                        sums[b, k] = zero
                if t == 0:
                    if has_room:
                        list_starts[b, birth] = taken
                        list_lengths[b, birth] = size
                        deaths[b, birth] = relations[b, r, 0]
                        apexes[b, birth] = relations[b, r, 1]
                    else:
                        needed[b] = taken + size
                if has_room:
                    taken += size
                    living -= 1
            if has_room:
                r += 1
            cuda.syncthreads()
        if t == 0:
            progress[b] = r
            used[b] = taken
            alive[b] = living


@cuda.jit(device=True)
def _last_word(sums, b, word, chosen):
    """Return the last non-zero word of a row up to `word`, or -1; waits before and after."""
    cuda.syncthreads()
    found = -1
    while found < 0 and word >= 0:
        if cuda.threadIdx.x == 0:
            chosen[0] = -1
        cuda.syncthreads()
        k = word - cuda.threadIdx.x
        if k >= 0 and sums[b, k] != np.uint64(0):
            cuda.atomic.max(chosen, 0, np.int64(k))
        cuda.syncthreads()
        found = int(chosen[0])
        word -= cuda.blockDim.x
        cuda.syncthreads()  # before chosen is set again
    return found

"""Which relation kills which H1 class, for clouds with very many births: sparse columns of edges.

`pairing_cpu.eliminate` keeps bitsets over births, whose memory grows with births squared. Here a
relation is a set of edges, by position in the total order, and is rewritten from its youngest
edge down until that is a birth which is alive (docs/numerics.md).
"""

import numpy as np

from fast.kernels.lunes.lunes_cpu import nearest_in_lune
from fast.kernels.numba_cpu import compiled, helper, highest_bit, longer, lowest_bit

# What `older[p]` says of the edge at position p; else the two older edges it is homologous to.
UNKNOWN, TREE, BIRTH = -1, -2, -3

_ROOM = 1.25  # for edges, beyond what is needed
_LANES = 128  # random cocycles carried at once, two words an edge
_SPARE_LANES = 64  # a relation is called dependent only while so many are left


class SparsePairing:
    """The columns that have been reduced so far, and the edges they are made of."""

    def __init__(self, keys):
        """Start without an edge."""
        self._keys = keys
        self._ranks = np.zeros(keys.shape, np.int32)  # 1 + position
        self._edges = np.empty(0, np.int32 if keys.size < 2**31 else np.int64)
        self._older = np.empty((0, 2), np.int32)
        self._num_edges = 0  # rows of the two in use
        self._most_edges = keys.shape[0] * (keys.shape[0] - 1) // 2
        self._births = np.empty(0, np.int32)  # position of each birth's edge
        self._columns = np.empty((0, 2), np.int64)  # where in `entries`; -1, -1 while alive
        self._entries = np.empty(1024, np.int32)
        self._num_entries = 0

    def append(self, edges, merges, births):
        """Add the next edges of the order; `merges` and `births` are positions among them."""
        offset, total = self._num_edges, self._num_edges + len(edges)
        first = len(self._births)
        if total > len(self._edges):
            room = max(total, min(int(_ROOM * total), self._most_edges))
            self._edges = _with_room(self._edges, offset, room)
            self._older = _with_room(self._older, offset, room)
        self._num_edges = total
        self._edges[offset:total] = edges
        rank_edges(edges, offset, self._ranks)
        older = self._older[offset:total]
        older[:] = UNKNOWN
        older[merges, 0] = TREE
        older[births, 0] = BIRTH
        older[births, 1] = np.arange(first, first + len(births))
        self._births = np.concatenate([self._births, births + offset], dtype=np.int32)
        alive = np.full((len(births), 2), -1)
        self._columns = np.concatenate([self._columns, alive])

    def take_over(self, edges, merge_edges, birth_edges, rows, is_dead):
        """Add the first edges of the order, and the rows that `pairing_cpu.eliminate` has made."""
        n = self._ranks.shape[0]
        rank_edges(edges, 0, self._ranks)
        merges, births = (
            self._ranks[some // n, some % n].astype(np.int64) - 1
            for some in (merge_edges, birth_edges)
        )
        self.append(edges, merges, births)
        self._num_entries, self._entries = columns_of_rows(
            rows, is_dead, self._births, self._columns, self._entries
        )

    def eliminate(self, edges, relations, alive):
        """Reduce relations, whose edges are the last of those appended; returns (kills, alive).

        As `pairing_cpu.eliminate`: a kill is (birth, position in `edges`, w1, wk).
        """
        kills, self._entries, self._num_entries, alive = reduce_relations(
            self._keys, self._ranks, self._edges[: self._num_edges],
            self._older[: self._num_edges], self._columns, self._entries,
            self._num_entries, edges, relations, alive,
        )  # fmt: skip
        return kills, alive

    @property
    def num_bytes(self):
        """Bytes held beside the distances."""
        arrays = (self._ranks, self._edges, self._older, self._births, self._columns, self._entries)
        return sum(array.nbytes for array in arrays)


def _with_room(rows, used, room):
    """Return `rows` with room for more than the `used` ones."""
    grown = np.empty((room, *rows.shape[1:]), rows.dtype)
    grown[:used] = rows[:used]
    return grown


@compiled
def rank_edges(edges, offset, ranks):
    """Write 1 + position of every edge {i, j} to [i, j] and [j, i]."""
    n = ranks.shape[0]
    for e in range(edges.shape[0]):
        i = edges[e] // n
        j = edges[e] - i * n
        ranks[i, j] = offset + e + 1
        ranks[j, i] = offset + e + 1


@compiled
def columns_of_rows(rows, is_dead, births, columns, entries):
    """Turn the rows of dead births into columns; returns how many entries, and their array."""
    count = 0
    zero = np.uint64(0)
    one = np.uint64(1)
    for birth in range(births.shape[0]):
        if (is_dead[birth >> 6] >> np.uint64(birth & 63)) & one == zero:
            continue
        columns[birth, 0] = count
        for k in range(rows.shape[1]):
            some = rows[birth, k]
            while some != zero:
                other = k * 64 + lowest_bit(some)
                some &= some - one
                if other != birth:
                    if count == entries.shape[0]:
                        entries = longer(entries, entries.shape[0] + entries.shape[0] // 2)
                    entries[count] = births[other]
                    count += 1
        columns[birth, 1] = count
    return count, entries


@helper
def _resolve(keys, ranks, edges, older, wanted, lanes, stack):
    """Find what the edge at position `wanted` is homologous to, and what those edges are.

    An edge {a, b} is a-w-b for a w in its lune, and both of those edges are older. `lanes`, if it
    has rows, is brought up for the edges found. Returns the grown `stack`.
    """
    n = keys.shape[0]
    stack[0] = wanted
    depth = 0
    while depth >= 0:
        here = stack[depth]
        if older[here, 0] != UNKNOWN:
            depth -= 1
            continue
        i = np.int64(edges[here]) // n
        j = np.int64(edges[here]) - i * n
        # Between the two visits nothing but the lune's vertex has to be remembered.
        if older[here, 1] == UNKNOWN:
            w = nearest_in_lune(keys, i, j)
            if w < 0:  # only if edges came out of order: without it this would never end
                raise AssertionError("an edge that is neither tree nor birth has an empty lune")
            older[here, 1] = w
        w = np.int64(older[here, 1])
        left = ranks[i, w] - 1
        right = ranks[j, w] - 1
        if older[left, 0] == UNKNOWN or older[right, 0] == UNKNOWN:
            depth += 1
            if depth == stack.shape[0]:
                stack = longer(stack, 2 * stack.shape[0])
            stack[depth] = left if older[left, 0] == UNKNOWN else right
            continue
        older[here, 0] = left
        older[here, 1] = right
        if lanes.shape[0] > 0:
            for k in range(lanes.shape[1]):
                lanes[here, k] = lanes[left, k] ^ lanes[right, k]
        depth -= 1
    return stack


@helper
def _draw_cocycles(older, columns, entries, lanes, seed):
    """Fill `lanes` with random 1-cocycles of the complex: one bit each, two words an edge.

    Free on the births that are alive; the others follow from older edges.
    """
    zero = np.uint64(0)
    for p in range(older.shape[0]):
        kind = older[p, 0]
        if kind >= 0:
            lanes[p, 0] = lanes[kind, 0] ^ lanes[older[p, 1], 0]
            lanes[p, 1] = lanes[kind, 1] ^ lanes[older[p, 1], 1]
        elif kind == BIRTH:
            birth = older[p, 1]
            if columns[birth, 0] < 0:
                seed = _next_seed(seed)
                lanes[p, 0] = _mixed(seed)
                seed = _next_seed(seed)
                lanes[p, 1] = _mixed(seed)
            else:
                low = zero
                high = zero
                for slot in range(columns[birth, 0], columns[birth, 1]):
                    low ^= lanes[entries[slot], 0]
                    high ^= lanes[entries[slot], 1]
                lanes[p, 0] = low
                lanes[p, 1] = high
        else:  # a tree edge; or one that nothing has asked for, filled in when it is
            lanes[p, 0] = zero
            lanes[p, 1] = zero
    return seed


@helper
def _next_seed(seed):
    """Step the state of SplitMix64 (Steele, Lea and Flood, 2014)."""
    return seed + np.uint64(0x9E3779B97F4A7C15)


@helper
def _mixed(seed):
    """Return the random word of a state of SplitMix64."""
    word = (seed ^ (seed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@compiled
def reduce_relations(
    keys, ranks, edges, older, columns, entries, num_entries, chunk, relations, alive
):
    """Reduce the relations in order; returns the kills, `entries`, its use, and who is alive.

    `columns[b]` is where in `entries` the edges lie that the dead birth b is homologous to, all
    older than b. The relation at hand is a bitset over positions, with a summary of its words.
    """
    n = keys.shape[0]
    zero = np.uint64(0)
    one = np.uint64(1)
    six = np.uint64(6)
    low_bits = np.uint64(63)
    words = (edges.shape[0] + 63) // 64
    bits = np.zeros(words, np.uint64)
    summary = np.zeros((words + 63) // 64, np.uint64)
    stack = np.empty(256, np.int64)
    kills = np.empty((min(alive, relations.shape[0]), 4), np.int64)
    num_kills = 0
    start = np.empty(4, np.int64)
    lanes = np.empty((0, 2), np.uint64)
    used = _LANES  # lanes that kills have taken; the random cocycles are worn out at the start
    taken = np.empty((4, _LANES), np.uint64)  # per kill since the draw: its lane, all odd lanes
    seed = np.uint64(0)
    wasted = 0
    e = i = j = -1
    for r in range(relations.shape[0]):
        if alive == 0:
            break
        same = r > 0 and relations[r, 0] == e and relations[r, 1] == relations[r - 1, 1]
        if not same:
            e = relations[r, 0]
            i = chunk[e] // n
            j = chunk[e] - i * n
        for k in range(4):
            if k < 2 and same:
                continue
            w = relations[r, 1 + k // 2]
            start[k] = ranks[i if k % 2 == 0 else j, w] - 1
            if older[start[k], 0] == UNKNOWN:  # a call takes longer than the rest of this loop
                stack = _resolve(keys, ranks, edges, older, start[k], lanes, stack)
        # A relation that is zero on random cocycles is zero: it depends on those before.
        tested = _LANES - used >= _SPARE_LANES
        low = zero
        high = zero
        if tested:
            for k in range(4):
                low ^= lanes[start[k], 0]
                high ^= lanes[start[k], 1]
            mend_low = zero
            mend_high = zero
            for k in range(used):  # without branches, which could not be predicted
                odd = (low & taken[0, k]) | (high & taken[1, k])
                everywhere = zero - np.uint64(odd != zero)
                mend_low ^= taken[2, k] & everywhere
                mend_high ^= taken[3, k] & everywhere
            low ^= mend_low
            high ^= mend_high
            if low == zero and high == zero:
                continue
        top = -1
        for k in range(4):
            word = np.uint64(start[k]) >> six
            bits[word] ^= one << (np.uint64(start[k]) & low_bits)
            summary[word >> six] |= one << (word & low_bits)
            top = max(top, np.int64(word >> six))
        steps = 0
        birth = -1
        while top >= 0:
            if summary[top] == zero:
                top -= 1
                continue
            word = np.uint64(top * 64 + highest_bit(summary[top]))
            if bits[word] == zero:
                summary[top] ^= one << (word & low_bits)
                continue
            bit = np.uint64(highest_bit(bits[word]))
            p = (word << six) | bit
            bits[word] ^= one << bit
            kind = older[p, 0]
            steps += 1
            if kind >= 0:
                for other in (np.uint64(kind), np.uint64(older[p, 1])):
                    word = other >> six
                    bits[word] ^= one << (other & low_bits)
                    summary[word >> six] |= one << (word & low_bits)
            elif kind == BIRTH:
                if columns[older[p, 1], 0] < 0:
                    birth = np.int64(older[p, 1])
                    break
                begin = columns[older[p, 1], 0]
                end = columns[older[p, 1], 1]
                steps += end - begin
                for slot in range(np.uint64(begin), np.uint64(end)):
                    other = np.uint64(entries[slot])
                    word = other >> six
                    bits[word] ^= one << (other & low_bits)
                    summary[word >> six] |= one << (word & low_bits)
        if birth < 0:
            wasted += steps
            # Drawing costs as much as what has been spent on dependent relations so far.
            if wasted > older.shape[0] + num_entries:
                wasted = 0
                if lanes.shape[0] == 0:
                    lanes = np.empty((older.shape[0], 2), np.uint64)
                seed = _draw_cocycles(older, columns, entries, lanes, seed)
                used = 0
            continue
        columns[birth, 0] = num_entries
        while top >= 0:
            while summary[top] != zero:
                word = np.uint64(top * 64 + highest_bit(summary[top]))
                summary[top] ^= one << (word & low_bits)
                while bits[word] != zero:
                    bit = np.uint64(highest_bit(bits[word]))
                    bits[word] ^= one << bit
                    p = (word << six) | bit
                    if older[p, 0] != TREE:
                        if num_entries == entries.shape[0]:
                            entries = longer(entries, entries.shape[0] + entries.shape[0] // 2)
                        entries[num_entries] = p
                        num_entries += 1
            top -= 1
        columns[birth, 1] = num_entries
        alive -= 1
        kills[num_kills, 0] = birth
        kills[num_kills, 1] = e
        kills[num_kills, 2] = relations[r, 1]
        kills[num_kills, 3] = relations[r, 2]
        num_kills += 1
        if tested:
            # The others must vanish on this relation: one lane is added where they do not.
            lane_low = low & (zero - low)
            lane_high = high & (zero - high) if low == zero else zero
            for k in range(
                used
            ):  # no kill's lane is odd for another kill: they can be added at once
                if (taken[2, k] & lane_low) | (taken[3, k] & lane_high) != zero:
                    taken[2, k] ^= low
                    taken[3, k] ^= high
            taken[0, used] = lane_low
            taken[1, used] = lane_high
            taken[2, used] = low
            taken[3, used] = high
            used += 1
    return kills[:num_kills], entries, num_entries, alive

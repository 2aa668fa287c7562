"""Which relation kills which H1 class: elimination over Z/2, relations in order of rank.

Every edge is homologous to a sum of birth edges (tree edges count as zero); the sum is kept as a
bitset over births, oldest first, and remembered per edge. Killed births are eliminated from all
rows at once, so that a relation is reduced in one sweep (docs/numerics.md).
"""

import numpy as np

from fast.kernels.lunes.lunes_cpu import nearest_in_lune
from fast.kernels.numba_cpu import compiled, helper, highest_bit, lowest_bit, taller

# What `codes` says of an edge i < j at [i, j].
UNKNOWN, TREE = 0, 1  # above: 2 + row of `sums`; below zero: -1 - birth

_GROWTH = 1.25  # room for births, beyond what is needed


class DensePairing:
    """The bitsets over births, and which births every edge is homologous to."""

    def __init__(self, keys, most_bytes):
        """Start without a birth; `most_bytes` bounds the bitsets, see `fits`."""
        self._keys = keys
        self._most_bytes = most_bytes
        self._codes = np.zeros(keys.shape, np.int32)
        self._num_births = 0
        self._sums = np.zeros((1024, 1), np.uint64)
        self._num_sums = 0
        self.rows = np.zeros((64, 1), np.uint64)
        self._columns = np.zeros((64, 1), np.uint64)
        self.is_dead = np.zeros(1, np.uint64)

    def fits(self, num_births):
        """Whether the bitsets stay within their bound with so many births more."""
        words = (self._num_births + num_births + 63) // 64
        return 2 * 64 * words * words * 8 <= self._most_bytes

    def append(self, edges, merges, births):
        """Add the next edges of the order; `merges` and `births` are positions among them."""
        mark_empties(edges, merges, births, self._num_births, self._codes)
        self._num_births += len(births)
        words = (self._num_births + 63) // 64
        if words > self.rows.shape[1]:
            words = int(words * _GROWTH) + 1
            self.rows = _padded(self.rows, (64 * words, words))
            self._columns = _padded(self._columns, (64 * words, words))
            self._sums = _padded(self._sums, (self._sums.shape[0], words))
            self.is_dead = _padded(self.is_dead, (words,))

    def eliminate(self, edges, relations, alive):
        """Reduce relations; returns (kills, alive, done).

        A kill is (birth, position in `edges`, w1, wk). Ends after `done` relations where the sums
        of births outgrow the bound.
        """
        words = (self._num_births + 63) // 64
        most_sums = self._most_bytes // (8 * self._sums.shape[1])
        kills, self._sums, self._num_sums, alive, done = eliminate(
            self._keys, edges, relations, words, self._codes, self._sums, self._num_sums,
            most_sums, self.rows, self._columns, self.is_dead, alive,
        )  # fmt: skip
        return kills, alive, done


def _padded(array, shape):
    """Return a copy with zeros appended up to `shape`."""
    grown = np.zeros(shape, array.dtype)
    grown[tuple(slice(size) for size in array.shape)] = array
    return grown


@compiled
def classify_empties(edges, empties, n, parent):
    """Split empty-luned edges into merges and H1 births; returns their positions."""
    merges = np.empty(empties.shape[0], np.int64)
    births = np.empty(empties.shape[0], np.int64)
    num_merges = 0
    num_new = 0
    for e in empties:
        i = edges[e] // n
        j = edges[e] - i * n
        a = _root(parent, i)
        b = _root(parent, j)
        if a != b:
            parent[max(a, b)] = min(a, b)
            merges[num_merges] = e
            num_merges += 1
        else:
            births[num_new] = e
            num_new += 1
    return merges[:num_merges], births[:num_new]


@compiled
def mark_empties(edges, merges, births, num_births, codes):
    """Write the codes of tree and birth edges, of which there were `num_births` before."""
    n = codes.shape[0]
    for e in merges:
        i = edges[e] // n
        codes[i, edges[e] - i * n] = TREE
    for k in range(births.shape[0]):
        i = edges[births[k]] // n
        codes[i, edges[births[k]] - i * n] = -1 - (num_births + k)


@helper
def _root(parent, v):
    """Find the root of v's component; halves the path on the way."""
    while parent[v] != v:
        parent[v] = parent[parent[v]]
        v = parent[v]
    return v


@helper
def _add_sum(code, sums, target):
    """Add the sum that `code` names to `target`, modulo 2."""
    if code < 0:
        birth = -1 - code
        target[birth >> 6] ^= np.uint64(1) << np.uint64(birth & 63)
    elif code > TREE:
        for k in range(target.shape[0]):
            target[k] ^= sums[code - 2, k]


@helper
def _express(keys, a, b, codes, sums, num_sums, stack):
    """Write the code of {a, b}: which births it is homologous to; returns the grown buffers.

    Depth first: {a, b} is a-w-b for a w in its lune, and both of those edges are older.
    """
    depth = 0
    stack[0, 0] = min(a, b)
    stack[0, 1] = max(a, b)
    stack[0, 2] = -1
    while depth >= 0:
        i = stack[depth, 0]
        j = stack[depth, 1]
        if codes[i, j] != UNKNOWN:
            depth -= 1
            continue
        w = stack[depth, 2]
        if w < 0:
            w = nearest_in_lune(keys, i, j)
            if w < 0:  # only if edges came out of order: without it this would never end
                raise AssertionError("an edge that is neither tree nor birth has an empty lune")
            stack[depth, 2] = w
        left = codes[min(i, w), max(i, w)]
        right = codes[min(j, w), max(j, w)]
        if left == UNKNOWN or right == UNKNOWN:
            if depth + 1 == stack.shape[0]:
                stack = taller(stack, 2 * stack.shape[0])
            depth += 1
            other = i if left == UNKNOWN else j
            stack[depth, 0] = min(other, w)
            stack[depth, 1] = max(other, w)
            stack[depth, 2] = -1
            continue
        if left == right:
            codes[i, j] = TREE  # the sums cancel: homologous to zero, like a tree edge
        elif left == TREE:
            codes[i, j] = right
        elif right == TREE:
            codes[i, j] = left
        else:
            if num_sums == sums.shape[0]:
                sums = taller(sums, 2 * num_sums)
            target = sums[num_sums]
            for k in range(target.shape[0]):
                target[k] = np.uint64(0)
            _add_sum(left, sums, target)
            _add_sum(right, sums, target)
            codes[i, j] = 2 + num_sums
            num_sums += 1
        depth -= 1
    return sums, num_sums, stack


@compiled
def eliminate(
    keys, edges, relations, words, codes, sums, num_sums, most_sums, rows, columns, is_dead, alive
):
    """Reduce the relations in order; returns (kills, sums, num_sums, alive, done).

    Stops once more than `most_sums` rows of `sums` are in use, with `done` relations reduced.

    A kill is (birth, edge position, w1, wk). `rows[b]`, a bitset over births, is the reduced
    relation that killed b: b itself and births that are alive. `columns[a]` holds the b whose
    rows contain a, for a alive. `words` of each bitset are in use.
    """
    n = keys.shape[0]
    zero = np.uint64(0)
    one = np.uint64(1)
    stack = np.empty((256, 3), np.int64)
    kills = np.empty((min(alive, relations.shape[0]), 4), np.int64)
    num_kills = 0
    total = np.empty(words, np.uint64)
    done = relations.shape[0]
    for r in range(relations.shape[0]):
        if alive == 0:
            break
        if num_sums > most_sums:
            done = r
            break
        e = relations[r, 0]
        i = edges[e] // n
        j = edges[e] - i * n
        for k in range(words):
            total[k] = zero
        for side in range(2):
            w = relations[r, 1 + side]
            for end in (i, j):
                code = codes[min(end, w), max(end, w)]
                if code == UNKNOWN:
                    sums, num_sums, stack = _express(keys, end, w, codes, sums, num_sums, stack)
                    code = codes[min(end, w), max(end, w)]
                _add_sum(code, sums, total)
        # Rows hold no dead birth but their own: one sweep over the dead bits is enough.
        for k in range(words):
            dead = total[k] & is_dead[k]
            while dead != zero:
                birth = k * 64 + lowest_bit(dead)
                dead &= dead - one
                for m in range(words):
                    total[m] ^= rows[birth, m]
        word = words - 1
        while word >= 0 and total[word] == zero:
            word -= 1
        if word < 0:
            continue  # a dependent relation: the birth of an H2 class
        bit = highest_bit(total[word])
        birth = word * 64 + bit
        _kill(birth, total, rows, columns)
        is_dead[word] |= one << np.uint64(bit)
        alive -= 1
        kills[num_kills, 0] = birth
        kills[num_kills, 1] = e
        kills[num_kills, 2] = relations[r, 1]
        kills[num_kills, 3] = relations[r, 2]
        num_kills += 1
    return kills[:num_kills], sums, num_sums, alive, done


@helper
def _kill(birth, total, rows, columns):
    """Let `total` be the row of `birth`, and take `birth` out of all other rows."""
    words = total.shape[0]
    zero = np.uint64(0)
    one = np.uint64(1)
    holders = columns[birth]
    for k in range(words):
        some = holders[k]
        while some != zero:
            holder = k * 64 + lowest_bit(some)
            some &= some - one
            for m in range(words):
                rows[holder, m] ^= total[m]
    for k in range(words):
        rows[birth, k] = total[k]
    holders[birth >> 6] |= one << np.uint64(birth & 63)
    for k in range(words):
        some = total[k]
        while some != zero:
            other = k * 64 + lowest_bit(some)
            some &= some - one
            if other != birth:
                for m in range(words):
                    columns[other, m] ^= holders[m]

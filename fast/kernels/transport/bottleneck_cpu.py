"""A matching of two diagrams whose longest length is least, the diagonal included, on the CPU.

Shape letters: B clouds, M and K pairs of the two diagrams.
"""

import numpy as np
import torch

from fast import threads
from fast.kernels.numba_cpu import compiled


def bottleneck_partners(first, second, first_mask, second_mask):
    """Return each first pair's partner (B, M) int64 in such a matching; -1 for the diagonal.

    `first` (B, M, 2) and `second` (B, K, 2) are float64, on any device; the work is done on the
    CPU. Rows outside the masks get no partner and are none.
    """
    given = (first, second, first_mask, second_mask)
    clouds = [each.cpu().contiguous().numpy() for each in given]  # one layout: compiled once
    partners = torch.full(first.shape[:2], -1, dtype=torch.int64)
    calls = [(*cloud, found) for *cloud, found in zip(*clouds, partners.numpy(), strict=True)]
    operations = first.shape[0] * first.shape[1] * second.shape[1] * 64
    threads.run(_match, calls, threads.number_for(operations))
    return partners.to(first.device)


@compiled
def _match(first, second, first_mask, second_mask, partners):
    """Match one cloud: the least of all lengths by which a matching can be bounded is sought."""
    rows, columns = np.flatnonzero(first_mask), np.flatnonzero(second_mask)
    m, k = len(rows), len(columns)
    if m == 0 or k == 0:
        return
    lengths = np.empty((m, k))
    row_ways, column_ways = np.empty(m), np.empty(k)  # to the diagonal
    for r in range(m):
        row_ways[r] = abs(first[rows[r], 1] - first[rows[r], 0]) / 2
        for c in range(k):
            across = abs(first[rows[r], 0] - second[columns[c], 0])
            up = abs(first[rows[r], 1] - second[columns[c], 1])
            lengths[r, c] = max(across, up)
    for c in range(k):
        column_ways[c] = abs(second[columns[c], 1] - second[columns[c], 0]) / 2
    # With all on the diagonal the longest way there is the bound, so nothing longer is of use.
    most = max(row_ways.max(), column_ways.max())
    within = lengths.ravel()
    bounds = np.unique(np.concatenate((within[within < most], row_ways, column_ways, np.zeros(1))))
    low, high = 0, len(bounds) - 1
    while low < high:
        middle = (low + high) // 2
        if _matching_within(lengths, row_ways, column_ways, bounds[middle])[0]:
            high = middle
        else:
            low = middle + 1
    _, column_of = _matching_within(lengths, row_ways, column_ways, bounds[low])
    for r in range(m):
        if column_of[r] >= 0:
            partners[rows[r]] = columns[column_of[r]]


@compiled
def _matching_within(lengths, row_ways, column_ways, bound):
    """Return whether nothing has to go farther than the bound, and the column of each row, or -1.

    Who is near the diagonal may be left there. First every row that is not is matched, along an
    augmenting path; then every such column: its path ends at a free row, or at a column that can be
    left, and takes no partner from a row that has one (N. S. Mendelsohn, A. L. Dulmage, 1958).
    """
    m, k = lengths.shape
    column_of, row_of = np.full(m, -1), np.full(k, -1)
    if not _cover(lengths, row_ways, column_ways, bound, column_of, row_of):
        return False, column_of
    return _cover(lengths.T, column_ways, row_ways, bound, row_of, column_of), column_of


@compiled
def _cover(lengths, ways, other_ways, bound, partner, other_partner):
    """Match every side's element farther than the bound from the diagonal; return if that goes.

    `partner` and `other_partner` are of this side and of the other, changed in place. Who is left
    at the diagonal keeps a `partner` that is nobody's any more: of such elements it is never read.
    """
    m, k = lengths.shape
    queue, reached_from = np.empty(m, np.int64), np.empty(k, np.int64)
    for new in range(m):
        if ways[new] <= bound or partner[new] >= 0:
            continue
        reached_from[:] = -1
        queue[0] = new
        begin, end = 0, 1
        last = -1  # of the other side, where the path ends
        while begin < end and last < 0:
            element = queue[begin]
            begin += 1
            for other in range(k):
                if lengths[element, other] > bound or reached_from[other] >= 0:
                    continue
                reached_from[other] = element
                holder = other_partner[other]
                if holder < 0 or ways[holder] <= bound:
                    last = other
                    break
                queue[end] = holder
                end += 1
        if last < 0:
            return False
        while True:
            element = reached_from[last]
            other_partner[last] = element
            following = partner[element]
            partner[element] = last
            if element == new:
                break
            last = following
    return True

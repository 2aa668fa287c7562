"""Optimal matching of two diagrams, the diagonal included, on the CPU.

Shape letters: B clouds, M and K pairs of the two diagrams.
"""

import numpy as np
import torch

from fast import threads
from fast.kernels.numba_cpu import compiled, helper


def optimal_partners(first, second, first_mask, second_mask, order, euclidean):
    """Return each first pair's partner (B, M) int64 in an optimal matching; -1 for the diagonal.

    `first` (B, M, 2) and `second` (B, K, 2) are float64, on any device; the work is done on the
    CPU. Rows outside the masks get no partner and are none.
    """
    given = (first, second, first_mask, second_mask)
    clouds = [each.cpu().contiguous().numpy() for each in given]  # one layout: compiled once
    partners = torch.full(first.shape[:2], -1, dtype=torch.int64)
    calls = [
        (*cloud, order, euclidean, found)
        for *cloud, found in zip(*clouds, partners.numpy(), strict=True)
    ]
    operations = first.shape[0] * first.shape[1] * second.shape[1] * 16
    threads.run(_match, calls, threads.number_for(operations))
    return partners.to(first.device)


@compiled
def _match(first, second, first_mask, second_mask, order, euclidean, partners):
    """Match one cloud; rows outside the masks are left out."""
    rows, columns = np.flatnonzero(first_mask), np.flatnonzero(second_mask)
    m, k = len(rows), len(columns)
    if m == 0 or k == 0:
        return
    unit = 0.0  # of the largest persistence, powers of what can be chosen stay in range
    for i in rows:
        unit = max(unit, abs(first[i, 1] - first[i, 0]))
    for j in columns:
        unit = max(unit, abs(second[j, 1] - second[j, 0]))
    if unit == 0.0:
        return
    shrink = np.sqrt(0.5) if euclidean else 0.5
    leaving = np.empty(m)  # what the diagonal costs
    for r in range(m):
        leaving[r] = (shrink * (abs(first[rows[r], 1] - first[rows[r], 0]) / unit)) ** order
    costs = np.empty((m, k))  # of a match, less what the column would cost by itself
    for c in range(k):
        birth, death = second[columns[c], 0], second[columns[c], 1]
        alone = (shrink * (abs(death - birth) / unit)) ** order
        for r in range(m):
            across = abs(first[rows[r], 0] - birth) / unit
            up = abs(first[rows[r], 1] - death) / unit
            # Farther than 2 a match costs more than both ways to the diagonal.
            if max(across, up) > 2.0:
                costs[r, c] = np.inf
            elif not euclidean:
                costs[r, c] = max(across, up) ** order - alone
            elif order == 2.0:
                costs[r, c] = across * across + up * up - alone
            else:
                costs[r, c] = np.sqrt(across * across + up * up) ** order - alone
    column_of = _assign(costs, leaving)
    for r in range(m):
        if column_of[r] >= 0:
            partners[rows[r]] = columns[column_of[r]]


@helper
def _assign(costs, leaving):
    """Return the column of each row, or -1 for its own way out, at least cost in all.

    One row after another takes the shortest augmenting path (R. Jonker, A. Volgenant, 1987), which
    ends at a column that nobody has or where a row leaves. A row that has left never comes back:
    what is added later only makes columns dearer.
    """
    m, k = costs.shape
    row_prices, column_prices = np.zeros(m), np.zeros(k)
    row_of, column_of = np.full(k, -1), np.full(m, -1)
    lengths, reached_from = np.empty(k), np.empty(k, np.int64)
    left, reached = np.empty(k, np.int64), np.empty(k, np.int64)
    for new in range(m):
        for c in range(k):
            lengths[c] = np.inf
            left[c] = c
        num_left, num_reached = k, 0
        row, length = new, 0.0
        best_leave, leaver = np.inf, -1
        end = -1
        while True:
            leave = length + (leaving[row] - row_prices[row])
            if leave < best_leave:
                best_leave, leaver = leave, row
            nearest, place = np.inf, -1
            for p in range(num_left):
                c = left[p]
                through = length + (costs[row, c] - row_prices[row] - column_prices[c])
                if through < lengths[c]:
                    lengths[c] = through
                    reached_from[c] = row
                if lengths[c] < nearest:
                    nearest, place = lengths[c], p
            if best_leave <= nearest:
                length = best_leave
                break
            length = nearest
            c = left[place]
            num_left -= 1
            left[place] = left[num_left]
            reached[num_reached] = c
            num_reached += 1
            if row_of[c] < 0:
                end = c
                break
            row = row_of[c]

        row_prices[new] += length
        for p in range(num_reached):
            c = reached[p]
            if row_of[c] >= 0:
                row_prices[row_of[c]] += length - lengths[c]
            column_prices[c] -= length - lengths[c]

        if end < 0:
            row, c = leaver, column_of[leaver]
            column_of[leaver] = -1
        else:
            row, c = -1, end
        while row != new:
            row = reached_from[c]
            row_of[c] = row
            following = column_of[row]
            column_of[row] = c
            c = following
    return column_of

"""Optimal matching of two sorted lists of deaths in torch's operations: rows of all clouds at once.

M + K short steps that wait for each other; on a GPU their launches take the time, whatever M and K.
"""

import torch


def optimal_partners(teacher, student, teacher_counts, student_counts):
    """Return what `wasserstein_cpu.optimal_partners` returns, on any device; nothing is read."""
    (a, is_row), (b, is_column) = (
        _without_padding(*side) for side in ((teacher, teacher_counts), (student, student_counts))
    )
    num_clouds, m = a.shape
    k = b.shape[1]

    def saved(i, b, is_column):
        a_i = a[:, i : i + 1]
        by_matching = 2 * a_i * b - (a_i * a_i + b * b) / 2
        return by_matching.where(is_row[:, i : i + 1] & is_column, -torch.inf)

    # most[i, :, j]: what the i and j smallest of each cloud can save. A row never falls.
    most = a.new_zeros(m + 1, num_clouds, k + 1)
    for i in range(m):
        matched = most[i, :, :-1] + saved(i, b, is_column)
        most[i + 1, :, 1:] = torch.maximum(most[i, :, 1:], matched).cummax(dim=1).values

    partners = []
    column = torch.full((num_clouds, 1), k, device=a.device)
    for i in reversed(range(m)):
        # The student's deaths that save nothing are left out, down to the first column as good.
        column = torch.searchsorted(most[i + 1], most[i + 1].gather(1, column))
        left = (column - 1).clamp(min=0)
        matched = most[i].gather(1, left) + saved(i, b.gather(1, left), is_column.gather(1, left))
        is_match = (column > 0) & (most[i + 1].gather(1, column) == matched)
        partners.append(left.where(is_match, -1))
        column = left.where(is_match, column)
    return torch.cat(partners[::-1], dim=1)


def _without_padding(deaths, counts):
    """Return deaths (B, K) with 0 for padding, and which are none (B, K)."""
    is_death = torch.arange(deaths.shape[1], device=deaths.device) < counts[:, None]
    return deaths.where(is_death, 0.0), is_death

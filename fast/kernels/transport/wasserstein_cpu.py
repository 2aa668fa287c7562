"""Optimal matching of two sorted lists of deaths on the CPU."""

import numpy as np
import torch

from fast import threads
from fast.kernels.numba_cpu import compiled

_LEFT, _MATCH, _ABOVE = 0, 1, 2


def optimal_partners(teacher, student, teacher_counts, student_counts):
    """Return each teacher death's partner (B, M) int64 in an optimal matching; -1 for the diagonal.

    `teacher` (B, M) and `student` (B, K) are float64 and ascend; those beyond a cloud's count are
    padding. Of several optimal matchings the rule of `reference.sorted_wasserstein_grad` takes one.
    """
    partners = torch.full(teacher.shape, -1, dtype=torch.int64)
    counts = zip(teacher_counts.tolist(), student_counts.tolist(), strict=True)
    calls = [
        (a[:m], b[:k], found)
        for a, b, (m, k), found in zip(
            teacher.numpy(), student.numpy(), counts, partners.numpy(), strict=True
        )
    ]
    threads.run(_match, calls, threads.number_for(teacher.numel() * student.shape[1]))
    return partners


@compiled
def _match(teacher, student, partners):
    """Match one cloud. `most[j]`: what the deaths so far and the student's j smallest can save."""
    k = student.shape[0]
    most = np.zeros(k + 1)
    choices = np.empty((teacher.shape[0], k), np.uint8)
    for i in range(teacher.shape[0]):
        a = teacher[i]
        before = 0.0  # most[j] of the row above
        for j in range(k):
            b = student[j]
            above = most[j + 1]
            matched = before + (2 * a * b - (a * a + b * b) / 2)
            best = max(most[j], above, matched)
            if best == most[j]:
                choices[i, j] = _LEFT
            elif best == matched:
                choices[i, j] = _MATCH
            else:
                choices[i, j] = _ABOVE
            most[j + 1] = best
            before = above
    i, j = teacher.shape[0] - 1, k - 1
    while i >= 0 and j >= 0:
        if choices[i, j] == _LEFT:
            j -= 1
        elif choices[i, j] == _MATCH:
            partners[i] = j
            i -= 1
            j -= 1
        else:
            i -= 1

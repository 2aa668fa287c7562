"""The gradient's way from births and deaths to distances or points on the CPU, in compiled loops.

Shape letters: B clouds, N points, C channels, K pairs, S corners of a simplex.
"""

import numpy as np
import torch

from fast.kernels.numba_cpu import compiled, helper


def longest_sides(distances, fields):
    """Return (B, K) uint8: bit e is set where side e of the death simplex is as long as the death.

    `distances` is a (B, N, N) tensor, `fields` are one dimension's with their deaths and mask. The
    sides are in the order of `itertools.combinations` of the corners; padding has no bit.
    """
    corners = fields["death_simplices"].numpy()
    longest = np.zeros(corners.shape[:2], np.uint8)
    _compare(
        np.ascontiguousarray(distances.numpy()), corners, fields["deaths"].numpy(),
        fields["mask"].numpy(), longest,
    )  # fmt: skip
    return torch.from_numpy(longest)


@compiled
def _compare(distances, corners, deaths, mask, longest):
    """Set the bits of the sides that are as long as the death."""
    for cloud in range(corners.shape[0]):
        for pair in range(corners.shape[1]):
            if not mask[cloud, pair]:
                continue
            side = 0
            for first in range(corners.shape[2]):
                for second in range(first + 1, corners.shape[2]):
                    i = corners[cloud, pair, first]
                    j = corners[cloud, pair, second]
                    if distances[cloud, i, j] == deaths[cloud, pair]:
                        longest[cloud, pair] |= np.uint8(1 << side)
                    side += 1


def gradient_of_values(points, shape, columns, grads):
    """Return the gradient at `points` (B, N, C); None: at distances of `shape` (B, N, N).

    Each column is values (B, K), the sides that share their gradient as by `longest_sides`, and
    corners (B, K, S); `grads` are theirs, (B, K) or None. Values are added one after another, so
    that the result has the same bits in every run.
    """
    gradient = np.zeros(shape, columns[0][0].numpy().dtype)
    rows = None if points is None else np.ascontiguousarray(points.detach().numpy())
    for (values, longest, corners), grad in zip(columns, grads, strict=True):
        if grad is None:
            continue
        parts = [corners, longest.view(torch.uint8), values, grad.detach()]
        column = [np.ascontiguousarray(part.numpy()) for part in parts]
        if rows is None:
            _push_to_distances(*column, gradient)
        else:
            _push_to_points(rows, *column, gradient)
    return torch.from_numpy(gradient)


@helper
def _count(longest):
    """Return how many bits are set."""
    count = 0
    while longest > 0:
        count += longest & 1
        longest >>= 1
    return count


@compiled
def _push_to_points(points, corners, longest, values, grads, gradient):
    """Add share / length * (h_i - h_j) at i and its negative at j; nothing where length is 0."""
    one = points.dtype.type(1)
    for cloud in range(corners.shape[0]):
        for pair in range(corners.shape[1]):
            length = values[cloud, pair]
            if longest[cloud, pair] == 0 or grads[cloud, pair] == 0 or not length > 0:
                continue
            count = points.dtype.type(_count(np.int64(longest[cloud, pair])))
            share = grads[cloud, pair] * (one / count)
            side = 0
            for first in range(corners.shape[2]):
                for second in range(first + 1, corners.shape[2]):
                    if longest[cloud, pair] >> side & 1:
                        i = corners[cloud, pair, first]
                        j = corners[cloud, pair, second]
                        for c in range(np.uint64(points.shape[2])):  # unsigned, to vectorize
                            moved = share * ((points[cloud, i, c] - points[cloud, j, c]) / length)
                            gradient[cloud, i, c] += moved
                            gradient[cloud, j, c] -= moved
                    side += 1


@compiled
def _push_to_distances(corners, longest, values, grads, gradient):
    """Add half of the share at D_ij and half at D_ji."""
    one = values.dtype.type(1)
    for cloud in range(corners.shape[0]):
        for pair in range(corners.shape[1]):
            if longest[cloud, pair] == 0 or grads[cloud, pair] == 0:
                continue
            count = values.dtype.type(_count(np.int64(longest[cloud, pair])))
            half = grads[cloud, pair] * (one / count) / values.dtype.type(2)
            side = 0
            for first in range(corners.shape[2]):
                for second in range(first + 1, corners.shape[2]):
                    if longest[cloud, pair] >> side & 1:
                        i = corners[cloud, pair, first]
                        j = corners[cloud, pair, second]
                        gradient[cloud, i, j] += half
                        gradient[cloud, j, i] += half
                    side += 1

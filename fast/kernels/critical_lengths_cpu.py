"""Lengths of critical edges on the CPU, and their gradient at the points, in compiled loops."""

import numpy as np
import torch
from numba import njit


def critical_lengths(distances, fields):
    """Return births, deaths and mask by name, (B, K) tensors, of one dimension's padded fields.

    `distances` is a (B, N, N) tensor, `fields` are those of `rips_cpu.rips_pairs`.
    """
    birth_edges = fields["birth_edges"].numpy()
    values = distances.numpy()
    shape = birth_edges.shape[:2]
    births = np.empty(shape, values.dtype)
    deaths = np.empty(shape, values.dtype)
    mask = np.empty(shape, np.bool_)
    _read(
        np.ascontiguousarray(values), birth_edges, fields["death_edges"].numpy(),
        fields["counts"].numpy(), births, deaths, mask,
    )  # fmt: skip
    found = {"births": births, "deaths": deaths, "mask": mask}
    return {name: torch.from_numpy(field) for name, field in found.items()}


@njit(cache=True, nogil=True)
def _read(distances, birth_edges, death_edges, counts, births, deaths, mask):
    """Write 0 and False in padding; a birth without an edge is a vertex's, and 0."""
    for cloud in range(births.shape[0]):
        for pair in range(births.shape[1]):
            is_pair = pair < counts[cloud]
            birth = distances.dtype.type(0)
            death = distances.dtype.type(0)
            if is_pair:
                death = distances[cloud, death_edges[cloud, pair, 0], death_edges[cloud, pair, 1]]
                if birth_edges[cloud, pair, 0] >= 0:
                    birth = distances[
                        cloud, birth_edges[cloud, pair, 0], birth_edges[cloud, pair, 1]
                    ]
            births[cloud, pair] = birth
            deaths[cloud, pair] = death
            mask[cloud, pair] = is_pair


def gradient_at_points(points, distances, edges, grads):
    """Return the gradient (B, N, C) at `points` of lengths that have the gradients `grads`.

    `distances` (B, N, N) are those of the points, `edges` are (B, E, 2), `grads` (B, E). Edges are
    added one after another, so that the result has the same bits in every run.
    """
    rows = np.ascontiguousarray(points.detach().numpy())
    gradient = np.zeros_like(rows)
    _push(
        rows, np.ascontiguousarray(distances.numpy()), np.ascontiguousarray(edges.numpy()),
        np.ascontiguousarray(grads.numpy()), gradient,
    )  # fmt: skip
    return torch.from_numpy(gradient)


@njit(cache=True, nogil=True)
def _push(points, distances, edges, grads, gradient):
    """Add grad / length * (h_i - h_j) at i and its negative at j; nothing where length is 0."""
    for cloud in range(points.shape[0]):
        for e in range(edges.shape[1]):
            grad = grads[cloud, e]
            i = edges[cloud, e, 0]
            j = edges[cloud, e, 1]
            length = distances[cloud, i, j]
            if grad != 0 and length > 0:
                for c in range(np.uint64(points.shape[2])):  # unsigned, or it would not vectorize
                    moved = grad * ((points[cloud, i, c] - points[cloud, j, c]) / length)
                    gradient[cloud, i, c] += moved
                    gradient[cloud, j, c] -= moved

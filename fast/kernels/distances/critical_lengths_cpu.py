"""Lengths of critical edges on the CPU, in compiled loops."""

import numpy as np
import torch

from fast.kernels.distances.squares import safe_range
from fast.kernels.numba_cpu import compiled


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


@compiled
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


def lengths_at_edges(points, edges):
    """Return the lengths (B, E) of `edges` (B, E, 2) between `points` (B, N, C).

    With the bits of `distances_cpu.pairwise_distances`, as long as none overflows.
    """
    rows = np.ascontiguousarray(points.detach().numpy())
    lengths = np.empty(edges.shape[:-1], rows.dtype)
    limits = safe_range(rows.dtype)
    _measure(rows, np.ascontiguousarray(edges.numpy()), limits.least_root, limits.grow, lengths)
    return torch.from_numpy(lengths)


@compiled
def _measure(points, edges, least, grow, lengths):
    """Write lengths; what is so small that squares may be lost is computed again, scaled."""
    for cloud in range(points.shape[0]):
        for e in range(edges.shape[1]):
            i = edges[cloud, e, 0]
            j = edges[cloud, e, 1]
            scale = points.dtype.type(1)
            for _ in range(2):
                square = points.dtype.type(0)
                for c in range(points.shape[2]):
                    difference = (points[cloud, j, c] - points[cloud, i, c]) * scale
                    square += difference * difference
                lengths[cloud, e] = np.sqrt(square) / scale
                if lengths[cloud, e] >= least:
                    break
                scale = points.dtype.type(grow)

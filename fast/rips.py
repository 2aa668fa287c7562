"""Vietoris-Rips persistence of a batch of distance matrices, with critical edges and gradients.

Shape letters: B clouds, N points, K pairs.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fast.checks import (
    as_integer,
    as_number,
    as_points,
    as_precise,
    as_tensor,
    refuse_two_devices,
)
from fast.diagram import BatchedDiagram
from fast.dispatch import disable_compile, kernel
from fast.distances import pairwise_distances
from fast.kernels.distances.squares import safe_range
from fast.memory import distances_fit, refuse_distances_beyond_memory
from fast.routing import PointLengths, with_lengths

Clouds = Tensor | np.ndarray[Any, Any] | Sequence[Tensor] | Sequence[np.ndarray[Any, Any]]
"""A batch, one cloud, or a list of clouds."""
Sizes = Sequence[int] | Tensor | None

# Distances of one cloud from which on, in bytes, they are not stored.
_LARGE_DISTANCES = 2**30

# Of a cloud whose voids are looked for; the kernel has 10 bits for a vertex.
_MOST_POINTS_OF_VOIDS = 1024


def rips_persistence(
    distances: Clouds,
    max_dim: int = 1,
    threshold: float = math.inf,
    *,
    sizes: Sizes = None,
    backend: str | None = None,
) -> list[BatchedDiagram]:
    """Return the persistence diagrams of the Vietoris-Rips filtration, one per dimension.

    Parameters
    ----------
    distances
        (N, N), taken as a batch of one, or (B, N, N): symmetric to the last bit, zero diagonal,
        float32 or float64; `inf` for two points that are never joined. Any unit: births and
        deaths have the same. Nothing else is assumed, not even the triangle inequality. A tensor
        or a numpy array; or a list of matrices (N_b, N_b), which may differ in size.
    max_dim
        Highest homology dimension: 0, which costs far less, 1, or 2 for voids too: on the CPU, of
        at most 1,024 points.
    threshold
        Longest edge that enters (inclusive).
    sizes
        How many points each cloud has, when they differ: entries of rows and columns beyond are
        not read. None: all N.
    backend
        Which kernel; None: the one of the tensor's device ("numba" on the CPU, "numba-cuda" on a
        GPU).

    Returns
    -------
    list[BatchedDiagram]
        Diagrams of dimension 0 to `max_dim`: finite pairs of positive persistence, sorted by
        (rank of the death edge, rank of the birth edge). For identical distances they equal
        `reference.rips_persistence` in every field, ties included, and have the same bits on
        every run and for every number of threads.

    Raises
    ------
    ValueError
        If `distances` is no batch of distance matrices or an argument is out of range.
    RuntimeError
        If no kernel serves the tensor's device, or not the backend asked for. With `max_dim` 2
        that is every GPU: `distances.cpu()` first, through which the gradient flows.
    MemoryError
        If voids take more than 1 GiB beyond what is given and returned.

    Notes
    -----
    The filtration value of a simplex is its longest edge; edges are ordered by (length, smaller
    vertex, larger vertex). The gradient of a birth goes to its edge, that of a death in equal
    parts to the longest edges of the death simplex (Eq. 1, Algorithm 3), half to D_ij and half
    to D_ji. Linear, so differentiable any number of times. How the pairs are found:
    docs/numerics.md.

    Examples
    --------
    A square: three merges at 1, and a loop from 1 to the diagonal.

    >>> square = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    >>> components, loops = rips_persistence(pairwise_distances(square))
    >>> components.deaths
    tensor([[1., 1., 1.]])
    >>> loops.pairs
    tensor([[[1.0000, 1.4142]]])
    """
    name = "rips_persistence"
    padded, sizes = padded_clouds(name, "distances", distances, sizes, is_square=True)
    batch = _as_batch(padded)
    checked = _as_sizes(name, "distances", sizes, batch)
    most_points = batch.shape[1] if checked is None else max(checked)
    max_dim = _as_options(name, max_dim, threshold, most_points)
    values = batch.detach()
    critical = _critical_pairs(values, checked, max_dim, threshold, backend)
    return with_lengths(critical, values, batch if batch.requires_grad else None, of_points=False)


def rips_persistence_of_points(
    points: Clouds,
    max_dim: int = 1,
    threshold: float = math.inf,
    *,
    sizes: Sizes = None,
    backend: str | None = None,
) -> list[BatchedDiagram]:
    """Return `rips_persistence(pairwise_distances(points))` with a cheaper gradient.

    Parameters
    ----------
    points
        (N, C), taken as a batch of one, or (B, N, C), a tensor or a numpy array; or a list of
        clouds (N_b, C), which may differ in size.
    max_dim, threshold, sizes, backend
        As in `rips_persistence`.

    Returns
    -------
    list[BatchedDiagram]
        The same diagrams to the last bit. The gradient goes from the critical edges straight to
        their ends (Theorem 1), so that backward costs O(K C) and not O(N^2 C).

        On the CPU, clouds whose distances would take 1 GiB or more (N = 16,384 in float32) are
        worked on without them. In one to three dimensions that is by a tree over the points:
        memory grows with N and the pairs. Where points lie so unevenly that this takes long, the
        distances are computed after all if they fit. Beyond three dimensions distances are
        computed where they are needed, and again when they are needed again: that takes longer,
        and a fraction of the memory. The diagrams and the gradient have the same
        bits.

    Raises
    ------
    ValueError, RuntimeError
        As `pairwise_distances` and `rips_persistence`.
    MemoryError
        If what is needed does not fit into memory: the distances and about as much again, or
        without them what the loops take; or as `rips_persistence`.
    """
    name = "rips_persistence_of_points"
    padded, sizes = padded_clouds(name, "points", points, sizes)
    given = as_points(name, "points", padded)
    if given.ndim not in (2, 3):
        raise ValueError(f"{name}: points has shape {tuple(given.shape)}; pass (N, C) or (B, N, C)")
    batch = given[None] if given.ndim == 2 else given
    checked = _as_sizes(name, "points", sizes, batch)
    most_points = batch.shape[1] if checked is None else max(checked)
    max_dim = _as_options(name, max_dim, threshold, most_points)
    constant = batch.detach()
    distances: Tensor | PointLengths = PointLengths(constant)
    critical = None
    if backend in (None, "numba") and _needs_no_distances(constant):
        critical = _critical_pairs_of_points(constant, checked, max_dim, threshold)
    if critical is None:
        refuse_distances_beyond_memory(name, batch, matrices=2)
        distances = pairwise_distances(constant)
        critical = _critical_pairs(distances, checked, max_dim, threshold, backend)
    leaf = batch if batch.requires_grad else None
    return with_lengths(critical, distances, leaf, of_points=True)


def diagrams_to_the_end(
    matrices: Sequence[Tensor], max_dim: int, threshold: float
) -> tuple[list[BatchedDiagram], float]:
    """Return diagrams of distances (N_b, N_b) that keep what does not die, and their end.

    Otherwise such a class has no row, and where it is born is lost. Here every edge beyond the
    threshold enters at `end`, a length beyond all others: what dies there never dies, what is born
    there is none. The component that is left at the end still has no row.
    """
    threshold = as_number("rips_persistence", "threshold", threshold)
    beyond = [(each > threshold) | (each == math.inf) for each in matrices]  # NaN is refused below
    lengths = [
        each.detach()[~far] for each, far in zip(matrices, beyond, strict=True) if each.numel()
    ]
    end = 2 * max((float(each.max()) for each in lengths), default=0.0) + 1
    whole = [each.masked_fill(far, end) for each, far in zip(matrices, beyond, strict=True)]
    return rips_persistence(whole, max_dim), end


def _needs_no_distances(batch: Tensor) -> bool:
    """Whether distances of (B, N, C) would be large, and the points will do."""
    _, n, channels = batch.shape
    if (
        batch.numel() == 0
        or batch.device.type != "cpu"
        or n * n * batch.element_size() < _LARGE_DISTANCES
    ):
        return False
    limits, sizes = safe_range(batch.dtype), batch.abs()
    if bool(sizes.max() > limits.largest_entry):
        return False
    from fast.kernels.rips.rips_cpu import MOST_CHANNELS_OF_A_TREE  # loads numba: on first use

    # The tree scales squares that are lost; blocks of rows do not.
    return channels <= MOST_CHANNELS_OF_A_TREE or not bool(
        ((sizes < limits.least_entry) & (sizes > 0)).any()
    )


@disable_compile
def _critical_pairs(
    distances: Tensor,
    sizes: list[int] | None,
    max_dim: int,
    threshold: float,
    backend: str | None,
) -> list[dict[str, Tensor]]:
    """Return the padded fields of each dimension's diagram."""
    operation = "rips_persistence" if max_dim < 2 else "rips_persistence up to dimension 2"
    launch = kernel(operation, distances.device, backend)
    critical: list[dict[str, Tensor]] = launch(distances, sizes, max_dim, threshold)
    return critical


@disable_compile
def _critical_pairs_of_points(
    points: Tensor, sizes: list[int] | None, max_dim: int, threshold: float
) -> list[dict[str, Tensor]] | None:
    """Return the same of points (B, N, C); None where the distances are to be computed."""
    from fast.kernels.rips.rips_cpu import rips_pairs_of_points  # loads numba: on first use

    may_give_up = distances_fit(points, matrices=2)
    found: list[dict[str, Tensor]] | None = rips_pairs_of_points(
        points, sizes, max_dim, threshold, may_give_up
    )
    return found


def _as_options(function: str, max_dim: int, threshold: float, most_points: int) -> int:
    """Return `max_dim` as an int, and refuse what is out of range."""
    max_dim = as_integer(function, "max_dim", max_dim, least=0)
    if max_dim > 2:
        raise ValueError(
            f"{function}: max_dim is {max_dim}; pass 0, 1 or 2 "
            "(reference.rips_persistence has no limit)"
        )
    if max_dim == 2 and most_points > _MOST_POINTS_OF_VOIDS:
        raise ValueError(
            f"{function}: max_dim is 2 and a cloud has {most_points:,} points, up to "
            f"{most_points**4 / 24:.0e} tetrahedra; pass at most {_MOST_POINTS_OF_VOIDS:,}, e.g. "
            "those that topology_preserving_sampling picks, or max_dim=1"
        )
    if not as_number(function, "threshold", threshold) >= 0:  # NaN compares False
        raise ValueError(f"{function}: threshold is {threshold}; pass a length of at least 0")
    return max_dim


def _as_batch(distances: Tensor) -> Tensor:
    """Return (B, N, N) of a dtype that keeps the order of the lengths."""
    if isinstance(distances, Tensor) and distances.dtype in (torch.float16, torch.bfloat16):
        raise ValueError(
            f"rips_persistence: distances has dtype {distances.dtype}, which rounds different "
            "lengths together; compute them in float32 (pairwise_distances does)"
        )
    distances = as_precise("rips_persistence", "distances", distances)
    if distances.ndim not in (2, 3) or distances.shape[-1] != distances.shape[-2]:
        raise ValueError(
            f"rips_persistence: distances has shape {tuple(distances.shape)}; "
            "pass square matrices, (N, N) or (B, N, N)"
        )
    return distances[None] if distances.ndim == 2 else distances


def _as_sizes(function: str, argument: str, sizes: Sizes, batch: Tensor) -> list[int] | None:
    """Return how many points each cloud of (B, N, ...) has, B at least 1; None: all N."""
    num_clouds, n = batch.shape[:2]
    if not num_clouds:
        raise ValueError(f"{function}: {argument} is an empty batch; pass at least one cloud")
    if sizes is None:
        return None
    if isinstance(sizes, (Tensor, np.ndarray)):
        sizes = sizes.tolist()
    if not isinstance(sizes, Sequence):
        raise ValueError(f"{function}: sizes is {sizes!r}; pass {num_clouds} numbers, at most {n}")
    checked = [as_integer(function, "sizes", size, least=0) for size in sizes]
    if len(checked) != num_clouds or max(checked, default=0) > n:
        raise ValueError(
            f"{function}: sizes is {checked}; pass {num_clouds} numbers, at most {n} each"
        )
    return checked


def padded_clouds(
    function: str, argument: str, clouds: Any, sizes: Sizes, *, is_square: bool = False
) -> tuple[Any, Sizes]:
    """Return a list of clouds as one padded batch, and their sizes; what is no list, as given.

    `is_square`: they are distances (N_b, N_b), to be padded both ways.
    """
    if not isinstance(clouds, (list, tuple)):
        return clouds, sizes
    if sizes is not None:
        raise ValueError(
            f"{function}: sizes is given beside a list of {argument}, which have their own; leave "
            "it out"
        )
    if not clouds:
        raise ValueError(f"{function}: {argument} is an empty batch; pass at least one cloud")
    each = [as_tensor(function, f"{argument}[{i}]", cloud) for i, cloud in enumerate(clouds)]
    refuse_two_devices(function, **{f"{argument}[{i}]": cloud for i, cloud in enumerate(each)})
    for i, cloud in enumerate(each):
        wanted = len(cloud) if is_square and cloud.ndim else each[0].shape[-1:].numel()
        if cloud.ndim != 2 or cloud.shape[1] != wanted or cloud.dtype != each[0].dtype:
            kind = "square matrices" if is_square else "clouds (N, C) of as many coordinates"
            raise ValueError(
                f"{function}: {argument}[{i}] is {cloud.dtype} of shape {tuple(cloud.shape)}; "
                f"{argument}[0] is {each[0].dtype} of shape {tuple(each[0].shape)}, pass {kind} "
                "and of one dtype"
            )
    found = [len(cloud) for cloud in each]
    n = max(found)
    padding = [(0, (n - size) * is_square, 0, n - size) for size in found]
    padded = [
        torch.nn.functional.pad(cloud, sides) for cloud, sides in zip(each, padding, strict=True)
    ]
    return torch.stack(padded), found

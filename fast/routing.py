"""Births and deaths as copies of lengths, and their gradient's way to the edges (Algorithm 3).

Shape letters: B clouds, N points, K pairs, E edges that share a pair's gradient.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from fast.diagram import BatchedDiagram
from fast.distances import edge_lengths_of_clouds


@dataclass(frozen=True)
class _Column:
    """Births or deaths of one dimension, and which edges share their gradient."""

    values: Tensor  # (B, K)
    edges: Tensor  # (B, K, E, 2)
    shares: Tensor  # (B, K, E), adding up to 1; 0 in padding


@dataclass(frozen=True)
class PointLengths:
    """The distances of CPU points (B, N, C), computed where they are asked for."""

    points: Tensor

    @property
    def device(self) -> torch.device:
        """Where the points are."""
        return self.points.device

    def at(self, edges: Tensor) -> Tensor:
        """Return lengths (B, ...) of `edges` (B, ..., 2), with the bits of the distances."""
        from fast.kernels.distances.critical_lengths_cpu import (
            lengths_at_edges,  # loads numba: on first use
        )

        lengths: Tensor = lengths_at_edges(self.points, edges.flatten(1, -2))
        return lengths.view(edges.shape[:-1])


def with_lengths(
    critical: list[dict[str, Tensor]],
    distances: Tensor | PointLengths,
    given: Tensor | None,
    *,
    of_points: bool,
) -> list[BatchedDiagram]:
    """Add births and deaths: copies of `distances` (B, N, N) that carry a gradient to `given`.

    `given` has the values of `distances`, or with `of_points` it is the points (B, N, C) whose
    distances they are; None: no gradient.
    """
    on_cpu = isinstance(distances, PointLengths) or distances.device.type == "cpu"
    if on_cpu and isinstance(distances, Tensor):
        _look_up(critical, distances)
    else:
        _gather(critical, distances)
    if given is not None:
        values = (_pushed if on_cpu else _carried)(critical, distances, given, of_points)
        for fields, carried in zip(critical, values, strict=True):
            fields.update(carried)
    return [BatchedDiagram(dim=dim, **fields) for dim, fields in enumerate(critical)]


def _pushed(
    critical: list[dict[str, Tensor]],
    distances: Tensor | PointLengths,
    given: Tensor,
    of_points: bool,
) -> list[dict[str, Tensor]]:
    """Return births and deaths by dimension whose backward is one compiled loop."""
    from fast.kernels.distances.routing_cpu import longest_sides  # loads numba: on first use

    for fields in critical:
        fields["longest"] = (
            _sides_of_points(fields, distances)
            if isinstance(distances, PointLengths)
            else longest_sides(distances, fields)
        )
    columns = [
        (fields[f"{ends}s"], fields["longest" if ends == "death" else "mask"], fields[edges])
        for dim, fields in enumerate(critical)
        for ends, edges in (("death", "death_simplices"), ("birth", "birth_edges"))
        if ends == "death" or dim > 0
    ]
    for fields in critical:
        del fields["longest"]
    values = _Values.apply(given, of_points, columns)  # type: ignore[no-untyped-call]
    return _by_dimension(values, len(critical))


def _by_dimension(values: Iterable[Tensor], num_dims: int) -> list[dict[str, Tensor]]:
    """Return deaths, and above dimension 0 births, of values in that order."""
    left = iter(values)
    return [
        {"deaths": next(left)} | ({"births": next(left)} if dim else {}) for dim in range(num_dims)
    ]


class _Values(torch.autograd.Function):
    """Copies of columns' values; each value's gradient goes to the sides that share it."""

    @staticmethod
    def forward(
        ctx: Any, given: Tensor, of_points: bool, columns: list[tuple[Tensor, Tensor, Tensor]]
    ) -> tuple[Tensor, ...]:
        ctx.set_materialize_grads(False)
        ctx.shape = given.shape
        values = tuple(column[0].clone() for column in columns)
        points = given if of_points else None  # distances are large, and the way is linear
        ctx.save_for_backward(points, *(part for column in columns for part in column))
        return values

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor, None, None]:
        points, *parts = ctx.saved_tensors
        columns = list(zip(parts[::3], parts[1::3], parts[2::3], strict=True))
        if torch.is_grad_enabled():  # the gradient is to be differentiated itself
            return _gradient_with_graph(points, ctx.shape, columns, grads), None, None
        from fast.kernels.distances.routing_cpu import (
            gradient_of_values,  # loads numba: on first use
        )

        return gradient_of_values(points, ctx.shape, columns, grads), None, None


def _gradient_with_graph(
    points: Tensor | None,
    shape: torch.Size,
    columns: list[tuple[Tensor, Tensor, Tensor]],
    grads: tuple[Tensor | None, ...],
) -> Tensor:
    """Return the gradient by torch, differentiable in `points` and in `grads`."""
    edges, weights = [], []
    for (values, longest, corners), grad in zip(columns, grads, strict=True):
        sides = _sides(corners)
        which = torch.arange(sides.shape[2], device=sides.device)
        shares = _even_shares(((longest[..., None].to(torch.int64) >> which) & 1).to(values.dtype))
        edges.append(sides.flatten(1, 2))
        given = torch.zeros_like(values) if grad is None else grad
        weights.append((given[..., None] * shares).flatten(1))
    all_edges, all_weights = torch.cat(edges, dim=1), torch.cat(weights, dim=1)
    if points is None:
        return _spread(all_edges, all_weights, shape)
    lengths = edge_lengths_of_clouds(points, all_edges)
    (gradient,) = torch.autograd.grad(lengths, points, all_weights, create_graph=True)
    return gradient


def _sides_of_points(fields: dict[str, Tensor], distances: PointLengths) -> Tensor:
    """Return `longest_sides` where the distances are not stored."""
    edges = _sides(fields["death_simplices"])
    longest = (distances.at(edges) == fields["deaths"][..., None]) & fields["mask"][..., None]
    bits = 1 << torch.arange(edges.shape[2])
    return (longest * bits).sum(dim=-1).to(torch.uint8)


def _sides(corners: Tensor) -> Tensor:
    """Return the edges (B, K, E, 2) of simplices (B, K, S), padded with a vertex."""
    # Column by column: an index made on the host would have to be sent to the device.
    each = corners.clamp(min=0).unbind(dim=-1)
    return torch.stack([torch.stack(pair, dim=-1) for pair in combinations(each, 2)], dim=-2)


def _lengths(given: Tensor, of_points: bool, edges: Tensor) -> Tensor:
    """Return the lengths (B, E) of `edges` (B, E, 2), differentiable any number of times."""
    if of_points:
        return edge_lengths_of_clouds(given, edges)
    return entries_at_edges(given, edges)


def _carried(
    critical: list[dict[str, Tensor]],
    distances: Tensor | PointLengths,
    given: Tensor,
    of_points: bool,
) -> list[dict[str, Tensor]]:
    """Return births and deaths by dimension, their gradient's way built of torch's operations."""
    columns = []
    for dim, fields in enumerate(critical):
        columns.append(_deaths(fields, distances))
        if dim > 0:
            columns.append(_births(fields))
    values = _carry_gradient(columns, lambda edges: _lengths(given, of_points, edges))
    return _by_dimension(values, len(critical))


def _look_up(critical: list[dict[str, Tensor]], distances: Tensor) -> None:
    """Add births, deaths and mask where the kernel has not; by torch a small cloud's take long."""
    for fields in critical:
        if "mask" not in fields:
            from fast.kernels.distances.critical_lengths_cpu import critical_lengths  # loads numba

            fields.update(critical_lengths(distances, fields))


def _gather(critical: list[dict[str, Tensor]], distances: Tensor | PointLengths) -> None:
    """Add births, deaths and mask by torch."""
    for fields in critical:
        places = torch.arange(fields["death_edges"].shape[1], device=distances.device)
        fields["mask"] = places < fields["counts"][:, None]
        for ends in ("birth", "death"):
            edges = fields[f"{ends}_edges"]
            is_edge = fields["mask"] & (edges[..., 0] >= 0)  # a vertex is born at 0
            values = _entries(distances, edges.clamp(min=0))
            fields[f"{ends}s"] = values.where(is_edge, 0.0)


def _deaths(fields: dict[str, Tensor], distances: Tensor | PointLengths) -> _Column:
    """Deaths; the longest edges of the death simplex share evenly (Algorithm 3, lines 20-26)."""
    edges = _sides(fields["death_simplices"])
    values = fields["deaths"]
    longest = (_entries(distances, edges) == values[..., None]) & fields["mask"][..., None]
    return _Column(values, edges, _even_shares(longest.to(values.dtype)))


def _even_shares(chosen: Tensor) -> Tensor:
    """Return shares (B, K, E) that add up to 1 over the chosen edges, where there are any."""
    return chosen / chosen.sum(dim=-1, keepdim=True).clamp(min=1)


def _births(fields: dict[str, Tensor]) -> _Column:
    """Births; in dimension 1 the birth edge is the whole birth simplex."""
    values = fields["births"]
    edges = fields["birth_edges"].clamp(min=0)
    return _Column(values, edges[:, :, None], fields["mask"][..., None].to(values.dtype))


def _carry_gradient(columns: list[_Column], lengths: Callable[[Tensor], Tensor]) -> list[Tensor]:
    """Return each column's values to the last bit, with the gradient of its edges' lengths."""
    each = lengths(torch.cat([column.edges.flatten(1, 2) for column in columns], dim=1))
    widths = [column.edges.shape[1] * column.edges.shape[2] for column in columns]
    carried = []
    for column, part in zip(columns, torch.split(each, widths, dim=1), strict=True):
        part = part.view(column.shares.shape)
        # Sides without a share may be infinite, and 0 * inf is NaN: they must not enter.
        carrier = (column.shares * part.where(column.shares > 0, 0.0)).sum(dim=-1)
        # carrier - carrier is an exact zero, where a mean over tied edges might round the value.
        carried.append(column.values + (carrier - carrier.detach()))
    return carried


def _entries(distances: Tensor | PointLengths, edges: Tensor) -> Tensor:
    """Return the entries (B, ...) of `distances` (B, N, N) at `edges` (B, ..., 2)."""
    if isinstance(distances, PointLengths):
        return distances.at(edges)
    n = distances.shape[-1]
    flat = (edges[..., 0] * n + edges[..., 1]).flatten(1)
    return distances.flatten(1).gather(1, flat).view(edges.shape[:-1])


def entries_at_edges(distances: Tensor, edges: Tensor) -> Tensor:
    """Return the entries (B, E) of `distances` (B, N, N) at `edges` (B, E, 2), differentiable."""
    entries: Tensor = _EntriesAtEdges.apply(distances, edges)  # type: ignore[no-untyped-call]
    return entries


class _EntriesAtEdges(torch.autograd.Function):
    """Entries at edges (i, j); the gradient goes half to D_ij and half to D_ji."""

    @staticmethod
    def forward(ctx: Any, distances: Tensor, edges: Tensor) -> Tensor:
        ctx.save_for_backward(edges)
        ctx.shape = distances.shape
        return _entries(distances, edges)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (edges,) = ctx.saved_tensors
        return _spread(edges, grad, ctx.shape), None


def _spread(edges: Tensor, grad: Tensor, shape: torch.Size) -> Tensor:
    """Return distances' gradient of `shape` (B, N, N): half of `grad` (B, E) at ij, half at ji."""
    n = shape[-1]
    both_ways = torch.cat([edges, edges.flip(-1)], dim=1)
    flat = both_ways[..., 0] * n + both_ways[..., 1]
    halves = torch.cat([grad, grad], dim=1) / 2
    return _sums_at(flat, halves, n * n).view(shape)


def _sums_at(columns: Tensor, values: Tensor, width: int) -> Tensor:
    """Return (B, width) sums of `values` (B, E) by column (B, E), in one order on every run."""
    zeros = values.new_zeros(len(values), width)
    if values.device.type == "cpu":
        return zeros.scatter_add(1, columns, values)
    # On CUDA, scatter_add adds in the order in which threads arrive; index_put sorts first.
    rows = torch.arange(len(values), device=values.device)[:, None].expand_as(columns)
    return zeros.index_put((rows, columns), values, accumulate=True)

"""Births and deaths as copies of lengths, and their gradient's way to the edges (Algorithm 3).

Shape letters: B clouds, N points, K pairs, E edges that share a pair's gradient.
"""

from collections.abc import Callable
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
        from fast.kernels.critical_lengths_cpu import lengths_at_edges  # loads numba: on first use

        lengths: Tensor = lengths_at_edges(self.points, edges.flatten(1, -2))
        return lengths.view(edges.shape[:-1])


def with_lengths(
    critical: list[dict[str, Tensor]],
    distances: Tensor | PointLengths,
    lengths: Callable[[Tensor], Tensor] | None,
) -> list[BatchedDiagram]:
    """Add births and deaths: copies of `distances` (B, N, N) that carry the gradient of `lengths`.

    `lengths` maps edges (B, R, 2) to their lengths (B, R). It is called once for all columns,
    because each call's gradient may be as large as the distances.
    """
    if isinstance(distances, Tensor) and distances.device.type == "cpu":
        _look_up(critical, distances)
    else:
        _gather(critical, distances)
    if lengths is None:
        return [BatchedDiagram(dim=dim, **fields) for dim, fields in enumerate(critical)]
    columns = []
    for dim, fields in enumerate(critical):
        columns.append(_deaths(dim, fields, distances))
        if dim > 0:
            columns.append(_births(fields))
    values = iter(_carry_gradient(columns, lengths))
    diagrams = []
    for dim, fields in enumerate(critical):
        carried = {"deaths": next(values)}
        if dim > 0:
            carried["births"] = next(values)
        diagrams.append(BatchedDiagram(dim=dim, **{**fields, **carried}))
    return diagrams


def _look_up(critical: list[dict[str, Tensor]], distances: Tensor) -> None:
    """Add births, deaths and mask where the kernel has not; by torch a small cloud's take long."""
    for fields in critical:
        if "mask" not in fields:
            from fast.kernels.critical_lengths_cpu import critical_lengths  # loads numba

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


def _deaths(dim: int, fields: dict[str, Tensor], distances: Tensor | PointLengths) -> _Column:
    """Deaths; the longest edges of the death simplex share evenly (Algorithm 3, lines 20-26)."""
    # Column by column: an index made on the host would have to be sent to the device.
    corners = fields["death_simplices"].clamp(min=0).unbind(dim=-1)
    sides = [torch.stack(pair, dim=-1) for pair in combinations(corners, 2)]
    edges = torch.stack(sides, dim=-2)  # (B, K, E, 2)
    values = fields["deaths"]
    longest = (_entries(distances, edges) == values[..., None]) & fields["mask"][..., None]
    shares = longest.to(values.dtype)
    return _Column(values, edges, shares / shares.sum(dim=-1, keepdim=True).clamp(min=1))


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
        n = ctx.shape[-1]
        both_ways = torch.cat([edges, edges.flip(-1)], dim=1)
        flat = both_ways[..., 0] * n + both_ways[..., 1]
        halves = torch.cat([grad, grad], dim=1) / 2
        return _sums_at(flat, halves, n * n).view(ctx.shape), None


def lengths_between_points(
    points: Tensor, distances: Tensor | PointLengths, edges: Tensor
) -> Tensor:
    """Return the lengths (B, E) of `edges` (B, E, 2), differentiable in `points` (B, N, C).

    They are copied from `distances` (B, N, N), those of the points, which are not kept for the
    backward; there, only edges that get a gradient take time.
    """
    if points.device.type != "cpu":
        return edge_lengths_of_clouds(points, edges)
    lengths: Tensor = _LengthsBetweenPoints.apply(points, _entries(distances, edges), edges)  # type: ignore[no-untyped-call]
    return lengths


class _LengthsBetweenPoints(torch.autograd.Function):
    """Lengths by lookup; the backward is one compiled loop (Theorem 1)."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, lengths: Tensor, edges: Tensor) -> Tensor:
        lengths = lengths.clone()  # an output that is an input would lose its gradient
        ctx.save_for_backward(points, lengths, edges)
        return lengths

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        points, lengths, edges = ctx.saved_tensors
        if torch.is_grad_enabled():  # the gradient is to be differentiated itself
            again = edge_lengths_of_clouds(points, edges)
            (result,) = torch.autograd.grad(again, points, grad, create_graph=True)
            return result, None, None
        from fast.kernels.critical_lengths_cpu import (
            gradient_at_points,
        )  # loads numba: on first use

        return gradient_at_points(points, lengths, edges, grad), None, None


def _sums_at(columns: Tensor, values: Tensor, width: int) -> Tensor:
    """Return (B, width) sums of `values` (B, E) by column (B, E), in one order on every run."""
    zeros = values.new_zeros(len(values), width)
    if values.device.type == "cpu":
        return zeros.scatter_add(1, columns, values)
    # On CUDA, scatter_add adds in the order in which threads arrive; index_put sorts first.
    rows = torch.arange(len(values), device=values.device)[:, None].expand_as(columns)
    return zeros.index_put((rows, columns), values, accumulate=True)

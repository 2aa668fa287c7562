"""Rows of a tensor by index, and sums of rows, in one order on every run.

On a CPU `index_select` and `index_add` add row after row, and indexing adds in the order in which
threads arrive. On CUDA it is the other way round: `index_select` and `index_add` add by atomic
operations, and indexing sorts the rows first.
"""

import torch
from torch import Tensor


def select_rows(rows: Tensor, index: Tensor) -> Tensor:
    """Return `rows` (N, ...) at `index` (K,) int64; gradients are added in one order."""
    return rows.index_select(0, index) if _adds_in_order(rows) else rows[index]


def sum_rows(rows: Tensor, index: Tensor, num_sums: int) -> Tensor:
    """Return the (num_sums, ...) sums of the rows (N, ...) of each index (N,) int64."""
    zeros = rows.new_zeros(num_sums, *rows.shape[1:])
    if _adds_in_order(rows):
        return zeros.index_add(0, index, rows)
    return zeros.index_put((index,), rows, accumulate=True)


def _adds_in_order(tensor: Tensor) -> bool:
    """Say whether `index_add` adds one row after the other where a tensor is."""
    return tensor.device.type == "cpu"


def select_rows_of_clouds(rows: Tensor, index: Tensor) -> Tensor:
    """Return `rows` (B, N, C) of each cloud at `index` (B, K) int64: (B, K, C)."""
    num_clouds, n, width = rows.shape
    shift = n * torch.arange(num_clouds, device=index.device)[:, None]
    chosen = select_rows(rows.reshape(-1, width), (index + shift).flatten())
    return chosen.view(*index.shape, width)

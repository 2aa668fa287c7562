"""Submanifold sparse convolution over a table of neighbors, with a backward written by hand.

Shape letters: N voxels, I input channels, O output channels, K taps.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.profiler import record_function

from train.networks.ptv3 import convolution_cpu
from train.networks.ptv3.neighbors import NeighborTable

# Bytes of gathered neighbors that are alive at once on a GPU. All K taps of a row lie side by
# side, so one matrix product serves them all; the zeros of absent neighbors are multiplied too,
# which costs a GPU less than to ask how many there are.
GATHERED_BYTES = 1 << 28


class _SubmanifoldProduct(torch.autograd.Function):
    """out[p] = sum over taps k of weight[k] applied to the voxel at p + offset k.

    Autograd through a gather would keep the gathered rows of all taps, five times the input on
    LiDAR frames and twenty times for the 5^3 stem; here only the input and the weight are kept.
    16-bit types are summed in float32.

    The gradient of the weight has a node of its own, `_WeightOfProduct`: a function is told once,
    when it runs, which gradients may be wanted, and would make the weight's in a pass that wants
    the features' alone, as the saliency does.
    """

    @staticmethod
    def forward(
        ctx: Any, feat: Tensor, weight: Tensor, of_weight: Tensor, table: NeighborTable
    ) -> Tensor:
        """Apply weight [K, I, O], a constant, to feat [N, I]; `of_weight` [N, O] is not read."""
        ctx.save_for_backward(weight)
        ctx.table = table
        return _products(feat, weight, table.rows)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, None, Tensor, None]:
        """Return the gradient of feat, and the one that is given for the weight's node.

        Neighborhood is mutual: p + offset k = q means q + offset (K - 1 - k) = p. So the gradient
        of the input is a convolution of `grad_out` with the mirrored kernel over the same table.
        """
        (weight,) = ctx.saved_tensors
        grad_feat = None
        if ctx.needs_input_grad[0]:
            grad_feat = _products(grad_out, weight.flip(0).transpose(1, 2), ctx.table.rows)
        return grad_feat, None, grad_out, None


class _WeightOfProduct(torch.autograd.Function):
    """Stands for the weight in `_SubmanifoldProduct`: no numbers forward, its gradient backward."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, feat: Tensor, table: NeighborTable) -> Tensor:
        """Return an [N, O] tensor that takes no memory, for a constant feat [N, I]."""
        ctx.save_for_backward(feat)
        ctx.table, ctx.dtype = table, weight.dtype
        return feat.new_zeros(()).expand(feat.shape[0], weight.shape[2])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient [K, I, O] of the weight; runs only where that is wanted."""
        (feat,) = ctx.saved_tensors
        return _weight_gradient(feat, grad_out, ctx.table.rows).to(ctx.dtype), None, None


def _runs_compiled(tensor: Tensor) -> bool:
    """Say whether the compiled loops take a tensor: they are for CPUs."""
    return tensor.device.type == "cpu"


def _products(feat: Tensor, weight: Tensor, rows: Tensor) -> Tensor:
    """Return [N, O] of feat [N, I], weight [K, I, O] and the neighbors' rows [K, N]."""
    with record_function("submanifold_convolution"):
        if _runs_compiled(feat):
            exact = _wide(feat.dtype)
            return convolution_cpu.products(feat.to(exact), weight.to(exact), rows).to(feat.dtype)
        out = feat.new_empty(feat.shape[0], weight.shape[2])
        matrix = weight.flatten(0, 1)
        for start, stop, gathered in _gathered(feat, rows):
            out[start:stop] = _summed_wide(gathered, matrix)
        return out


def _weight_gradient(feat: Tensor, grad_out: Tensor, rows: Tensor) -> Tensor:
    """Return [K, I, O], at least in float32: it is a sum over all voxels."""
    exact = _wide(feat.dtype)
    with record_function("submanifold_convolution_backward"):
        if _runs_compiled(feat):
            return convolution_cpu.weight_gradient(feat.to(exact), grad_out.to(exact), rows)
        num_taps = rows.shape[0]
        grad = feat.new_zeros(num_taps * feat.shape[1], grad_out.shape[1], dtype=exact)
        for start, stop, gathered in _gathered(feat, rows):
            grad += _summed_wide(gathered.t(), grad_out[start:stop])
        return grad.view(num_taps, -1, grad_out.shape[1])


def _wide(dtype: torch.dtype) -> torch.dtype:
    """Return the type in which sums of a type are formed."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _summed_wide(left: Tensor, right: Tensor) -> Tensor:
    """Return the matrix product in the type in which its sums are formed.

    A product whose result has 16 bits may be added up in 16 bits, part by part, by the GPU's
    library.
    """
    wide = _wide(left.dtype)
    if left.dtype == wide:
        return left @ right
    if left.is_cuda and hasattr(torch.ops.aten.mm, "dtype"):  # from torch 2.8 on
        product: Tensor = torch.ops.aten.mm.dtype(left, right, wide)
        return product
    return left.to(wide) @ right.to(wide)


def _gathered(feat: Tensor, rows: Tensor) -> Iterator[tuple[int, int, Tensor]]:
    """Go through some output rows after the others: (start, stop, neighbors [stop - start, K I]).

    Where there is no neighbor there are zeros.
    """
    num_taps, num_rows = rows.shape
    padded = torch.cat([feat, feat.new_zeros(1, feat.shape[1])])
    row_bytes = num_taps * feat.shape[1] * feat.element_size()
    at_once = max(1, GATHERED_BYTES // max(1, row_bytes))
    for start in range(0, num_rows, at_once):
        stop = min(start + at_once, num_rows)
        wanted = rows[:, start:stop].t().flatten()
        yield start, stop, padded.index_select(0, wanted).view(stop - start, -1)


class ConvolutionWeights(nn.Module):
    """Weight and bias of a convolution under the names that checkpoints give them.

    Parameters
    ----------
    in_channels, out_channels
        Widths.
    kernel_size
        Odd side of the kernel.
    bias
        Whether there is a bias.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, bias: bool = True
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size = kernel_size
        side = (kernel_size,) * 3
        self.weight = nn.Parameter(torch.empty(out_channels, *side, in_channels))
        self.bias = nn.Parameter(torch.empty(out_channels)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw weight and bias uniformly from +-1 / sqrt(fan-in), as spconv does."""
        bound = 1.0 / math.sqrt(self.in_channels * self.kernel_size**3)
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """Return the widths, for printing."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size},"
            f" bias={self.bias is not None}"
        )


class SubmanifoldConv3d(ConvolutionWeights):
    """Convolution on voxels that keeps the set of active voxels; missing ones count as zero.

    A cross-correlation: ``out[p] = bias + sum over o of weight[:, o + r] . in[p + o]``, the first
    kernel axis along grid x. The weight has spconv's layout, [O, k, k, k, I]. Parameters are those
    of `ConvolutionWeights`.

    Notes
    -----
    Under autocast operands and results have the autocast dtype and are summed in float32. The
    backward is not itself differentiable. Of several points in one voxel the first stands for it
    and the others see themselves alone, see `neighbor_table`.
    """

    def forward(self, feat: Tensor, table: NeighborTable) -> Tensor:
        """Convolve [N, I] features to [N, O] over the neighbors of a kernel of this size."""
        if table.kernel_size != self.kernel_size:
            raise ValueError(
                f"SubmanifoldConv3d: the table is of a kernel of side {table.kernel_size}, this one"
                f" has {self.kernel_size}"
            )
        weight = self.weight.flatten(1, 3).permute(1, 2, 0)  # [K, I, O]
        kind = feat.device.type
        if torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind):
            dtype = torch.get_autocast_dtype(kind)
            feat, weight = feat.to(dtype), weight.to(dtype)
        of_weight = _WeightOfProduct.apply(weight, feat.detach(), table)  # type: ignore[no-untyped-call]
        out: Tensor = _SubmanifoldProduct.apply(  # type: ignore[no-untyped-call]
            feat, weight.detach(), of_weight, table
        )
        if self.bias is not None:
            out += self.bias.to(out.dtype)
        return out

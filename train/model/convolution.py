"""Submanifold sparse convolution: gather, matrix product, add; with a backward written by hand.

Shape letters: N voxels, I input channels, O output channels, K taps.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from train.model.neighbours import NeighbourPairs, PairBlock


class _SubmanifoldProduct(torch.autograd.Function):
    """out[p] = sum over taps k of weight[k] applied to the voxel at p + offset k.

    Block by block of output rows: gather the neighbours, one matrix product a tap, sum the products
    of each row (`embedding_bag` is a gather and a sum in one pass and in a fixed order, so results
    do not depend on threads). Autograd through the same steps would keep the gathered rows of all
    taps, about four times the input on LiDAR sweeps and nine times for the 5^3 stem; here only
    the input and the weight are kept and the backward gathers again.
    """

    @staticmethod
    def forward(ctx: Any, feat: Tensor, weight: Tensor, pairs: NeighbourPairs) -> Tensor:
        """Apply weight [K, I, O] to feat [N, I]."""
        ctx.save_for_backward(feat, weight)
        ctx.pairs = pairs
        out = feat.new_empty(feat.shape[0], weight.shape[2])
        taps = weight.unbind(0)
        for block in pairs.blocks:
            products = _by_tap(feat.index_select(0, block.there), taps, block)
            out[block.start : block.stop] = _summed(products, block)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Return the gradients of feat and weight.

        Neighbourhood is mutual: p + offset k = q means q + offset (K - 1 - k) = p. So the gradient
        of the input is a convolution of `grad_out` with the mirrored kernel over the same blocks,
        and the rows gathered for it serve the gradient of the weight.
        """
        feat, weight = ctx.saved_tensors
        pairs: NeighbourPairs = ctx.pairs
        wants_feat, wants_weight = ctx.needs_input_grad[:2]
        grad_feat = torch.empty_like(feat) if wants_feat else None
        grad_weight = torch.zeros_like(weight) if wants_weight else None
        mirrored = weight.flip(0).transpose(1, 2).unbind(0)
        for block in pairs.blocks:
            grad_there = grad_out.index_select(0, block.there)
            if grad_feat is not None:
                products = _by_tap(grad_there, mirrored, block)
                grad_feat[block.start : block.stop] = _summed(products, block)
            if grad_weight is not None:
                feat_here = feat.index_select(0, block.here)
                for tap, (given, received) in enumerate(_tap_rows(block, feat_here, grad_there)):
                    grad_weight[-1 - tap].addmm_(given.t(), received)
        return grad_feat, grad_weight, None


def _by_tap(rows: Tensor, taps: tuple[Tensor, ...], block: PairBlock) -> Tensor:
    """Multiply the gathered rows [P, I] of each tap by its matrix [I, O]."""
    products = rows.new_empty(rows.shape[0], taps[0].shape[1])
    for matrix, (given, product) in zip(taps, _tap_rows(block, rows, products), strict=True):
        if given.shape[0]:
            torch.mm(given, matrix, out=product)
    return products


def _tap_rows(block: PairBlock, first: Tensor, second: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Go through the rows of each tap in two tensors of the block's pairs."""
    sizes = list(block.tap_sizes)
    return zip(torch.split(first, sizes), torch.split(second, sizes), strict=True)


def _summed(products: Tensor, block: PairBlock) -> Tensor:
    """Add up the products of each output row; torch does so in float32 for 16-bit types."""
    return F.embedding_bag(block.slots, products, block.slot_starts, mode="sum")


class SubmanifoldConv3d(nn.Module):
    """Convolution on voxels that keeps the set of active voxels; missing ones count as zero.

    A cross-correlation: ``out[p] = bias + sum over o of weight[:, o + r] . in[p + o]``, the first
    kernel axis along grid x. The weight has spconv's layout, [O, k, k, k, I].

    Parameters
    ----------
    in_channels, out_channels
        Widths.
    kernel_size
        Odd side of the kernel.
    bias
        Whether there is a bias.

    Notes
    -----
    Under autocast the products run in the autocast dtype and are summed in float32. The backward
    is not itself differentiable. Of several points in one voxel, the first stands for it as a
    neighbour; each keeps its own centre tap.
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

    def forward(self, feat: Tensor, pairs: NeighbourPairs) -> Tensor:
        """Convolve [N, I] features to [N, O] over the pairs of a kernel of this size."""
        if pairs.kernel_size != self.kernel_size:
            raise ValueError(
                f"SubmanifoldConv3d: pairs are of a kernel of side {pairs.kernel_size}, this one"
                f" has {self.kernel_size}"
            )
        weight = self.weight.flatten(1, 3).permute(1, 2, 0)  # [K, I, O]
        if torch.is_autocast_enabled(feat.device.type):
            dtype = torch.get_autocast_dtype(feat.device.type)
            feat, weight = feat.to(dtype), weight.to(dtype)
        out: Tensor = _SubmanifoldProduct.apply(feat, weight, pairs)  # type: ignore[no-untyped-call]
        if self.bias is not None:
            out += self.bias.to(out.dtype)
        return out

    def extra_repr(self) -> str:
        """Return the widths, for printing."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size},"
            f" bias={self.bias is not None}"
        )

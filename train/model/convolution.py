"""Submanifold sparse convolution: gather, matrix product, add; with a backward written by hand.

Shape letters: N voxels, I input channels, O output channels, K taps.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from train.model.neighbours import NeighbourPairs


class _SubmanifoldProduct(torch.autograd.Function):
    """out[p] = sum over taps k of weight[k] applied to the voxel at p + offset k.

    Autograd through the loop below would keep the gathered rows of every tap (about four times the
    input on LiDAR sweeps, nine times for the 5^3 stem). Only the input and the weight are kept
    here; the backward gathers again. The pair lists are symmetric, so the input's gradient needs
    no second table: it is the same loop with the two ends of each pair exchanged. `index_add_`
    measured faster on CPUs than a gather through a transposed table; within one call an output
    row occurs once (voxels being distinct), so the sum has one order on any device.
    """

    @staticmethod
    def forward(ctx: Any, feat: Tensor, weight: Tensor, pairs: NeighbourPairs) -> Tensor:
        """Apply weight [K, I, O] to feat [N, I]."""
        ctx.save_for_backward(feat, weight)
        ctx.pairs = pairs
        out = _wide(feat @ weight[pairs.centre])
        for tap, here, there in _directed_taps(pairs):
            out.index_add_(0, here, (feat.index_select(0, there) @ weight[tap]).to(out.dtype))
        return out.to(feat.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        """Return the gradients of feat and weight."""
        feat, weight = ctx.saved_tensors
        pairs: NeighbourPairs = ctx.pairs
        wants_feat, wants_weight = ctx.needs_input_grad[:2]
        grad_out = grad_out.contiguous()
        grad_feat = _wide(grad_out @ weight[pairs.centre].t()) if wants_feat else None
        grad_weight = torch.empty_like(weight) if wants_weight else None
        if grad_weight is not None:
            grad_weight[pairs.centre] = feat.t() @ grad_out
        for tap, here, there in _directed_taps(pairs):
            grad_here = grad_out.index_select(0, here)
            if grad_feat is not None:
                product = grad_here @ weight[tap].t()
                grad_feat.index_add_(0, there, product.to(grad_feat.dtype))
            if grad_weight is not None:
                grad_weight[tap] = feat.index_select(0, there).t() @ grad_here
        return None if grad_feat is None else grad_feat.to(feat.dtype), grad_weight, None


def _directed_taps(pairs: NeighbourPairs) -> list[tuple[int, Tensor, Tensor]]:
    """List (tap, rows that receive, rows that give) for all taps but the centre."""
    last = pairs.kernel_size**3 - 1
    forward = list(zip(range(pairs.centre), pairs.here, pairs.there, strict=True))
    return forward + [(last - tap, there, here) for tap, here, there in forward]


def _wide(product: Tensor) -> Tensor:
    """Accumulate 16-bit products in float32."""
    return product.float() if product.dtype in (torch.float16, torch.bfloat16) else product


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
    is not itself differentiable.
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
        return out if self.bias is None else out + self.bias.to(out.dtype)

    def extra_repr(self) -> str:
        """Return the widths, for printing."""
        return (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size},"
            f" bias={self.bias is not None}"
        )

"""Batch norm of several processes: statistics averaged before saving, or joint in every step.

By default each process normalizes by its own part of the joint batch, as Pointcept trains, and
`average_batch_norm_statistics` makes one network of the processes' copies before it is saved or
evaluated. With `synchronize_batch_norm` the processes normalize by the joint batch, and training is
that of one process with all of it.

Shape letters: P processes, N rows of this process, C channels.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from train.core.distributed import current_world, sum_over_processes


def average_batch_norm_statistics(model: nn.Module) -> None:
    """Set running means and variances to their averages over the processes, in place.

    Every process calls this at the same point, with the same network. Training goes on as it would
    have: running statistics play no part in it, and since they are moving averages with the same
    weights on each process, averaging twice gives (up to rounding) what averaging once does.

    Parameters
    ----------
    model
        Any network; those without batch norm are left as they are.

    Notes
    -----
    The average of the variances is not the variance of the joint batches: the means of the
    processes' parts differ, which adds to the latter. It is the right one where each process
    normalizes by its own part, since a running variance estimates what batches were divided by in
    training. It equals what one process would have kept that normalized all parts one by one.
    """
    buffers = [
        buffer
        for module in model.modules()
        if isinstance(module, _BatchNorm)
        for buffer in (module.running_mean, module.running_var)
        if buffer is not None
    ]
    size = current_world().size
    if size == 1 or not buffers:
        return
    total = sum_over_processes(torch.cat([buffer.double() for buffer in buffers])) / size
    start = 0
    for buffer in buffers:
        buffer.copy_(total[start : start + len(buffer)])
        start += len(buffer)


def synchronize_batch_norm(model: nn.Module) -> None:
    """Turn every `nn.BatchNorm1d` of a network into a `SynchronizedBatchNorm1d`, in place.

    Parameters, buffers, hooks and the keys of the state dict stay as they are.

    Raises
    ------
    ValueError
        If the network has batch norm of another kind.
    """
    for name, module in model.named_modules():
        if isinstance(module, SynchronizedBatchNorm1d):
            continue
        if type(module) is nn.BatchNorm1d:
            # The two differ in `forward` alone, and the optimizer keeps the parameters it has.
            module.__class__ = SynchronizedBatchNorm1d
        elif isinstance(module, _BatchNorm):
            raise ValueError(
                f"synchronize_batch_norm: {name or 'the network'} is a {type(module).__name__}; "
                "only BatchNorm1d can be synchronized"
            )


class SynchronizedBatchNorm1d(nn.BatchNorm1d):
    """Batch norm by the statistics of all processes' rows; differentiable any number of times.

    As `nn.BatchNorm1d` for (N, C) input, in evaluation, and on one process. torch's SyncBatchNorm
    needs GPUs and cannot be differentiated twice.

    Every process must call the same layers in the same order, forward and backward. The numbers of
    rows may differ and be 0. A process that has nothing to contribute to a step, but must call the
    layers all the same, does so with any batch inside `leaving_out_rows`.
    """

    counts_rows: bool = True

    def forward(self, input: Tensor) -> Tensor:
        """Normalize (N, C) rows.

        Raises
        ------
        ValueError
            If the input is not (N, C), or all processes together have a single row.
        PeerLost
            If another process is gone or does not answer.
        """
        uses_batch = self.training or self.running_mean is None
        if not uses_batch or current_world().size == 1:
            return super().forward(input)
        if input.ndim != 2:
            raise ValueError(
                f"SynchronizedBatchNorm1d: input of shape {tuple(input.shape)}, must be (N, C)"
            )
        low = input.dtype in (torch.float16, torch.bfloat16)
        rows = input.float() if low else input
        count, mean, deviation = self._joint(rows)
        # If all have less than two together, each has: most steps wait for no copy to the host.
        if len(rows) < 2 and float(count) < 2:
            raise ValueError(
                f"SynchronizedBatchNorm1d: {int(count)} rows on all processes together; training "
                "needs at least 2"
            )
        variance = deviation / count
        if self.training and self.running_mean is not None:
            self._update(mean.detach(), (deviation / (count - 1)).detach())
        scale = torch.rsqrt(variance + self.eps)
        if self.weight is not None:
            scale = scale * self.weight
        out = (rows - mean) * scale
        if self.bias is not None:
            out = out + self.bias
        return out.to(input.dtype) if low else out

    def _joint(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the number of all processes' rows, their mean, and their summed squared deviation.

        Each process centers its rows by their own mean, and one exchange brings all counts, means
        and deviations together: sums of squares of what is far from 0 would cancel.
        """
        world = current_world()
        count = len(rows) if self.counts_rows else 0
        if count:
            own_mean = rows.mean(0)
            own_deviation = ((rows - own_mean) ** 2).sum(0)
        else:
            # Zeros with a gradient: this process must take part in the backward pass too.
            own_mean = own_deviation = rows[:0].sum(0)
        own = torch.cat([rows.new_full((1,), float(count)), own_mean, own_deviation])
        # Each process fills its own row of a table of zeros: the sum is all of them.
        before, after = world.rank, world.size - world.rank - 1
        table = nn.functional.pad(own.unsqueeze(0), (0, 0, before, after))
        table = _SumOverProcesses.apply(table)  # type: ignore[no-untyped-call]
        if not self.counts_rows:
            # Nor do this process's outputs say anything about the others' rows. A factor and no
            # constant: the exchange must stay in the graph, however often it is differentiated.
            table = table.detach() + 0.0 * table
        counts, means, deviations = table.split([1, self.num_features, self.num_features], dim=1)
        total = counts.sum()
        shares = counts / total.clamp(min=1.0)
        mean = (shares * means).sum(0)
        between = (counts * (means - mean) ** 2).sum(0)
        return total.detach(), mean, deviations.sum(0) + between

    def _update(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics towards those of the joint batch, as torch does."""
        assert self.running_mean is not None
        assert self.running_var is not None
        factor = 0.0 if self.momentum is None else self.momentum
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            if self.momentum is None:
                factor = 1.0 / float(self.num_batches_tracked)
        with torch.no_grad():
            self.running_mean.mul_(1.0 - factor).add_(mean, alpha=factor)
            self.running_var.mul_(1.0 - factor).add_(variance, alpha=factor)


@contextmanager
def leaving_out_rows(model: nn.Module) -> Iterator[None]:
    """Let this process call the network without adding to its joint statistics.

    For a step in which the process has no sample of the joint batch: with any batch, and a loss
    of weight 0, it takes part in every exchange of the others, forward and backward, and changes
    nothing in what they compute.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, SynchronizedBatchNorm1d)]
    for layer in layers:
        layer.counts_rows = False
    try:
        yield
    finally:
        for layer in layers:
            layer.counts_rows = True


class _SumOverProcesses(torch.autograd.Function):
    """Sum of the processes' tensors; its gradient is the sum of the processes' gradients."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        return sum_over_processes(tensor)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total: Tensor = _SumOverProcesses.apply(*gradients)  # type: ignore[no-untyped-call]
        return total

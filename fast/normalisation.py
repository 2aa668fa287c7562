"""The feature normalization of Algorithm 1 (lines 4-5), differentiable.

Shape letters: N points, C channels.
"""

import math
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from fast.checks import as_choice, as_points
from fast.dispatch import disable_compile, kernel
from fast.distances import lengths_of_rows, measured_rows, with_gradient
from fast.kernels.distances.squares import scale_of

Normalisation = Literal["l2", "none", "center_maxnorm", "diameter", "rms"]


def normalise(features: Tensor, normalisation: Normalisation = "l2") -> Tensor:
    """Return the features of one cloud on a common scale.

    Parameters
    ----------
    features
        (N, C), one row per point, at least one.
    normalisation
        "l2": each row divided by its length, so that distances lie in [0, 2]; a zero row stays
        zero. "none": unchanged. "center_maxnorm": the mean subtracted, then divided by the
        largest length. "diameter": divided by the largest distance, O(N^2 C). "rms": the mean
        subtracted, then divided by the root mean square of the lengths; a cloud without spread
        becomes all zeros. Elsewhere, where a divisor is 0 nothing is divided.

    Returns
    -------
    Tensor
        (N, C). Differentiable; where several lengths or distances are largest, the one of lowest
        index carries the gradient of the divisor, and a divisor of 0 counts as the constant 1. With
        "rms" a cloud without spread gets the gradient 0.

    Raises
    ------
    ValueError
        If `normalisation` is unknown, or `features` is no tensor of finite rows.

    Examples
    --------
    >>> normalise(torch.tensor([[3.0, 4.0], [0.0, 2.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 1.0000]])
    """
    as_choice("normalise", "normalisation", normalisation, get_args(Normalisation))
    features = as_points("normalise", "features", features, least=1)
    if features.ndim != 2:
        raise ValueError(
            f"normalise: features has shape {tuple(features.shape)}; pass one cloud, (N, C)"
        )
    if normalisation == "none":
        return features
    with torch.autocast(features.device.type, enabled=False):
        if normalisation == "l2":
            lengths, factors = measured_rows(features.detach())
            scaled = features if factors is None else features * factors[:, None]
            nothing = 1.0 if factors is None else factors
            return scaled / _divisor(with_gradient(scaled, lengths), nothing)[:, None]
        # A factor that the division takes out again. It keeps every square within range.
        factor: Tensor | float = scale_of(features.detach())[0]
        scaled = features * factor
        if normalisation == "diameter":
            i, j = _launch("farthest_pair", scaled)
            longest = lengths_of_rows((scaled[i] - scaled[j])[None])
            return scaled / _divisor(longest, factor)
        if normalisation == "center_maxnorm":
            centered = scaled - _mean(scaled)
            farthest = lengths_of_rows(centered.detach()).argmax()
            longest = lengths_of_rows(centered[farthest][None])
            return centered / _divisor(longest, factor)
        # From the first row, so that equal rows are centered to 0 exactly, whatever the mean
        # rounds to. The shift cancels, so it needs no gradient.
        shifted = scaled - scaled[:1].detach()
        centered = shifted - _mean(shifted)
        lengths = lengths_of_rows(centered).double()  # of thousands of rows
        spread = lengths_of_rows(lengths[None]) / math.sqrt(len(centered))
        return centered / _divisor(spread, torch.inf).to(centered.dtype)


def _mean(rows: Tensor) -> Tensor:
    """Return the mean (C,) of rows (N, C)."""
    mean: Tensor = _Mean.apply(rows)  # type: ignore[no-untyped-call]
    return mean


def _divisor(lengths: Tensor, otherwise: Tensor | float) -> Tensor:
    """Return the lengths, `otherwise` where they are 0."""
    return torch.where(lengths > 0, lengths, otherwise)


@disable_compile  # numba cannot be traced
def _launch(operation: str, rows: Tensor) -> Any:
    """Run a kernel on what carries no gradient."""
    return kernel(operation, rows.device)(rows.detach())


class _Mean(torch.autograd.Function):
    """The mean of the rows, summed in one order for every number of threads."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.num_rows = len(rows)
        mean: Tensor = _launch("column_means", rows)
        return mean

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        num_rows: int = ctx.num_rows
        return (grad / num_rows).expand(num_rows, -1)


normalize = normalise
"""The same function under its American name."""

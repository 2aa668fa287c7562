"""Which sums of squares keep their precision, and the powers of two that help where they do not.

A product with a power of two is exact, so what is scaled, squared, summed, rooted and scaled back
has the bits it would have if floats had no largest and no smallest exponent.
"""

import math
from typing import NamedTuple

import numpy as np
import torch


class SafeRange(NamedTuple):
    """Limits of one float type, all powers of two."""

    least_entry: float
    """If no entry but 0 is smaller, no difference of two is so small that its square is lost."""
    largest_entry: float
    """If no entry is larger, no sum of squares of differences overflows."""
    least_root: float
    """Roots below may have lost squares: they are computed again, from larger entries."""
    grow: float
    shrink: float
    """Roots that overflowed are computed again, from entries times `shrink`."""
    target: float
    """What `scale_of` brings the largest entry of a cloud to."""


FLOAT32 = SafeRange(2.0**-40, 2.0**50, 2.0**-50, 2.0**90, 2.0**-70, 2.0**40)
FLOAT64 = SafeRange(2.0**-450, 2.0**490, 2.0**-480, 2.0**600, 2.0**-540, 2.0**400)

# Of each type: its bits as integers, and those of them that hold the exponent.
_EXPONENT = {
    torch.float32: (torch.int32, 0x7F800000),
    torch.float64: (torch.int64, 0x7FF0000000000000),
}


def safe_range(dtype):
    """Return the limits of a torch or numpy float type."""
    return FLOAT32 if dtype in (torch.float32, np.dtype(np.float32)) else FLOAT64


def scale_of(values):
    """Return a power of two that brings the largest of `values` near `target`, and its inverse.

    Numbers on the CPU; elsewhere tensors (), for nothing is read from the device. Sums of a few
    million squares of what is scaled so do not overflow; roots below `least_root`, about 1e-30 of
    the largest value (float64: 1e-270), are to be computed again from the values as they were.
    """
    target = safe_range(values.dtype).target
    if not values.numel():
        return 1.0, 1.0
    largest = values.abs().amax()
    # Not below 1 / target: the factor would overflow.
    if values.device.type == "cpu":
        power = max(math.ldexp(1.0, math.frexp(float(largest))[1] - 1), 1 / target)
        return target / power, power / target
    integer, exponent = _EXPONENT[values.dtype]
    power = (largest.view(integer) & exponent).view(values.dtype).clamp(min=1 / target)
    return target / power, power / target

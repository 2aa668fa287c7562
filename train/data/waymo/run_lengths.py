"""Parquet's mix of runs and packed bits, in which levels and places in a dictionary are written."""

from typing import TypeVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

from train.data.waymo.page_heads import Unsupported

Whole = TypeVar("Whole", np.uint8, np.int32)


def unpack_runs(data: memoryview, width: int, count: int, dtype: type[Whole]) -> NDArray[Whole]:
    """Return so many numbers of so many bits each.

    Raises
    ------
    Unsupported
        If there are too few.
    """
    if width > (31 if dtype is np.int32 else 8):
        raise Unsupported
    out = np.empty(count, dtype=dtype)
    padded = np.zeros(len(data) + 8, dtype=np.uint8)
    padded[: len(data)] = data
    if not _unpack(padded, len(data), width, out):
        raise Unsupported
    return out


@njit(cache=True)
def _unpack(data: NDArray[np.uint8], size: int, width: int, out: NDArray[Whole]) -> bool:
    """Fill in numbers of so many bits from so many bytes; return whether there were enough."""
    at, filled, mask = 0, 0, (1 << width) - 1
    while filled < len(out):
        head, shift = 0, 0
        while True:
            if at >= size or shift > 28:
                return False
            head |= int(data[at] & 0x7F) << shift
            shift += 7
            at += 1
            if data[at - 1] < 0x80:
                break
        if head & 1:
            groups = head >> 1
            if groups == 0 or groups * width > size - at:
                return False
            stop = min(len(out), filled + groups * 8)
            bit = 0
            for index in range(filled, stop):
                # A number of at most 31 bits lies in five bytes; `data` goes on beyond its end.
                first = at + (bit >> 3)
                held = (
                    np.uint64(data[first])
                    | np.uint64(data[first + 1]) << np.uint64(8)
                    | np.uint64(data[first + 2]) << np.uint64(16)
                    | np.uint64(data[first + 3]) << np.uint64(24)
                    | np.uint64(data[first + 4]) << np.uint64(32)
                )
                out[index] = np.int64(held >> np.uint64(bit & 7)) & mask
                bit += width
            filled, at = stop, at + groups * width
        else:
            value, run = 0, head >> 1
            for k in range((width + 7) // 8):
                if at >= size:
                    return False
                value |= int(data[at]) << (8 * k)
                at += 1
            if run == 0 or value > mask:
                return False
            stop = min(len(out), filled + run)
            for index in range(filled, stop):
                out[index] = value
            filled = stop
    return True

"""LZF, the compression of `.pcd` files: a decoder, and an encoder that stores.

The format of Marc Lehmann's LibLZF: a control byte below 32 announces that many literal bytes and
one more; any other is a copy of earlier output, its length in the upper 3 bits (7: one more byte
follows) plus 2, its distance back in the lower 5 bits and a further byte, plus 1.
"""

from typing import Final

import numpy as np

_LITERALS: Final = 32


def decompress(data: bytes, size: int) -> bytes:
    """Return the bytes that were compressed.

    Parameters
    ----------
    data
        The compressed bytes.
    size
        How many there were.

    Raises
    ------
    ValueError
        If the data is cut short, reaches back before its start, or gives another number of bytes.
    """
    out = bytearray()
    at, end = 0, len(data)
    while at < end:
        control = data[at]
        at += 1
        if control < _LITERALS:
            out += data[at : at + control + 1]
            at += control + 1
            if at > end:
                raise ValueError("the compressed data is cut short")
        else:
            length = control >> 5
            if length == 7:
                length += data[at] if at < end else 0
                at += 1
            if at >= end:
                raise ValueError("the compressed data is cut short")
            start = len(out) - ((control & 31) << 8) - data[at] - 1
            at += 1
            length += 2
            if start < 0:
                raise ValueError("the compressed data reaches back before its start")
            piece = out[start : start + length]
            # A copy that overlaps itself repeats what it has.
            out += (piece * (-(-length // len(piece))))[:length]
        if len(out) > size:
            break
    if len(out) != size:
        more = "at least " if len(out) > size else ""
        raise ValueError(f"the compressed data gives {more}{len(out)} bytes instead of {size}")
    return bytes(out)


def store(data: bytes) -> bytes:
    """Return LZF data that gives some bytes: literals alone, 33 bytes for every 32.

    Coordinates of LiDAR points hardly repeat, and a search for repeats in Python would take longer
    than a network on the same points.
    """
    whole = len(data) - len(data) % _LITERALS
    runs = np.frombuffer(data[:whole], dtype=np.uint8).reshape(-1, _LITERALS)
    stored = np.insert(runs, 0, _LITERALS - 1, axis=1).tobytes()
    rest = data[whole:]
    return stored + (bytes([len(rest) - 1]) + rest if rest else b"")

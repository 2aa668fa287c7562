"""Lengths as ordered integers: which is the longest that counts, and what is refused.

The bits of a non-negative float, read as a signed integer, order as the float does.
"""

import numpy as np

VALID, NEGATIVE_ZERO, NEGATIVE, NOT_A_NUMBER, DIAGONAL, ASYMMETRIC = range(6)


def longest_key(dtype, threshold):
    """Return the bits of the longest length of numpy `dtype` up to the threshold, below infinity.

    Rounded towards zero, so that no edge above the threshold slips in; infinite edges never join.
    """
    limit = np.array(threshold, np.float64)
    limit_in_dtype = np.array(min(limit, float(np.finfo(dtype).max)), dtype)
    if limit_in_dtype > limit:
        limit_in_dtype = np.nextafter(limit_in_dtype, dtype.type(0))
    return int((limit_in_dtype + dtype.type(0)).view(f"i{dtype.itemsize}"))


def error_message(code, i, j, value, mirrored):
    """Say what is wrong with entry (i, j) and the remedy; `mirrored` is entry (j, i)."""
    entry = f"distances[..., {i}, {j}] is {value}"
    return (
        "rips_persistence: "
        + {
            NOT_A_NUMBER: f"{entry}; look for NaN or infinite points before this call",
            NEGATIVE: f"{entry}; distances cannot be negative",
            DIAGONAL: (
                f"{entry}; a point's distance to itself must be 0, which torch.cdist does not "
                "promise: compute distances with pairwise_distances(points)"
            ),
            ASYMMETRIC: (
                f"{entry} but distances[..., {j}, {i}] is {mirrored}; "
                "symmetrize first, e.g. (d + d.mT) / 2"
            ),
        }[code]
    )

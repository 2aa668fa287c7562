"""Refuse bad input once, at the public boundary, naming function, argument, value and remedy."""

import operator

import numpy as np
from jaxtyping import Float64, Int64

LARGEST_COORDINATE = 1e150
"""Coordinates beyond this overflow when squared, and an infinite distance means "never joined"."""


def as_points(
    function: str, argument: str, value: object, *, least: int = 0
) -> Float64[np.ndarray, "n c"]:
    """Return `value` as `least` or more finite float64 rows, one per point."""
    points = np.asarray(value, dtype=np.float64)
    if points.ndim != 2:
        raise ValueError(
            f"{function}: {argument} has shape {points.shape}; pass one row per point, (N, C)"
        )
    if len(points) < least:
        raise ValueError(
            f"{function}: {argument} has shape {points.shape}; pass at least {least} points"
        )
    refused = points[~(np.abs(points) <= LARGEST_COORDINATE)]  # NaN compares False
    if refused.size:
        raise ValueError(
            f"{function}: {argument} has the entry {refused[0]}; pass finite values of at most "
            f"{LARGEST_COORDINATE} in size"
        )
    return points


def as_distances(function: str, argument: str, value: object) -> Float64[np.ndarray, "n n"]:
    """Return `value` as a float64 distance matrix; infinite entries are allowed."""
    distances = np.asarray(value, dtype=np.float64)
    if distances.ndim != 2 or distances.shape[0] != distances.shape[1]:
        raise ValueError(
            f"{function}: {argument} has shape {distances.shape}; pass a square matrix, (N, N)"
        )
    refused = distances[~(distances >= 0)]  # NaN compares False
    if refused.size:
        raise ValueError(
            f"{function}: {argument} has the entry {refused[0]}; distances are at least 0 "
            "(inf for two points that are never joined)"
        )
    if np.any(np.diagonal(distances) != 0):
        raise ValueError(
            f"{function}: {argument} has {np.diagonal(distances).max()} on its diagonal; "
            "a point is at distance 0 from itself; compute distances with pairwise_distances"
        )
    if np.any(distances != distances.T):
        i, j = np.argwhere(distances != distances.T)[0]
        raise ValueError(
            f"{function}: {argument} is not symmetric: {distances[i, j]} at ({i}, {j}), "
            f"{distances[j, i]} at ({j}, {i}); pass the same distance both ways"
        )
    return distances


def as_pairs(function: str, argument: str, value: object) -> Float64[np.ndarray, "k 2"]:
    """Return `value` as finite (birth, death) rows."""
    pairs = as_points(function, argument, value)
    if pairs.shape[1] != 2:
        raise ValueError(
            f"{function}: {argument} has shape {pairs.shape}; pass (birth, death) rows, (K, 2)"
        )
    return pairs


def as_vector(
    function: str, argument: str, value: object, length: int
) -> Float64[np.ndarray, " k"]:
    """Return `value` as `length` finite float64 numbers."""
    vector = np.asarray(value, dtype=np.float64)
    if vector.shape != (length,):
        raise ValueError(
            f"{function}: {argument} has shape {vector.shape}; pass {length} numbers, ({length},)"
        )
    if not np.isfinite(vector).all():
        raise ValueError(
            f"{function}: {argument} has the entry {vector[~np.isfinite(vector)][0]}; "
            "pass finite numbers"
        )
    return vector


def as_indices(
    function: str, argument: str, value: object, num_points: int
) -> Int64[np.ndarray, "..."]:
    """Return `value` as vertex numbers of a cloud of `num_points`."""
    indices = np.asarray(value)
    if indices.size and not np.issubdtype(indices.dtype, np.integer):
        raise ValueError(f"{function}: {argument} has dtype {indices.dtype}; pass integers")
    refused = indices[(indices < 0) | (indices >= num_points)]
    if refused.size:
        raise ValueError(
            f"{function}: {argument} has the index {refused[0]}; the cloud has {num_points} "
            f"points, so pass indices from 0 to {num_points - 1}"
        )
    return indices.astype(np.int64)


def as_integer(function: str, argument: str, value: object, *, least: int) -> int:
    """Return `value` as an int of at least `least`."""
    try:
        integer = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        raise ValueError(f"{function}: {argument} is {value!r}; pass an integer") from None
    if integer < least:
        raise ValueError(f"{function}: {argument} is {integer}; pass at least {least}")
    return integer


def as_positive(function: str, argument: str, value: float) -> float:
    """Return `value` as a finite float above 0."""
    if not 0 < value < np.inf:
        raise ValueError(f"{function}: {argument} is {value}; pass a finite number above 0")
    return float(value)


def as_nonnegative(function: str, argument: str, value: float) -> float:
    """Return `value` as a finite float of at least 0."""
    if not 0 <= value < np.inf:
        raise ValueError(f"{function}: {argument} is {value}; pass a finite number of at least 0")
    return float(value)


def as_choice(function: str, argument: str, value: str, choices: tuple[str, ...]) -> str:
    """Return `value` if it is one of `choices`."""
    if value not in choices:
        raise ValueError(
            f"{function}: {argument} is {value!r}; pass one of {', '.join(map(repr, choices))}"
        )
    return value


def as_order(function: str, argument: str, value: float) -> float:
    """Return `value` as a finite exponent of at least 1."""
    if not 1 <= value < np.inf:
        raise ValueError(f"{function}: {argument} is {value}; pass a finite number of at least 1")
    return float(value)


def as_persistent_pairs(function: str, argument: str, value: object) -> Float64[np.ndarray, "k 2"]:
    """Return `value` as finite (birth, death) rows, no death before its birth."""
    pairs = as_pairs(function, argument, value)
    refused = pairs[pairs[:, 1] < pairs[:, 0]]
    if len(refused):
        raise ValueError(
            f"{function}: {argument} has the pair {tuple(refused[0].tolist())}; "
            "pass (birth, death) rows, no death before its birth"
        )
    return pairs


def as_grid(function: str, argument: str, value: object) -> Float64[np.ndarray, " g"]:
    """Return `value` as one or more finite, increasing filtration values."""
    grid = as_vector(function, argument, value, np.asarray(value).size)
    if not grid.size:
        raise ValueError(f"{function}: {argument} is empty; pass at least one filtration value")
    falls = np.flatnonzero(np.diff(grid) <= 0)
    if falls.size:
        raise ValueError(
            f"{function}: {argument} has {grid[falls[0] + 1]} after {grid[falls[0]]}; pass "
            "increasing filtration values"
        )
    return grid

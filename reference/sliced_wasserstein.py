"""Sliced Wasserstein distance between two persistence diagrams, and its gradient.

Shape letters: M pairs of the first diagram, K of the second, D directions.
"""

import math

import numpy as np
from jaxtyping import Float64, Int64

from reference.validation import as_integer, as_order, as_pairs


def sliced_wasserstein(
    first: Float64[np.ndarray, "m 2"],
    second: Float64[np.ndarray, "k 2"],
    *,
    num_directions: int = 50,
    order: float = 1.0,
) -> float:
    """Return the sliced Wasserstein distance between two diagrams.

    Parameters
    ----------
    first, second
        Finite (birth, death) rows of one dimension, in any order; either may be empty, (0, 2).
    num_directions
        How many lines, at the angles -pi/2 + pi i / num_directions.
    order
        The exponent p, finite and at least 1. 1 is the published distance.

    Returns
    -------
    float
        In the unit of the filtration; 0 for two empty diagrams.

    Raises
    ------
    ValueError
        If an argument is not of (birth, death) rows, has an infinite or NaN entry, or is out of
        range.

    Notes
    -----
    M. Carriere, M. Cuturi, S. Oudot, "Sliced Wasserstein Kernel for Persistence Diagrams" (ICML
    2017), Algorithm 1. Each diagram is completed by the other's pairs moved to the diagonal,
    (b, d) -> ((b + d) / 2, (b + d) / 2), so that both have M + K points. On a line, points are
    matched in their order: with x and y the sorted projections,

        SW_p = (mean over lines of sum over k of |x_k - y_k|^p)^(1 / p).

    O(D (M + K) log(M + K)).

    Examples
    --------
    On the one line, which runs down along deaths, the pair is at -6, its diagonal point at -5.

    >>> sliced_wasserstein(np.array([[4.0, 6.0]]), np.empty((0, 2)), num_directions=1)
    1.0
    """
    name = "sliced_wasserstein"
    gaps, _ = _gaps(name, first, second, num_directions)
    order = as_order(name, "order", order)
    unit = np.abs(gaps).max(initial=0.0)
    if unit == 0:
        return 0.0
    total = np.sum((np.abs(gaps) / unit) ** order) / num_directions
    return float(unit * total ** (1 / order))


def sliced_wasserstein_grad(
    first: Float64[np.ndarray, "m 2"],
    second: Float64[np.ndarray, "k 2"],
    *,
    num_directions: int = 50,
    order: float = 1.0,
) -> tuple[Float64[np.ndarray, "m 2"], Float64[np.ndarray, "k 2"]]:
    """Return the gradients of `sliced_wasserstein` for both diagrams.

    Parameters
    ----------
    first, second, num_directions, order
        As in `sliced_wasserstein`.

    Returns
    -------
    grad_first, grad_second
        Of the shapes of the diagrams; 0 where the distance is 0.

    Raises
    ------
    ValueError
        As `sliced_wasserstein`.

    Notes
    -----
    The order of the points on each line is held fixed; points at one place of a line are in the
    order of the rows, a diagram's own before the other's. A gap of 0 gets the gradient 0.

    Examples
    --------
    >>> none = np.empty((0, 2))
    >>> sliced_wasserstein_grad(np.array([[4.0, 6.0]]), none, num_directions=1)[0]
    array([[-0.5,  0.5]])
    """
    name = "sliced_wasserstein_grad"
    gaps, orders = _gaps(name, first, second, num_directions)
    first, second = as_pairs(name, "first", first), as_pairs(name, "second", second)
    order = as_order(name, "order", order)
    grads = np.zeros_like(first), np.zeros_like(second)
    unit = np.abs(gaps).max(initial=0.0)
    if unit == 0:
        return grads
    shares = np.abs(gaps) / unit
    scale = (np.sum(shares**order) / num_directions) ** (1 / order)
    slopes = (shares / scale) ** (order - 1) * np.sign(gaps) / num_directions
    own = len(first), len(second)
    for line, direction in enumerate(np.array(_directions(num_directions))):
        along_diagonal = np.full(2, np.sum(direction) / 2)
        for side, sign in ((0, 1.0), (1, -1.0)):
            for slope, k in zip(slopes[line], orders[side][line], strict=True):
                if k < own[side]:
                    grads[side][k] += sign * slope * direction
                else:
                    grads[1 - side][k - own[side]] += sign * slope * along_diagonal
    return grads


def _gaps(
    function: str, first: object, second: object, num_directions: int
) -> tuple[Float64[np.ndarray, "d n"], list[Int64[np.ndarray, "d n"]]]:
    """Return the gaps of the sorted projections, and both sides' points in that order."""
    first, second = as_pairs(function, "first", first), as_pairs(function, "second", second)
    num_directions = as_integer(function, "num_directions", num_directions, least=1)
    on_diagonal = [np.repeat(np.mean(each, axis=1)[:, None], 2, axis=1) for each in (first, second)]
    projections, orders = [], []
    for own, other in ((first, on_diagonal[1]), (second, on_diagonal[0])):
        births, deaths = np.concatenate([own, other]).T
        on_lines = np.array([x * births + y * deaths for x, y in _directions(num_directions)])
        orders.append(np.argsort(on_lines, axis=1, kind="stable"))
        projections.append(np.take_along_axis(on_lines, orders[-1], axis=1))
    return projections[0] - projections[1], orders


def _directions(num_directions: int) -> list[tuple[float, float]]:
    """Return unit vectors, evenly spaced over half a turn from -pi/2 on."""
    angles = [math.pi * i / num_directions - math.pi / 2 for i in range(num_directions)]
    return [(math.cos(angle), math.sin(angle)) for angle in angles]

"""Functions of the filtration value that a persistence diagram gives: landscapes, Betti curves.

With their gradients. Shape letters: K pairs, L landscapes, G values of the grid.
"""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64, Int64

from reference.validation import (
    as_grid,
    as_integer,
    as_persistent_pairs,
    as_points,
    as_positive,
    as_vector,
)


def default_grid(
    diagrams: Sequence[Float64[np.ndarray, "k 2"]], num_values: int = 100
) -> Float64[np.ndarray, " g"]:
    """Return evenly spaced filtration values from the first birth to the last death.

    Parameters
    ----------
    diagrams
        Finite (birth, death) rows of each cloud, at least one pair in all.
    num_values
        How many values, G, at least 2.

    Returns
    -------
    Float64[np.ndarray, " g"]
        Increasing, the first birth and the last death included.

    Raises
    ------
    ValueError
        If a diagram is not of (birth, death) rows, has an infinite or NaN entry or a death before
        its birth, there is no pair of positive persistence, or `num_values` is out of range.

    Examples
    --------
    >>> default_grid([np.array([[0.0, 2.0]]), np.array([[1.0, 3.0]])], 4)
    array([0., 1., 2., 3.])
    """
    name = "default_grid"
    num_values = as_integer(name, "num_values", num_values, least=2)
    each = [as_persistent_pairs(name, f"diagrams[{i}]", rows) for i, rows in enumerate(diagrams)]
    pairs = np.concatenate([np.empty((0, 2)), *each])
    if not len(pairs) or not pairs[:, 0].min() < pairs[:, 1].max():
        raise ValueError(
            f"{name}: diagrams have no pair of positive persistence, hence no default grid; pass "
            "clouds of two or more different points"
        )
    return np.linspace(pairs[:, 0].min(), pairs[:, 1].max(), num_values)


def persistence_landscape(
    pairs: Float64[np.ndarray, "k 2"],
    *,
    grid: Float64[np.ndarray, " g"],
    num_landscapes: int = 5,
) -> Float64[np.ndarray, "l g"]:
    """Return the first landscapes of a diagram at the grid's values.

    Parameters
    ----------
    pairs
        Finite (birth, death) rows, in any order; may be empty, (0, 2).
    grid
        Filtration values, increasing.
    num_landscapes
        How many landscapes, at least 1.

    Returns
    -------
    Float64[np.ndarray, "l g"]
        Row l is the landscape of rank l + 1, in the unit of the filtration: the largest in row 0.
        0 beyond the number of pairs.

    Raises
    ------
    ValueError
        If `pairs` are no (birth, death) rows, have an infinite or NaN entry or a death before its
        birth, or another argument is out of range.

    Notes
    -----
    P. Bubenik, "Statistical Topological Data Analysis using Persistence Landscapes" (JMLR 16,
    2015): with the tents max(0, min(t - b_k, d_k - t)), lambda_l(t) is the l-th largest of them.
    GUDHI's `Landscape` is sqrt(2) times as high.

    Examples
    --------
    >>> grid = np.array([0.0, 1.0, 2.0, 3.0])
    >>> persistence_landscape(np.array([[0.0, 4.0], [1.0, 3.0]]), grid=grid, num_landscapes=2)
    array([[0., 1., 2., 1.],
           [0., 0., 1., 0.]])
    """
    tents, _, ranks = _tents("persistence_landscape", pairs, grid, num_landscapes)
    landscapes = np.zeros((num_landscapes, tents.shape[1]))
    landscapes[: len(ranks)] = np.take_along_axis(tents, ranks, axis=0)
    return landscapes


def persistence_landscape_grad(
    pairs: Float64[np.ndarray, "k 2"],
    grad_landscapes: Float64[np.ndarray, "l g"],
    *,
    grid: Float64[np.ndarray, " g"],
    num_landscapes: int = 5,
) -> Float64[np.ndarray, "k 2"]:
    """Return the gradient for the pairs, given the gradient for the landscapes.

    Parameters
    ----------
    pairs, grid, num_landscapes
        As in `persistence_landscape`.
    grad_landscapes
        dL/dlambda, of the shape of the landscapes.

    Returns
    -------
    Float64[np.ndarray, "k 2"]
        dL/db_k, dL/dd_k.

    Raises
    ------
    ValueError
        As `persistence_landscape`, or if `grad_landscapes` has another shape.

    Notes
    -----
    Which tent has which rank is held fixed; of equally high ones that of the lowest row is first.
    At its top a tent's gradient is shared evenly by birth and death; outside and at its ends it
    is 0.

    Examples
    --------
    >>> persistence_landscape_grad(
    ...     np.array([[0.0, 4.0]]), np.array([[1.0, 1.0]]), grid=np.array([1.0, 3.5]),
    ...     num_landscapes=1,
    ... )
    array([[-1.,  1.]])
    """
    name = "persistence_landscape_grad"
    tents, slopes, ranks = _tents(name, pairs, grid, num_landscapes)
    grad_landscapes = as_points(name, "grad_landscapes", grad_landscapes)
    if grad_landscapes.shape != (num_landscapes, tents.shape[1]):
        raise ValueError(
            f"{name}: grad_landscapes has shape {grad_landscapes.shape}; the landscapes have "
            f"{(num_landscapes, tents.shape[1])}, pass the same"
        )
    grad_tents = np.zeros_like(tents)
    np.put_along_axis(grad_tents, ranks, grad_landscapes[: len(ranks)], axis=0)
    return np.einsum("kg,kgc->kc", grad_tents, slopes)


def betti_curve(
    pairs: Float64[np.ndarray, "k 2"],
    *,
    grid: Float64[np.ndarray, " g"],
    bandwidth: float | None = None,
) -> Float64[np.ndarray, " g"]:
    """Return how many classes are alive at the grid's values.

    Parameters
    ----------
    pairs
        Finite (birth, death) rows, in any order; may be empty, (0, 2).
    grid
        Filtration values, increasing.
    bandwidth
        None: the curve itself, of whole numbers. Above 0: the curve smoothed by a Gaussian of this
        standard deviation, in the unit of the filtration.

    Returns
    -------
    Float64[np.ndarray, " g"]
        The number of pairs with b <= t < d, or with a bandwidth s the sum over pairs of
        Phi((t - b) / s) - Phi((t - d) / s), Phi being the normal distribution.

    Raises
    ------
    ValueError
        If `pairs` are no (birth, death) rows, have an infinite or NaN entry or a death before its
        birth, or another argument is out of range.

    Notes
    -----
    Classes that never die have no row, and are not counted. Smoothing keeps the integral, which is
    the total persistence.

    Examples
    --------
    >>> betti_curve(np.array([[0.0, 2.0], [1.0, 3.0]]), grid=np.array([0.0, 1.0, 2.0, 3.0]))
    array([1., 2., 1., 0.])
    """
    births, deaths, grid = _steps("betti_curve", pairs, grid)
    if bandwidth is None:
        return np.sum((births <= grid) & (grid < deaths), axis=0).astype(np.float64)
    bandwidth = as_positive("betti_curve", "bandwidth", bandwidth)
    risen, fallen = (_normal_distribution((grid - ends) / bandwidth) for ends in (births, deaths))
    return np.sum(risen - fallen, axis=0)


def betti_curve_grad(
    pairs: Float64[np.ndarray, "k 2"],
    grad_curve: Float64[np.ndarray, " g"],
    *,
    grid: Float64[np.ndarray, " g"],
    bandwidth: float,
) -> Float64[np.ndarray, "k 2"]:
    """Return the gradient for the pairs, given the gradient for the smoothed curve.

    Parameters
    ----------
    pairs, grid, bandwidth
        As in `betti_curve`; a bandwidth is needed: without, the curve is piecewise constant, and
        its gradient is 0 wherever there is one.
    grad_curve
        dL/dbeta, one per value of the grid.

    Returns
    -------
    Float64[np.ndarray, "k 2"]
        dL/db_k, dL/dd_k: minus and plus the Gaussian at (t - b) / s and (t - d) / s.

    Raises
    ------
    ValueError
        As `betti_curve`, or if `grad_curve` has another shape.

    Examples
    --------
    An earlier birth makes the curve at the birth higher.

    >>> betti_curve_grad(
    ...     np.array([[0.0, 9.0]]), np.array([1.0]), grid=np.array([0.0]), bandwidth=0.5
    ... ).round(4)
    array([[-0.7979,  0.    ]])
    """
    name = "betti_curve_grad"
    births, deaths, grid = _steps(name, pairs, grid)
    bandwidth = as_positive(name, "bandwidth", bandwidth)
    grad_curve = as_vector(name, "grad_curve", grad_curve, len(grid))
    at_births, at_deaths = (
        np.exp(-(((grid - ends) / bandwidth) ** 2) / 2) / (np.sqrt(2 * np.pi) * bandwidth)
        for ends in (births, deaths)
    )
    return np.column_stack([-at_births @ grad_curve, at_deaths @ grad_curve])


def _tents(
    function: str, pairs: object, grid: object, num_landscapes: int
) -> tuple[Float64[np.ndarray, "k g"], Float64[np.ndarray, "k g 2"], Int64[np.ndarray, "r g"]]:
    """Return every pair's tent, its slopes by birth and death, and the highest ones' rows."""
    births, deaths, grid = _steps(function, pairs, grid)
    num_landscapes = as_integer(function, "num_landscapes", num_landscapes, least=1)
    rising, falling = grid - births, deaths - grid
    tents = np.maximum(np.minimum(rising, falling), 0.0)
    by_birth = np.where(rising < falling, -1.0, np.where(rising == falling, -0.5, 0.0))
    by_death = np.where(rising > falling, 1.0, np.where(rising == falling, 0.5, 0.0))
    slopes = np.stack([by_birth, by_death], axis=-1) * (tents > 0)[..., None]
    ranks = np.argsort(-tents, axis=0, kind="stable")[:num_landscapes]
    return tents, slopes, ranks


def _steps(
    function: str, pairs: object, grid: object
) -> tuple[Float64[np.ndarray, "k 1"], Float64[np.ndarray, "k 1"], Float64[np.ndarray, " g"]]:
    """Return births and deaths as columns, and the grid."""
    births, deaths = as_persistent_pairs(function, "pairs", pairs).T
    return births[:, None], deaths[:, None], as_grid(function, "grid", grid)


def _normal_distribution(values: Float64[np.ndarray, "k g"]) -> Float64[np.ndarray, "k g"]:
    """Return the probability that a standard normal number is smaller."""
    each = [(1 + math.erf(value / math.sqrt(2))) / 2 for value in values.ravel().tolist()]
    return np.array(each).reshape(values.shape)

"""Functions of the filtration value that persistence diagrams give: landscapes, Betti curves.

Shape letters: K pairs, L landscapes, G values of the grid.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fast.checks import as_counted_pairs, as_grid, as_integer, as_positive, as_precise
from fast.diagram import BatchedDiagram, rows_of

Grid = Tensor | np.ndarray[Any, Any] | int | None

_MOST_PASSES = 12  # to sort all tents takes as long as finding so many of the highest one by one


@torch.no_grad()
def default_grid(
    diagrams: Tensor | BatchedDiagram, num_values: int = 100, *, mask: Tensor | None = None
) -> Tensor:
    """Return evenly spaced filtration values from the first birth to the last death.

    Parameters
    ----------
    diagrams
        A `BatchedDiagram`, or (..., K, 2) finite (birth, death) rows, at least one pair in all: one
        grid for all of them, so that their landscapes and curves can be compared.
    num_values
        How many values, G, at least 2.
    mask
        (..., K) bool: which rows are pairs; None: all. A `BatchedDiagram` has its own.

    Returns
    -------
    Tensor
        (G,) float64, increasing, the first birth and the last death included, on the device of the
        diagrams. A CUDA device is waited for.

    Raises
    ------
    ValueError
        If there is no pair of positive persistence, `num_values` is out of range, or as
        `betti_curve`.

    Examples
    --------
    >>> default_grid(torch.tensor([[0.0, 2.0], [1.0, 3.0]]), 4)
    tensor([0., 1., 2., 3.], dtype=torch.float64)
    """
    name = "default_grid"
    num_values = as_integer(name, "num_values", num_values, least=2)
    diagrams, mask = rows_of(name, "diagrams", diagrams, mask)
    pairs, counted = as_counted_pairs(name, "diagrams", diagrams, mask, no_death_before_birth=True)
    return _grid_of(name, "diagrams", pairs[counted], num_values)


def _grid_of(function: str, argument: str, pairs: Tensor, num_values: int) -> Tensor:
    """Return the grid of (K, 2) pairs."""
    low, high = (float(pairs[:, 0].min()), float(pairs[:, 1].max())) if len(pairs) else (0.0, 0.0)
    if not low < high:
        raise ValueError(
            f"{function}: {argument} have no pair of positive persistence, hence no default grid; "
            "pass a grid, increasing filtration values (G,)"
        )
    return torch.linspace(low, high, num_values, dtype=torch.float64, device=pairs.device)


@torch.no_grad()
def _as_grid(function: str, grid: Grid, pairs: Tensor, counted: Tensor) -> Tensor:
    """Return the grid that was given, or the default one of the pairs."""
    if grid is None or (isinstance(grid, int) and not isinstance(grid, bool)):
        num_values = as_integer(function, "grid", 100 if grid is None else grid, least=2)
        return _grid_of(function, "pairs", pairs[counted], num_values)
    return as_grid(function, "grid", grid, pairs)


def persistence_landscape(
    pairs: Tensor | BatchedDiagram,
    *,
    grid: Grid = None,
    num_landscapes: int = 5,
    mask: Tensor | None = None,
) -> Tensor:
    """Return the first landscapes of each diagram at the grid's values.

    Parameters
    ----------
    pairs
        A `BatchedDiagram`, or (..., K, 2) finite (birth, death) rows, in any order; K may be 0.
    grid
        (G,) filtration values, increasing; a constant. A number: so many values of `default_grid`
        of these pairs; None: 100.
    num_landscapes
        How many landscapes, at least 1.
    mask
        (..., K) bool: which rows are pairs; None: all. What stands in other rows is not read. A
        `BatchedDiagram` has its own.

    Returns
    -------
    Tensor
        (..., L, G): row l is the landscape of rank l + 1, in the unit of the filtration and the
        dtype of `pairs`; the largest in row 0, 0 beyond the number of pairs. Differentiable; which
        tent has which rank is held fixed, of equally high ones that of the lowest row is first. At
        its top a tent's gradient is shared evenly by birth and death, outside and at its ends it
        is 0.

    Raises
    ------
    ValueError
        If a tensor is not of (birth, death) rows, two do not fit together, (on the CPU) an entry is
        infinite or NaN, a death before its birth or the grid not increasing, or an option is out of
        range.

    Notes
    -----
    P. Bubenik, "Statistical Topological Data Analysis using Persistence Landscapes" (JMLR 16,
    2015): with the tents max(0, min(t - b_k, d_k - t)), lambda_l(t) is the l-th largest of them.
    GUDHI's `Landscape` is sqrt(2) times as high. O(K G log K) time and O(K G) memory, in float64.
    Nothing waits for a CUDA device.

    Examples
    --------
    >>> grid = torch.tensor([0.0, 1.0, 2.0, 3.0])
    >>> persistence_landscape(torch.tensor([[0.0, 4.0], [1.0, 3.0]]), grid=grid, num_landscapes=2)
    tensor([[0., 1., 2., 1.],
            [0., 0., 1., 0.]])
    """
    name = "persistence_landscape"
    pairs, mask = rows_of(name, "pairs", pairs, mask)
    dtype = as_precise(name, "pairs", pairs).dtype
    # Rows that do not count are (0, 0), whose tent is 0.
    pairs, mask = as_counted_pairs(name, "pairs", pairs, mask, no_death_before_birth=True)
    grid = _as_grid(name, grid, pairs, mask)
    num_landscapes = as_integer(name, "num_landscapes", num_landscapes, least=1)
    births, deaths = pairs[..., None].unbind(dim=-2)
    tents = torch.minimum(grid - births, deaths - grid).relu()
    highest = _highest(tents.detach(), min(num_landscapes, tents.shape[-2]))
    landscapes = tents.gather(-2, highest).to(dtype)
    missing = num_landscapes - landscapes.shape[-2]
    return torch.nn.functional.pad(landscapes, (0, 0, 0, missing))


def _highest(tents: Tensor, count: int) -> Tensor:
    """Return the rows (..., count, G) of the highest tents (..., K, G), of equal ones the first."""
    if count > _MOST_PASSES or not count:
        order = tents.sort(dim=-2, descending=True, stable=True).indices
        return order[..., :count, :]
    rows, left = [], tents.clone()
    for _ in range(count):
        rows.append(left.max(dim=-2, keepdim=True).indices)
        left.scatter_(-2, rows[-1], -1.0)  # tents are 0 or higher
    return torch.cat(rows, dim=-2)


def betti_curve(
    pairs: Tensor | BatchedDiagram,
    *,
    grid: Grid = None,
    bandwidth: float | None = None,
    mask: Tensor | None = None,
) -> Tensor:
    """Return how many classes of each diagram are alive at the grid's values.

    Parameters
    ----------
    pairs
        A `BatchedDiagram`, or (..., K, 2) finite (birth, death) rows, in any order; K may be 0.
    grid
        (G,) filtration values, increasing; a constant. A number: so many values of `default_grid`
        of these pairs; None: 100.
    bandwidth
        None: the curve itself, of whole numbers. It is piecewise constant, its gradient is 0
        wherever there is one, and none is attached: a loss of it alone refuses to go backward.
        Above 0: the curve smoothed by a Gaussian of this standard deviation, in the unit of the
        filtration, differentiable any number of times.
    mask
        (..., K) bool: which rows are pairs; None: all. What stands in other rows is not read. A
        `BatchedDiagram` has its own.

    Returns
    -------
    Tensor
        (..., G) in the dtype of `pairs`: the number of pairs with b <= t < d, or with a bandwidth
        s the sum over pairs of Phi((t - b) / s) - Phi((t - d) / s), Phi being the normal
        distribution.

    Raises
    ------
    ValueError
        If a tensor is not of (birth, death) rows, two do not fit together, (on the CPU) an entry is
        infinite or NaN, a death before its birth or the grid not increasing, or the bandwidth is
        not above 0.

    Notes
    -----
    Classes that never die have no row, and are not counted; `BatchedDiagram.num_essential` has
    their number. Smoothing keeps the integral, which is the total persistence. O(K G) time and
    memory, in float64. Nothing waits for a CUDA device.

    Examples
    --------
    >>> pairs = torch.tensor([[0.0, 2.0], [1.0, 3.0]])
    >>> betti_curve(pairs, grid=torch.tensor([0.0, 1.0, 2.0, 3.0]))
    tensor([1., 2., 1., 0.])
    """
    name = "betti_curve"
    pairs, mask = rows_of(name, "pairs", pairs, mask)
    dtype = as_precise(name, "pairs", pairs).dtype
    # Rows that do not count are (0, 0), which is never alive.
    pairs, mask = as_counted_pairs(name, "pairs", pairs, mask, no_death_before_birth=True)
    grid = _as_grid(name, grid, pairs, mask)
    births, deaths = pairs[..., None].unbind(dim=-2)
    if bandwidth is None:
        alive = (births <= grid) & (grid < deaths)
        return alive.sum(dim=-2).to(dtype)
    bandwidth = as_positive(name, "bandwidth", bandwidth)
    width = math.sqrt(2) * bandwidth
    risen, fallen = (((grid - ends) / width).erf() for ends in (births, deaths))
    return ((risen - fallen).sum(dim=-2) / 2).to(dtype)

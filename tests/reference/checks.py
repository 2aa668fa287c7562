"""Assertions about diagrams and gradients; `test_checks.py` shows each of them going red."""

from collections.abc import Callable

import numpy as np

from reference.diagram import Diagram

STEP = 1e-5
"""Step of a central difference: with values and slopes near 1 its error is about 1e-10."""


def assert_same_points(got: np.ndarray, want: np.ndarray, *, atol: float = 0.0) -> None:
    """Assert the same multiset of (birth, death) rows."""
    got, want = np.asarray(got).reshape(-1, 2), np.asarray(want).reshape(-1, 2)
    got = got[np.lexsort((got[:, 1], got[:, 0]))]
    want = want[np.lexsort((want[:, 1], want[:, 0]))]
    np.testing.assert_allclose(got, want, rtol=0.0, atol=atol)


def assert_same_diagram(got: Diagram, want: Diagram) -> None:
    """Assert the same pairs with the same critical edges and simplices in the same order."""
    assert got.dim == want.dim
    assert got.num_essential == want.num_essential
    for name in ("births", "deaths", "birth_edges", "death_edges", "death_simplices"):
        np.testing.assert_array_equal(getattr(got, name), getattr(want, name), err_msg=name)


def assert_gradient(
    function: Callable[[np.ndarray], float], at: np.ndarray, gradient: np.ndarray
) -> None:
    """Assert that `gradient` is the derivative of `function`, entry by entry."""
    assert gradient.shape == at.shape
    slopes = np.empty_like(at)
    for index in np.ndindex(at.shape):
        step = np.zeros_like(at)
        step[index] = STEP
        slopes[index] = (function(at + step) - function(at - step)) / (2 * STEP)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-5, atol=1e-7)


def smallest_gap(values: np.ndarray) -> float:
    """Return the smallest difference between two of `values`; inf if there are not two."""
    return float(np.diff(np.sort(np.ravel(values))).min(initial=np.inf))


def partner_margin(teacher: np.ndarray, student: np.ndarray, cost_scale: float = 1.0) -> float:
    """Return how near any pair of two diagrams is to changing its Chamfer partner."""
    cost = cost_scale * ((teacher[:, None] - student) ** 2).sum(axis=2)
    margins = [np.inf]
    for rows, pairs in ((cost, teacher), (cost.T, student)):
        for row, (birth, death) in zip(rows, pairs, strict=True):
            margins.append(smallest_gap(np.append(row, (death - birth) ** 2 / 2)))
    return min(margins)

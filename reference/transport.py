"""Entropic optimal transport between diagrams, and gradient entropy: what Table 11 compares.

Shape letters: M teacher pairs p_i, K student pairs q_k, each a (birth, death) row.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float64

from reference.chamfer import (
    diagonal_gradient,
    squared_distance_to_diagonal,
    squared_distances,
)
from reference.errors import NotConvergedError
from reference.validation import as_integer, as_pairs, as_positive, as_vector

_CLOSE = 0.01  # error from which Newton's steps soon end


class Transport(NamedTuple):
    """The optimal plan between two completed diagrams, and its value."""

    value: float
    """sum(P C) + eps KL(P || uniform), in squared units of the filtration."""
    plan: Float64[np.ndarray, "m+k m+k"]
    """Mass from the teacher's M pairs and K diagonal points to the student's K and M; sums to 1."""


def entropic_transport(
    teacher: Float64[np.ndarray, "m 2"],
    student: Float64[np.ndarray, "k 2"],
    eps: float = 0.1,
    *,
    relative: bool = False,
    tolerance: float = 1e-9,
    max_iterations: int = 10_000,
) -> Transport:
    """Return the entropic optimal transport between two diagrams, diagonal included.

    Parameters
    ----------
    teacher, student
        Finite (birth, death) rows of one dimension; either may be empty, shape (0, 2).
    eps
        Weight of the entropy, above 0, in squared units of the filtration.
    relative
        Take `eps` as a share of the largest cost of the completed diagrams instead.
    tolerance
        Largest error of the plan's column sums, relative to the mass of a point. Its row sums are
        exact.
    max_iterations
        Give up after this many steps.

    Returns
    -------
    Transport
        `value` and `plan`; value 0 and a plan of shape (0, 0) for two empty diagrams.

    Raises
    ------
    ValueError
        If a diagram has an entry that is not finite, or an option is out of range.
    NotConvergedError
        If the tolerance is not reached in `max_iterations` steps, or costs are so far above `eps`
        that rounding leaves no step to take.

    Notes
    -----
    Appendix D.5, which leaves the details open. Each diagram is completed with as many diagonal
    points as the other has pairs; every point has mass 1 / (M + K). Between two pairs the cost is
    their squared distance, between a pair and a diagonal point half the squared persistence (the
    costs of Eq. 2), between two diagonal points 0. With `relative` the value of diagrams s times as
    large is s^2 times as large; the paper's eps is absolute as far as it says.

    The plan is that of Sinkhorn's iteration (M. Cuturi, 2013). It is found by Newton's method
    instead, damped by the error that is left, because few pairs far apart, relative to `eps`, would
    need exp(gap / 2 eps) of Sinkhorn's sweeps. Far from the solution Newton's steps are short, so
    it begins at a large weight of the entropy, which is halved down to `eps`. Logarithms keep small
    `eps` from underflowing.
    O((M + K)^3) a step.

    Examples
    --------
    >>> value, plan = entropic_transport(np.array([[0.0, 2.0]]), np.empty((0, 2)))
    >>> value, plan
    (2.0, array([[1.]]))
    """
    name = "entropic_transport"
    return _transport(name, teacher, student, eps, relative, tolerance, max_iterations)


def entropic_transport_grad(
    teacher: Float64[np.ndarray, "m 2"],
    student: Float64[np.ndarray, "k 2"],
    eps: float = 0.1,
    *,
    relative: bool = False,
    tolerance: float = 1e-9,
    max_iterations: int = 10_000,
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Return the gradient of `entropic_transport`'s value for the student's births and deaths.

    Parameters
    ----------
    teacher, student, eps, relative, tolerance, max_iterations
        As in `entropic_transport`.

    Returns
    -------
    grad_births, grad_deaths
        dL/db_k and dL/dd_k, shape (K,) each.

    Raises
    ------
    ValueError, NotConvergedError
        As `entropic_transport`.

    Notes
    -----
    The plan is optimal, so it counts as constant (envelope theorem): sum(P dC/dq_k). With
    `relative` the largest cost counts as constant too, although eps follows it: the gradient is
    that of the absolute eps of these diagrams.

    Examples
    --------
    >>> entropic_transport_grad(np.empty((0, 2)), np.array([[1.0, 3.0]]))
    (array([-2.]), array([2.]))
    """
    name = "entropic_transport_grad"
    plan = _transport(name, teacher, student, eps, relative, tolerance, max_iterations).plan
    matched, to_diagonal = np.split(plan[:, : len(student)], [len(teacher)])
    grad = np.einsum("mk,mkx->kx", matched, 2 * (student - teacher[:, None]))
    grad += to_diagonal.sum(axis=0)[:, None] * diagonal_gradient(student)
    return grad[:, 0], grad[:, 1]


def gradient_entropy(
    grad_births: Float64[np.ndarray, " k"], grad_deaths: Float64[np.ndarray, " k"]
) -> float:
    """Return how evenly a gradient is spread over the student's pairs.

    Parameters
    ----------
    grad_births, grad_deaths
        dL/db_k and dL/dd_k of K pairs, not all zero.

    Returns
    -------
    float
        -sum(p_k ln p_k) / ln K, with p_k in proportion to the length of (dL/db_k, dL/dd_k):
        between 0 (one pair has it all) and 1 (all have the same). 0 for a single pair.

    Raises
    ------
    ValueError
        If the lengths differ, an entry is not finite, or the gradient is zero.

    Notes
    -----
    Table 11 reports such a number without defining it; this definition is ours.

    Examples
    --------
    >>> gradient_entropy(np.array([1.0, -1.0, 0.0, 0.0]), np.zeros(4))
    0.5
    """
    name = "gradient_entropy"
    grad_births = as_vector(name, "grad_births", grad_births, np.size(grad_births))
    grad_deaths = as_vector(name, "grad_deaths", grad_deaths, len(grad_births))
    sizes = np.hypot(grad_births, grad_deaths)
    if not np.any(sizes):
        raise ValueError(f"{name}: the gradient of {len(sizes)} pairs is zero; it has no spread")
    shares = sizes[sizes > 0] / sizes.sum()  # a share of 0 adds nothing
    if len(sizes) == 1:
        return 0.0
    return float(-np.sum(shares * np.log(shares)) / np.log(len(sizes)))


def _transport(
    function: str,
    teacher: Float64[np.ndarray, "m 2"],
    student: Float64[np.ndarray, "k 2"],
    eps: float,
    relative: bool,
    tolerance: float,
    max_iterations: int,
) -> Transport:
    teacher = as_pairs(function, "teacher", teacher)
    student = as_pairs(function, "student", student)
    eps = as_positive(function, "eps", eps)
    tolerance = as_positive(function, "tolerance", tolerance)
    max_iterations = as_integer(function, "max_iterations", max_iterations, least=1)

    cost = _completed_cost(teacher, student)
    size = len(cost)
    if size == 0:
        return Transport(0.0, cost)
    largest_cost = cost.max()
    last_weight = eps * largest_cost if relative and largest_cost > 0 else eps
    weight = max(last_weight, largest_cost)  # of the entropy, for now: this is easy
    potential = np.zeros(size)  # the dual variable of each column
    steps = 0
    while steps < max_iterations:
        steps += 1
        log_density = (potential - cost) / weight
        log_density -= _log_mean_exp(log_density)[:, None]  # fits the rows
        shares = np.exp(log_density) / size  # what each row sends to each column, 1 in all
        error = 1 - shares.sum(axis=0)
        largest_error = np.abs(error).max()
        if largest_error <= tolerance and weight == last_weight:
            plan = shares / size
            return Transport(float(np.sum(plan * (cost + weight * log_density))), plan)
        if largest_error > tolerance:  # undamped, the curvature is singular
            curvature = np.diag(shares.sum(axis=0)) - shares.T @ shares
            try:
                newton = np.linalg.solve(curvature + largest_error * np.eye(size), error)
            except np.linalg.LinAlgError:  # the damping is rounded away
                break
            potential += weight * newton
        if largest_error <= max(_CLOSE, tolerance):
            weight = max(last_weight, weight / 2)
    raise NotConvergedError(
        f"{function}: column sums are off by {largest_error:.1e} after {steps} steps; "
        f"raise eps (now {eps}), tolerance (now {tolerance}) or max_iterations"
    )


def _completed_cost(
    teacher: Float64[np.ndarray, "m 2"], student: Float64[np.ndarray, "k 2"]
) -> Float64[np.ndarray, "m+k m+k"]:
    """Return the costs from (teacher's pairs, K diagonal points) to (student's, M of them)."""
    m, k = len(teacher), len(student)
    teacher_to_diagonal = np.tile(squared_distance_to_diagonal(teacher)[:, None], (1, m))
    student_to_diagonal = np.tile(squared_distance_to_diagonal(student), (k, 1))
    return np.block(
        [
            [squared_distances(teacher, student), teacher_to_diagonal],
            [student_to_diagonal, np.zeros((k, m))],
        ]
    )


def _log_mean_exp(rows: Float64[np.ndarray, "a b"]) -> Float64[np.ndarray, " a"]:
    largest = rows.max(axis=1)
    return largest + np.log(np.mean(np.exp(rows - largest[:, None]), axis=1))

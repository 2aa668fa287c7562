"""Persistence-weighted Chamfer distance between two diagrams, and its gradient.

Eq. 2-3, Algorithms 2 and 4. Shape letters: M teacher pairs p_i, K student pairs q_k, each a
(birth, death) row.
"""

from typing import Literal

import numpy as np
from jaxtyping import Float64

from reference.validation import as_choice, as_nonnegative, as_pairs, as_positive

PrecisionWeight = Literal["uniform", "persistence"]
Ties = Literal["lowest", "average"]


def persistence_weighted_chamfer(
    teacher: Float64[np.ndarray, "m 2"],
    student: Float64[np.ndarray, "k 2"],
    eps: float = 1e-8,
    *,
    cost_scale: float = 1.0,
    precision_weight: PrecisionWeight = "uniform",
    min_persistence: float = 0.0,
) -> float:
    """Return how far the student's diagram is from the teacher's.

    Parameters
    ----------
    teacher, student
        Finite (birth, death) rows of one dimension; either may be empty, shape (0, 2).
    eps
        Stabilizer of the weights' sum, above 0.
    cost_scale
        Factor of the squared distance between two pairs: 1 follows Eq. 2-3 and Algorithm 4, 0.5
        follows line 14 of Algorithm 2 to the letter. The cost of the diagonal has no factor, so
        this also moves the point at which the diagonal is nearer.
    precision_weight
        "uniform" weighs every student pair 1/K (Eq. 3); "persistence" weighs it as Eq. 2 weighs
        the teacher's: log(1 + persistence), over the sum plus `eps`.
    min_persistence
        Teacher pairs of smaller persistence get weight 0. The weights of Eq. 2 are relative, so
        a diagram that is all noise keeps its full weight without this.

    Returns
    -------
    float
        Recall (Eq. 2) plus precision (Eq. 3), in squared units of the filtration. 0 for equal
        diagrams. An empty teacher has recall 0, an empty student precision 0.

    Raises
    ------
    ValueError
        If a diagram is not of (birth, death) rows, has an infinite or NaN entry, or an option is
        out of range.

    Notes
    -----
    O(M K). Not symmetric: the weights are the teacher's.

    Examples
    --------
    One loop, found a little later: nearer to its match (0.01 each way) than to the diagonal.

    >>> round(persistence_weighted_chamfer(np.array([[1.0, 2.0]]), np.array([[1.0, 2.1]])), 6)
    0.02
    """
    name = "persistence_weighted_chamfer"
    teacher, student = as_pairs(name, "teacher", teacher), as_pairs(name, "student", student)
    _check_options(name, eps, cost_scale, precision_weight, min_persistence)
    cost = cost_scale * squared_distances(teacher, student)
    recall = recall_weights(teacher, eps, min_persistence) @ _candidates(cost, teacher).min(axis=1)
    precision = _precision_weights(student, eps, precision_weight) @ _candidates(
        cost.T, student
    ).min(axis=1)
    return float(recall + precision)


def persistence_weighted_chamfer_grad(
    teacher: Float64[np.ndarray, "m 2"],
    student: Float64[np.ndarray, "k 2"],
    eps: float = 1e-8,
    *,
    cost_scale: float = 1.0,
    precision_weight: PrecisionWeight = "uniform",
    min_persistence: float = 0.0,
    ties: Ties = "lowest",
) -> tuple[Float64[np.ndarray, " k"], Float64[np.ndarray, " k"]]:
    """Return the gradient of `persistence_weighted_chamfer` for the student's births and deaths.

    Parameters
    ----------
    teacher, student, eps, cost_scale, precision_weight, min_persistence
        As in `persistence_weighted_chamfer`.
    ties
        "lowest" sends the gradient to the nearest pair of lowest index, and to it rather than to
        the diagonal if the two are equally far (Algorithm 4); "average" shares it evenly among
        all that are nearest, the diagonal included (section 3.2.1).

    Returns
    -------
    grad_births, grad_deaths
        dL/db_k and dL/dd_k, shape (K,) each.

    Raises
    ------
    ValueError
        As `persistence_weighted_chamfer`.

    Notes
    -----
    Algorithm 4. A teacher pair that is nearest to the diagonal pulls at no student pair.

    Examples
    --------
    >>> persistence_weighted_chamfer_grad(np.empty((0, 2)), np.array([[1.0, 3.0]]))
    (array([-2.]), array([2.]))
    """
    name = "persistence_weighted_chamfer_grad"
    teacher, student = as_pairs(name, "teacher", teacher), as_pairs(name, "student", student)
    _check_options(name, eps, cost_scale, precision_weight, min_persistence)
    as_choice(name, "ties", ties, ("lowest", "average"))

    cost = cost_scale * squared_distances(teacher, student)
    grad_cost = 2 * cost_scale * (student - teacher[:, None])  # (M, K, 2): d cost / d q_k

    # Recall, lines 7-19: each teacher pair pulls at the student pairs nearest to it.
    nearest = _assign(_candidates(cost, teacher), ties)[:, :-1]
    pull = recall_weights(teacher, eps, min_persistence)[:, None] * nearest
    grad = np.einsum("mk,mkx->kx", pull, grad_cost)

    # Precision, lines 20-42: each student pair goes to the nearest teacher pairs or the diagonal.
    candidates = _candidates(cost.T, student)
    nearest = _assign(candidates, ties)
    grad_nearest = np.einsum("km,mkx->kx", nearest[:, :-1], grad_cost)
    grad_nearest += nearest[:, -1:] * diagonal_gradient(student)
    weights = _precision_weights(student, eps, precision_weight)
    grad += weights[:, None] * grad_nearest
    if precision_weight == "persistence" and len(student):
        grad += _weights_gradient(student, eps, candidates.min(axis=1))
    return grad[:, 0], grad[:, 1]


def persistence_weights(pairs: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, " k"]:
    """Return w = log(1 + persistence) of every pair (Eq. 9; line 7 of Algorithm 2)."""
    return np.log1p(np.maximum(pairs[:, 1] - pairs[:, 0], 0.0))


def recall_weights(
    teacher: Float64[np.ndarray, "m 2"], eps: float, min_persistence: float = 0.0
) -> Float64[np.ndarray, " m"]:
    """Return w / (sum of w + eps), the share of each teacher pair in Eq. 2 (Eq. 10)."""
    weights = persistence_weights(teacher)
    weights[teacher[:, 1] - teacher[:, 0] < min_persistence] = 0.0
    return weights / (weights.sum() + eps)


def squared_distances(
    teacher: Float64[np.ndarray, "m 2"], student: Float64[np.ndarray, "k 2"]
) -> Float64[np.ndarray, "m k"]:
    """Return ||p_i - q_k||^2 for every teacher and student pair."""
    return np.sum((teacher[:, None] - student) ** 2, axis=2)


def squared_distance_to_diagonal(pairs: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, " k"]:
    """Return (d - b)^2 / 2 of every pair (line 11 of Algorithm 2)."""
    return (pairs[:, 1] - pairs[:, 0]) ** 2 / 2


def diagonal_gradient(pairs: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, "k 2"]:
    """Return the gradient of `squared_distance_to_diagonal` (lines 37-39 of Algorithm 4)."""
    persistence = pairs[:, 1] - pairs[:, 0]
    return np.column_stack([-persistence, persistence])


def _check_options(
    function: str, eps: float, cost_scale: float, precision_weight: str, min_persistence: float
) -> None:
    as_positive(function, "eps", eps)
    as_positive(function, "cost_scale", cost_scale)
    as_choice(function, "precision_weight", precision_weight, ("uniform", "persistence"))
    as_nonnegative(function, "min_persistence", min_persistence)


def _candidates(
    cost: Float64[np.ndarray, "a b"], pairs: Float64[np.ndarray, "a 2"]
) -> Float64[np.ndarray, "a c"]:
    """Return what each pair may be matched to: the other diagram's pairs, then the diagonal."""
    return np.column_stack([cost, squared_distance_to_diagonal(pairs)])


def _assign(candidates: Float64[np.ndarray, "a c"], ties: Ties) -> Float64[np.ndarray, "a c"]:
    """Return for each row what share of it goes to each candidate: 1 in all, to the cheapest."""
    if ties == "average":
        cheapest = candidates == candidates.min(axis=1, keepdims=True)
        return cheapest / cheapest.sum(axis=1, keepdims=True)
    # argmin takes the first of equals, and the diagonal is last: lines 10, 13, 26 and 29.
    return np.eye(candidates.shape[1])[candidates.argmin(axis=1)]


def _precision_weights(
    student: Float64[np.ndarray, "k 2"], eps: float, precision_weight: PrecisionWeight
) -> Float64[np.ndarray, " k"]:
    """Return the share of each student pair in Eq. 3."""
    if precision_weight == "persistence":
        return recall_weights(student, eps)
    return np.full(len(student), 1 / max(len(student), 1))


def _weights_gradient(
    student: Float64[np.ndarray, "k 2"], eps: float, cost: Float64[np.ndarray, " k"]
) -> Float64[np.ndarray, "k 2"]:
    """Return the gradient of sum(w c) / (sum(w) + eps) through the weights w alone."""
    persistence = student[:, 1] - student[:, 0]
    total = persistence_weights(student).sum() + eps
    mean_cost = recall_weights(student, eps) @ cost
    grad_weights = (cost - mean_cost) / total
    slope = np.where(persistence > 0, 1 / (1 + np.maximum(persistence, 0.0)), 0.0)  # dw/dd = -dw/db
    return np.column_stack([-grad_weights * slope, grad_weights * slope])

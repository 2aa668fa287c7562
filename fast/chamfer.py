"""Persistence-weighted Chamfer distance between batches of diagrams (Eq. 2-3, Algorithms 2, 4).

Shape letters: M teacher pairs p_i, K student pairs q_k, each a (birth, death) row.
"""

from typing import Literal

import torch
from torch import Tensor

from fast.checks import as_choice, as_clouds, as_nonnegative, as_positive
from fast.diagram import BatchedDiagram, Masks, as_two_diagrams
from fast.dispatch import disable_compile, kernel
from fast.rows import select_rows_of_clouds

PrecisionWeight = Literal["uniform", "persistence"]


def persistence_weighted_chamfer(
    teacher: Tensor | BatchedDiagram,
    student: Tensor | BatchedDiagram,
    eps: float = 1e-8,
    *,
    cost_scale: float = 1.0,
    precision_weight: PrecisionWeight = "uniform",
    min_persistence: float = 0.0,
    mask: Masks = None,
    **named_masks: Tensor | None,
) -> Tensor:
    """Return how far each student diagram is from its teacher's.

    Parameters
    ----------
    teacher, student
        `BatchedDiagram`s, or (..., M, 2) and (..., K, 2) finite (birth, death) rows, of one
        dimension; M and K may be 0.
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
        Teacher pairs of smaller persistence get weight 0.
    mask
        (..., M) and (..., K) bool, a pair: which rows are pairs; None for all. What stands in other
        rows is not read. A `BatchedDiagram` has its own.

    Returns
    -------
    Tensor
        (...) recall (Eq. 2) plus precision (Eq. 3), in squared units of the filtration. 0 for
        equal diagrams. An empty teacher has recall 0, an empty student precision 0.

    Raises
    ------
    ValueError
        If a tensor is not of (birth, death) rows, (on the CPU) has an infinite or NaN entry, two
        tensors do not fit together, or an option is out of range.

    Notes
    -----
    The gradient is Algorithm 4's: it follows the nearest pair, the one of lowest index at ties,
    and prefers it to the diagonal when both are equally far. O(M K) time; memory is bounded,
    because costs are kept for the nearest pairs only.

    Examples
    --------
    >>> teacher, student = torch.tensor([[1.0, 2.0]]), torch.tensor([[1.0, 2.5]])
    >>> persistence_weighted_chamfer(teacher, student)
    tensor(0.5000)
    """
    name = "persistence_weighted_chamfer"
    teacher, student, teacher_mask, student_mask, _ = as_two_diagrams(
        name, ("teacher", "student"), teacher, student, mask, named_masks, double=False
    )
    as_positive(name, "eps", eps)
    as_positive(name, "cost_scale", cost_scale)
    as_choice(name, "precision_weight", precision_weight, ("uniform", "persistence"))
    as_nonnegative(name, "min_persistence", min_persistence)
    teacher_weights = _weights(teacher, teacher_mask, min_persistence)
    recall = _mean_cost(teacher, student, student_mask, teacher_weights, cost_scale, eps)
    if precision_weight == "persistence":
        precision = _mean_cost(
            student,
            teacher,
            teacher_mask,
            _weights(student, student_mask, 0.0),
            cost_scale,
            eps,
        )
    else:
        ones = student_mask.to(student.dtype)
        count = ones.sum(dim=-1, keepdim=True).clamp(min=1)
        cost = _nearest_cost(student, teacher, teacher_mask, cost_scale)
        precision = (ones / count * cost).sum(dim=-1)
    return recall + precision


def _weights(pairs: Tensor, mask: Tensor, min_persistence: float) -> Tensor:
    """Return log(1 + persistence), 0 for rows that do not count (Eq. 9)."""
    persistence = pairs[..., 1] - pairs[..., 0]
    counted = mask & (persistence >= min_persistence)
    return persistence.relu().log1p().where(counted, 0.0)


def _mean_cost(
    pairs: Tensor,
    others: Tensor,
    others_mask: Tensor,
    weights: Tensor,
    cost_scale: float,
    eps: float,
) -> Tensor:
    """Return the weighted mean of the cost of `pairs`, the weights' sum stabilized by eps."""
    shares = weights / (weights.sum(dim=-1, keepdim=True) + eps)
    return (shares * _nearest_cost(pairs, others, others_mask, cost_scale)).sum(dim=-1)


def _nearest_cost(pairs: Tensor, others: Tensor, others_mask: Tensor, cost_scale: float) -> Tensor:
    """Return what each pair costs: to its nearest other, or to the diagonal if that is nearer."""
    to_diagonal = (pairs[..., 1] - pairs[..., 0]).square() / 2
    if 0 in (pairs.shape[-2], others.shape[-2]):
        return to_diagonal
    with torch.no_grad():
        nearest = _nearest(pairs, others, others_mask)
    matched = select_rows_of_clouds(
        others.reshape(-1, *others.shape[-2:]), nearest.reshape(-1, nearest.shape[-1])
    ).view(pairs.shape)
    to_match = cost_scale * (pairs - matched).square().sum(dim=-1)
    is_pair = others_mask.gather(-1, nearest)
    # On equality the match wins (Algorithm 4, lines 13 and 29).
    return torch.where(is_pair & (to_match <= to_diagonal), to_match, to_diagonal)


@disable_compile  # numba cannot be traced
def _nearest(pairs: Tensor, others: Tensor, others_mask: Tensor) -> Tensor:
    """Return the index of the nearest masked row of `others`, the lowest at ties."""
    launch = kernel("persistence_weighted_chamfer", pairs.device)
    clouds = (as_clouds(tensor.detach()) for tensor in (pairs, others))
    nearest: Tensor = launch(*clouds, others_mask.reshape(-1, others_mask.shape[-1]))
    return nearest.view(pairs.shape[:-1])

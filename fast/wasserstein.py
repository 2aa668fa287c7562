"""Exact Wasserstein-2 distance between batches of diagrams of dimension 0.

All births are 0, so a diagram is a list of deaths. Shape letters: B clouds, M teacher deaths a_i,
K student deaths b_j.
"""

from typing import Any

import torch
from torch import Tensor

from fast.checks import as_mask, as_precise, refuse_non_finite, refuse_two_devices
from fast.diagram import BatchedDiagram, Masks, refuse_two_batches, rows_of, two_masks
from fast.dispatch import disable_compile, kernel


def sorted_wasserstein(
    teacher: Tensor | BatchedDiagram,
    student: Tensor | BatchedDiagram,
    *,
    mask: Masks = None,
    **named_masks: Tensor | None,
) -> Tensor:
    """Return how far each student's H0 diagram is from its teacher's, matched at least cost.

    Parameters
    ----------
    teacher, student
        `BatchedDiagram`s of dimension 0, or (..., M) and (..., K) deaths of finite pairs that are
        born at 0, in any order; M and K may be 0.
    mask
        (..., M) and (..., K) bool, a pair: which are deaths; None for all. What stands elsewhere is
        not read. A `BatchedDiagram` has its own.

    Returns
    -------
    Tensor
        (...) the least cost of a matching over the number of deaths of both, in squared units of
        the filtration; 0 for two empty diagrams. Two deaths cost (a - b)^2, one that is left to the
        diagonal a^2 / 2. Differentiable; which deaths are matched is held fixed.

    Raises
    ------
    ValueError
        If a tensor is not of deaths, (on the CPU) has an infinite, NaN or negative entry, or two
        tensors do not fit together.

    Notes
    -----
    The square of the Wasserstein distance of order 2 with Euclidean ground distance, each point of
    the completed diagrams having the same mass: what `entropic_transport` tends to as its eps tends
    to 0. Of several optimal matchings the same as `reference.sorted_wasserstein_grad` takes. O(M K)
    time; how it is found: docs/numerics.md.

    Examples
    --------
    >>> sorted_wasserstein(torch.tensor([1.0, 10.0]), torch.tensor([9.0]))
    tensor(0.5000)
    """
    name = "sorted_wasserstein"
    arguments = ("teacher", "student")
    masks, names = two_masks(name, arguments, mask, named_masks)
    teacher, teacher_mask = _as_deaths(name, "teacher", teacher, masks[0], names[0])
    student, student_mask = _as_deaths(name, "student", student, masks[1], names[1])
    refuse_two_devices(name, teacher=teacher, student=student)
    refuse_two_batches(name, arguments, teacher, student, 1)
    shape = teacher.shape[:-1]
    teacher, student, teacher_mask, student_mask = (
        each.reshape(shape.numel(), each.shape[-1])
        for each in (teacher, student, teacher_mask, student_mask)
    )
    if teacher.shape[1] and student.shape[1]:
        partners = _partners(teacher, student, teacher_mask, student_mask)
        gaps = teacher - student.gather(1, partners.clamp(min=0))
    else:
        partners = torch.full(teacher.shape, -1, device=teacher.device)
        gaps = teacher
    is_matched = partners >= 0
    cost = _half_squares(teacher, teacher_mask & ~is_matched)
    cost = cost + _half_squares(student, student_mask & ~matched_columns(partners, student_mask))
    cost = cost + gaps.square().where(is_matched, 0.0).sum(dim=1)
    size = teacher_mask.sum(dim=1) + student_mask.sum(dim=1)
    return (cost / size.clamp(min=1)).view(shape)


def _half_squares(deaths: Tensor, mask: Tensor) -> Tensor:
    """Return what the deaths under `mask` cost if they are left to the diagonal, (B,)."""
    return deaths.square().where(mask, 0.0).sum(dim=1) / 2


def matched_columns(partners: Tensor, mask: Tensor) -> Tensor:
    """Return which rows (..., K) of a masked diagram are partners (..., M), -1 for none."""
    k = mask.shape[-1]
    # One column more takes those that have no partner.
    found = mask.new_zeros(*mask.shape[:-1], k + 1)
    return found.scatter(-1, partners.where(partners >= 0, k), True)[..., :k]


@disable_compile  # numba cannot be traced
@torch.no_grad()
def _partners(
    teacher: Tensor, student: Tensor, teacher_mask: Tensor, student_mask: Tensor
) -> Tensor:
    """Return each teacher death's partner in an optimal matching, (B, M); -1 for the diagonal."""
    (a, rows), (b, columns) = (
        deaths.double().where(mask, torch.inf).sort(dim=1, stable=True)
        for deaths, mask in ((teacher, teacher_mask), (student, student_mask))
    )
    launch = kernel("sorted_wasserstein", teacher.device)
    partners = launch(a, b, teacher_mask.sum(dim=1), student_mask.sum(dim=1))
    unsorted = columns.gather(1, partners.clamp(min=0)).where(partners >= 0, -1)
    return torch.empty_like(unsorted).scatter(1, rows, unsorted)


def _as_deaths(
    function: str, argument: str, value: Any, mask: Any, mask_argument: str
) -> tuple[Tensor, Tensor]:
    """Return deaths (..., K) of at least 0, 0 where they do not count, and which do."""
    if isinstance(value, BatchedDiagram) and value.dim:
        raise ValueError(
            f"{function}: {argument} is of dimension {value.dim}; pass dimension 0, whose classes "
            "are all born at 0, or take wasserstein_distance"
        )
    rows, mask = rows_of(function, argument, value, mask, mask_argument)
    if isinstance(value, BatchedDiagram):
        rows = value.deaths
    deaths = as_precise(function, argument, rows)
    if not deaths.ndim:
        raise ValueError(f"{function}: {argument} has shape (); pass deaths, (..., K)")
    counted = as_mask(function, mask_argument, mask, deaths[..., None])
    deaths = deaths if mask is None else deaths.where(counted, 0.0)
    refuse_non_finite(function, argument, deaths)
    if deaths.device.type == "cpu" and deaths.numel() and bool((deaths < 0).any()):
        raise ValueError(
            f"{function}: {argument} has the entry {float(deaths.detach().min())}; classes born at "
            "0 die at 0 or later"
        )
    return deaths, counted

"""Entropic transport between batches of diagrams, and gradient entropy: what Table 11 compares.

Shape letters: M teacher pairs p_i, K student pairs q_k, each a (birth, death) row.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from fast.checks import (
    as_clouds,
    as_integer,
    as_mask,
    as_positive,
    as_precise,
    refuse_non_finite,
    refuse_two_devices,
)
from fast.diagram import BatchedDiagram, Masks, as_two_diagrams
from fast.dispatch import disable_compile
from reference.errors import NotConvergedError as NotConvergedError

_SWEEPS = 20  # of Sinkhorn, before Newton's steps take over
_CLOSE = 0.01  # error from which Newton's steps soon end; then the entropy's weight is halved
_LEAST_SHARE = 1e-300  # of a column: its logarithm stays finite


class Transport(NamedTuple):
    """The value of the transport between two diagrams, and its plan."""

    value: Tensor
    """(...) sum(P C) + eps KL(P || uniform), in squared units of the filtration."""
    plan: Tensor
    """(..., M + 1, K + 1) mass between pairs; the last row and column are all diagonal points."""


@disable_compile  # how many steps it takes depends on the data
def entropic_transport(
    teacher: Tensor | BatchedDiagram,
    student: Tensor | BatchedDiagram,
    eps: float = 0.1,
    *,
    relative: bool = False,
    tolerance: float = 1e-9,
    max_iterations: int = 10_000,
    mask: Masks = None,
    **named_masks: Tensor | None,
) -> Transport:
    """Return the entropic optimal transport between diagrams, diagonal included.

    Parameters
    ----------
    teacher, student
        `BatchedDiagram`s, or (..., M, 2) and (..., K, 2) finite (birth, death) rows, of one
        dimension; M and K may be 0.
    eps
        Weight of the entropy, above 0, in squared units of the filtration.
    relative
        Take `eps` as a share of each diagram's own largest cost, among pairs and to the diagonal,
        instead: the value of diagrams s times as large is then s^2 times as large.
    tolerance
        Largest error of the plan's column sums, relative to the mass of a point. Its row sums are
        exact.
    max_iterations
        Give up after this many steps.
    mask
        (..., M) and (..., K) bool, a pair: which rows are pairs; None for all. What stands in other
        rows is not read. A `BatchedDiagram` has its own.

    Returns
    -------
    Transport
        `value` (...), differentiable once in both diagrams, and `plan` (..., M + 1, K + 1), which
        carries no gradient and adds up to 1; all 0 for two empty diagrams.

    Raises
    ------
    ValueError
        If a tensor is not of (birth, death) rows, (on the CPU) has an infinite or NaN entry, two
        tensors do not fit together, or an option is out of range.
    NotConvergedError
        If a diagram does not reach the tolerance in `max_iterations` steps.

    Notes
    -----
    Appendix D.5; diagrams are completed as in `reference.entropic_transport`. The diagonal points
    of a diagram are all alike, so the plan has one row and one column for them. Sinkhorn's sweeps
    (M. Cuturi, 2013) on logarithms, in float64; what they leave unfinished, Newton's damped steps
    finish, because few pairs far apart would need exp(gap / 2 eps) sweeps. They begin at a large
    weight of the entropy and halve it, which takes about 100 steps down to any eps
    (docs/numerics.md).
    O(M K) per sweep, O((M + K) K^2) per step; on a GPU one number per step comes to the host, the
    largest error. The gradient is that of the costs with the plan held fixed (envelope theorem);
    a second derivative is refused. With `relative` the largest cost counts as constant too,
    although eps follows it: the gradient is that of the absolute eps of these diagrams.

    Examples
    --------
    >>> value, plan = entropic_transport(torch.tensor([[0.0, 2.0]]), torch.empty(0, 2))
    >>> value
    tensor(2.)
    >>> plan
    tensor([[1.],
            [0.]])
    """
    name = "entropic_transport"
    teacher, student, teacher_mask, student_mask, _ = as_two_diagrams(
        name, ("teacher", "student"), teacher, student, mask, named_masks, double=False
    )
    eps = as_positive(name, "eps", eps)
    tolerance = as_positive(name, "tolerance", tolerance)
    max_iterations = as_integer(name, "max_iterations", max_iterations, least=1)
    with torch.autocast(teacher.device.type, enabled=False):
        value, plan = _Transport.apply(  # type: ignore[no-untyped-call]
            teacher, student, teacher_mask, student_mask, eps, relative, tolerance, max_iterations
        )
    return Transport(value, plan)


@torch.no_grad()
def gradient_entropy(
    grad_births: Tensor, grad_deaths: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Return how evenly a gradient is spread over the student's pairs of each diagram.

    Parameters
    ----------
    grad_births, grad_deaths
        (..., K) dL/db_k and dL/dd_k of the pairs; K may be 0.
    mask
        (..., K) bool: which entries are pairs, `BatchedDiagram.mask`. None: all.

    Returns
    -------
    Tensor
        (...) -sum(p_k ln p_k) / ln K over a diagram's K pairs, with p_k in proportion to the length
        of (dL/db_k, dL/dd_k): between 0 (one pair has it all) and 1 (all have the same). 0 for a
        single pair. NaN for a diagram without pairs or whose gradient is zero, which has no spread
        (`reference.gradient_entropy` refuses it). In the gradients' dtype (float32 for float16 and
        bfloat16); carries no gradient.

    Raises
    ------
    ValueError
        If a tensor is no floating point tensor of pairs, (on the CPU) has an infinite or NaN entry,
        or the tensors do not fit together.

    Notes
    -----
    Table 11 reports such a number without defining it; this definition is ours. Computed in
    float64.

    Examples
    --------
    >>> gradient_entropy(torch.tensor([1.0, -1.0, 0.0, 0.0]), torch.zeros(4))
    tensor(0.5000)
    """
    name = "gradient_entropy"
    grad_births = as_precise(name, "grad_births", grad_births)
    grad_deaths = as_precise(name, "grad_deaths", grad_deaths)
    refuse_two_devices(name, grad_births=grad_births, grad_deaths=grad_deaths, mask=mask)
    if grad_births.ndim == 0:
        raise ValueError(f"{name}: grad_births has shape (); pass one entry per pair, (..., K)")
    if grad_births.shape != grad_deaths.shape or grad_births.dtype != grad_deaths.dtype:
        raise ValueError(
            f"{name}: grad_deaths is {grad_deaths.dtype} of shape {tuple(grad_deaths.shape)}; "
            f"grad_births is {grad_births.dtype} of shape {tuple(grad_births.shape)}, "
            "pass one dtype and one shape"
        )
    gradients = torch.stack([grad_births, grad_deaths], dim=-1)
    counted = as_mask(name, "mask", mask, gradients)
    gradients = gradients.where(counted[..., None], 0.0)
    refuse_non_finite(name, "grad_births", gradients[..., 0])
    refuse_non_finite(name, "grad_deaths", gradients[..., 1])
    return entropy_of_pairs(gradients, counted)


def entropy_of_pairs(gradients: Tensor, mask: Tensor) -> Tensor:
    """Return `gradient_entropy` (...) of gradients (..., K, 2) under a mask (..., K), unchecked."""
    sizes = torch.hypot(*gradients.double().unbind(dim=-1)).where(mask, 0.0)
    total = sizes.sum(dim=-1, keepdim=True)
    count = mask.sum(dim=-1)
    uniform = count.clamp(min=2).double().log()  # a single pair has entropy 0 over anything
    spread: Tensor = torch.special.entr(sizes / total).sum(dim=-1) / uniform
    return spread.where(total[..., 0] > 0, torch.nan).to(gradients.dtype)


class _Transport(torch.autograd.Function):
    """Value and plan; the gradient is found with them and kept in place of the costs."""

    @staticmethod
    def forward(
        ctx: Any,
        teacher: Tensor,
        student: Tensor,
        teacher_mask: Tensor,
        student_mask: Tensor,
        eps: float,
        relative: bool,
        tolerance: float,
        max_iterations: int,
    ) -> tuple[Tensor, Tensor]:
        rows, columns = _masses(_as_batch(teacher_mask), _as_batch(student_mask))
        p, q = (as_clouds(pairs.detach()).double() for pairs in (teacher, student))
        cost = _completed_cost(p, q)
        if relative:  # _solve then never sees the unit; the absolute eps keeps its bits
            unit = _largest_cost(cost, rows, columns)
            cost = cost / unit[:, None, None]
        log_density = _solve(cost, rows, columns, eps, tolerance, max_iterations)
        plan = rows[:, :, None] * (log_density + columns.log()[:, None, :]).exp()
        value = (plan * (cost + eps * log_density)).sum(dim=(1, 2))
        if relative:
            value = value * unit
        ctx.save_for_backward(
            teacher,
            student,
            _gradient(p, q, plan).to(teacher.dtype).view(teacher.shape),
            _gradient(q, p, plan.mT).to(student.dtype).view(student.shape),
        )
        plan = plan.to(teacher.dtype).view(*teacher.shape[:-2], *plan.shape[1:])
        ctx.mark_non_differentiable(plan)
        return value.to(teacher.dtype).view(teacher.shape[:-2]), plan

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        grads: tuple[Tensor, Tensor] = _TransportGradient.apply(grad, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return *grads, None, None, None, None, None, None


class _TransportGradient(torch.autograd.Function):
    """The gradient; its own would need the plan's derivative, and is refused.

    Teacher and student are inputs so that no second derivative comes out as 0 unnoticed.
    """

    @staticmethod
    def forward(
        ctx: Any,
        grad: Tensor,
        teacher: Tensor,
        student: Tensor,
        by_teacher: Tensor,
        by_student: Tensor,
    ) -> tuple[Tensor, Tensor]:
        scale = grad[..., None, None]
        return scale * by_teacher, scale * by_student

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        raise RuntimeError(
            "entropic_transport: it has no second derivative; use persistence_weighted_chamfer"
        )


def _as_batch(mask: Tensor) -> Tensor:
    """Return (..., K) as (B, K)."""
    return mask[None] if mask.ndim == 1 else mask.flatten(0, -2)


def _masses(teacher_mask: Tensor, student_mask: Tensor) -> tuple[Tensor, Tensor]:
    """Return the masses (B, M + 1) and (B, K + 1) of pairs, diagonal last; all 0 without pairs."""
    teacher, student = teacher_mask.double(), student_mask.double()
    num_teacher, num_student = (mask.sum(dim=1, keepdim=True) for mask in (teacher, student))
    size = (num_teacher + num_student).clamp(min=1)
    rows = torch.cat([teacher, num_student], dim=1) / size
    return rows, torch.cat([student, num_teacher], dim=1) / size


def _completed_cost(p: Tensor, q: Tensor) -> Tensor:
    """Return (B, M + 1, K + 1) costs between pairs, the diagonal last."""
    m, k = p.shape[1], q.shape[1]
    cost = p.new_zeros(len(p), m + 1, k + 1)
    cost[:, :m, :k] = (p[:, :, None] - q[:, None]).square().sum(dim=-1)
    cost[:, :m, k] = (p[..., 1] - p[..., 0]).square() / 2
    cost[:, m, :k] = (q[..., 1] - q[..., 0]).square() / 2
    return cost


def _largest_cost(cost: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the largest cost (B,) where there is mass at either end; 1 where all of them are 0."""
    occupied = (rows[:, :, None] > 0) & (columns[:, None] > 0)
    largest = cost.where(occupied, 0.0).amax(dim=(1, 2))
    return largest.where(largest > 0, 1.0)


def _solve(
    cost: Tensor,
    rows: Tensor,
    columns: Tensor,
    eps: float,
    tolerance: float,
    max_iterations: int,
) -> Tensor:
    """Return the logarithm of the plan over rows x columns, its row sums exact."""
    log_columns = columns.log()[:, None]  # -inf where there is no mass
    potential = torch.zeros_like(columns)  # the dual variable of each column
    weight = cost.new_full((len(cost),), eps)  # of the entropy, for now
    close = max(_CLOSE, tolerance)
    error = torch.zeros_like(weight)
    for step in range(max_iterations):
        if step == _SWEEPS:  # who is still far off begins again, where it is easy
            easy = _largest_cost(cost, rows, columns).clamp(min=eps)
            weight = torch.where(error > close, easy, weight)
        shares = _shares(cost, log_columns, potential, weight)
        fitted = (rows[:, None] @ shares)[:, 0]
        excess = (fitted / columns).where(columns > 0, 1.0)
        error = (excess - 1).abs().amax(dim=1)
        left = torch.where(weight > eps, error.clamp(min=2 * close), error)
        worst = float(left.amax()) if len(left) else 0.0
        if worst <= tolerance:
            logits = (potential[:, None] - cost) / eps
            scale = (logits + log_columns).logsumexp(dim=2, keepdim=True)
            # Without any mass scale is -inf, and any density will do.
            return logits - scale.where(scale > -torch.inf, 0.0)
        if worst != worst:  # NaN: no step can repair it
            break
        if step < _SWEEPS:
            # The others keep their bits, whatever is beside them.
            swept = potential - eps * excess.clamp(min=_LEAST_SHARE).log()
            potential = torch.where((error > tolerance)[:, None], swept, potential)
        else:
            some = (error > tolerance).nonzero()[:, 0]
            step_of_some = _newton(shares[some], rows[some], columns[some])
            potential[some] += weight[some, None] * step_of_some
            weight = torch.where(error <= close, (weight / 2).clamp(min=eps), weight)
    raise NotConvergedError(
        f"entropic_transport: column sums are off by {float(error.amax()):.1e} after {step + 1} "
        f"steps; raise eps (now {eps}), tolerance (now {tolerance}) or max_iterations"
    )


def _shares(cost: Tensor, log_columns: Tensor, potential: Tensor, weight: Tensor) -> Tensor:
    """Return what each row sends to each column (B, M + 1, K + 1), 1 in all."""
    logits = (potential[:, None] - cost) / weight[:, None, None] + log_columns
    return logits.softmax(dim=2)


def _newton(share: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the step of the potentials over eps; `share` is what each row sends to each column.

    Damped by the largest error, as the Hessian is singular: a constant moves no mass.
    """
    weighted = rows[:, :, None] * share
    fitted = weighted.sum(dim=1)
    missing = columns - fitted
    occupied = columns > 0
    damping = (missing / columns).where(occupied, 0.0).abs().amax(dim=1, keepdim=True)
    diagonal = (fitted + damping * columns).where(occupied, 1.0)
    hessian = torch.diag_embed(diagonal) - share.mT @ weighted
    step: Tensor = torch.linalg.solve_ex(hessian, missing).result
    return step  # not finite where the damping is rounded away: then the error is NaN next


def _gradient(pairs: Tensor, others: Tensor, plan: Tensor) -> Tensor:
    """Return sum(P dC / d pairs) (B, M, 2) for a plan (B, M + 1, K + 1)."""
    matched = plan[:, :-1, :-1]
    towards = matched.sum(dim=2, keepdim=True) * pairs - matched @ others
    persistence = pairs[..., 1] - pairs[..., 0]
    to_diagonal = plan[:, :-1, -1:] * torch.stack([-persistence, persistence], dim=-1)
    return 2 * towards + to_diagonal

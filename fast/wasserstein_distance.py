"""Exact Wasserstein and bottleneck distances between batches of persistence diagrams.

Shape letters: B clouds, M pairs p_i of the first diagrams, K pairs q_j of the second.
"""

import math

import torch
from torch import Tensor

from fast.checks import as_order
from fast.diagram import BatchedDiagram, Masks, as_two_diagrams
from fast.dispatch import disable_compile, kernel
from fast.wasserstein import matched_columns


def wasserstein_distance(
    first: Tensor | BatchedDiagram,
    second: Tensor | BatchedDiagram,
    *,
    mask: Masks = None,
    order: float = 2.0,
    ground: float = math.inf,
    **named_masks: Tensor | None,
) -> Tensor:
    """Return the Wasserstein distance between diagrams, the diagonal included.

    Parameters
    ----------
    first, second
        `BatchedDiagram`s, or (..., M, 2) and (..., K, 2) finite (birth, death) rows, of one
        dimension, in any order; M and K may be 0.
    mask
        (..., M) and (..., K) bool, a pair: which rows are pairs; None for all. What stands in other
        rows is not read. A `BatchedDiagram` has its own.
    order
        The exponent p, finite and at least 1.
    ground
        Which norm of the plane: `math.inf`, as GUDHI's default, or 2.

    Returns
    -------
    Tensor
        (...) W_p, in the unit of the filtration and the dtype of the diagrams; 0 for two empty
        ones. Differentiable for both; the matching is held fixed. What has length 0 gets the
        gradient 0, so equal diagrams get none; in the norm `inf` two equally large coordinates
        share theirs.

    Raises
    ------
    ValueError
        If a tensor is not of (birth, death) rows, (on the CPU) has an infinite or NaN entry, two
        tensors do not fit together, or an option is out of range.

    Notes
    -----
    Some pairs are matched, each with one of the other diagram, and the rest goes to the diagonal:

        W_p^p = min over matchings of  sum over matched of |p_i - q_j|^p
                                     + sum over the rest of |p - (its nearest point there)|^p.

    A pair of persistence t is t / 2 from the diagonal in the norm `inf`, t / sqrt(2) in the norm 2.
    `value**order` is the sum without the root. For H0 alone, without the root and as a mean,
    `sorted_wasserstein` takes O(M K).

    The matching is exact: shortest augmenting paths, O(M K (M + K)) at worst, in float64 and on the
    CPU; diagrams on a GPU are copied there and waited for. How: docs/numerics.md.

    Examples
    --------
    Two pairs 3 apart along one axis; a third is 1 from the diagonal.

    >>> first = torch.tensor([[0.0, 9.0]])
    >>> second = torch.tensor([[0.0, 6.0], [1.0, 3.0]])
    >>> wasserstein_distance(first, second, order=1)
    tensor(4.)
    """
    name = "wasserstein_distance"
    order, ground = _options(name, order, ground)
    first, second, first_mask, second_mask, dtype = as_two_diagrams(
        name, ("first", "second"), first, second, mask, named_masks
    )
    partners = _partners(first, second, first_mask, second_mask, order, ground)
    gaps, alone = _gaps(first, second, first_mask, second_mask, partners)
    return _norm_of_lengths(gaps, alone, order, ground).to(dtype)


def wasserstein_matching(
    first: Tensor | BatchedDiagram,
    second: Tensor | BatchedDiagram,
    *,
    mask: Masks = None,
    order: float = 2.0,
    ground: float = math.inf,
    **named_masks: Tensor | None,
) -> Tensor:
    """Return an optimal matching of diagrams, the one `wasserstein_distance` measures.

    Parameters
    ----------
    first, second, mask, order, ground
        As in `wasserstein_distance`.

    Returns
    -------
    Tensor
        (..., M) int64: for each pair of the first diagram the row of its partner in the second, -1
        for the diagonal and for rows that are no pairs. Pairs of the second that do not appear go
        to the diagonal.

    Raises
    ------
    ValueError
        As `wasserstein_distance`.

    Notes
    -----
    Of several optimal matchings one is taken, the same on every call and for every number of
    threads; which one is not specified, and `reference` may take another.

    Examples
    --------
    >>> first = torch.tensor([[0.0, 9.0], [2.0, 3.0]])
    >>> second = torch.tensor([[5.0, 7.0], [0.0, 8.0]])
    >>> wasserstein_matching(first, second)
    tensor([ 1, -1])
    """
    name = "wasserstein_matching"
    order, ground = _options(name, order, ground)
    first, second, first_mask, second_mask, _ = as_two_diagrams(
        name, ("first", "second"), first, second, mask, named_masks
    )
    return _partners(first, second, first_mask, second_mask, order, ground)


def bottleneck_distance(
    first: Tensor | BatchedDiagram,
    second: Tensor | BatchedDiagram,
    *,
    mask: Masks = None,
    **named_masks: Tensor | None,
) -> Tensor:
    """Return the bottleneck distance between diagrams, the diagonal included.

    Parameters
    ----------
    first, second, mask
        As in `wasserstein_distance`.

    Returns
    -------
    Tensor
        (...) in the unit of the filtration and the dtype of the diagrams; 0 for two empty ones.
        Differentiable for both; the matching is held fixed. The longest length alone gets a
        gradient, equally long ones of the matching an even share, a length of 0 none.

    Raises
    ------
    ValueError
        As `wasserstein_distance`.

    Notes
    -----
    What `wasserstein_distance` in the norm `inf` tends to as its order grows:

        W_inf = min over matchings of  max over matched of |p_i - q_j| and over the rest of t / 2,

    t being the persistence of a pair that goes to the diagonal. A diagram moves by no more than the
    distances do (D. Cohen-Steiner, H. Edelsbrunner, J. Harer, "Stability of Persistence Diagrams",
    2007). Exact: a binary search among all lengths, each by augmenting paths, O(M K (M + K)
    log(M K)) at worst, in float64 and on the CPU; diagrams on a GPU are copied there and waited
    for. Of several such matchings one is taken, the same on every call.

    Examples
    --------
    The first is 3 from its partner, and the short one 1 from the diagonal.

    >>> first = torch.tensor([[0.0, 9.0]])
    >>> bottleneck_distance(first, torch.tensor([[0.0, 6.0], [1.0, 3.0]]))
    tensor(3.)
    """
    name = "bottleneck_distance"
    first, second, first_mask, second_mask, dtype = as_two_diagrams(
        name, ("first", "second"), first, second, mask, named_masks
    )
    partners = _partners(first, second, first_mask, second_mask, name=name)
    gaps, alone = _gaps(first, second, first_mask, second_mask, partners)
    lengths = torch.cat([gaps.abs().amax(dim=-1), alone.abs() / 2], dim=-1)
    longest = lengths.amax(dim=-1) if lengths.shape[-1] else lengths.sum(dim=-1)
    return longest.to(dtype)


def _gaps(
    first: Tensor, second: Tensor, first_mask: Tensor, second_mask: Tensor, partners: Tensor
) -> tuple[Tensor, Tensor]:
    """Return what a matching joins (..., M, 2) and the persistence of what it leaves (..., M + K).

    Both are 0 elsewhere.
    """
    is_matched = partners >= 0
    rows = partners.clamp(min=0)[..., None].expand(*partners.shape, 2)
    gaps = (first - second.gather(-2, rows) if second.shape[-2] else first).where(
        is_matched[..., None], 0.0
    )
    alone = [
        (pairs[..., 1] - pairs[..., 0]).where(mask, 0.0)
        for pairs, mask in (
            (first, first_mask & ~is_matched),
            (second, second_mask & ~matched_columns(partners, second_mask)),
        )
    ]
    return gaps, torch.cat(alone, dim=-1)


@disable_compile  # numba cannot be traced
@torch.no_grad()
def _partners(
    first: Tensor,
    second: Tensor,
    first_mask: Tensor,
    second_mask: Tensor,
    order: float = math.inf,
    ground: float = math.inf,
    name: str = "wasserstein_distance",
) -> Tensor:
    """Return each first pair's partner (..., M), -1 for the diagonal."""
    shape = first.shape[:-1]
    if not first_mask.numel() or not second_mask.numel():
        return torch.full(shape, -1, device=first.device)
    num_clouds = shape[:-1].numel()
    pairs = (each.reshape(num_clouds, *each.shape[-2:]) for each in (first, second))
    masks = (each.reshape(num_clouds, each.shape[-1]) for each in (first_mask, second_mask))
    launch = kernel(name, first.device)
    options = (order, ground == 2) if name == "wasserstein_distance" else ()
    partners: Tensor = launch(*pairs, *masks, *options)
    return partners.view(shape)


def _norm_of_lengths(gaps: Tensor, alone: Tensor, order: float, ground: float) -> Tensor:
    """Return the p-norm (...) of the lengths of gaps (..., M, 2) and of ways to the diagonal.

    `alone` (..., M + K) has the persistence of what goes there, 0 elsewhere. Everything is divided
    by its largest entry first, so that powers neither overflow nor vanish.
    """
    if not alone.shape[-1]:
        return alone.sum(dim=-1)
    entries = torch.cat([gaps.detach().flatten(-2), alone.detach()], dim=-1)
    unit = entries.abs().amax(dim=-1)
    unit = unit.where(unit > 0, 1.0)
    gaps, alone = gaps / unit[..., None, None], alone.abs() / unit[..., None]
    if ground == 2:
        squares = gaps.square().sum(dim=-1)
        lengths = root(squares, 2.0)
        alone = alone * math.sqrt(0.5)
    else:
        lengths = gaps.abs().amax(dim=-1)
        alone = alone / 2
    every = torch.cat([lengths, alone], dim=-1)
    counted = every > 0  # the power's own slope at 0 is infinite to the second order
    powers = every.where(counted, 1.0).pow(order).where(counted, 0.0)
    return unit * root(powers.sum(dim=-1), order)


def root(values: Tensor, order: float) -> Tensor:
    """Return the root of that order; at 0 it has the gradient 0."""
    counted = values > 0
    return values.where(counted, 1.0).pow(1 / order).where(counted, 0.0)


def _options(function: str, order: float, ground: float) -> tuple[float, float]:
    """Return the options if they are in range."""
    if ground not in (2, math.inf):
        raise ValueError(f"{function}: ground is {ground}; pass 2 or inf")
    return as_order(function, "order", order), float(ground)

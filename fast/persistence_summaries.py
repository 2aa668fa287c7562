"""Numbers that sum up persistence diagrams: total persistence, persistent entropy.

Shape letters: K pairs.
"""

import torch
from torch import Tensor

from fast.checks import as_counted_pairs, as_order, as_precise
from fast.diagram import BatchedDiagram, rows_of


def total_persistence(
    pairs: Tensor | BatchedDiagram, *, mask: Tensor | None = None, order: float = 1.0
) -> Tensor:
    """Return the sum of each diagram's persistences, each to the power of `order`.

    Parameters
    ----------
    pairs
        A `BatchedDiagram`, or (..., K, 2) finite (birth, death) rows, in any order; K may be 0.
    mask
        (..., K) bool: which rows are pairs; None: all. What stands in other rows is not read. A
        `BatchedDiagram` has its own.
    order
        The exponent, finite and at least 1.

    Returns
    -------
    Tensor
        (...) sum over k of (d_k - b_k)^order, without a root, in the unit of the filtration to that
        power and in the dtype of `pairs`; 0 without pairs. Differentiable any number of times.

    Raises
    ------
    ValueError
        If a tensor is not of (birth, death) rows, the two do not fit together, (on the CPU) an
        entry is infinite or NaN or a death before its birth, or `order` is out of range.

    Notes
    -----
    The degree-p total persistence of D. Cohen-Steiner, H. Edelsbrunner, J. Harer, Y. Mileyko,
    "Lipschitz Functions Have L_p-Stable Persistence" (2010).

    Examples
    --------
    >>> total_persistence(torch.tensor([[0.0, 3.0], [1.0, 2.0]]), order=2)
    tensor(10.)
    """
    order = as_order("total_persistence", "order", order)
    persistence, dtype = _persistence("total_persistence", pairs, mask)
    if order != 1:
        lives = persistence > 0  # at 0 the second derivative is infinite where the order is below 2
        persistence = persistence.where(lives, 1.0).pow(order).where(lives, 0.0)
    return persistence.sum(dim=-1).to(dtype)


def persistent_entropy(pairs: Tensor | BatchedDiagram, *, mask: Tensor | None = None) -> Tensor:
    """Return how evenly each diagram's persistence is spread over its pairs.

    Parameters
    ----------
    pairs
        A `BatchedDiagram`, or (..., K, 2) finite (birth, death) rows, in any order; K may be 0.
    mask
        (..., K) bool: which rows are pairs; None: all. What stands in other rows is not read. A
        `BatchedDiagram` has its own.

    Returns
    -------
    Tensor
        (...) nats, from 0, for one pair or none, to ln K, for K equal persistences, in the dtype of
        `pairs`. Differentiable any number of times; a pair of persistence 0, where the slope is
        infinite, adds nothing and gets the gradient 0.

    Raises
    ------
    ValueError
        If a tensor is not of (birth, death) rows, the two do not fit together, or (on the CPU) an
        entry is infinite or NaN or a death before its birth.

    Notes
    -----
    With s_k = (d_k - b_k) / (sum of all persistences), the entropy -sum s_k ln s_k (H. Chintakunta,
    T. Gentimis, R. Gonzalez-Diaz, M.-J. Jimenez, H. Krim, "An entropy-based persistence barcode",
    2015).

    Examples
    --------
    >>> persistent_entropy(torch.tensor([[0.0, 2.0], [1.0, 3.0]]))  # ln 2
    tensor(0.6931)
    """
    persistence, dtype = _persistence("persistent_entropy", pairs, mask)
    lives = persistence > 0
    total = persistence.sum(dim=-1, keepdim=True)
    shares = persistence / total.where(total > 0, 1.0)
    entropy = -(shares * shares.where(lives, 1.0).log()).sum(dim=-1)  # 0 ln 1 for 0 ln 0
    return entropy.to(dtype)


def _persistence(
    function: str, pairs: Tensor | BatchedDiagram, mask: Tensor | None
) -> tuple[Tensor, torch.dtype]:
    """Return death - birth (..., K) in float64, 0 for rows that do not count; and whose dtype."""
    pairs, mask = rows_of(function, "pairs", pairs, mask)
    dtype = as_precise(function, "pairs", pairs).dtype
    counted, _ = as_counted_pairs(function, "pairs", pairs, mask, no_death_before_birth=True)
    return counted[..., 1] - counted[..., 0], dtype

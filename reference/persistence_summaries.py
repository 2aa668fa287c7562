"""Numbers that sum up a persistence diagram: total persistence, persistent entropy; gradients.

Shape letters: K pairs.
"""

import numpy as np
from jaxtyping import Float64

from reference.validation import as_order, as_persistent_pairs


def total_persistence(pairs: Float64[np.ndarray, "k 2"], *, order: float = 1.0) -> float:
    """Return the sum of the persistences, each to the power of `order`.

    Parameters
    ----------
    pairs
        Finite (birth, death) rows, in any order; may be empty, (0, 2).
    order
        The exponent, finite and at least 1.

    Returns
    -------
    float
        sum over k of (d_k - b_k)^order, without a root, in the unit of the filtration to that
        power; 0 without pairs.

    Raises
    ------
    ValueError
        If `pairs` are no (birth, death) rows, have an infinite or NaN entry or a death before its
        birth, or `order` is out of range.

    Notes
    -----
    The degree-p total persistence of D. Cohen-Steiner, H. Edelsbrunner, J. Harer, Y. Mileyko,
    "Lipschitz Functions Have L_p-Stable Persistence" (2010).

    Examples
    --------
    >>> total_persistence(np.array([[0.0, 3.0], [1.0, 2.0]]), order=2.0)
    10.0
    """
    births, deaths = as_persistent_pairs("total_persistence", "pairs", pairs).T
    return float(np.sum((deaths - births) ** as_order("total_persistence", "order", order)))


def total_persistence_grad(
    pairs: Float64[np.ndarray, "k 2"], *, order: float = 1.0
) -> Float64[np.ndarray, "k 2"]:
    """Return the gradient of `total_persistence` for the pairs.

    Parameters
    ----------
    pairs, order
        As in `total_persistence`.

    Returns
    -------
    Float64[np.ndarray, "k 2"]
        order (d - b)^(order - 1) for a death, minus that for its birth.

    Raises
    ------
    ValueError
        As `total_persistence`.

    Examples
    --------
    >>> total_persistence_grad(np.array([[0.0, 3.0], [1.0, 2.0]]), order=2.0)
    array([[-6.,  6.],
           [-2.,  2.]])
    """
    name = "total_persistence_grad"
    births, deaths = as_persistent_pairs(name, "pairs", pairs).T
    order = as_order(name, "order", order)
    slopes = order * (deaths - births) ** (order - 1)
    return np.column_stack([-slopes, slopes])


def persistent_entropy(pairs: Float64[np.ndarray, "k 2"]) -> float:
    """Return how evenly a diagram's persistence is spread over its pairs.

    Parameters
    ----------
    pairs
        Finite (birth, death) rows, in any order; may be empty, (0, 2).

    Returns
    -------
    float
        Nats, from 0, for one pair or none, to ln K, for K equal persistences.

    Raises
    ------
    ValueError
        If `pairs` are no (birth, death) rows, or have an infinite or NaN entry or a death before
        its birth.

    Notes
    -----
    With s_k = (d_k - b_k) / (sum of all persistences), the entropy -sum s_k ln s_k (H. Chintakunta,
    T. Gentimis, R. Gonzalez-Diaz, M.-J. Jimenez, H. Krim, "An entropy-based persistence barcode",
    2015). A pair of persistence 0 adds 0.

    Examples
    --------
    >>> persistent_entropy(np.array([[0.0, 2.0], [1.0, 3.0]]))  # ln 2
    0.6931471805599453
    """
    shares, _ = _shares("persistent_entropy", pairs)
    return float(-np.sum(shares * _logarithms(shares)))


def persistent_entropy_grad(pairs: Float64[np.ndarray, "k 2"]) -> Float64[np.ndarray, "k 2"]:
    """Return the gradient of `persistent_entropy` for the pairs.

    Parameters
    ----------
    pairs
        As in `persistent_entropy`.

    Returns
    -------
    Float64[np.ndarray, "k 2"]
        With L the sum of all persistences and H the entropy, -(ln s_k + H) / L for a death, minus
        that for its birth. A pair of persistence 0, where the slope is infinite, gets 0.

    Raises
    ------
    ValueError
        As `persistent_entropy`.

    Examples
    --------
    The shorter one would have to grow.

    >>> persistent_entropy_grad(np.array([[0.0, 3.0], [1.0, 2.0]]))[1].round(4)
    array([-0.206,  0.206])
    """
    shares, total = _shares("persistent_entropy_grad", pairs)
    logarithms = _logarithms(shares)
    entropy = -np.sum(shares * logarithms)
    slopes = np.where(shares > 0, -(logarithms + entropy) / (total or 1.0), 0.0)
    return np.column_stack([-slopes, slopes])


def _shares(function: str, pairs: object) -> tuple[Float64[np.ndarray, " k"], float]:
    """Return each pair's share of the persistence, 0 if there is none, and the whole of it."""
    births, deaths = as_persistent_pairs(function, "pairs", pairs).T
    total = float(np.sum(deaths - births))
    return (deaths - births) / (total or 1.0), total


def _logarithms(shares: Float64[np.ndarray, " k"]) -> Float64[np.ndarray, " k"]:
    """Return ln of the shares, 0 of 0."""
    return np.log(np.where(shares > 0, shares, 1.0))

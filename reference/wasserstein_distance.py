"""Exact Wasserstein and bottleneck distances of two persistence diagrams, and their gradients.

Shape letters: M pairs p_i of the first diagram, K pairs q_j of the second, each a (birth, death)
row.
"""

import numpy as np
from jaxtyping import Bool, Float64, Int64

from reference.validation import as_order, as_pairs

GROUNDS = (2.0, np.inf)
"""The norms of the plane between pairs: Euclidean, and the largest coordinate."""


def wasserstein_distance(
    first: Float64[np.ndarray, "m 2"],
    second: Float64[np.ndarray, "k 2"],
    *,
    order: float = 2.0,
    ground: float = np.inf,
) -> float:
    """Return the Wasserstein distance between two diagrams, the diagonal included.

    Parameters
    ----------
    first, second
        Finite (birth, death) rows of one dimension, in any order; either may be empty, (0, 2).
    order
        The exponent p, finite and at least 1.
    ground
        Which norm of the plane: `np.inf`, as GUDHI's default, or 2.

    Returns
    -------
    float
        W_p, in the unit of the filtration; 0 for two empty diagrams.

    Raises
    ------
    ValueError
        If an argument is not of (birth, death) rows, has an infinite or NaN entry, or is out of
        range.

    Notes
    -----
    Some pairs are matched, each with one of the other diagram, and the rest goes to the diagonal:

        W_p^p = min over matchings of  sum over matched of |p_i - q_j|^p
                                     + sum over the rest of |p - (its nearest point there)|^p.

    A pair of persistence t is t / 2 from the diagonal in the norm `inf`, t / sqrt(2) in the norm 2.
    D. Cohen-Steiner, H. Edelsbrunner, J. Harer, Y. Mileyko, "Lipschitz Functions Have L_p-Stable
    Persistence" (2010). O((M + K)^3).

    Examples
    --------
    Two pairs 3 apart along one axis; a third is 1 from the diagonal.

    >>> first, second = np.array([[0.0, 9.0]]), np.array([[0.0, 6.0], [1.0, 3.0]])
    >>> wasserstein_distance(first, second, order=1.0)
    4.0
    """
    name = "wasserstein_distance"
    first, second, order, ground = _checked(name, first, second, order, ground)
    lengths = _lengths(first, second, _partners(first, second, order, ground), ground)[2]
    unit = max(lengths, default=0.0)
    if unit == 0:
        return 0.0
    return float(unit * np.sum((np.array(lengths) / unit) ** order) ** (1 / order))


def wasserstein_matching(
    first: Float64[np.ndarray, "m 2"],
    second: Float64[np.ndarray, "k 2"],
    *,
    order: float = 2.0,
    ground: float = np.inf,
) -> Int64[np.ndarray, " m"]:
    """Return an optimal matching of two diagrams, the one `wasserstein_distance` measures.

    Parameters
    ----------
    first, second, order, ground
        As in `wasserstein_distance`.

    Returns
    -------
    Int64[np.ndarray, " m"]
        For each pair of the first diagram the row of its partner in the second, -1 for the
        diagonal. Rows of the second that do not appear go to the diagonal.

    Raises
    ------
    ValueError
        As `wasserstein_distance`.

    Notes
    -----
    Of several optimal matchings one is taken, the same on every call; which one is not specified,
    and `fast` may take another.

    Examples
    --------
    >>> first, second = np.array([[0.0, 9.0], [2.0, 3.0]]), np.array([[5.0, 7.0], [0.0, 8.0]])
    >>> wasserstein_matching(first, second)
    array([ 1, -1])
    """
    return _partners(*_checked("wasserstein_matching", first, second, order, ground))


def wasserstein_distance_grad(
    first: Float64[np.ndarray, "m 2"],
    second: Float64[np.ndarray, "k 2"],
    *,
    order: float = 2.0,
    ground: float = np.inf,
    matching: Int64[np.ndarray, " m"] | None = None,
) -> tuple[Float64[np.ndarray, "m 2"], Float64[np.ndarray, "k 2"]]:
    """Return the gradients of `wasserstein_distance` for both diagrams.

    Parameters
    ----------
    first, second, order, ground
        As in `wasserstein_distance`.
    matching
        The matching that is held fixed, as `wasserstein_matching` returns it; None: that one.

    Returns
    -------
    grad_first, grad_second
        Of the shapes of the diagrams. With W the distance and l_k the lengths that it adds up, each
        length gets (l_k / W)^(p - 1); 0 where all lengths are 0.

    Raises
    ------
    ValueError
        As `wasserstein_distance`, or if `matching` is none of these diagrams.

    Notes
    -----
    A length of 0 gets the gradient 0. In the norm `inf` two equally large coordinates share theirs.

    Examples
    --------
    >>> first, second = np.array([[0.0, 9.0]]), np.array([[0.0, 6.0], [1.0, 3.0]])
    >>> wasserstein_distance_grad(first, second, order=1.0)[1]
    array([[ 0. , -1. ],
           [-0.5,  0.5]])
    """
    name = "wasserstein_distance_grad"
    first, second, order, ground = _checked(name, first, second, order, ground)
    if matching is None:
        partners = _partners(first, second, order, ground)
    else:
        partners = np.asarray(matching)
        matched = partners[partners >= 0]
        if (
            partners.shape != (len(first),)
            or len(set(matched.tolist())) != len(matched)
            or np.any(partners >= len(second))
        ):
            raise ValueError(
                f"{name}: matching is {partners.tolist()}; pass {len(first)} different rows below "
                f"{len(second)}, -1 for the diagonal"
            )
    rows, columns, lengths, slopes = _lengths(first, second, partners, ground)
    unit = max(lengths, default=0.0)
    if unit == 0:
        return np.zeros_like(first), np.zeros_like(second)
    shares = np.array(lengths) / unit
    shares = (shares / np.sum(shares**order) ** (1 / order)) ** (order - 1)
    return _routed(first, second, rows, columns, shares, slopes)


def bottleneck_distance(
    first: Float64[np.ndarray, "m 2"], second: Float64[np.ndarray, "k 2"]
) -> float:
    """Return the bottleneck distance between two diagrams, the diagonal included.

    Parameters
    ----------
    first, second
        As in `wasserstein_distance`.

    Returns
    -------
    float
        W_inf, in the unit of the filtration; 0 for two empty diagrams.

    Raises
    ------
    ValueError
        If an argument is not of (birth, death) rows or has an infinite or NaN entry.

    Notes
    -----
    The least length by which all that a matching joins, and all that it leaves to the diagonal, can
    be bounded, in the norm `inf`; as `wasserstein_distance` tends to as its order grows.
    D. Cohen-Steiner, H. Edelsbrunner, J. Harer, "Stability of Persistence Diagrams" (2007).
    O((M + K)^3 log(M + K)).

    Examples
    --------
    >>> bottleneck_distance(np.array([[0.0, 9.0]]), np.array([[0.0, 6.0], [1.0, 3.0]]))
    3.0
    """
    name = "bottleneck_distance"
    first, second = as_pairs(name, "first", first), as_pairs(name, "second", second)
    partners = _bottleneck_partners(first, second)
    return max(_lengths(first, second, partners, np.inf)[2], default=0.0)


def bottleneck_distance_grad(
    first: Float64[np.ndarray, "m 2"], second: Float64[np.ndarray, "k 2"]
) -> tuple[Float64[np.ndarray, "m 2"], Float64[np.ndarray, "k 2"]]:
    """Return the gradients of `bottleneck_distance` for both diagrams.

    Parameters
    ----------
    first, second
        As in `bottleneck_distance`.

    Returns
    -------
    grad_first, grad_second
        Of the shapes of the diagrams: the slope of the longest length of the matching, 0 elsewhere.
        Equally long ones share it evenly; of several matchings `fast` may take another.

    Raises
    ------
    ValueError
        As `bottleneck_distance`.

    Examples
    --------
    >>> bottleneck_distance_grad(np.array([[0.0, 9.0]]), np.array([[0.0, 6.0], [1.0, 3.0]]))[1]
    array([[ 0., -1.],
           [ 0.,  0.]])
    """
    name = "bottleneck_distance_grad"
    first, second = as_pairs(name, "first", first), as_pairs(name, "second", second)
    partners = _bottleneck_partners(first, second)
    rows, columns, lengths, slopes = _lengths(first, second, partners, np.inf)
    longest = np.array(lengths) == max(lengths, default=0.0)
    return _routed(first, second, rows, columns, longest / max(np.sum(longest), 1), slopes)


def _lengths(
    first: Float64[np.ndarray, "m 2"],
    second: Float64[np.ndarray, "k 2"],
    partners: Int64[np.ndarray, " m"],
    ground: float,
) -> tuple[list[int], list[int], list[float], list[Float64[np.ndarray, " 2"]]]:
    """Return a matching's rows and columns (-1: the diagonal), their lengths, and the slopes.

    The slope is for the first diagram's pair; the second's is the negative.
    """
    rows, columns, lengths, slopes = [], [], [], []
    for i, j in enumerate(partners):
        gap = first[i] - second[j] if j >= 0 else None
        rows.append(i)
        columns.append(int(j))
        lengths.append(_from_diagonal(first[i], ground) if gap is None else _norm(gap, ground))
        slopes.append(_diagonal_slope(first[i], ground) if gap is None else _slope(gap, ground))
    for j in sorted(set(range(len(second))) - set(partners.tolist())):
        rows.append(-1)
        columns.append(j)
        lengths.append(_from_diagonal(second[j], ground))
        slopes.append(-_diagonal_slope(second[j], ground))
    return rows, columns, lengths, slopes


def _routed(
    first: Float64[np.ndarray, "m 2"],
    second: Float64[np.ndarray, "k 2"],
    rows: list[int],
    columns: list[int],
    shares: Float64[np.ndarray, " n"],
    slopes: list[Float64[np.ndarray, " 2"]],
) -> tuple[Float64[np.ndarray, "m 2"], Float64[np.ndarray, "k 2"]]:
    """Return the gradients of both diagrams, each length's slope times its share."""
    grad_first, grad_second = np.zeros_like(first), np.zeros_like(second)
    for i, j, share, slope in zip(rows, columns, shares, slopes, strict=True):
        if i >= 0:
            grad_first[i] += share * slope
        if j >= 0:
            grad_second[j] -= share * slope
    return grad_first, grad_second


def _partners(
    first: Float64[np.ndarray, "m 2"],
    second: Float64[np.ndarray, "k 2"],
    order: float,
    ground: float,
) -> Int64[np.ndarray, " m"]:
    """Return an optimal matching: that of the completed diagrams, where everything has a place."""
    m, k = len(first), len(second)
    cost = _completed(first, second, ground)
    # The longest way to the diagonal: whatever the order, powers of these are in range.
    unit = max([*cost[:m, k:].flat, *cost[m:, :k].flat, 0.0]) or 1.0
    # What costs more than both of its pairs' ways to the diagonal is never chosen.
    columns = _assignment(np.minimum(cost / unit, 3.0) ** order)[:m]
    return np.where(columns < k, columns, -1)


def _completed(
    first: Float64[np.ndarray, "m 2"], second: Float64[np.ndarray, "k 2"], ground: float
) -> Float64[np.ndarray, "n n"]:
    """Return the lengths of the completed diagrams: a diagonal point for each of the other's."""
    m, k = len(first), len(second)
    to_diagonal = np.array([_from_diagonal(pair, ground) for pair in (*first, *second)])
    lengths = np.zeros((m + k, k + m))
    for i in range(m):
        for j in range(k):
            lengths[i, j] = _norm(first[i] - second[j], ground)
    lengths[:m, k:] = to_diagonal[:m, None]
    lengths[m:, :k] = to_diagonal[m:]
    return lengths


def _bottleneck_partners(
    first: Float64[np.ndarray, "m 2"], second: Float64[np.ndarray, "k 2"]
) -> Int64[np.ndarray, " m"]:
    """Return the matching whose longest length is least."""
    lengths = _completed(first, second, np.inf)
    bounds = np.unique(lengths)
    low, high = 0, len(bounds) - 1  # the largest bounds everything
    while low < high:
        middle = (low + high) // 2
        if np.all(_perfect_matching(lengths <= bounds[middle]) >= 0):
            high = middle
        else:
            low = middle + 1
    if not len(bounds):
        return np.empty(0, dtype=np.int64)
    columns = _perfect_matching(lengths <= bounds[low])[: len(first)]
    return np.where(columns < len(second), columns, -1)


def _perfect_matching(is_allowed: Bool[np.ndarray, "n n"]) -> Int64[np.ndarray, " n"]:
    """Return each row's column, or all -1 if not every row can have one of its own."""
    n = len(is_allowed)
    row_of = np.full(n, -1)
    for new in range(n):
        before = np.full(n, -1)  # the row that a column was reached from
        rows, end = [new], -1
        while rows and end < 0:
            row = rows.pop()
            for column in np.flatnonzero(is_allowed[row] & (before < 0)):
                before[column] = row
                if row_of[column] < 0:
                    end = int(column)
                    break
                rows.append(row_of[column])
        if end < 0:
            return np.full(n, -1)
        columns = np.full(n, -1)  # of the rows so far
        columns[row_of[row_of >= 0]] = np.flatnonzero(row_of >= 0)
        while end >= 0:
            row = before[end]
            row_of[end], end = row, columns[row]
    return np.argsort(row_of)


def _assignment(cost: Float64[np.ndarray, "n n"]) -> Int64[np.ndarray, " n"]:
    """Return the column of each row that costs least in all, by H. Kuhn's Hungarian method (1955).

    `row_prices` and `column_prices` never exceed the cost together, and add up to it where a row
    has its column. One row after another gets a column, along the path on which least is lost.
    """
    n = len(cost)
    row_prices, column_prices = np.zeros(n), np.zeros(n)
    row_of = np.full(n, -1)
    for new in range(n):
        slack = np.full(n, np.inf)
        before = np.full(n, -1)  # the column that a column was reached from; -1: the new row
        reached = np.zeros(n, dtype=bool)
        row, column = new, -1
        while True:
            loss = cost[row] - row_prices[row] - column_prices
            shorter = ~reached & (loss < slack)
            slack[shorter], before[shorter] = loss[shorter], column
            column = int(np.argmin(np.where(reached, np.inf, slack)))
            step = slack[column]
            row_prices[[new, *row_of[reached]]] += step
            column_prices[reached] -= step
            slack[~reached] -= step
            reached[column] = True
            if row_of[column] < 0:
                break
            row = row_of[column]
        while column >= 0:
            earlier = before[column]
            row_of[column] = row_of[earlier] if earlier >= 0 else new
            column = earlier
    return np.argsort(row_of)


def _norm(gap: Float64[np.ndarray, " 2"], ground: float) -> float:
    """Return the length of a difference of two pairs."""
    return float(np.linalg.norm(gap, ground))


def _slope(gap: Float64[np.ndarray, " 2"], ground: float) -> Float64[np.ndarray, " 2"]:
    """Return the derivative of `_norm`, 0 at 0."""
    length = _norm(gap, ground)
    if length == 0:
        return np.zeros(2)
    if ground == 2:
        return gap / length
    largest = np.abs(gap) == length
    return np.sign(gap) * largest / np.sum(largest)


def _from_diagonal(pair: Float64[np.ndarray, " 2"], ground: float) -> float:
    """Return how far a pair is from the diagonal."""
    persistence = abs(pair[1] - pair[0])
    return float(persistence / (2 if ground == np.inf else np.sqrt(2)))


def _diagonal_slope(pair: Float64[np.ndarray, " 2"], ground: float) -> Float64[np.ndarray, " 2"]:
    """Return the derivative of `_from_diagonal`, 0 on the diagonal."""
    side = np.sign(pair[1] - pair[0]) / (2 if ground == np.inf else np.sqrt(2))
    return np.array([-side, side])


def _checked(
    function: str, first: object, second: object, order: float, ground: float
) -> tuple[Float64[np.ndarray, "m 2"], Float64[np.ndarray, "k 2"], float, float]:
    """Return both diagrams, and the options if they are in range."""
    if ground not in GROUNDS:
        raise ValueError(f"{function}: ground is {ground}; pass 2 or inf")
    return (
        as_pairs(function, "first", first),
        as_pairs(function, "second", second),
        as_order(function, "order", order),
        float(ground),
    )

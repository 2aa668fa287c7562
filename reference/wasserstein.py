"""Exact Wasserstein-2 distance between two diagrams of dimension 0, and its gradient.

All births are 0, so a diagram is a list of deaths. Shape letters: M teacher deaths a_i, K student
deaths b_j.
"""

import numpy as np
from jaxtyping import Float64

from reference.validation import as_vector


def sorted_wasserstein(
    teacher: Float64[np.ndarray, " m"], student: Float64[np.ndarray, " k"]
) -> float:
    """Return how far the student's H0 diagram is from the teacher's, matched at least cost.

    Parameters
    ----------
    teacher, student
        Deaths of finite pairs that are born at 0, in any order; either may be empty.

    Returns
    -------
    float
        The least cost of a matching over M + K, in squared units of the filtration; 0 for two empty
        diagrams. Two deaths cost (a - b)^2, one that is left to the diagonal a^2 / 2.

    Raises
    ------
    ValueError
        If an argument is no vector of finite numbers of at least 0.

    Notes
    -----
    The square of the Wasserstein distance of order 2 with Euclidean ground distance, where each of
    the M + K points of the completed diagrams has the mass 1 / (M + K): what `entropic_transport`
    tends to as its eps tends to 0.

    Some optimal matching keeps the order of the deaths, because exchanging the partners of two
    matched pairs that cross, a <= a' and b' <= b, adds 2 (a - a') (b - b') <= 0. So it is found row
    by row: with s(a, b) = a^2 / 2 + b^2 / 2 - (a - b)^2, what a match saves, the most that the
    first i and j deaths can save is

        S(i, j) = max( S(i - 1, j), S(i, j - 1), S(i - 1, j - 1) + s(a_i, b_j) ).

    A match saves nothing if one death is more than 2 + sqrt(3) times the other. O(M K).

    Examples
    --------
    9 is matched with 10; 1 is left over.

    >>> sorted_wasserstein(np.array([1.0, 10.0]), np.array([9.0]))
    0.5
    """
    teacher = _as_deaths("sorted_wasserstein", "teacher", teacher)
    student = _as_deaths("sorted_wasserstein", "student", student)
    partners = _partners(teacher, student)
    cost = sum((teacher[i] - student[j]) ** 2 for i, j in partners.items())
    cost += np.sum(np.delete(teacher, list(partners)) ** 2) / 2
    cost += np.sum(np.delete(student, list(partners.values())) ** 2) / 2
    return float(cost / max(len(teacher) + len(student), 1))


def sorted_wasserstein_grad(
    teacher: Float64[np.ndarray, " m"], student: Float64[np.ndarray, " k"]
) -> Float64[np.ndarray, " k"]:
    """Return the gradient of `sorted_wasserstein` for the student's deaths.

    Parameters
    ----------
    teacher, student
        As in `sorted_wasserstein`.

    Returns
    -------
    Float64[np.ndarray, " k"]
        dL/db_j: 2 (b - a) / (M + K) if b is matched, b / (M + K) if it is left to the diagonal.

    Raises
    ------
    ValueError
        As `sorted_wasserstein`.

    Notes
    -----
    Of several optimal matchings one is taken: from the largest deaths down, a student's death is
    left to the diagonal if that costs no more, else matched if that costs no more.

    Examples
    --------
    >>> sorted_wasserstein_grad(np.array([1.0, 10.0]), np.array([9.0]))
    array([-0.66666667])
    """
    teacher = _as_deaths("sorted_wasserstein_grad", "teacher", teacher)
    student = _as_deaths("sorted_wasserstein_grad", "student", student)
    grad = student.copy()
    for i, j in _partners(teacher, student).items():
        grad[j] = 2 * (student[j] - teacher[i])
    return grad / max(len(teacher) + len(student), 1)


def _partners(
    teacher: Float64[np.ndarray, " m"], student: Float64[np.ndarray, " k"]
) -> dict[int, int]:
    """Return an optimal matching, {teacher's index: student's}; the rest go to the diagonal."""
    rows, columns = np.argsort(teacher, kind="stable"), np.argsort(student, kind="stable")
    a, b = teacher[rows][:, None], student[columns]
    saved = 2 * a * b - (a**2 + b**2) / 2  # by matching each two
    most = np.zeros((len(teacher) + 1, len(student) + 1))  # S(i, j)
    for i in range(len(teacher)):
        for j in range(len(student)):
            most[i + 1, j + 1] = max(most[i, j + 1], most[i + 1, j], most[i, j] + saved[i, j])
    partners = {}
    i, j = len(teacher), len(student)
    while i and j:
        if most[i, j] == most[i, j - 1]:
            j -= 1
        elif most[i, j] == most[i - 1, j - 1] + saved[i - 1, j - 1]:
            i, j = i - 1, j - 1
            partners[int(rows[i])] = int(columns[j])
        else:
            i -= 1
    return partners


def _as_deaths(function: str, argument: str, value: object) -> Float64[np.ndarray, " k"]:
    """Return `value` as finite numbers of at least 0."""
    deaths = as_vector(function, argument, value, np.asarray(value).size)
    if np.any(deaths < 0):
        raise ValueError(
            f"{function}: {argument} has the entry {deaths[deaths < 0][0]}; classes born at 0 die "
            "at 0 or later"
        )
    return deaths

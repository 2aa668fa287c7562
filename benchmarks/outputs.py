"""What an implementation returned, in one form, and the assertions it must pass before the clock.

Three grades: up to `EXACT_POINTS` points against the reference's pairs and critical simplices;
above, every birth and death against an implementation that shares no code with the one checked;
critical edges always against the distances they were given.
"""

from dataclasses import dataclass

import numpy as np

import reference
from benchmarks.clouds import FloatArray

EXACT_POINTS = 40

IntArray = np.ndarray[tuple[int, ...], np.dtype[np.integer]]


@dataclass(frozen=True)
class Diagram:
    """Finite pairs of one dimension; edges and simplices where the implementation tells them."""

    pairs: FloatArray  # (K, 2)
    birth_edges: IntArray | None = None  # (K, 2); None in dimension 0
    death_edges: IntArray | None = None  # (K, 2)
    death_simplices: IntArray | None = None  # (K, dim + 2)


def assert_rips(got: list[Diagram], matrix: FloatArray, want: list[FloatArray] | None) -> None:
    """Assert the diagrams of a distance matrix; `want` may be None where the reference can do it.

    Births and deaths are copies of entries of the same matrix: they are compared for equality.
    """
    if len(matrix) <= EXACT_POINTS:
        _assert_reference(got, matrix)
        return
    if want is None:
        raise ValueError(f"assert_rips: nothing to compare {len(matrix)} points with; pass want")
    assert len(got) == len(want)
    for diagram, rows in zip(got, want, strict=True):
        assert_same_rows(diagram.pairs, rows)
        _assert_lengths(diagram, matrix)


def assert_same_rows(got: FloatArray, want: FloatArray) -> None:
    """Assert the same finite pairs of positive persistence, to the last bit, in any order."""
    np.testing.assert_array_equal(_proper(got), _proper(want))


def _assert_reference(got: list[Diagram], matrix: FloatArray) -> None:
    """Assert the reference's pairs, critical edges and simplices, whatever is told of them."""
    want = reference.rips_persistence(
        matrix.astype(np.float64), max_dim=len(got) - 1, max_simplices=10**7
    )
    for diagram, truth in zip(got, want, strict=True):
        assert_same_rows(diagram.pairs, truth.pairs)
        _assert_lengths(diagram, matrix)
        if diagram.death_edges is None:
            continue
        columns = [(diagram.death_edges, truth.death_edges)]
        if diagram.birth_edges is not None:
            columns.append((diagram.birth_edges, truth.birth_edges))
        if diagram.death_simplices is not None:
            columns.append((diagram.death_simplices, truth.death_simplices))
        told, true = (
            np.hstack([np.sort(column[side], axis=1) for column in columns]) for side in (0, 1)
        )
        positive = diagram.pairs[:, 1] > diagram.pairs[:, 0]
        np.testing.assert_array_equal(_sorted(told[positive]), _sorted(true))


def wrong_edges(diagrams: list[Diagram], matrix: FloatArray) -> str | None:
    """Return how many critical edges have another length than their birth or death; None if none.

    For an implementation whose births and deaths are right while its edges are not.
    """
    said = []
    for dim, diagram in enumerate(diagrams):
        for word, column, edges in (
            ("birth", 0, diagram.birth_edges),
            ("death", 1, diagram.death_edges),
        ):
            if edges is not None:
                lengths = matrix[edges[:, 0], edges[:, 1]]
                wrong = int((diagram.pairs[:, column] != lengths).sum())
                if wrong:
                    said.append(f"{wrong} of {len(edges)} {word} edges of H{dim} are wrong")
    return "; ".join(said) or None


def _assert_lengths(diagram: Diagram, matrix: FloatArray) -> None:
    """Assert that births and deaths are the lengths of the critical edges."""
    for column, edges in enumerate((diagram.birth_edges, diagram.death_edges)):
        if edges is not None:
            lengths = matrix[edges[:, 0], edges[:, 1]]
            np.testing.assert_array_equal(diagram.pairs[:, column], lengths)


def _proper(pairs: FloatArray) -> FloatArray:
    """Rows (birth, death) that are finite and of positive persistence, sorted."""
    pairs = np.asarray(pairs, dtype=np.float64).reshape(-1, 2)
    return _sorted(pairs[np.isfinite(pairs[:, 1]) & (pairs[:, 1] > pairs[:, 0])])


def _sorted(rows: np.ndarray) -> np.ndarray:
    """Rows in lexicographic order."""
    return rows[np.lexsort(rows.T[::-1])] if len(rows) else rows

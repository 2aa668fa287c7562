"""Matching of lengths at the critical edges of two diagrams (M. Moor et al., 2020), with gradient.

Shape letters: N points, E critical edges.
"""

import numpy as np
from jaxtyping import Float64, Int64

from reference.diagram import Diagram
from reference.validation import as_distances, as_indices


def critical_edge_matching(
    teacher: Diagram,
    student: Diagram,
    teacher_distances: Float64[np.ndarray, "n n"],
    student_distances: Float64[np.ndarray, "n n"],
) -> float:
    """Return how far the student's lengths are from the teacher's where topology hangs on them.

    Parameters
    ----------
    teacher, student
        Diagrams of one dimension, of the same points.
    teacher_distances, student_distances
        The matrices the diagrams were computed from, finite.

    Returns
    -------
    float
        The mean of (D_student - D_teacher)^2 over the teacher's critical edges plus the same mean
        over the student's, in squared units of the filtration. 0 for an empty diagram's part.

    Raises
    ------
    ValueError
        If the diagrams differ in dimension, a matrix is no finite distance matrix, the matrices
        differ in size, or an edge is out of range.

    Notes
    -----
    The two directed terms of M. Moor, M. Horn, B. Rieck, K. Borgwardt, "Topological Autoencoders"
    (ICML 2020), as means. The critical edges of a pair are its death edge and, above dimension 0,
    its birth edge; an edge that ends several classes counts once for each.

    Examples
    --------
    Both merge along their one edge, 3 long and 5 long.

    >>> from reference.rips import rips_persistence
    >>> distances = [np.array([[0.0, length], [length, 0.0]]) for length in (3.0, 5.0)]
    >>> components = [rips_persistence(each)[0] for each in distances]
    >>> critical_edge_matching(*components, *distances)
    8.0
    """
    name = "critical_edge_matching"
    teacher_distances, student_distances, each = _checked(
        name, teacher, student, teacher_distances, student_distances
    )
    total = 0.0
    for edges in each:
        i, j = edges.T
        gaps = student_distances[i, j] - teacher_distances[i, j]
        total += np.sum(gaps**2) / max(len(edges), 1)
    return float(total)


def critical_edge_matching_grad(
    teacher: Diagram,
    student: Diagram,
    teacher_distances: Float64[np.ndarray, "n n"],
    student_distances: Float64[np.ndarray, "n n"],
) -> Float64[np.ndarray, "n n"]:
    """Return the gradient of `critical_edge_matching` for the student's distances.

    Parameters
    ----------
    teacher, student, teacher_distances, student_distances
        As in `critical_edge_matching`.

    Returns
    -------
    Float64[np.ndarray, "n n"]
        G with G_ij = G_ji = dL/dD_ij, where D_ij and D_ji are one variable, as in
        `route_to_distances`; 0 but at the critical edges of both diagrams.

    Raises
    ------
    ValueError
        As `critical_edge_matching`.

    Notes
    -----
    Which edges are critical is held fixed.

    Examples
    --------
    >>> from reference.rips import rips_persistence
    >>> distances = [np.array([[0.0, length], [length, 0.0]]) for length in (3.0, 5.0)]
    >>> components = [rips_persistence(each)[0] for each in distances]
    >>> critical_edge_matching_grad(*components, *distances)
    array([[0., 8.],
           [8., 0.]])
    """
    name = "critical_edge_matching_grad"
    teacher_distances, student_distances, each = _checked(
        name, teacher, student, teacher_distances, student_distances
    )
    grad_distances = np.zeros_like(student_distances)
    for edges in each:
        for i, j in edges:
            gap = student_distances[i, j] - teacher_distances[i, j]
            grad_distances[i, j] += 2 * gap / len(edges)
    return grad_distances + grad_distances.T


def _checked(
    function: str,
    teacher: Diagram,
    student: Diagram,
    teacher_distances: Float64[np.ndarray, "n n"],
    student_distances: Float64[np.ndarray, "n n"],
) -> tuple[
    Float64[np.ndarray, "n n"],
    Float64[np.ndarray, "n n"],
    list[Int64[np.ndarray, "e 2"]],
]:
    """Return both matrices, and the critical edges of the teacher's and the student's diagram."""
    if teacher.dim != student.dim:
        raise ValueError(
            f"{function}: student is a diagram of dimension {student.dim}; teacher is one of "
            f"dimension {teacher.dim}, pass the same"
        )
    matrices = []
    for argument, value in (
        ("teacher_distances", teacher_distances),
        ("student_distances", student_distances),
    ):
        matrix = as_distances(function, argument, value)
        if not np.isfinite(matrix).all():
            raise ValueError(f"{function}: {argument} has the entry inf; pass finite distances")
        matrices.append(matrix)
    if len(matrices[0]) != len(matrices[1]):
        raise ValueError(
            f"{function}: student_distances is of {len(matrices[1])} points; teacher_distances of "
            f"{len(matrices[0])}, pass the same points"
        )
    edges = []
    for argument, diagram in (("teacher", teacher), ("student", student)):
        named = (("death_edges", diagram.death_edges), ("birth_edges", diagram.birth_edges))
        # In dimension 0 a vertex creates the class, and there is no birth edge.
        edges.append(
            np.concatenate(
                [
                    as_indices(function, f"{argument}.{field}", value, len(matrices[0]))
                    for field, value in named[: 1 if diagram.dim == 0 else 2]
                ]
            )
        )
    return matrices[0], matrices[1], edges

"""Matching of lengths at the critical edges of two diagrams (M. Moor et al., 2020).

Shape letters: B clouds, N points of the largest, C channels, E critical edges of a cloud.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from fast.checks import as_precise, refuse_non_finite, refuse_two_devices
from fast.diagram import BatchedDiagram
from fast.distances import edge_lengths_of_clouds
from fast.routing import entries_at_edges

Lengths = Callable[[Tensor], Tensor]  # edges (B, E, 2) -> their lengths (B, E)


def critical_edge_matching(
    teacher: BatchedDiagram,
    student: BatchedDiagram,
    teacher_distances: Tensor,
    student_distances: Tensor,
) -> Tensor:
    """Return how far the student's lengths are from the teacher's where topology hangs on them.

    Parameters
    ----------
    teacher, student
        Diagrams of one dimension, of the same points.
    teacher_distances, student_distances
        (B, N, N), or (N, N) for a batch of one: the matrices the diagrams were computed from,
        finite. No gradient reaches the teacher's.

    Returns
    -------
    Tensor
        (B,) the mean of (D_student - D_teacher)^2 over the teacher's critical edges plus the same
        mean over the student's, in squared units of the filtration, in the dtype of
        `student_distances`. 0 for an empty diagram's part. The gradient goes to the student's
        distances at those edges, half to D_ij and half to D_ji; which edges they are is held fixed.

    Raises
    ------
    ValueError
        If the diagrams differ in dimension or in number of clouds, the matrices do not fit them or
        each other, or (on the CPU) an entry is not finite or a diagram is not of its matrices.

    Notes
    -----
    The two directed terms of M. Moor, M. Horn, B. Rieck, K. Borgwardt, "Topological Autoencoders"
    (ICML 2020), as means. The critical edges of a pair are its death edge and, above dimension 0,
    its birth edge; an edge that ends several classes counts once for each.

    Examples
    --------
    >>> teacher, student = torch.tensor([[0.0], [3.0]]), torch.tensor([[0.0], [5.0]])
    >>> distances = [pairwise_distances(points) for points in (teacher, student)]
    >>> components = [rips_persistence(each, 0)[0] for each in distances]
    >>> critical_edge_matching(*components, *distances)
    tensor([8.])
    """
    name = "critical_edge_matching"
    _refuse_two_kinds(name, teacher, student)
    teacher_distances, student_distances = (
        _as_batch(name, argument, value, len(teacher))
        for argument, value in (
            ("teacher_distances", teacher_distances),
            ("student_distances", student_distances),
        )
    )
    refuse_two_devices(
        name,
        teacher_distances=teacher_distances,
        student_distances=student_distances,
        teacher=teacher.death_edges,
        student=student.death_edges,
    )
    if teacher_distances.shape != student_distances.shape:
        raise ValueError(
            f"{name}: student_distances has shape {tuple(student_distances.shape)}; "
            f"teacher_distances has {tuple(teacher_distances.shape)}, pass the same points"
        )
    _refuse_edges_beyond(name, teacher, student, student_distances.shape[-1])
    refuse_other_distances(name, "teacher", teacher, teacher_distances, "teacher_distances")
    refuse_other_distances(name, "student", student, student_distances, "student_distances")
    constant = teacher_distances.detach()
    return _matching(
        teacher,
        student,
        lambda edges: entries_at_edges(constant, edges),
        lambda edges: entries_at_edges(student_distances, edges),
    )


def critical_edge_matching_of_points(
    teacher: BatchedDiagram,
    student: BatchedDiagram,
    teacher_points: Tensor,
    student_points: Tensor,
) -> Tensor:
    """Return `critical_edge_matching` of (B, N, T) and (B, N, S), with a cheaper gradient.

    It goes from the critical edges straight to their ends, O(E C), and not through the matrices.
    """
    constant = teacher_points.detach()
    return _matching(
        teacher,
        student,
        lambda edges: edge_lengths_of_clouds(constant, edges),
        lambda edges: edge_lengths_of_clouds(student_points, edges),
    )


def _matching(
    teacher: BatchedDiagram, student: BatchedDiagram, by_teacher: Lengths, by_student: Lengths
) -> Tensor:
    """Return the two directed means, (B,)."""
    sides = [_critical_edges(diagram) for diagram in (teacher, student)]
    edges = torch.cat([side[0] for side in sides], dim=1)
    lengths = by_student(edges)
    squares = (lengths - by_teacher(edges).to(lengths.dtype)).square()
    widths = [side[0].shape[1] for side in sides]
    means = []
    for (_, mask), part in zip(sides, torch.split(squares, widths, dim=1), strict=True):
        count = mask.sum(dim=1).clamp(min=1)
        means.append(part.where(mask, 0.0).sum(dim=1) / count)
    return means[0] + means[1]


def _critical_edges(diagram: BatchedDiagram) -> tuple[Tensor, Tensor]:
    """Return the edges (B, E, 2), and which of them are no padding (B, E); padding is (0, 0)."""
    columns = [diagram.death_edges]
    if diagram.dim > 0:  # below, a vertex creates the class, and there is no birth edge
        columns.append(diagram.birth_edges)
    edges = torch.cat(columns, dim=1).clamp(min=0)
    return edges, diagram.mask.repeat(1, len(columns))


def _as_batch(function: str, argument: str, value: Tensor, num_clouds: int) -> Tensor:
    """Return finite distances (B, N, N)."""
    distances = as_precise(function, argument, value)
    batch = distances[None] if distances.ndim == 2 else distances
    if batch.ndim != 3 or batch.shape[1] != batch.shape[2] or len(batch) != num_clouds:
        raise ValueError(
            f"{function}: {argument} has shape {tuple(value.shape)}; pass the matrices of the "
            f"diagrams' {num_clouds} cloud(s), (B, N, N)"
        )
    refuse_non_finite(function, argument, batch)
    return batch


def _refuse_two_kinds(function: str, teacher: BatchedDiagram, student: BatchedDiagram) -> None:
    """Raise if these are no diagrams of one dimension and as many clouds."""
    for argument, diagram in (("teacher", teacher), ("student", student)):
        if not isinstance(diagram, BatchedDiagram):
            raise TypeError(
                f"{function}: {argument} is a {type(diagram).__name__}; pass a BatchedDiagram with "
                "its critical edges, one dimension of what rips_persistence returns"
            )
    if (teacher.dim, len(teacher)) != (student.dim, len(student)):
        raise ValueError(
            f"{function}: student has {len(student)} diagram(s) of dimension {student.dim}; "
            f"teacher has {len(teacher)} of dimension {teacher.dim}, pass as many of the same"
        )


def _refuse_edges_beyond(
    function: str, teacher: BatchedDiagram, student: BatchedDiagram, num_points: int
) -> None:
    """Raise if a diagram is of more points or has no edges; on a CUDA device nothing is read."""
    for argument, diagram in (("teacher", teacher), ("student", student)):
        if diagram.death_edges.device.type == "cpu" and diagram.death_edges.numel():
            if bool((diagram.death_edges[diagram.mask] < 0).any()):
                raise ValueError(
                    f"{function}: {argument} has pairs without edges, as BatchedDiagram.from_list "
                    "makes them; pass diagrams of rips_persistence"
                )
            largest = int(_critical_edges(diagram)[0].max())
            if largest >= num_points:
                raise ValueError(
                    f"{function}: {argument} has the vertex {largest}; the distances are of "
                    f"{num_points} points, pass those the diagrams were computed from"
                )


def refuse_other_distances(
    function: str, argument: str, diagram: BatchedDiagram, distances: Tensor, called: str
) -> None:
    """Raise if the deaths are not the lengths of their edges; on a CUDA device nothing is read."""
    if distances.device.type != "cpu" or not diagram.deaths.numel():
        return
    lengths = entries_at_edges(distances.detach(), diagram.death_edges.clamp(min=0))
    # Matrices may have been rounded since, or the diagrams.
    lower = torch.float32 if torch.float32 in (lengths.dtype, diagram.deaths.dtype) else None
    other = (lengths.to(lower) != diagram.deaths.detach().to(lower)) & diagram.mask
    if bool(other.any()):
        cloud, pair = other.nonzero()[0].tolist()
        raise ValueError(
            f"{function}: {argument} has the death {float(diagram.deaths[cloud, pair]):.7g} at the "
            f"edge {diagram.death_edges[cloud, pair].tolist()} of cloud {cloud}, whose length in "
            f"{called} is {float(lengths[cloud, pair]):.7g}; pass the matrices that "
            "the diagrams were computed from"
        )

"""The loss of topological autoencoders (M. Moor et al., 2020) between two spaces.

Shape letters: B clouds, N points of both spaces, T and S channels.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from fast.checks import as_choice, as_points, as_weights, refuse_two_devices
from fast.critical_edges import critical_edge_matching, critical_edge_matching_of_points
from fast.rips import Clouds, Sizes, padded_clouds, rips_persistence, rips_persistence_of_points

Metric = Literal["euclidean", "precomputed"]


def signature_loss(
    teacher: Clouds,
    student: Clouds,
    *,
    dim_weights: Sequence[float] = (1.0,),
    metric: Metric = "euclidean",
    sizes: Sizes = None,
    backend: str | None = None,
) -> Tensor:
    """Return how far the student's space is from the teacher's where topology hangs on distances.

    Parameters
    ----------
    teacher, student
        (N, T) and (N, S), taken as batches of one, or (B, N, T) and (B, N, S): the same points in
        both spaces (in an autoencoder: data and codes). With "precomputed" their distances, (N, N)
        or (B, N, N), finite. Tensors, numpy arrays, or lists of clouds, which may differ in size.
        No gradient reaches the teacher.
    dim_weights
        Weight of each dimension's term, one or two, from dimension 0 on. (1,) is the published
        loss; (1, 1) adds loops.
    metric
        "euclidean" or "precomputed".
    sizes
        How many points each cloud has, when they differ, as in `rips_persistence`. None: all N.
    backend
        Which kernels; None: those of the tensors' device.

    Returns
    -------
    Tensor
        (B,) the sum over dimensions of the weight times `critical_edge_matching`, in squared units
        of the filtration. The gradient goes to the student's distances at the critical edges of
        both spaces, and from there to its points; which edges they are is held fixed.

    Raises
    ------
    ValueError
        If the tensors are no points or no distances, differ in clouds or points, (on the CPU) have
        an entry that is not finite, or an option is out of range.
    RuntimeError
        If no kernel serves the tensors' device, or not the backend asked for.

    Notes
    -----
    M. Moor, M. Horn, B. Rieck, K. Borgwardt, "Topological Autoencoders" (ICML 2020) has half of
    the sums over the E critical edges of each space, here are means: in dimension 0, where both
    have N - 1 edges, theirs is (N - 1) / 2 times this. Spaces of different scale can be brought to
    one by `normalise(points, "diameter")`.

    Examples
    --------
    Both merge along their one edge, 3 long and 5 long: 4 from either side.

    >>> signature_loss(torch.tensor([[0.0], [3.0]]), torch.tensor([[0.0], [5.0]]))
    tensor([8.])
    """
    name = "signature_loss"
    as_choice(name, "metric", metric, get_args(Metric))
    weights = as_weights(name, "dim_weights", dim_weights, None)
    is_square = metric == "precomputed"
    (of_teacher, its_sizes), (of_student, sizes) = (
        _as_batch(name, argument, value, sizes, is_square)
        for argument, value in (("teacher", teacher), ("student", student))
    )
    refuse_two_devices(name, teacher=of_teacher, student=of_student)
    same_sizes = its_sizes is sizes or list(its_sizes or ()) == list(sizes or ())
    if of_teacher.shape[:2] != of_student.shape[:2] or not same_sizes:
        raise ValueError(
            f"{name}: student has shape {tuple(of_student.shape)}; teacher has "
            f"{tuple(of_teacher.shape)}, pass the same clouds and points"
        )
    terms = _of_distances if is_square else _of_points
    each = terms(of_teacher.detach(), of_student, len(weights) - 1, sizes, backend)
    weighted = [weight * term for weight, term in zip(weights, each, strict=True)]
    return torch.stack(weighted).sum(dim=0)


def _of_distances(
    teacher: Tensor, student: Tensor, max_dim: int, sizes: Sizes, backend: str | None
) -> list[Tensor]:
    """Return each dimension's term (B,) of matrices (B, N, N)."""
    diagrams = (
        rips_persistence(space.detach(), max_dim, sizes=sizes, backend=backend)
        for space in (teacher, student)
    )
    return [
        critical_edge_matching(of_teacher, of_student, teacher, student)
        for of_teacher, of_student in zip(*diagrams, strict=True)
    ]


def _of_points(
    teacher: Tensor, student: Tensor, max_dim: int, sizes: Sizes, backend: str | None
) -> list[Tensor]:
    """Return each dimension's term (B,) of points (B, N, C), with the cheaper gradient."""
    diagrams = (
        rips_persistence_of_points(space.detach(), max_dim, sizes=sizes, backend=backend)
        for space in (teacher, student)
    )
    return [
        critical_edge_matching_of_points(of_teacher, of_student, teacher, student)
        for of_teacher, of_student in zip(*diagrams, strict=True)
    ]


def _as_batch(
    function: str, argument: str, value: Clouds, sizes: Sizes, is_square: bool
) -> tuple[Tensor, Sizes]:
    """Return (B, N, ...) of finite entries, and how many points each cloud has."""
    padded, sizes = padded_clouds(function, argument, value, sizes, is_square=is_square)
    space = as_points(function, argument, padded)
    if space.ndim not in (2, 3):
        raise ValueError(
            f"{function}: {argument} has shape {tuple(space.shape)}; pass (N, C) or (B, N, C)"
        )
    if not len(space):
        raise ValueError(f"{function}: {argument} is an empty batch; pass at least one cloud")
    return space[None] if space.ndim == 2 else space, sizes

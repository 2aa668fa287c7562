"""The distillation losses: Algorithm 1 over a batch of clouds, and the softened logits.

Shape letters: B clouds, N points of a cloud, M samples, C channels (T teacher, S student).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fast.chamfer import PrecisionWeight, persistence_weighted_chamfer
from fast.checks import (
    as_clouds,
    as_integer,
    as_points,
    as_positive,
    as_weights,
    refuse_two_devices,
)
from fast.critical_edges import critical_edge_matching_of_points
from fast.diagram import BatchedDiagram
from fast.dispatch import disable_compile
from fast.normalisation import Normalisation, normalise
from fast.options import DiagramLoss, SampleOn, TopologyOptions, options_of
from fast.rips import rips_persistence_of_points
from fast.sampling import Sampling, choose_points, key_from
from fast.transport import entropic_transport
from fast.wasserstein import sorted_wasserstein


@disable_compile  # numba cannot be traced: one graph break here, not many inside
def topological_loss(
    teacher_features: Tensor,
    student_features: Tensor,
    num_samples: int = 1024,
    *,
    normalisation: Normalisation = "l2",
    max_dim: int = 1,
    dim_weights: Sequence[float] = (1.0, 1.0),
    eps: float = 1e-8,
    cost_scale: float = 1.0,
    precision_weight: PrecisionWeight = "uniform",
    min_persistence: float = 0.0,
    sample_on: SampleOn = "teacher",
    start: int = 0,
    backend: str | None = None,
    loss: DiagramLoss = "pwcd",
    sinkhorn_eps: float = 0.1,
    sinkhorn_relative: bool = False,
    sampling: Sampling = "farthest",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Return the topological loss, averaged over clouds.

    Parameters
    ----------
    teacher_features, student_features
        (..., N, T) and (..., N, S): features of the same points in the same order. No gradient
        reaches the teacher.
    num_samples
        M: points to keep for the diagrams; a smaller cloud keeps all of its own.
    normalisation
        See `fast.normalise`.
    max_dim
        Highest homology dimension, 0 or 1; the paper uses 1.
    dim_weights
        Weight of each dimension's loss, 0 to `max_dim`; the paper adds them evenly.
    eps, cost_scale, precision_weight, min_persistence
        See `persistence_weighted_chamfer`; the other losses do not use them.
    sample_on
        Whose normalized features are sampled: the teacher's, as in the paper, the student's, or
        both side by side. Only the first bounds the teacher's diagram (Proposition 1).
    start
        Index of the first farthest sample.
    backend
        Which kernels; None: those of the tensors' device.
    loss
        How two diagrams are compared: "pwcd", the persistence-weighted Chamfer distance;
        "sinkhorn", the entropic transport of Table 11, which has a first derivative only; "edges",
        `critical_edge_matching`; "wasserstein", `sorted_wasserstein`, which is defined for H0
        alone: H1 needs the weight 0, or `max_dim` 0 and one weight.
    sinkhorn_eps, sinkhorn_relative
        Weight of the entropy, and whether it is a share of each diagram's largest cost, see
        `entropic_transport`; the other losses do not use them.
    sampling, generator
        See `sample_points`; `generator` is needed unless `sampling` is "farthest".

    Returns
    -------
    Tensor
        () the mean over clouds of the weighted sum over dimensions of the distance between
        diagrams, in the student's dtype (float32 for float16 and bfloat16).

    Raises
    ------
    ValueError
        If the clouds differ in size or device, are empty or (on the CPU) not finite, weights and
        dimensions disagree, an option is out of range, or points are to be drawn without a
        generator.
    RuntimeError
        If no kernel serves the tensors' device, or not the backend asked for, or the transport
        does not converge.

    Notes
    -----
    Algorithm 1, with the gradient of Algorithm 3. The choice of samples is not differentiated.

    Examples
    --------
    >>> teacher, student = torch.tensor([[0.0], [1.0]]), torch.tensor([[0.0], [2.0]])
    >>> topological_loss(teacher, student, normalisation="none")
    tensor(1.5000)
    """
    name = "topological_loss"
    num_dims = as_integer(name, "max_dim", max_dim, least=0) + 1
    if num_dims > 2:
        raise ValueError(
            f"{name}: max_dim is {max_dim}; pass 0 or 1 (reference.topological_loss has no limit)"
        )
    start = as_integer(name, "start", start, least=0)
    options = options_of(
        name,
        num_samples=num_samples,
        normalisation=normalisation,
        dim_weights=tuple(as_weights(name, "dim_weights", dim_weights, num_dims)),
        eps=eps,
        cost_scale=cost_scale,
        precision_weight=precision_weight,
        min_persistence=min_persistence,
        sample_on=sample_on,
        loss=loss,
        sinkhorn_eps=sinkhorn_eps,
        sinkhorn_relative=sinkhorn_relative,
        sampling=sampling,
    )
    teacher = as_points(name, "teacher_features", teacher_features, least=1)
    student = as_points(name, "student_features", student_features, least=1)
    if teacher.shape[:-1] != student.shape[:-1]:
        raise ValueError(
            f"{name}: student_features has shape {tuple(student.shape)}; teacher_features has "
            f"{tuple(teacher.shape)}, pass the same points"
        )
    key = key_from(name, sampling, generator)
    clouds = list(as_clouds(teacher)), list(as_clouds(student))
    return cloud_losses(name, *clouds, options, key, start=start, backend=backend).total


@dataclass(frozen=True, eq=False)
class CloudLosses:
    """The topological loss of each cloud and dimension, and what it was computed from."""

    total: Tensor  # () mean over clouds of the weighted sum over dimensions
    losses: Tensor  # (B, dimensions)
    teacher_diagrams: list[BatchedDiagram]
    student_diagrams: list[BatchedDiagram]
    teacher_normalized: list[Tensor]  # (N_b, T) each
    student_normalized: list[Tensor]
    indices: list[Tensor]  # (M_b,) each
    sampled_radii: list[Tensor] | None  # covering radius of what was sampled, () each, if known


def cloud_losses(
    function: str,
    teachers: list[Tensor],
    students: list[Tensor],
    options: TopologyOptions,
    key: Tensor | None,
    *,
    start: int = 0,
    backend: str | None = None,
) -> CloudLosses:
    """Run steps 1 to 5 of Algorithm 1 on clouds of any sizes, (N_b, T) and (N_b, S).

    `key` is what random samples are drawn from, see `fast.sampling.draw_points`; None if the
    options ask for none. `start` and `backend` are those of `topological_loss`.
    """
    if not teachers:
        raise ValueError(f"{function}: the batch is empty; pass at least one cloud")
    refuse_two_devices(function, teacher_features=teachers[0], student_features=students[0])
    with torch.autocast(teachers[0].device.type, enabled=False):
        with torch.no_grad():
            teachers = [normalise(teacher, options.normalization) for teacher in teachers]
        students = [normalise(student, options.normalization) for student in students]

        sampled = _sampled(teachers, students, options.sample_on)
        smallest = min(len(cloud) for cloud in sampled)
        if start >= smallest:
            raise ValueError(
                f"{function}: start is {start}; pass an index below the smallest cloud's "
                f"{smallest} points"
            )
        counts = [min(options.num_samples, len(cloud)) for cloud in sampled]
        indices, radii = choose_points(sampled, counts, start, backend, options.sampling, key)
        of_teachers, of_students, losses = _compare(teachers, students, indices, options, backend)
    return CloudLosses(
        total=(losses * losses.new_tensor(options.dim_weights)).sum(dim=1).mean(),
        losses=losses,
        teacher_diagrams=of_teachers,
        student_diagrams=of_students,
        teacher_normalized=teachers,
        student_normalized=students,
        indices=indices,
        sampled_radii=radii,
    )


def _sampled(teachers: list[Tensor], students: list[Tensor], sample_on: SampleOn) -> list[Tensor]:
    """Return the clouds whose points are sampled."""
    if sample_on == "concat":
        both = zip(teachers, students, strict=True)
        return [torch.cat([t.to(s.dtype), s.detach()], dim=1) for t, s in both]
    return teachers if sample_on == "teacher" else students


def _compare(
    teachers: list[Tensor],
    students: list[Tensor],
    indices: list[Tensor],
    options: TopologyOptions,
    backend: str | None,
) -> tuple[list[BatchedDiagram], list[BatchedDiagram], Tensor]:
    """Return the diagrams of teachers and students, one per dimension, and (B, D) distances."""
    sizes = [len(picked) for picked in indices]

    def diagrams(samples: Tensor) -> list[BatchedDiagram]:
        return rips_persistence_of_points(
            samples, len(options.dim_weights) - 1, sizes=sizes, backend=backend
        )

    targets, samples = _padded(teachers, indices), _padded(students, indices)
    with torch.no_grad():
        of_teachers = diagrams(targets)
    if options.diagram_distance == "edges":
        with torch.no_grad():
            of_students = diagrams(samples)
        each = [
            critical_edge_matching_of_points(*pair, targets, samples)
            for pair in zip(of_teachers, of_students, strict=True)
        ]
    else:
        of_students = diagrams(samples)
        each = [_distance(*pair, options) for pair in zip(of_teachers, of_students, strict=True)]
    return of_teachers, of_students, torch.stack(each, dim=1)


def _padded(clouds: list[Tensor], indices: list[Tensor]) -> Tensor:
    """Return each cloud's samples, (B, M, C)."""
    subsets = [cloud[picked] for cloud, picked in zip(clouds, indices, strict=True)]
    return pad_sequence(subsets, batch_first=True)


def _distance(
    of_teacher: BatchedDiagram, of_student: BatchedDiagram, options: TopologyOptions
) -> Tensor:
    """Return how far each student diagram is from its teacher's, (B,)."""
    of_teacher = of_teacher.to(of_student.deaths.dtype)
    if options.diagram_distance == "wasserstein":
        if of_student.dim > 0:  # of weight 0, see TopologyOptions
            return of_student.deaths.new_zeros(len(of_student))
        return sorted_wasserstein(of_teacher, of_student)
    if options.diagram_distance == "sinkhorn":
        value: Tensor = entropic_transport(
            of_teacher, of_student, options.sinkhorn_eps, relative=options.sinkhorn_relative
        ).value
        return value
    return persistence_weighted_chamfer(
        of_teacher,
        of_student,
        options.eps,
        cost_scale=options.cost_scale,
        precision_weight=options.precision_weight,
        min_persistence=options.min_persistence,
    )


def kl_distillation(
    teacher_logits: Tensor, student_logits: Tensor, temperature: float = 1.0
) -> Tensor:
    """Return the divergence of the student's softened predictions from the teacher's.

    Parameters
    ----------
    teacher_logits, student_logits
        (..., N, classes), one row per point; at least one of each. No gradient is stopped: detach
        the teacher's if it carries a graph.
    temperature
        Divides the logits, above 0; the paper gives no value.

    Returns
    -------
    Tensor
        () T^2 times the mean over points of KL(teacher || student), in nats, in float32 at least.

    Raises
    ------
    ValueError
        If the shapes or devices differ, a tensor is empty or (on the CPU) not finite, or the
        temperature is not positive.

    Notes
    -----
    Section 3.4. The factor T^2 keeps the size of the gradient when T changes (G. Hinton, O.
    Vinyals, J. Dean, 2015). Every point counts; to leave points out, do not pass them.

    Examples
    --------
    >>> kl_distillation(torch.zeros(1, 2), torch.tensor([[0.0, 1.0986123]]))
    tensor(0.1438)
    """
    name = "kl_distillation"
    teacher_logits = as_points(name, "teacher_logits", teacher_logits, least=1, has_kernel=False)
    student_logits = as_points(name, "student_logits", student_logits, least=1, has_kernel=False)
    temperature = as_positive(name, "temperature", temperature)
    refuse_two_devices(name, teacher_logits=teacher_logits, student_logits=student_logits)
    if student_logits.shape != teacher_logits.shape or not teacher_logits.numel():
        raise ValueError(
            f"{name}: student_logits has shape {tuple(student_logits.shape)}; teacher_logits has "
            f"{tuple(teacher_logits.shape)}, pass the same points and classes, at least one class"
        )
    log_teacher = (teacher_logits / temperature).log_softmax(dim=-1)
    log_student = (student_logits / temperature).log_softmax(dim=-1)
    divergence = (log_teacher.exp() * (log_teacher - log_student)).sum(dim=-1)
    return temperature**2 * divergence.mean()

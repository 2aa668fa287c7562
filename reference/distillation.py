"""The distillation losses of one cloud: Algorithm 1, softened logits, and their total (Eq. 8).

Shape letters: N points, C channels (T teacher, S student).
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float64, Int64

from reference.chamfer import (
    PrecisionWeight,
    persistence_weighted_chamfer,
    persistence_weighted_chamfer_grad,
)
from reference.critical_edges import critical_edge_matching, critical_edge_matching_grad
from reference.distances import pairwise_distances
from reference.normalisation import Normalisation, normalise, normalise_grad
from reference.rips import rips_persistence
from reference.routing import route_to_distances, route_to_points
from reference.sampling import Sampling, sample_points
from reference.transport import entropic_transport, entropic_transport_grad
from reference.validation import (
    as_choice,
    as_indices,
    as_integer,
    as_nonnegative,
    as_points,
    as_positive,
    as_vector,
)
from reference.wasserstein import sorted_wasserstein, sorted_wasserstein_grad

SampleOn = Literal["teacher", "student", "concat"]
DiagramLoss = Literal["pwcd", "sinkhorn", "edges", "wasserstein"]


def topological_loss(
    teacher_features: Float64[np.ndarray, "n t"],
    student_features: Float64[np.ndarray, "n s"],
    num_samples: int = 1024,
    *,
    normalisation: Normalisation = "l2",
    max_dim: int = 1,
    dim_weights: Sequence[float] = (1.0, 1.0),
    eps: float = 1e-8,
    cost_scale: float = 1.0,
    precision_weight: PrecisionWeight = "uniform",
    min_persistence: float = 0.0,
    tie_tolerance: float = 0.0,
    distance_eps: float = 0.0,
    sample_on: SampleOn = "teacher",
    start: int = 0,
    max_simplices: int = 1_000_000,
    loss: DiagramLoss = "pwcd",
    sinkhorn_eps: float = 0.1,
    sinkhorn_relative: bool = False,
    sampling: Sampling = "farthest",
    generator: np.random.Generator | None = None,
    indices: Int64[np.ndarray, " m"] | None = None,
) -> tuple[float, Float64[np.ndarray, "n s"]]:
    """Return the topological loss of one cloud and its gradient for the student's features.

    Parameters
    ----------
    teacher_features, student_features
        Features of the same points in the same order; channels may differ in number.
    num_samples
        Points to keep for the diagrams; a smaller cloud keeps all of its own.
    normalisation
        See `normalise`.
    max_dim
        Highest homology dimension; the paper uses 1.
    dim_weights
        Weight of each dimension's loss, 0 to `max_dim`; the paper adds them evenly.
    eps, cost_scale, precision_weight, min_persistence
        See `persistence_weighted_chamfer`; the other losses do not use them.
    tie_tolerance
        See `route_to_distances`.
    distance_eps
        `eps` of `route_to_points`, the paper's eps_dist.
    sample_on
        Whose normalized features are sampled: the teacher's, as in the paper, the student's, or
        both side by side. Only the first bounds the teacher's diagram (Proposition 1).
    start
        Index of the first farthest sample.
    max_simplices
        See `rips_persistence`. With `max_dim` = 1 the default allows 181 samples.
    loss
        How two diagrams are compared: "pwcd", the persistence-weighted Chamfer distance;
        "sinkhorn", `entropic_transport`; "edges", `critical_edge_matching`; "wasserstein",
        `sorted_wasserstein`, which is defined for dimension 0 alone: the others need the weight 0.
    sinkhorn_eps, sinkhorn_relative
        `eps` and `relative` of `entropic_transport`; the other losses do not use them.
    sampling, generator
        See `sample_points`; `generator` is needed unless `sampling` is "farthest".
    indices
        Rows to compare, all different, in place of sampling any. None: sample.

    Returns
    -------
    loss
        The weighted sum over dimensions of the distance between the diagrams.
    grad_student_features
        dL / d student_features, (N, S); zero for points that were not sampled, unless the
        normalization ties them to the others.

    Raises
    ------
    ValueError
        If the clouds differ in size or are empty, weights and dimensions disagree, an option is out
        of range, points are to be drawn without a generator, or there are more than `max_simplices`
        simplices.
    RuntimeError
        If the transport does not converge.

    Notes
    -----
    Algorithm 1 for one cloud (a batch is the mean over its clouds), with the gradient of
    Algorithm 3. The choice of samples is not differentiated. The cost is that of
    `rips_persistence` for `num_samples` points.

    Examples
    --------
    >>> teacher, student = np.array([[0.0], [1.0]]), np.array([[0.0], [1.5]])
    >>> topological_loss(teacher, student, normalisation="none", eps=1e-300)
    (0.5, array([[-2.],
           [ 2.]]))
    """
    name = "topological_loss"
    teacher_features = as_points(name, "teacher_features", teacher_features, least=1)
    student_features = as_points(name, "student_features", student_features, least=1)
    if len(student_features) != len(teacher_features):
        raise ValueError(
            f"{name}: student_features has {len(student_features)} points; teacher_features has "
            f"{len(teacher_features)}, pass the same points"
        )
    num_samples = as_integer(name, "num_samples", num_samples, least=1)
    max_dim = as_integer(name, "max_dim", max_dim, least=0)
    weights = as_vector(name, "dim_weights", dim_weights, max_dim + 1)
    distance_eps = as_nonnegative(name, "distance_eps", distance_eps)
    as_choice(name, "sample_on", sample_on, get_args(SampleOn))

    as_choice(name, "loss", loss, get_args(DiagramLoss))
    sinkhorn_eps = as_positive(name, "sinkhorn_eps", sinkhorn_eps)
    if loss == "wasserstein" and np.any(weights[1:]):
        raise ValueError(
            f"{name}: dim_weights is {tuple(weights.tolist())}; loss 'wasserstein' is defined for "
            "dimension 0 alone, pass 0 for the others or max_dim=0"
        )

    # Steps 1 to 4 of Algorithm 1: normalize, sample, measure, summarize.
    teacher = normalise(teacher_features, normalisation)
    student = normalise(student_features, normalisation)
    if indices is None:
        sampled = {"teacher": teacher, "student": student, "concat": np.hstack([teacher, student])}
        indices = sample_points(
            sampled[sample_on],
            min(num_samples, len(teacher)),
            start,
            sampling=sampling,
            generator=generator,
        )
    else:
        indices = _as_samples(name, indices, len(teacher))
    teacher_distances = pairwise_distances(teacher[indices])
    student_distances = pairwise_distances(student[indices])
    teacher_diagrams, student_diagrams = (
        rips_persistence(distances, max_dim, max_simplices=max_simplices)
        for distances in (teacher_distances, student_distances)
    )

    # Step 5, and lines 3-28 of Algorithm 3.
    options: dict[str, Any] = {
        "eps": eps,
        "cost_scale": cost_scale,
        "precision_weight": precision_weight,
        "min_persistence": min_persistence,
    }
    total = 0.0
    grad_distances = np.zeros_like(student_distances)
    for weight, of_teacher, of_student in zip(
        weights, teacher_diagrams, student_diagrams, strict=True
    ):
        pairs = of_teacher.pairs, of_student.pairs
        deaths = of_teacher.deaths, of_student.deaths
        if loss == "edges":
            both = of_teacher, of_student, teacher_distances, student_distances
            value = critical_edge_matching(*both)
            grad = critical_edge_matching_grad(*both)
        else:
            if loss == "wasserstein":
                if of_student.dim > 0:  # of weight 0
                    break
                value = sorted_wasserstein(*deaths)
                grads = np.zeros(len(of_student)), sorted_wasserstein_grad(*deaths)
            elif loss == "sinkhorn":
                entropy: dict[str, Any] = {"eps": sinkhorn_eps, "relative": sinkhorn_relative}
                value = entropic_transport(*pairs, **entropy).value
                grads = entropic_transport_grad(*pairs, **entropy)
            else:
                value = persistence_weighted_chamfer(*pairs, **options)
                grads = persistence_weighted_chamfer_grad(*pairs, **options)
            grad = route_to_distances(of_student, *grads, student_distances, tie_tolerance)
        total += weight * value
        grad_distances += weight * grad

    # Lines 29-37, then back through the sampling and the normalization.
    grad_student = np.zeros_like(student)
    grad_student[indices] = route_to_points(student[indices], grad_distances, distance_eps)
    return float(total), normalise_grad(student_features, grad_student, normalisation)


def kl_distillation(
    teacher_logits: Float64[np.ndarray, "n classes"],
    student_logits: Float64[np.ndarray, "n classes"],
    temperature: float = 1.0,
) -> float:
    """Return the divergence of the student's softened predictions from the teacher's.

    Parameters
    ----------
    teacher_logits, student_logits
        One row per point, one column per class; at least one of each.
    temperature
        Divides the logits, above 0; the paper gives no value.

    Returns
    -------
    float
        T^2 times the mean over points of KL(teacher || student), in nats. At least 0, and 0 if
        each row of the student differs from the teacher's by a constant.

    Raises
    ------
    ValueError
        If the shapes differ or are empty, a logit is not finite, or the temperature is not
        positive.

    Notes
    -----
    Section 3.4. The factor T^2 keeps the size of the gradient when T changes (G. Hinton, O.
    Vinyals, J. Dean, 2015). Every point counts; to leave points out, do not pass them.

    Examples
    --------
    >>> round(kl_distillation(np.array([[0.0, 0.0]]), np.log([[1.0, 3.0]])), 6)
    0.143841
    """
    name = "kl_distillation"
    teacher_logits = as_points(name, "teacher_logits", teacher_logits, least=1)
    student_logits = as_points(name, "student_logits", student_logits, least=1)
    temperature = as_positive(name, "temperature", temperature)
    if student_logits.shape != teacher_logits.shape or not teacher_logits.size:
        raise ValueError(
            f"{name}: student_logits has shape {student_logits.shape}; teacher_logits has "
            f"{teacher_logits.shape}, pass the same points and classes, at least one class"
        )
    log_teacher = _log_softmax(teacher_logits / temperature)
    log_student = _log_softmax(student_logits / temperature)
    divergence = np.sum(np.exp(log_teacher) * (log_teacher - log_student), axis=1)
    return float(temperature**2 * divergence.mean())


def total_loss(
    segmentation: float,
    topology: float,
    saliency: float,
    distillation: float,
    *,
    topology_weight: float = 8.0,
    saliency_weight: float = 1.0,
    distillation_weight: float = 1.0,
) -> float:
    """Return the student's training objective (Eq. 8).

    Parameters
    ----------
    segmentation, topology, saliency, distillation
        L_seg, L_topo, L_grad and L_KLD.
    topology_weight, saliency_weight, distillation_weight
        lambda_topo, lambda_grad and lambda_KLD, at least 0; the values the paper trains with
        (appendix C.2).

    Returns
    -------
    float
        The weighted sum; the segmentation loss has weight 1.

    Raises
    ------
    ValueError
        If a weight is negative or a part is not finite.

    Examples
    --------
    >>> total_loss(1.0, 0.5, 0.25, 0.125)
    5.375
    """
    parts = as_vector("total_loss", "parts", [segmentation, topology, saliency, distillation], 4)
    weights = [
        1.0,
        as_nonnegative("total_loss", "topology_weight", topology_weight),
        as_nonnegative("total_loss", "saliency_weight", saliency_weight),
        as_nonnegative("total_loss", "distillation_weight", distillation_weight),
    ]
    return float(parts @ weights)


def _as_samples(function: str, value: object, num_points: int) -> Int64[np.ndarray, " m"]:
    """Return `value` as one or more different rows of a cloud."""
    indices = as_indices(function, "indices", value, num_points)
    if indices.ndim != 1 or not len(indices) or len(np.unique(indices)) < len(indices):
        raise ValueError(
            f"{function}: indices has shape {indices.shape} and "
            f"{len(np.unique(indices))} different entries; pass one or more different rows, (M,)"
        )
    return indices


def _log_softmax(logits: Float64[np.ndarray, "n classes"]) -> Float64[np.ndarray, "n classes"]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.sum(np.exp(shifted), axis=1, keepdims=True))

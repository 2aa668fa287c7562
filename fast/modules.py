"""The losses as modules: features of several clouds concatenated, as point networks make them.

Shape letters: B clouds, N points of all clouds, C channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from fast.chamfer import PrecisionWeight
from fast.checks import as_choice, as_integer, as_points, as_positive, as_tensor
from fast.diagram import BatchedDiagram
from fast.dispatch import disable_compile
from fast.distillation import CloudLosses, cloud_losses, kl_distillation
from fast.normalisation import Normalisation
from fast.options import DiagramLoss, SampleOn, options_of
from fast.saliency import saliency_loss, saliency_maps_of_clouds
from fast.sampling import Sampling, covering_radii, key_of_call
from fast.transport import entropy_of_pairs


@dataclass(frozen=True, eq=False)
class TopologyStats:
    """What the topological loss saw, averaged over the clouds of a batch.

    Tensors on the loss's device, in its dtype and without gradient, so that nothing waits for the
    device before the caller copies them; D is the number of dimensions.

    Attributes
    ----------
    teacher_covering_radius, student_covering_radius
        () how far the worst point is from its nearest sample, in normalized features. Proposition
        1 bounds the error of a diagram by twice its own radius.
    teacher_pairs, student_pairs
        (D,) number of finite pairs.
    losses
        (D,) distance between the diagrams before weighting.
    gradient_entropies
        (D,) how evenly the gradient of `losses` is spread over the student's pairs, see
        `fast.gradient_entropy`, averaged over the clouds that have one; 0 if none has. None if the
        student takes no gradient, or takes it past the pairs (loss "edges").
    """

    teacher_covering_radius: Tensor
    student_covering_radius: Tensor
    teacher_pairs: Tensor
    student_pairs: Tensor
    losses: Tensor
    gradient_entropies: Tensor | None


class TopologicalLoss(nn.Module):
    """Algorithm 1 as a module: the mean over clouds of the topological loss.

    Parameters
    ----------
    num_samples
        Points of each cloud to keep for the diagrams; a smaller cloud keeps all of its own.
    normalisation
        See `fast.normalise`.
    dim_weights
        Weight of each dimension's loss; its length, 1 or 2, is how many dimensions there are.
    eps, cost_scale, precision_weight, min_persistence
        See `fast.persistence_weighted_chamfer`; the other losses do not use them.
    sample_on
        Whose features are sampled: "teacher" as in the paper, "student" or "concat".
    loss
        How diagrams are compared: "pwcd", the persistence-weighted Chamfer distance; "sinkhorn",
        `fast.entropic_transport`; "edges", `fast.critical_edge_matching`; "wasserstein",
        `fast.sorted_wasserstein`, for H0 alone: `dim_weights` of length 1, or 0 for H1.
    sinkhorn_eps
        Weight of the entropy, above 0, in squared units of the filtration; the other losses do not
        use it.
    sinkhorn_relative
        Take `sinkhorn_eps` as a share of each diagram's largest cost instead.
    start
        Index of the first farthest sample of each cloud.
    backend
        Which kernels; None: those of the tensors' device.
    sampling
        How points are sampled: "farthest" as in the paper, "random" or "mixed"; see
        `fast.sample_points`.
    sampling_seed
        What random points are drawn from, together with the number of the call: the buffer
        `sampling_calls`, () int64, which exists unless `sampling` is "farthest" and is saved with
        the module's state. No generator is used. Equal seeds and numbers give equal draws for
        clouds of equal sizes, whatever the features and the other options.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    sampling_calls: Tensor

    def __init__(
        self,
        num_samples: int = 1024,
        normalisation: Normalisation = "l2",
        dim_weights: Sequence[float] = (1.0, 1.0),
        eps: float = 1e-8,
        sample_on: SampleOn = "teacher",
        loss: DiagramLoss = "pwcd",
        sinkhorn_eps: float = 0.1,
        *,
        cost_scale: float = 1.0,
        precision_weight: PrecisionWeight = "uniform",
        min_persistence: float = 0.0,
        start: int = 0,
        backend: str | None = None,
        sampling: Sampling = "farthest",
        sampling_seed: int = 0,
        sinkhorn_relative: bool = False,
    ) -> None:
        super().__init__()
        self.sampling_seed = as_integer(
            "TopologicalLoss", "sampling_seed", sampling_seed, least=0, most=2**63 - 1
        )
        self.start, self.backend = as_integer("TopologicalLoss", "start", start, least=0), backend
        self.options = options_of(
            "TopologicalLoss",
            num_samples=num_samples,
            normalisation=normalisation,
            dim_weights=dim_weights,
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
        if sampling != "farthest":
            self.register_buffer("sampling_calls", torch.zeros((), dtype=torch.int64))

    def extra_repr(self) -> str:
        """Return the options, for the module's repr."""
        options = self.options.arguments() | {"start": self.start, "backend": self.backend}
        if self.options.sampling != "farthest":
            options["sampling_seed"] = self.sampling_seed
        return ", ".join(f"{name}={value!r}" for name, value in options.items())

    @disable_compile  # numba cannot be traced: one graph break here, not many inside
    def forward(
        self,
        teacher_features: Tensor,
        student_features: Tensor,
        offset: Tensor,
        *,
        return_stats: bool = False,
    ) -> Tensor | tuple[Tensor, TopologyStats]:
        """Return the loss () or, if `return_stats`, the loss and what it saw.

        Parameters
        ----------
        teacher_features, student_features
            (N, T) and (N, S): the same points in the same order, clouds one after another. No
            gradient reaches the teacher.
        offset
            (B,) int64: where each cloud ends; the last entry is N.
        return_stats
            Return (loss, TopologyStats); costs a pass over all points, and the loss's gradient at
            the pairs.

        Raises
        ------
        ValueError
            If the tensors do not fit together, or (on the CPU) are not finite.
        RuntimeError
            If no kernel serves the tensors' device, or the transport does not converge.
        """
        name = "TopologicalLoss"
        teacher = as_points(name, "teacher_features", teacher_features)
        student = as_points(name, "student_features", student_features)
        if len(teacher) != len(student):
            raise ValueError(
                f"{name}: student_features has {len(student)} points; teacher_features has "
                f"{len(teacher)}, pass the same points"
            )
        sizes = cloud_sizes(name, offset, len(student))
        clouds = list(torch.split(teacher, sizes)), list(torch.split(student, sizes))
        parts = cloud_losses(
            name,
            *clouds,
            self.options,
            self._next_key(),
            start=self.start,
            backend=self.backend,
        )
        return (
            (parts.total, self._stats(parts, self._gradient_entropies(parts)))
            if return_stats
            else parts.total
        )

    @torch.no_grad()
    def _next_key(self) -> Tensor | None:
        """Return what this call draws its samples from, and count the call."""
        if self.options.sampling == "farthest":
            return None
        key = key_of_call(self.sampling_seed, self.sampling_calls)
        self.sampling_calls += 1
        return key

    @torch.no_grad()
    def _stats(self, parts: CloudLosses, gradient_entropies: Tensor | None) -> TopologyStats:
        losses = parts.losses.detach().mean(dim=0)

        def radius(whose: SampleOn, clouds: list[Tensor]) -> Tensor:
            if whose == self.options.sample_on and parts.sampled_radii is not None:
                return torch.stack(parts.sampled_radii).mean().to(losses)
            return covering_radii(clouds, parts.indices, self.backend).mean().to(losses)

        def pairs(diagrams: list[BatchedDiagram]) -> Tensor:
            return torch.stack([diagram.counts.double().mean() for diagram in diagrams]).to(losses)

        return TopologyStats(
            teacher_covering_radius=radius("teacher", parts.teacher_normalized),
            student_covering_radius=radius("student", parts.student_normalized),
            teacher_pairs=pairs(parts.teacher_diagrams),
            student_pairs=pairs(parts.student_diagrams),
            losses=losses,
            gradient_entropies=gradient_entropies,
        )

    def _gradient_entropies(self, parts: CloudLosses) -> Tensor | None:
        """Return the spread of the loss's gradient over the student's pairs, (D,)."""
        # The same on every process of a step, whatever its clouds: the numbers are added up.
        takes_gradient = any(cloud.requires_grad for cloud in parts.student_normalized)
        if self.options.diagram_distance == "edges" or not (
            torch.is_grad_enabled() and takes_gradient
        ):
            return None
        fields = [field for each in parts.student_diagrams for field in (each.births, each.deaths)]
        leaves = [field for field in fields if field.requires_grad]  # births of H0 are constants
        found: dict[int, Tensor | None] = {}
        if leaves and parts.losses.requires_grad:
            gradients = torch.autograd.grad(
                parts.losses,
                leaves,
                torch.ones_like(parts.losses),  # of each dimension by itself, whatever its weight
                retain_graph=True,
                allow_unused=True,
            )
            found = {id(leaf): each for leaf, each in zip(leaves, gradients, strict=True)}
        means = []
        for diagram in parts.student_diagrams:
            at_pairs = []
            for field in (diagram.births, diagram.deaths):
                gradient = found.get(id(field))
                at_pairs.append(torch.zeros_like(field) if gradient is None else gradient)
            entropies = entropy_of_pairs(torch.stack(at_pairs, dim=-1), diagram.mask)
            means.append(entropies.nanmean().nan_to_num(nan=0.0))
        return torch.stack(means).to(parts.losses.dtype)


class SaliencyLoss(nn.Module):
    """Eq. 4-7 over concatenated clouds: where the task's gradient says the points matter.

    Parameters
    ----------
    reduction
        "sum": the sum over stages, as Eq. 7. "none": each stage apart, for a caller that averages
        over the points of several processes; `sum()` of it is the result of "sum" to the last bit.

    Raises
    ------
    ValueError
        If the reduction is unknown.
    """

    def __init__(self, reduction: Literal["sum", "none"] = "sum") -> None:
        super().__init__()
        as_choice("SaliencyLoss", "reduction", reduction, ("sum", "none"))
        self.reduction: Literal["sum", "none"] = reduction

    def extra_repr(self) -> str:
        """Return the options, for the module's repr."""
        return f"reduction={self.reduction!r}"

    def forward(
        self,
        teacher_features: Sequence[Tensor],
        teacher_gradients: Sequence[Tensor],
        student_features: Sequence[Tensor],
        student_gradients: Sequence[Tensor],
        offsets: Sequence[Tensor],
    ) -> Tensor:
        """Return the mean over each stage's points: their sum (), or with "none" (num_stages,).

        Parameters
        ----------
        teacher_features, student_features
            One tensor per stage, (N_l, C): the same points in the same order in both networks.
            No gradient reaches the teacher.
        teacher_gradients, student_gradients
            dL_seg / dF of the same shapes; taken as constants, whether or not they carry a graph.
        offsets
            One tensor per stage, (B,) int64: where each cloud ends. Maps are normalized per cloud.

        Raises
        ------
        ValueError
            If numbers of stages or points differ, or (on the CPU) an entry is not finite.
        """
        name = "SaliencyLoss"
        given = {
            "teacher_gradients": teacher_gradients,
            "student_features": student_features,
            "student_gradients": student_gradients,
            "offsets": offsets,
        }
        for argument, value in given.items():
            if len(value) != len(teacher_features):
                raise ValueError(
                    f"{name}: {argument} has {len(value)} stages; teacher_features has "
                    f"{len(teacher_features)}, pass as many"
                )
        teacher_maps = [
            self.maps(*stage)
            for stage in zip(teacher_features, teacher_gradients, offsets, strict=True)
        ]
        return self.compare(teacher_maps, student_features, student_gradients, offsets)

    def compare(
        self,
        teacher_maps: Sequence[Tensor],
        student_features: Sequence[Tensor],
        student_gradients: Sequence[Tensor],
        offsets: Sequence[Tensor],
    ) -> Tensor:
        """Return what `forward` does, for maps of the teacher that are there already.

        Parameters
        ----------
        teacher_maps
            One tensor per stage, (N_l,), from `maps`.
        student_features, student_gradients, offsets
            See `forward`.
        """
        student_maps = [
            _maps(features, gradients.detach(), cloud_sizes("SaliencyLoss", offset, len(features)))
            for features, gradients, offset in zip(
                student_features, student_gradients, offsets, strict=True
            )
        ]
        return saliency_loss(teacher_maps, student_maps, layers=self.reduction)

    @staticmethod
    @torch.no_grad()
    def maps(features: Tensor, gradients: Tensor, offset: Tensor) -> Tensor:
        """Return the saliency (N_l,) of a stage's points, normalized per cloud, as a constant.

        Parameters
        ----------
        features, gradients
            (N_l, C), dL_seg / dF of the same shape.
        offset
            (B,) int64: where each cloud ends.
        """
        return _maps(features, gradients, cloud_sizes("SaliencyLoss", offset, len(features)))


class DistillationLoss(nn.Module):
    """`fast.kl_distillation` as a module; no gradient reaches the teacher.

    Parameters
    ----------
    temperature
        Divides the logits, above 0.

    Raises
    ------
    ValueError
        If the temperature is not positive.
    """

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        self.temperature = as_positive("DistillationLoss", "temperature", temperature)

    def extra_repr(self) -> str:
        """Return the options, for the module's repr."""
        return f"temperature={self.temperature}"

    def forward(self, teacher_logits: Tensor, student_logits: Tensor) -> Tensor:
        """Return T^2 times the mean over points of KL(teacher || student), ()."""
        constant = as_tensor("DistillationLoss", "teacher_logits", teacher_logits).detach()
        return kl_distillation(constant, student_logits, self.temperature)


def cloud_sizes(function: str, offset: Tensor, num_points: int) -> list[int]:
    """Return how many points each cloud has, from where each ends."""
    offset = as_tensor(function, "offset", offset)
    if offset.ndim != 1 or not len(offset) or offset.dtype not in (torch.int32, torch.int64):
        raise ValueError(
            f"{function}: offset is {offset.dtype} of shape {tuple(offset.shape)}; "
            "pass int64 of shape (B,), where each cloud ends"
        )
    ends = offset.tolist()
    sizes = [end - begin for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
    if min(sizes) < 1 or ends[-1] != num_points:
        raise ValueError(
            f"{function}: offset is {ends}; pass increasing ends, the last {num_points}, "
            "the number of points"
        )
    return sizes


def _maps(features: Tensor, gradients: Tensor, sizes: list[int]) -> Tensor:
    """Saliency of every point, normalized per cloud."""
    if features.shape != gradients.shape:
        raise ValueError(
            f"SaliencyLoss: gradients of a stage have shape {tuple(gradients.shape)}; "
            f"its features have {tuple(features.shape)}, pass the same"
        )
    return saliency_maps_of_clouds(features, gradients, sizes)

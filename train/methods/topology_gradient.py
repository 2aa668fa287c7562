"""`--method topology-gradient`: topology, saliency and softened logits (Eq. 8), the paper's method.

Shape letters: N voxels, N_s at stage s, B clouds, S stages.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from fast import DistillationLoss, SaliencyLoss, TopologicalLoss
from fast.transport import NotConvergedError
from train.config import require
from train.core.errors import UserError
from train.methods.kd import KDConfig, divergence_term
from train.methods.losses import require_finite, segmentation_term
from train.methods.protocol import LABELED_SHARE, DistillationMethod, LossTerm
from train.networks.protocol import Network, NetworkOutput, prepare_pair


@dataclass(frozen=True, kw_only=True)
class TopologyGradientConfig(KDConfig):
    """Eq. 8: the weights of the distilled terms, and what each term leaves open.

    The cross-entropy has weight 1. A weight of 0 turns a term off and skips its computation.
    """

    topology: float = 8.0
    """Weight of the distance between the diagrams of the features (Eq. 2-3)."""
    saliency: float = 1.0
    """Weight of the saliency alignment (Eq. 4-7)."""
    num_samples: int = 1024
    """Points of a cloud whose diagrams are compared (Algorithm 1)."""
    normalization: Literal["l2", "none", "center_maxnorm", "diameter"] = "l2"
    """How features are normalized before sampling and distances (Algorithm 1, step 1)."""
    sample_on: Literal["teacher", "student", "concat"] = "teacher"
    """Whose features choose the sampled points (Algorithm 1 takes the teacher's)."""
    topology_stage: str = "last"
    """Stage whose features give the diagrams: last (before the classifier) or a name, enc4."""
    saliency_stages: tuple[str, ...] = ("decoder",)
    """Stages whose saliency is aligned: decoder, encoder, or names (Table 10)."""
    diagram_distance: Literal["pwcd", "sinkhorn"] = "pwcd"
    """How diagrams are compared: the paper's distance, or entropic transport (Table 11)."""
    sinkhorn_eps: float = 0.1
    """Weight of the entropy with sinkhorn, in squared units of the distances."""
    dim_weights: tuple[float, float] = (1.0, 1.0)
    """Weights of H0 and of H1; the paper adds them evenly."""
    cost_scale: float = 1.0
    """Factor of the squared distance between two pairs; 0.5 reads Algorithm 2 to the letter."""
    eps: float = 1e-8
    """Stabilizer of the sum of the pairs' weights (Eq. 2)."""
    precision_weight: Literal["uniform", "persistence"] = "uniform"
    """Weight of a student's pair: 1/K (Eq. 3), or by persistence as the teacher's."""
    min_persistence: float = 0.0
    """Teacher pairs of smaller persistence do not count."""

    @property
    def weights(self) -> tuple[str, ...]:
        """The fields that are weights of terms."""
        return ("topology", "saliency", "distillation")

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.num_samples >= 2, "method.num-samples", self.num_samples, "at least 2 points")
        for name in ("sinkhorn_eps", "cost_scale", "eps"):
            value = getattr(self, name)
            require(
                math.isfinite(value) and value > 0,
                f"method.{name.replace('_', '-')}",
                value,
                "above 0",
            )
        require(
            all(0 <= weight < math.inf for weight in self.dim_weights),
            "method.dim-weights",
            self.dim_weights,
            "0 or above, for H0 and H1",
        )
        require(
            0 <= self.min_persistence < math.inf,
            "method.min-persistence",
            self.min_persistence,
            "0 or above",
        )
        require(
            len(self.saliency_stages) > 0,
            "method.saliency-stages",
            "empty",
            "decoder, encoder, or names of stages; --method.saliency 0 turns the term off",
        )


class TopologyGradient(DistillationMethod):
    """The student's total loss against a frozen teacher.

    Notes
    -----
    Features for the topology are by default those before the classifier, and saliency compares all
    decoder stages. Where both networks have one geometry they share it, so that row i of a stage is
    the same voxel in both; stages of different geometries are refused unless their rows agree in
    number.
    """

    Config = TopologyGradientConfig

    def __init__(
        self,
        config: TopologyGradientConfig,
        student: Network,
        teacher: Network | None,
        *,
        artifacts: Path | None = None,
    ) -> None:
        super().__init__(config, student, teacher, artifacts=artifacts)
        assert teacher is not None
        self.topological_loss = TopologicalLoss(
            num_samples=config.num_samples,
            normalisation=config.normalization,
            sample_on=config.sample_on,
            loss=config.diagram_distance,
            sinkhorn_eps=config.sinkhorn_eps,
            dim_weights=config.dim_weights,
            eps=config.eps,
            cost_scale=config.cost_scale,
            precision_weight=config.precision_weight,
            min_persistence=config.min_persistence,
        )
        self.saliency_loss = SaliencyLoss(reduction="none")
        self.distillation_loss = DistillationLoss(temperature=config.temperature)
        self.check(config, student, teacher)
        self.topology_stages = (
            _one_stage("topology-stage", config.topology_stage, student),
            _one_stage("topology-stage", config.topology_stage, teacher),
        )
        self.saliency_stages = (
            _stages("saliency-stages", config.saliency_stages, student),
            _stages("saliency-stages", config.saliency_stages, teacher),
        )

    @classmethod
    def check(
        cls, config: TopologyGradientConfig, student: Network, teacher: Network | None
    ) -> None:
        """Refuse stages that the networks do not have, or not as many of."""
        assert teacher is not None
        for network in (student, teacher):
            _one_stage("topology-stage", config.topology_stage, network)
        of_student, of_teacher = (
            _stages("saliency-stages", config.saliency_stages, network)
            for network in (student, teacher)
        )
        if config.saliency > 0 and len(of_student) != len(of_teacher):
            raise UserError(
                f"--method.saliency-stages {' '.join(config.saliency_stages)}: the student has "
                f"{', '.join(of_student)}, the teacher {', '.join(of_teacher)}; name stages that "
                "both have, or use last"
            )

    def forward(
        self, student: Network, teacher: Network | None, batch: Mapping[str, Any]
    ) -> dict[str, LossTerm]:
        """Return cross-entropy, topology, saliency and divergence, those of weight 0 left out."""
        assert teacher is not None
        config = self.config
        geometry, teacher_geometry = prepare_pair(student, teacher, batch)
        output = student(batch, geometry)
        terms = {"segmentation": segmentation_term(output.logits, batch, config.segmentation)}
        of_teacher = self._teacher_output(teacher, batch, teacher_geometry)
        if config.topology > 0:
            terms["topology"] = self._topology(of_teacher, output)
        if config.saliency > 0:
            terms["saliency"] = self._saliency(of_teacher, output, batch, terms["segmentation"])
        if config.distillation > 0:
            terms["distillation"] = divergence_term(
                self.distillation_loss, config, of_teacher.logits.detach(), output.logits, batch
            )
        return terms

    def _teacher_output(
        self, teacher: Network, batch: Mapping[str, Any], geometry: Any
    ) -> NetworkOutput:
        """Run the teacher; with the saliency on, its graph starts at the first stage it needs.

        No parameter of the teacher requires a gradient, so everything before that stage is run
        without a graph, and the graph after it exists only to reach the features.
        """
        if self.config.saliency == 0:
            with torch.no_grad():
                return teacher(batch, geometry)  # type: ignore[no-any-return]
        wanted = set(self.saliency_stages[1])
        started = False

        def start_graph(name: str, features: Tensor) -> Tensor:
            nonlocal started
            if started or name not in wanted:
                return features
            started = True
            return features.detach().requires_grad_()

        return teacher(batch, geometry, stage_hook=start_graph)  # type: ignore[no-any-return]

    def _topology(self, of_teacher: NetworkOutput, output: NetworkOutput) -> LossTerm:
        """Compare the diagrams of each cloud's features (Algorithm 1)."""
        student_stage, teacher_stage = self.topology_stages
        target = of_teacher.features[teacher_stage].detach()
        features = output.features[student_stage]
        _refuse_other_rows("topology-stage", student_stage, features, target)
        try:
            value, stats = self.topological_loss(
                target, features, output.offsets[student_stage], return_stats=True
            )
        except NotConvergedError as error:
            raise UserError(f"--method.sinkhorn-eps: {error}") from error
        value = require_finite("topology", value)
        return LossTerm(value, self.config.topology, "clouds", stats=vars(stats))

    def _saliency(
        self,
        of_teacher: NetworkOutput,
        output: NetworkOutput,
        batch: Mapping[str, Any],
        segmentation: LossTerm,
    ) -> LossTerm:
        """Align the saliency maps of all stages; channel weights are constants (Eq. 4)."""
        share = batch.get(LABELED_SHARE, 1.0)
        student_stages, teacher_stages = self.saliency_stages
        teacher_features = [of_teacher.features[name] for name in teacher_stages]
        features = [output.features[name] for name in student_stages]
        for name, one, other in zip(student_stages, features, teacher_features, strict=True):
            _refuse_other_rows("saliency-stages", name, one, other)
        teacher_segmentation = segmentation_term(
            of_teacher.logits, batch, self.config.segmentation
        ).value
        # Maps are not free of the gradient's scale, which is that of the mean over the step's
        # labeled voxels, wherever they are computed.
        teacher_gradients = torch.autograd.grad(teacher_segmentation * share, teacher_features)
        student_gradients = torch.autograd.grad(
            segmentation.value * share, features, retain_graph=True
        )
        offsets = [output.offsets[name] for name in student_stages]
        value = self.saliency_loss(
            [each.detach() for each in teacher_features],
            teacher_gradients,
            features,
            student_gradients,
            offsets,
        )
        count = value.new_tensor([float(len(each)) for each in features])
        value = require_finite("saliency", value)
        return LossTerm(value, self.config.saliency, "points", count=count)


def _stages(option: str, names: Sequence[str], network: Network) -> tuple[str, ...]:
    """Return the stages that an option names, in the order in which they run."""
    groups = {
        "last": network.decoder_stages[-1:],
        "decoder": network.decoder_stages,
        "encoder": network.encoder_stages,
    }
    known = (*network.encoder_stages, *network.decoder_stages)
    chosen = [stage for name in names for stage in groups.get(name, (name,))]
    unknown = [stage for stage in chosen if stage not in known]
    if unknown or not chosen:
        raise UserError(
            f"--method.{option} {' '.join(names)}: {type(network).__name__} has no such stage; "
            f"choose among {', '.join(known)}"
        )
    return tuple(stage for stage in known if stage in chosen)


def _one_stage(option: str, name: str, network: Network) -> str:
    """Return the stage that an option names, which must be a single one."""
    stages = _stages(option, (name,), network)
    if len(stages) > 1:
        raise UserError(
            f"--method.{option} {name}: names {len(stages)} stages of {type(network).__name__} "
            f"({', '.join(stages)}); choose one of them, or last"
        )
    return stages[0]


def _refuse_other_rows(option: str, stage: str, student: Tensor, teacher: Tensor) -> None:
    if len(student) != len(teacher):
        raise UserError(
            f"--method.{option}: stage {stage} has {len(student)} rows in the student and "
            f"{len(teacher)} in the teacher, so they are not the same voxels; choose last"
        )

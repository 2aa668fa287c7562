"""`--method topology-gradient`: topology, saliency and softened logits (Eq. 8), the paper's method.

Shape letters: N voxels, N_s at stage s, B clouds, S stages.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from fast import SaliencyLoss, TopologicalLoss, TopologyOptions
from fast.transport import NotConvergedError
from train.config import refused_as_flags, require
from train.core.errors import UserError
from train.data.batch import Batch
from train.methods.balance import GradientBalance, check_balance
from train.methods.kd import KDConfig, divergence_term
from train.methods.losses import require_finite, segmentation_term
from train.methods.protocol import DistillationMethod
from train.methods.stages import (
    StagePair,
    describe_pairs,
    one_pair,
    refuse_other_rows,
    stage_pairs,
)
from train.methods.targets import TeacherTargets, compute_targets, geometry_and_targets
from train.methods.terms import LossTerm, TargetChoice
from train.networks.protocol import Network, NetworkOutput


@dataclass(frozen=True, kw_only=True)
class TopologyGradientConfig(TopologyOptions, KDConfig):
    """Eq. 8: the weights of the distilled terms, and what each term leaves open.

    The cross-entropy has weight 1. A weight of 0 turns a term off and skips its computation.
    """

    topology: float = 8.0
    """Weight of the distance between the diagrams of the features (Eq. 2-3)."""
    saliency: float = 1.0
    """Weight of the saliency alignment (Eq. 4-7)."""
    topology_stage: str = "last"
    """Stage whose features give the diagrams: last (before the classifier) or a name, enc4."""
    saliency_stages: tuple[str, ...] = ("decoder",)
    """Stages whose saliency is aligned: decoder, encoder, or names (Table 10)."""
    shared_order: bool = True
    """List the voxels of each stage in one order for both networks; without it maps of pooled
    stages are compared row by row though the voxels are others (Table 10's likely mistake)."""
    topology_balance: float = 0.0
    """Instead of --method.topology: hold the term's gradient at this share of the other terms'; 0
    for a fixed weight."""
    topology_target: Literal["own", "other", "permuted"] = "own"
    """Compare with the same points of the teacher, or, as a placebo, with another cloud's
    features, or with the same cloud's on other points."""

    weights: ClassVar[tuple[str, ...]] = ("topology", "saliency", "distillation")

    def __post_init__(self) -> None:
        KDConfig.__post_init__(self)
        with refused_as_flags("method"):
            TopologyOptions.__post_init__(self)
        require(self.num_samples >= 2, "method.num-samples", self.num_samples, "at least 2 points")
        check_balance(self, "topology_balance", "topology")
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
    decoder stages that have the same voxels in both networks: networks of one geometry share it,
    and networks whose grids are halved alike (PTv3, LitePT) list their voxels in one order. Other
    networks compare the last stage, whose voxels are the batch's.
    """

    Config = TopologyGradientConfig
    choice: TargetChoice

    def __init__(
        self,
        config: TopologyGradientConfig,
        student: Network,
        teacher: Network | None,
        *,
        artifacts: Path | None = None,
    ) -> None:
        super().__init__(config, student, teacher, artifacts=artifacts)
        # Of the teacher nothing but the names of its stages is needed: targets may be kept ones.
        assert teacher is not None
        options = config.arguments()
        if config.diagram_distance == "wasserstein":
            options["dim_weights"] = config.dim_weights[:1]  # H1 has no part in it
        self.topological_loss = TopologicalLoss(**options)
        self.saliency_loss = SaliencyLoss(reduction="none")
        self.check(config, student, teacher)
        self.topology_stages = one_pair("topology-stage", config.topology_stage, student, teacher)
        pairs = self._saliency_pairs(config, student, teacher)
        self.saliency_stages = (tuple(own for own, _ in pairs), tuple(other for _, other in pairs))
        self.needs_topology = config.topology > 0 or config.topology_balance > 0
        self.choice = TargetChoice(
            features=self.topology_stages[1:] if self.needs_topology else (),
            saliency=self.saliency_stages[1] if config.saliency > 0 else (),
            segmentation=config.segmentation,
        )
        self.balance = (
            GradientBalance(config.topology_balance) if config.topology_balance > 0 else None
        )

    @classmethod
    def needs_persistence(cls, config: TopologyGradientConfig) -> bool:
        """Return whether topology enters the loss."""
        return config.topology > 0

    @classmethod
    def takes_unlabeled(cls, config: TopologyGradientConfig) -> bool:
        """Return whether a term that needs no labels is there."""
        topology = config.topology > 0 or config.topology_balance > 0
        return topology or (config.distillation > 0 and not config.kd_ignore)

    @classmethod
    def check_labels(cls, config: TopologyGradientConfig, labels: str) -> None:
        """Refuse saliency too: its maps are gradients of the loss against the labels (Eq. 4)."""
        super().check_labels(config, labels)
        if labels != "all" and config.saliency > 0:
            raise UserError(
                f"--method.saliency is {config.saliency}: its maps need labels on all frames, and "
                f"--data.labels is {labels}; give --method.saliency 0"
            )

    @classmethod
    def check(
        cls, config: TopologyGradientConfig, student: Network, teacher: Network | None
    ) -> None:
        """Refuse stages that the networks do not have both."""
        assert teacher is not None
        one_pair("topology-stage", config.topology_stage, student, teacher)
        cls._saliency_pairs(config, student, teacher)

    @staticmethod
    def _saliency_pairs(
        config: TopologyGradientConfig, student: Network, teacher: Network
    ) -> tuple[StagePair, ...]:
        """Return the stages whose maps are compared; none where saliency is off."""
        if config.saliency == 0:
            return ()
        return stage_pairs("saliency-stages", config.saliency_stages, student, teacher)

    def describe(self, student: Network, teacher: Network) -> str:
        """Return the stages that are compared."""
        told = []
        if self.needs_topology:
            pairs = describe_pairs([self.topology_stages], student, teacher)
            told.append(f"topology compares {pairs}")
        if self.saliency_stages[0]:
            found = list(zip(*self.saliency_stages, strict=True))
            told.append(f"saliency compares {describe_pairs(found, student, teacher)}")
        return "; ".join(told)

    def forward(
        self, student: Network, teacher: Network | None, batch: Mapping[str, Any]
    ) -> dict[str, LossTerm]:
        """Return cross-entropy, topology, saliency and divergence, those of weight 0 left out."""
        config = self.config
        geometry, targets = self._geometry_and_targets(student, teacher, batch)
        output = student(batch, geometry)
        terms = {"segmentation": segmentation_term(output.logits, batch, config.segmentation)}
        if self.needs_topology:
            terms["topology"] = self._topology(targets, output)
        if config.saliency > 0:
            terms["saliency"] = self._saliency(targets, output, batch, terms["segmentation"])
        if config.distillation > 0:
            terms["distillation"] = divergence_term(config, targets.logits, output.logits, batch)
        if self.balance is not None:
            terms["topology"] = self.balance.weighted(terms, "topology", student)
        return terms

    def synchronize(self) -> None:
        """Let the processes agree on the weight of the topology."""
        if self.balance is not None:
            self.balance.synchronize()

    def _geometry_and_targets(
        self, student: Network, teacher: Network | None, batch: Mapping[str, Any]
    ) -> tuple[Any, TeacherTargets]:
        """Return the student's geometry and the teacher's targets, in one order or each its own."""
        if self.config.shared_order:
            return geometry_and_targets(student, teacher, batch, self.choice)
        if teacher is None:
            raise ValueError("TopologyGradient: without shared_order the teacher must be there")
        kept = Batch.of(batch).kept
        geometry = student.prepare(batch) if kept is None else kept.geometry
        # The teacher makes its own, as it would alone.
        return geometry, compute_targets(teacher, batch, teacher.prepare(batch), self.choice)

    def _topology(self, targets: TeacherTargets, output: NetworkOutput) -> LossTerm:
        """Compare the diagrams of each cloud's features (Algorithm 1)."""
        student_stage, teacher_stage = self.topology_stages
        target = targets.features[teacher_stage]
        features = output.features[student_stage]
        offset = output.offsets[student_stage]
        refuse_other_rows("topology-stage", student_stage, features, target)
        if self.config.topology_target == "other":
            target = target[other_cloud_rows(offset)]
        elif self.config.topology_target == "permuted":
            target = target[permuted_rows(offset)]
        try:
            value, stats = self.topological_loss(target, features, offset, return_stats=True)
        except NotConvergedError as error:
            raise UserError(f"--method.sinkhorn-eps: {error}") from error
        value = require_finite("topology", value)
        seen = {name: number for name, number in vars(stats).items() if number is not None}
        return LossTerm(value, self.config.topology, "clouds", stats=seen)

    def _saliency(
        self,
        targets: TeacherTargets,
        output: NetworkOutput,
        batch: Mapping[str, Any],
        segmentation: LossTerm,
    ) -> LossTerm:
        """Align the saliency maps of all stages; channel weights are constants (Eq. 4)."""
        student_stages, teacher_stages = self.saliency_stages
        teacher_maps = [targets.saliency[name] for name in teacher_stages]
        features = [output.features[name] for name in student_stages]
        for name, one, other in zip(student_stages, features, teacher_maps, strict=True):
            refuse_other_rows("saliency-stages", name, one, other)
        # Maps are not free of the gradient's scale, which is that of the mean over the step's
        # labeled voxels, wherever they are computed.
        student_gradients = torch.autograd.grad(
            segmentation.value * Batch.of(batch).labeled_share, features, retain_graph=True
        )
        offsets = [output.offsets[name] for name in student_stages]
        value = self.saliency_loss.compare(teacher_maps, features, student_gradients, offsets)
        count = value.new_tensor([float(len(each)) for each in features])
        value = require_finite("saliency", value)
        return LossTerm(value, self.config.saliency, "points", count=count)


def permuted_rows(offset: Tensor) -> Tensor:
    """Return the rows of every cloud in an order that says nothing of where they lie.

    A target that has the very features of the cloud's teacher, and none at its own point.

    Parameters
    ----------
    offset
        (B,) int64: where each cloud ends.

    Returns
    -------
    Tensor
        (N,) int64, a permutation within each cloud, always the same for clouds of these sizes.
    """
    generator = torch.Generator().manual_seed(0)
    rows, begin = [], 0
    for end in offset.tolist():
        rows.append(begin + torch.randperm(end - begin, generator=generator))
        begin = end
    return torch.cat(rows).to(offset.device)


def other_cloud_rows(offset: Tensor) -> Tensor:
    """Return rows of the next cloud for every cloud of a batch, a target that knows nothing of it.

    Parameters
    ----------
    offset
        (B,) int64: where each cloud ends.

    Returns
    -------
    Tensor
        (N,) int64. A cloud gets as many rows of the next as it has itself, the last cloud those of
        the first, repeated where the other is smaller and in an order that says nothing of space.

    Raises
    ------
    UserError
        If there is a single cloud.
    """
    ends = offset.tolist()
    if len(ends) < 2:
        raise UserError(
            "--method.topology-target other takes the target of another cloud, and the batch has "
            "one alone; choose a --data.batch-size of 2 or more that leaves no single frame over"
        )
    begins = [0, *ends[:-1]]
    sizes = [end - begin for begin, end in zip(begins, ends, strict=True)]
    generator = torch.Generator().manual_seed(0)
    rows = []
    for place, size in enumerate(sizes):
        other = (place + 1) % len(sizes)
        order = torch.randperm(sizes[other], generator=generator)
        rows.append(begins[other] + order[torch.arange(size) % sizes[other]])
    return torch.cat(rows).to(offset.device)

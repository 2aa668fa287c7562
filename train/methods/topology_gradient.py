"""The paper's method: topology, saliency and softened logits beside the cross-entropy (Eq. 8)."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fast import DistillationLoss, SaliencyLoss, TopologicalLoss, TopologyReport
from fast.transport import NotConvergedError
from train.config import LossConfig
from train.core.errors import UserError
from train.methods.losses import LossParts, require_finite, segmentation_loss
from train.networks.ptv3 import Hierarchy, Segmentor


@dataclass(frozen=True)
class StepResult:
    """A training step's loss parts, and what the topological part saw (None if it is off)."""

    parts: LossParts
    topology: TopologyReport | None


class TopologyGradientDistillation:
    """Compute the student's total loss against a frozen teacher.

    Parameters
    ----------
    config
        Weights and options; a part of weight 0 is skipped.

    Notes
    -----
    Features for the topology are those before the classifier, the last decoder stage. Saliency
    compares all decoder stages. Both networks get the same hierarchy, so that row i of a pooled
    stage is the same voxel in both.
    """

    def __init__(self, config: LossConfig) -> None:
        self.config = config
        self.topological_loss = TopologicalLoss(
            num_samples=config.num_samples,
            normalisation=config.normalization,
            sample_on=config.sample_on,
            loss=config.diagram_distance,
            sinkhorn_eps=config.sinkhorn_eps,
        )
        self.saliency_loss = SaliencyLoss()
        self.distillation_loss = DistillationLoss(temperature=config.temperature)

    def __call__(
        self,
        teacher: Segmentor,
        student: Segmentor,
        batch: Mapping[str, Tensor],
        hierarchy: Hierarchy,
    ) -> StepResult:
        """Return the loss of a batch, ready for `backward`.

        Parameters
        ----------
        teacher
            In evaluation mode, no parameter of it requiring a gradient.
        student
            In training mode.
        batch
            The network's input, with `segment` (N,) training ids.
        hierarchy
            Serialization and pooling of this batch, shared by both networks.

        Raises
        ------
        NonFiniteLoss
            If a part is NaN or infinite, before anything is updated.
        """
        config = self.config
        segment = batch["segment"]

        logits, stages = student.forward_stages(batch, hierarchy)
        segmentation = require_finite(
            "segmentation", segmentation_loss(logits, segment, config.segmentation)
        )
        total = segmentation

        teacher_logits, teacher_stages = self._teacher_forward(teacher, batch, hierarchy)

        topology = report = None
        if config.topology > 0:
            features = stages[student.decoder_stages[-1]]
            target = teacher_stages[teacher.decoder_stages[-1]].detach()
            try:
                topology, report = self.topological_loss.forward_with_report(
                    target, features, batch["offset"]
                )
            except NotConvergedError as error:
                raise UserError(f"--loss.sinkhorn-eps: {error}") from error
            total = total + config.topology * require_finite("topology", topology)

        saliency = None
        if config.saliency > 0:
            saliency = self._saliency(
                segmentation_loss(teacher_logits, segment, config.segmentation),
                [teacher_stages[name] for name in teacher.decoder_stages],
                segmentation,
                [stages[name] for name in student.decoder_stages],
                [hierarchy.stage_offset(name) for name in student.decoder_stages],
            )
            total = total + config.saliency * require_finite("saliency", saliency)

        distillation = None
        if config.distillation > 0:
            distillation = self.distillation_loss(teacher_logits.detach(), logits)
            total = total + config.distillation * require_finite("distillation", distillation)

        parts = LossParts(
            segmentation=segmentation,
            topology=topology,
            saliency=saliency,
            distillation=distillation,
            total=require_finite("total", total),
        )
        return StepResult(parts, report)

    def _teacher_forward(
        self, teacher: Segmentor, batch: Mapping[str, Tensor], hierarchy: Hierarchy
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Run the teacher; with the saliency on, its graph starts at its first decoder stage.

        No parameter of the teacher requires a gradient, so everything before that stage is run
        without a graph, and the graph after it exists only to reach the decoder's features.
        """
        if self.config.saliency == 0:
            with torch.no_grad():
                return teacher.forward_stages(batch, hierarchy)
        first = teacher.decoder_stages[0]

        def start_graph(name: str, features: Tensor) -> Tensor:
            return features.detach().requires_grad_() if name == first else features

        return teacher.forward_stages(batch, hierarchy, stage_hook=start_graph)

    def _saliency(
        self,
        teacher_segmentation: Tensor,
        teacher_features: list[Tensor],
        student_segmentation: Tensor,
        student_features: list[Tensor],
        offsets: list[Tensor],
    ) -> Tensor:
        """Align the saliency maps of all decoder stages; channel weights are constants (Eq. 4)."""
        teacher_gradients = torch.autograd.grad(teacher_segmentation, teacher_features)
        student_gradients = torch.autograd.grad(
            student_segmentation, student_features, retain_graph=True
        )
        loss: Tensor = self.saliency_loss(
            [features.detach() for features in teacher_features],
            teacher_gradients,
            student_features,
            student_gradients,
            offsets,
        )
        return loss

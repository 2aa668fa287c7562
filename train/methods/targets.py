"""What methods take from a teacher for a batch, computed at once or kept from an earlier pass.

Shape letters: N voxels, N_s at stage s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fast import SaliencyLoss
from train.data.batch import Batch
from train.data.frame import IGNORE_INDEX
from train.methods.losses import segmentation_term
from train.methods.terms import TargetChoice
from train.networks.protocol import Network, prepare_pair


@dataclass(frozen=True)
class TeacherTargets:
    """A teacher's output for a batch, without gradient.

    Attributes
    ----------
    logits
        [N, classes].
    features
        [N_s, C_s] by stage.
    saliency
        [N_s] maps between 0 and 1, normalized per cloud (Eq. 4-6), by stage.
    """

    logits: Tensor
    features: Mapping[str, Tensor] = field(default_factory=dict)
    saliency: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class KeptTargets:
    """What a batch brings (`Batch.kept`) instead of asking the teacher.

    Attributes
    ----------
    geometry
        What both networks' `prepare` made of the batch, so that rows of all stages are the same
        voxels as when the targets were computed.
    targets
        None for a method without a teacher.
    """

    geometry: Any
    targets: TeacherTargets | None


def compute_targets(
    teacher: Network, batch: Mapping[str, Any], geometry: Any, choice: TargetChoice
) -> TeacherTargets:
    """Run a teacher; with maps, its graph starts at the first stage that needs it.

    No parameter of the teacher requires a gradient, so everything before that stage is run without
    a graph, and the graph after it exists only to reach the features.

    Parameters
    ----------
    teacher
        Frozen, in evaluation mode.
    batch
        Its input, with `segment` if maps are wanted.
    geometry
        From `prepare`.
    choice
        What is wanted.
    """
    if not choice.saliency:
        with torch.no_grad():
            output = teacher(batch, geometry)
        return TeacherTargets(
            output.logits, {stage: output.features[stage] for stage in choice.features}
        )
    wanted = set(choice.saliency)
    started = False

    def start_graph(name: str, features: Tensor) -> Tensor:
        nonlocal started
        if started or name not in wanted:
            return features
        started = True
        return features.detach().requires_grad_()

    output = teacher(batch, geometry, stage_hook=start_graph)
    of_stages = [output.features[stage] for stage in choice.saliency]
    labeled = with_known_labels(batch, teacher.known_classes)
    loss = segmentation_term(output.logits, labeled, choice.segmentation).value
    # The mean over the step's labeled voxels, wherever they are computed; as for the student.
    gradients = torch.autograd.grad(loss * Batch.of(batch).labeled_share, of_stages)
    return TeacherTargets(
        output.logits.detach(),
        {stage: output.features[stage].detach() for stage in choice.features},
        {
            stage: SaliencyLoss.maps(features.detach(), gradient, output.offsets[stage])
            for stage, features, gradient in zip(choice.saliency, of_stages, gradients, strict=True)
        },
    )


def with_known_labels(
    batch: Mapping[str, Any], known: tuple[bool, ...] | None
) -> Mapping[str, Any]:
    """Return a batch without the labels of classes that a network never learned."""
    if known is None or all(known):
        return batch
    segment = batch["segment"]
    is_known = torch.tensor(known, device=segment.device)[segment.clamp(min=0)]
    return Batch.of(batch).with_tensors(segment=segment.where(is_known, IGNORE_INDEX))


def geometry_and_targets(
    student: Network, teacher: Network | None, batch: Mapping[str, Any], choice: TargetChoice
) -> tuple[Any, TeacherTargets]:
    """Return the student's geometry and the teacher's targets: kept ones if the batch has them.

    Raises
    ------
    ValueError
        If the batch has neither, and there is no teacher; or if what it has lacks a stage.
    """
    kept: KeptTargets | None = Batch.of(batch).kept
    if kept is not None and kept.targets is not None:
        for part in ("features", "saliency"):
            missing = set(getattr(choice, part)) - set(getattr(kept.targets, part))
            if missing:
                raise ValueError(
                    f"geometry_and_targets: the batch's kept targets have no {part} of "
                    f"{', '.join(sorted(missing))}; keep them too"
                )
        return kept.geometry, kept.targets
    if teacher is None:
        raise ValueError("geometry_and_targets: the batch has no kept targets, and no teacher")
    geometry, teacher_geometry = prepare_pair(student, teacher, batch)
    return geometry, compute_targets(teacher, batch, teacher_geometry, choice)

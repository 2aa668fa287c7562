"""`--method xmodel-kd`: points fused with their pixels teach the same network without images.

Shape letters: N points (voxels), P pairs of a point and a pixel, M seen points, C channels of the
student, D channels of the common space.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from train.methods.cross_modal.camera_method import CameraMethod
from train.methods.cross_modal.fusion import FusionEncoder
from train.methods.cross_modal.options import XModelKDConfig
from train.methods.cross_modal.pixels import SeenPixels
from train.methods.cross_modal.terms import (
    cosine_rows,
    divergence_rows,
    drawn_pairs,
    info_nce,
    mean_term,
)
from train.methods.losses import require_finite, segmentation_loss, segmentation_term
from train.methods.terms import LossTerm
from train.networks.protocol import Network, NetworkOutput


class XModelKD(CameraMethod):
    """Cross-entropy of the student, of the fused logits, a contrast, and distillation from fused.

    The student's features and those of the pixels that see them are brought to a common space by a
    MLP each, where a contrastive term makes pairs alike, and a fusion encoder joins them.
    The fused logits are trained on the labels; the student's own logits and its feature in the
    common space learn from the fused ones, at points that a view sees. At test time the student is
    the network alone (`student.pt`); `with_images` gives the fused logits.

    Notes
    -----
    Pathmanathan, Keisham and Akilan, "xModel-KD", 2026, of which the abstract is known: a fusion
    encoder, a contrastive objective over several views, pretrained backbones. Everything else is
    our reading: sizes and weights, that one network is both the 3-D backbone and the student, that
    fusion and distillation are trained together, and that the fused side is detached there, as in
    2DPASS (Yan et al., ECCV 2022).
    """

    Config = XModelKDConfig
    scores_with_images = True
    config: XModelKDConfig

    def __init__(
        self,
        config: XModelKDConfig,
        student: Network,
        teacher: Network | None,
        *,
        artifacts: Path | None = None,
    ) -> None:
        super().__init__(config, student, teacher, artifacts=artifacts)
        # The run's random numbers are those of a run without what is built here.
        with torch.random.fork_rng(devices=[]):
            self.point_token = _mlp(self.student_channels, config.width)
            self.view_token = _mlp(self.image_network.channels, config.width)
            self.fusion = FusionEncoder(config.width, config.fusion_layers, config.fusion_heads)
            self.classifier = nn.Linear(config.width, student.num_classes)

    def fuse(self, features: Tensor, seen: SeenPixels) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return the tokens of points (N, D) and pixels (P, D), the fused features and logits."""
        token, view = self.point_token(features), self.view_token(seen.features)
        fused = self.fusion(token, view, seen.point)
        return token, view, fused, self.classifier(fused)

    def with_images(self, student: Network) -> nn.Module:
        """Return the student with the fusion encoder: called as a network, it needs images."""
        return Fused(student, self)

    def forward(
        self, student: Network, teacher: Network | None, batch: Mapping[str, Any]
    ) -> dict[str, LossTerm]:
        """Return the terms, those of weight 0 left out; of unseen points the first two alone."""
        del teacher
        config = self.config
        output, features = self.student_output(student, batch)
        seen = self.look(batch)
        token, view, fused, fused_logits = self.fuse(features, seen)
        terms = {
            "segmentation": segmentation_term(output.logits, batch, config.segmentation),
            "fused": LossTerm(
                require_finite(
                    "fused", segmentation_loss(fused_logits, batch["segment"], config.segmentation)
                ),
                config.fused,
                "labeled",
            ),
        }
        if config.contrast > 0:
            rows = drawn_pairs(len(seen.point), config.max_pairs, features.device)
            point = seen.point[rows]
            of_points = info_nce(token[point], view[rows], point, config.temperature)
            terms["contrast"] = mean_term("contrast", of_points, config.contrast)
        points = torch.unique(seen.point)
        if config.distillation > 0:
            target = fused_logits[points].detach().float().softmax(dim=1)
            rows_of = divergence_rows(target, output.logits[points])
            terms["distillation"] = mean_term("distillation", rows_of, config.distillation)
        if config.feature > 0:
            rows_of = cosine_rows(fused[points], token[points])
            terms["feature"] = mean_term("feature", rows_of, config.feature)
        return terms


class Fused(nn.Module):
    """A student whose logits are the fused ones.

    Parameters
    ----------
    student, method
        Trained together.
    """

    def __init__(self, student: Network, method: XModelKD) -> None:
        super().__init__()
        self.student, self.method = student, method

    def forward(self, batch: Mapping[str, Any]) -> NetworkOutput:
        """Return the output for a batch with images; its logits (N, classes) are the fused ones."""
        output, features = self.method.student_output(self.student, batch)
        logits = self.method.fuse(features, self.method.look(batch, scoring=True))[3]
        return NetworkOutput(logits, output.features, output.offsets)


def _mlp(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(before, after), nn.LayerNorm(after), nn.GELU(), nn.Linear(after, after)
    )

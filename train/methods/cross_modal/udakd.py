"""`--method udakd`: what a 2-D network says of the pixels teaches points that have no labels.

Shape letters: N points (voxels), M seen points, W channels of the shared space, K classes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from train.methods.cross_modal.adaptation import (
    MOST_COMPARED,
    Discriminator,
    Ramp,
    maximum_mean_discrepancy,
    reverse_gradient,
)
from train.methods.cross_modal.camera_method import CameraMethod
from train.methods.cross_modal.options import UDAKDConfig
from train.methods.cross_modal.self_calibrated import AdaptationModule
from train.methods.cross_modal.terms import divergence_rows, drawn_pairs, mean_term
from train.methods.losses import require_finite
from train.methods.terms import LossTerm
from train.networks.protocol import Network


class UDAKD(CameraMethod):
    """Soft targets from pixels, and a space in which points and pixels are to be alike.

    A label is never looked at. "semantic" brings the student's own logits to the mean probabilities
    of the pixels that see a point. Beside it, features of points (through the self-calibrated
    module) and of pixels (through a linear map) enter a shared space: "shared" reads the same
    classes from both, and "domain" makes the two alike, by a discriminator behind a gradient
    reversal whose strength grows, or by the maximum mean discrepancy.

    Notes
    -----
    Kang, Wang and Luo, "Domain Adaptation-Based Crossmodal Knowledge Distillation for 3D Semantic
    Segmentation", ICRA 2025, of which the abstract is known: no 3-D labels, the 3-D output aligned
    with the 2-D output at corresponding points, self-calibrated convolution on point clouds as the
    base of the adaptation module. The losses, their weights, the shared space and that the module
    is adversarial at all are our reading. The student's own logits are taught besides, because the
    module is no part of the network that is kept.
    """

    Config = UDAKDConfig
    needs_labels = False
    config: UDAKDConfig

    def __init__(
        self,
        config: UDAKDConfig,
        student: Network,
        teacher: Network | None,
        *,
        artifacts: Path | None = None,
    ) -> None:
        super().__init__(config, student, teacher, artifacts=artifacts)
        # The run's random numbers are those of a run without what is built here.
        with torch.random.fork_rng(devices=[]):
            self.module = AdaptationModule(
                self.student_channels,
                config.width,
                pooling=config.pooling,
                self_calibrated=config.self_calibrated,
            )
            self.pixel_adapter = nn.Linear(self.image_network.channels, config.width)
            self.classifier = nn.Linear(config.width, student.num_classes)
            if config.adaptation == "reversal":
                self.discriminator = Discriminator(config.width)
        self.ramp = Ramp(config.adaptation_weight, config.adaptation_steps)

    def forward(
        self, student: Network, teacher: Network | None, batch: Mapping[str, Any]
    ) -> dict[str, LossTerm]:
        """Return "semantic", "shared" and, with an adaptation, "domain"."""
        del teacher
        config = self.config
        output, features = self.student_output(student, batch)
        seen = self.look(batch).mean_per_point()
        shared = self.module(features, batch["grid_coord"], batch["offset"])
        points, pixels = shared[seen.point], self.pixel_adapter(seen.features)
        semantic = divergence_rows(seen.probabilities, output.logits[seen.point])
        of_both = [
            divergence_rows(seen.probabilities, self.classifier(each)) for each in (points, pixels)
        ]
        terms = {
            "semantic": mean_term("semantic", semantic, config.semantic),
            "shared": mean_term("shared", (of_both[0] + of_both[1]) / 2, config.shared),
        }
        if config.adaptation != "none":
            terms["domain"] = self._domain(points, pixels)
        return terms

    def synchronize(self) -> None:
        """Count the step, on every process."""
        if self.training:
            self.ramp.advance()

    def _domain(self, points: Tensor, pixels: Tensor) -> LossTerm:
        """Return the term that makes points and pixels (M, W) alike."""
        strength = self.ramp.value()
        if self.config.adaptation == "reversal":
            found = self.discriminator(
                *(reverse_gradient(each, strength) for each in (points, pixels))
            )
            # The discriminator learns at full weight; what it looks at is moved by the ramp alone.
            return mean_term("domain", found, 1.0)
        rows = drawn_pairs(len(points), MOST_COMPARED, points.device)
        value = strength * maximum_mean_discrepancy(points[rows], pixels[rows])
        count = value.new_tensor([float(len(points))])
        return LossTerm(require_finite("domain", value)[None], 1.0, "points", count=count)

"""`--method fskd`: features and classes of pixels teach points that have no labels.

Shape letters: N points (voxels), M seen points, C channels of a pixel.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from train.methods.cross_modal.camera_method import CameraMethod
from train.methods.cross_modal.options import FSKDConfig
from train.methods.cross_modal.self_calibrated import AdaptationModule
from train.methods.cross_modal.terms import cosine_rows, divergence_rows, mean_term
from train.methods.terms import LossTerm
from train.networks.protocol import Network


class FSKD(CameraMethod):
    """The student's logits are to be the pixels', and so are its features, through the module.

    A label is never looked at. The features of a pixel are the frozen network's own, with mean 0
    over the channels: an adapter on that side, too, could make both sides alike by making them
    constant.

    Notes
    -----
    Kang, Wang and Luo, ICRA 2025, as `--method udakd`: "feature and semantic based" is what the
    abstract says of it. The cosine, the weights and that the module stands before it are our
    reading.
    """

    Config = FSKDConfig
    needs_labels = False
    config: FSKDConfig

    def __init__(
        self,
        config: FSKDConfig,
        student: Network,
        teacher: Network | None,
        *,
        artifacts: Path | None = None,
    ) -> None:
        super().__init__(config, student, teacher, artifacts=artifacts)
        self.module: AdaptationModule | None = None
        if config.feature == 0:
            return
        # The run's random numbers are those of a run without what is built here.
        with torch.random.fork_rng(devices=[]):
            self.module = AdaptationModule(
                self.student_channels,
                config.width,
                pooling=config.pooling,
                self_calibrated=config.self_calibrated,
            )
            self.to_pixels = nn.Linear(config.width, self.image_network.channels)

    def forward(
        self, student: Network, teacher: Network | None, batch: Mapping[str, Any]
    ) -> dict[str, LossTerm]:
        """Return "semantic" and, unless its weight is 0, "feature"."""
        del teacher
        config = self.config
        output, features = self.student_output(student, batch)
        seen = self.look(batch).mean_per_point()
        semantic = divergence_rows(seen.probabilities, output.logits[seen.point])
        terms = {"semantic": mean_term("semantic", semantic, config.semantic)}
        if self.module is not None:
            found = self.module(features, batch["grid_coord"], batch["offset"])[seen.point]
            target = functional.layer_norm(seen.features, seen.features.shape[1:])
            rows = cosine_rows(target, self.to_pixels(found))
            terms["feature"] = mean_term("feature", rows, config.feature)
        return terms

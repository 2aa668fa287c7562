"""What the methods share that see images in training: their network on images, and the pixels.

Shape letters: N points (voxels), C channels.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from train.core.errors import UserError
from train.data.batch import Batch
from train.methods.cross_modal.options import CameraMethodConfig
from train.methods.cross_modal.pixels import SeenPixels, seen_pixels
from train.methods.protocol import DistillationMethod
from train.networks.image import ImageNetwork, load_image_network, refuse_other_classes
from train.networks.protocol import Network, NetworkOutput


class CameraMethod(DistillationMethod):
    """A student learns from what a frozen network says of the pixels that see its points.

    There is no teacher on points. The image network is no part of the method's state: it is the
    same in every step.
    """

    Config = CameraMethodConfig
    batch_fields = frozenset({"images", "point_pixel"})
    needs_teacher = False
    needs_image_network = True
    config: CameraMethodConfig

    def __init__(
        self,
        config: CameraMethodConfig,
        student: Network,
        teacher: Network | None,
        *,
        artifacts: Path | None = None,
    ) -> None:
        super().__init__(config, student, teacher, artifacts=artifacts)
        path = config.image_network or artifacts
        if path is None:
            raise ValueError(
                f"{type(self).__name__}: there is no image network; set image_network in the "
                "options, or pass its file as artifacts"
            )
        network, card = load_image_network(path)
        if len(card.class_names) != student.num_classes:
            raise UserError(
                f"{path}: an image network of {len(card.class_names)} classes, the student has "
                f"{student.num_classes}; train one for this dataset with topodistill train-images"
            )
        self.image_path, self.image_size = path, card.image_size
        # A third faster on a CPU.
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._image_network = (network,)  # in a tuple, so that it is no submodule
        self.stage = student.decoder_stages[-1]
        self.student_channels = student.stage_channels[self.stage]

    @classmethod
    def given_image_network(cls, config: CameraMethodConfig) -> Path | None:
        """Return `image_network` of the options."""
        return config.image_network

    @classmethod
    def check_classes(cls, config: Any, class_names: Sequence[str]) -> None:
        """Refuse an image network of other classes."""
        path: Path | None = config.image_network
        if path is not None:
            refuse_other_classes(path, load_image_network(path)[1], class_names)

    @property
    def image_network(self) -> ImageNetwork:
        """The frozen network."""
        return self._image_network[0]

    def look(self, batch: Mapping[str, Any], *, scoring: bool = False) -> SeenPixels:
        """Return what the batch's visible points see.

        Parameters
        ----------
        batch
            With images, or none.
        scoring
            Clouds see their own images, whatever `images` of the options says: that is a placebo
            for training, and a batch to score is one cloud.

        Raises
        ------
        UserError
            If its images are not of the size that the network was trained on.
        """
        network, images = self.image_network, batch.get("images")
        if images is not None and len(images) and images.shape[-2:] != self.image_size:
            found, known = (f"{h} x {w}" for h, w in (images.shape[-2:], self.image_size))
            raise UserError(
                f"{self.image_path}: was trained on images of {known} pixels (H x W), the batch "
                f"has {found}; train one at that size with topodistill train-images"
            )
        if images is not None and network.head.weight.device != images.device:
            network.to(images.device)
        of_other_clouds = self.config.images == "other" and not scoring
        return seen_pixels(network, batch, of_other_clouds=of_other_clouds)

    def student_output(
        self, student: Network, batch: Mapping[str, Any]
    ) -> tuple[NetworkOutput, Tensor]:
        """Return the student's output, and its features [N, C] before the classifier."""
        kept = Batch.of(batch).kept
        output = student(batch, None if kept is None else kept.geometry)
        return output, output.features[self.stage]

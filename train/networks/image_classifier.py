"""A classifier of images as a `Network`: a row is an image, and a batch is one cloud.

Shape letters: B images, C channels of the embedding.
"""

from collections.abc import Mapping
from typing import Any, Final

import torch
from torch import Tensor, nn

from train.networks.protocol import Network, NetworkOutput, NetworkSpec, StageHook

EMBEDDING: Final = "embedding"
"""The one stage: what the head gets."""


class ImageClassifier(Network):
    """Any backbone and head, so that methods made for points distill image classifiers.

    Parameters
    ----------
    backbone
        Images (B, in_channels, height, width) to embeddings (B, C).
    head
        Embeddings to logits (B, num_classes).
    channels
        C.
    num_classes, in_channels
        Widths of output and input.
    """

    decoder_stages = (EMBEDDING,)

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        *,
        channels: int,
        num_classes: int,
        in_channels: int,
    ) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head
        self.channels = channels
        self.num_classes, self.in_channels = num_classes, in_channels

    @property
    def stage_channels(self) -> dict[str, int]:
        """The width of the embedding."""
        return {EMBEDDING: self.channels}

    def spec(self) -> NetworkSpec:
        """Return the sizes; backbone and head are the caller's own to build again."""
        return NetworkSpec("image", str(self.channels), self.num_classes, self.in_channels)

    def forward(
        self,
        batch: Mapping[str, Tensor],
        geometry: Any = None,
        *,
        stage_hook: StageHook | None = None,
    ) -> NetworkOutput:
        """Return logits (B, num_classes) and the embeddings.

        Parameters
        ----------
        batch
            From `image_batch`.
        geometry
            Not used.
        stage_hook
            As for every `Network`.

        Raises
        ------
        ValueError
            If the backbone's output is not (B, channels).
        """
        del geometry
        found: Tensor = self.backbone(batch["feat"])
        if found.shape != (len(batch["feat"]), self.channels):
            raise ValueError(
                f"ImageClassifier: the backbone gave {tuple(found.shape)}; it must give "
                f"({len(batch['feat'])}, {self.channels}), pooled and flat"
            )
        if stage_hook is not None:
            found = stage_hook(EMBEDDING, found)
        return NetworkOutput(self.head(found), {EMBEDDING: found}, {EMBEDDING: batch["offset"]})


def image_batch(images: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """Return images as the batch that an `ImageClassifier` and every method take.

    Parameters
    ----------
    images
        (B, in_channels, height, width), at least one.
    labels
        (B,) int64 classes; -1 for images without one.

    Raises
    ------
    ValueError
        If there are no images, or not as many labels.
    """
    if images.ndim != 4 or not len(images) or labels.shape != (len(images),):
        raise ValueError(
            f"image_batch: images are {tuple(images.shape)} and labels {tuple(labels.shape)}; pass "
            "(B, channels, height, width) and (B,)"
        )
    end = torch.tensor([len(images)], device=images.device)
    return {"feat": images, "segment": labels, "offset": end}

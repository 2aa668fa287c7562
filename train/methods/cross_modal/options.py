"""The options of `--method xmodel-kd`, `udakd` and `fskd`."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from train.config import MethodConfig, require

Adaptation = Literal["none", "reversal", "mmd"]


@dataclass(frozen=True, kw_only=True)
class CameraMethodConfig(MethodConfig):
    """What all methods have that see images in training."""

    image_network: Path | None = None
    """File of topodistill train-images with this dataset's classes [trained before the run on other
    simulated scenes, with --simulate]."""
    images: Literal["own", "other"] = "own"
    """Images of the same cloud; or, a placebo in training, those of another cloud of the batch."""


@dataclass(frozen=True, kw_only=True)
class XModelKDConfig(CameraMethodConfig):
    """The cross-entropy of the LiDAR-only logits has weight 1; the defaults are our reading."""

    fused: float = 1.0
    """Weight of the loss of the fused logits against the labels."""
    contrast: float = 0.1
    """Weight of the contrastive term between points and pixels (InfoNCE); 0 turns it off."""
    distillation: float = 1.0
    """Weight of the divergence of the LiDAR-only logits from the fused ones; 0 turns it off."""
    feature: float = 0.5
    """Weight of 1 - cosine between a point's own and its fused feature; 0 turns it off."""
    temperature: float = 0.07
    """Temperature of the contrastive term."""
    max_pairs: int = 4096
    """Pairs of a point and a pixel that are contrasted in a step, at most."""
    width: int = 128
    """Channels of the common space of points and pixels."""
    fusion_layers: int = 2
    """Layers of the fusion encoder."""
    fusion_heads: int = 4
    """Heads of its attention."""

    weights: ClassVar[tuple[str, ...]] = ("contrast", "distillation", "feature")
    counts: ClassVar[tuple[str, ...]] = ("width", "fusion_layers", "fusion_heads")
    positive: ClassVar[Mapping[str, str]] = {
        "fused": "above 0: without it the fused logits that the student learns from mean nothing",
        "temperature": "above 0, 0.07 is usual",
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.max_pairs >= 2, "method.max-pairs", self.max_pairs, "at least 2 pairs")
        require(
            self.width % self.fusion_heads == 0,
            "method.width",
            self.width,
            f"a multiple of the {self.fusion_heads} of --method.fusion-heads",
        )


@dataclass(frozen=True, kw_only=True)
class SelfCalibratedConfig(CameraMethodConfig):
    """The adaptation module on voxels that UDAKD and FSKD share."""

    semantic: float = 1.0
    """Weight of the divergence of the student's logits from the pixels' probabilities."""
    self_calibrated: bool = True
    """The module has a self-calibrated convolution over voxels; without, it sees voxels alone."""
    width: int = 64
    """Channels of the module, even."""
    pooling: int = 4
    """Voxels along an edge of the coarse cells that calibrate it."""

    positive: ClassVar[Mapping[str, str]] = {
        "semantic": "above 0: nothing else teaches the student's classes"
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        require(
            self.width >= 2 and self.width % 2 == 0,
            "method.width",
            self.width,
            "even, 64 for example: half of the channels take each branch",
        )
        require(self.pooling >= 2, "method.pooling", self.pooling, "at least 2 voxels, 4 is usual")


@dataclass(frozen=True, kw_only=True)
class UDAKDConfig(SelfCalibratedConfig):
    """No labels: what images say is all that is learned. The defaults are our reading."""

    shared: float = 0.5
    """Weight of the classes read from the space that points and pixels share."""
    adaptation: Adaptation = "reversal"
    """What makes points and pixels alike in that space: a discriminator behind a gradient reversal,
    the maximum mean discrepancy, or nothing."""
    adaptation_weight: float = 0.1
    """What its share of the gradient grows to."""
    adaptation_steps: int = 200
    """Steps in which it grows from 0 to that, nearly."""

    weights: ClassVar[tuple[str, ...]] = ("adaptation_weight",)
    counts: ClassVar[tuple[str, ...]] = ("adaptation_steps",)
    positive: ClassVar[Mapping[str, str]] = {
        **SelfCalibratedConfig.positive,
        "shared": "above 0: without classes the shared space can become a single point",
    }


@dataclass(frozen=True, kw_only=True)
class FSKDConfig(SelfCalibratedConfig):
    """No labels, and no discriminator. The defaults are our reading."""

    feature: float = 1.0
    """Weight of 1 - cosine between the module's features and the pixels'; 0 turns it off."""

    weights: ClassVar[tuple[str, ...]] = ("feature",)

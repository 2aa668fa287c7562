"""The options of `--method topkd`: the paper's values, and what it leaves open."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from train.config import require
from train.methods.stage_term import StageTermConfig
from train.methods.stages import one_stage
from train.methods.topkd.clouds import CloudChoice
from train.methods.topkd.fit import LEAST_CLOUDS, FitOptions, Schedule, operators_of
from train.networks.protocol import Network


@dataclass(frozen=True, kw_only=True)
class TopKDConfig(StageTermConfig):
    """Images of the features' topology beside softened logits and the cross-entropy (Eq. 5)."""

    distillation: float = 2.0
    """Weight of the divergence of the softened logits; 0 turns it off."""
    temperature: float = 4.0
    """Temperature of the softened logits."""
    image: float = 5.0
    """Weight of the squared difference between the images; 0 turns it off."""
    num_points: int = 64
    """Points of a frame that make a cloud; the paper has 64 and 256."""
    sampling: Literal["random", "farthest", "mixed"] = "random"
    """How they are drawn: uniformly, farthest-point, or half by each."""
    normalization: Literal["none", "l2", "center_maxnorm", "diameter", "rms"] = "none"
    """How features are normalized before that; the paper does not, and a student of another scale
    then has images that RipsNet never saw."""
    region: int = 256
    """A cloud is drawn from so many voxels, those nearest to one of them; 0: from the whole frame,
    as the paper draws from whole batches. Images have no positions: 0."""
    dims: tuple[int, ...] = (0,)
    """Homology dimensions in an image: 0 (the paper's best), 1, or 0 1."""
    birth_margin: float = 0.0
    """Widen the births' axis by so many bandwidths at both ends. 0 is the paper's: for dimension 0,
    whose births are all 0, an image has 20 equal columns; with 3 it shows whole Gaussians."""
    exact: bool = False
    """Take the differentiable images of exact persistence in place of RipsNet's."""
    artifacts: Path | None = None
    """What topkd-fit wrote for this teacher [made before the training, in the run's folder]."""
    num_clouds: int = 20_000
    """Clouds of the teacher that RipsNet is fitted to, at most."""
    clouds_per_frame: int = 16
    """How many are drawn from each training frame, in one pass; of more than --method.num-clouds
    a uniform draw is kept."""
    operator: Literal["best", "mean", "sum"] = "best"
    """How RipsNet joins points; best fits both and takes the one of lower validation loss."""
    fit_epochs: int = 25_000
    """Epochs of RipsNet's fit at most."""
    fit_patience: int = 50
    """Epochs without a better validation loss after which the fit ends, at a constant rate."""
    fit_lr: float = 5e-4
    """Learning rate of RipsNet's fit, the paper's; the first one where it falls."""
    fit_schedule: Schedule = "constant"
    """The rate stays, as in the paper, or falls to 0 in --method.fit-epochs by a cosine."""
    fit_standardize: bool = False
    """Fit RipsNet to channels of mean 0 and deviation 1; it takes the raw ones all the same."""

    weights: ClassVar[tuple[str, ...]] = ("image", "distillation")
    counts: ClassVar[tuple[str, ...]] = ("clouds_per_frame", "fit_epochs", "fit_patience")
    positive: ClassVar[Mapping[str, str]] = {
        **StageTermConfig.positive,
        "fit_lr": "above 0, 0.0005 is usual",
    }
    own_weight: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        super().__post_init__()
        require(self.num_points >= 2, "method.num-points", self.num_points, "at least 2 points")
        require(
            self.region == 0 or self.region >= self.num_points,
            "method.region",
            self.region,
            f"0 for whole frames, or at least the {self.num_points} of --method.num-points",
        )
        require(
            self.dims in ((0,), (1,), (0, 1)),
            "method.dims",
            " ".join(map(str, self.dims)) or "empty",
            "0, 1, or 0 1",
        )
        require(
            0 <= self.birth_margin < math.inf,
            "method.birth-margin",
            self.birth_margin,
            "0 for the paper's axis, or more, 3 for example",
        )
        require(
            self.num_clouds >= LEAST_CLOUDS,
            "method.num-clouds",
            self.num_clouds,
            f"at least {LEAST_CLOUDS}",
        )

    def choice(self, teacher: Network) -> CloudChoice:
        """Return which points of the teacher's features make a cloud."""
        return CloudChoice(
            stage=one_stage("stage", self.stage, teacher),
            num_points=self.num_points,
            sampling=self.sampling,
            normalization=self.normalization,
            region=self.region,
        )

    def fit_options(self) -> FitOptions:
        """Return how RipsNet is fitted."""
        return FitOptions(
            epochs=self.fit_epochs,
            patience=self.fit_patience,
            lr=self.fit_lr,
            schedule=self.fit_schedule,
            standardize=self.fit_standardize,
            operators=operators_of(self.operator),
        )

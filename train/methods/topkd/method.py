"""`--method topkd`: softened logits, and images of the topology of the features.

Shape letters: N_s voxels at a stage, B clouds, M points of a cloud, C channels (T teacher, S
student), P pixels of an image.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from fast import rips_persistence
from fast.options import SamplingOptions
from train.core.errors import UserError
from train.methods.losses import require_finite
from train.methods.sampled_points import SampledPoints
from train.methods.stage_term import StageTerm
from train.methods.stages import width_adapter
from train.methods.terms import LossTerm
from train.methods.topkd.artifacts import (
    RIPSNET_NAME,
    STATE_NAME,
    TARGETS_NAME,
    ImageCard,
    ImageMaker,
    Targets,
    load_maker,
    load_targets,
    refuse_other,
    save_maker,
    save_targets,
)
from train.methods.topkd.clouds import refuse_small_frame, warn_of_few_points
from train.methods.topkd.fit import fit_ripsnet
from train.methods.topkd.options import TopKDConfig
from train.methods.topkd.regions import Regions, positions
from train.methods.topkd.targets import exact_images, make_targets
from train.networks.protocol import Network
from train.networks.weights import checksum


class TopKD(StageTerm):
    """The student's images are to be the teacher's, as a frozen RipsNet predicts both.

    The term "image" is the mean squared error over clouds and pixels. RipsNet has no parameter
    here. Where widths differ, a linear adapter brings the student's features to the teacher's; it
    is trained with the student and is no part of its checkpoint.

    Notes
    -----
    J. Kim et al., "Do Topological Characteristics Help in Knowledge Distillation?", ICML 2024, Eq.
    4-5. A cloud is M points of one LiDAR frame, or of a region of it, so that the loss does not
    depend on how many frames a process has; the paper's is a batch of images, which is the one
    "frame" of a network whose rows are images.
    """

    Config = TopKDConfig
    name = "image"
    prepares = True
    config: TopKDConfig

    def __init__(
        self,
        config: TopKDConfig,
        student: Network,
        teacher: Network | None,
        *,
        artifacts: Path | None = None,
    ) -> None:
        super().__init__(config, student, teacher, artifacts=artifacts)
        assert teacher is not None
        self.adapter: nn.Linear | None = None
        self.card: ImageCard | None = None
        if not self.is_wanted:
            return
        if artifacts is None:
            raise ValueError("TopKD: artifacts is None; pass what TopKD.prepare returned")
        maker = _fitting_maker(artifacts, config, teacher, with_weights=True)
        self.card = maker.card
        self.ripsnet = None
        if not config.exact and maker.ripsnet is not None:
            self.ripsnet = maker.ripsnet.frozen()
        self.regions = Regions(config.region) if config.region else None
        self.sampled_points = SampledPoints(
            SamplingOptions(
                num_samples=config.num_points,
                normalization=config.normalization,
                sampling=config.sampling,
            )
        )
        own, other = self.stages
        if student.stage_channels[own] != teacher.stage_channels[other]:
            self.adapter = width_adapter(self.stages, student, teacher)

    @classmethod
    def check(cls, config: Any, student: Network, teacher: Network | None) -> None:
        """Refuse a stage that a network does not have, and artifacts of other images."""
        super().check(config, student, teacher)
        assert teacher is not None
        warn_of_few_points(config.num_points)
        if config.artifacts is not None:
            _fitting_maker(config.artifacts, config, teacher, with_weights=False)

    @classmethod
    def prepare(
        cls,
        config: TopKDConfig,
        teacher: Network,
        batches: Iterable[Mapping[str, Any]],
        folder: Path,
    ) -> Path | None:
        """Return the file of a RipsNet for this teacher: a given one, or made here.

        A stopped fit goes on; what is finished is not made again.
        """
        if config.image == 0 and config.balance == 0:
            return None
        if config.exact:
            _refuse_without_kernel(next(teacher.parameters()).device)
        path = config.artifacts or folder / RIPSNET_NAME
        if config.artifacts is not None or path.is_file():
            _fitting_maker(path, config, teacher, with_weights=True)
            return path
        targets = _targets(config, teacher, batches, folder / TARGETS_NAME)
        if config.exact:
            maker = ImageMaker(card=targets.card, ripsnet=None)
        else:
            maker = fit_ripsnet(
                targets,
                config.fit_options(),
                device=next(teacher.parameters()).device,
                state=folder / STATE_NAME,
            )
        save_maker(maker, path)
        for name in (TARGETS_NAME, STATE_NAME):  # large, and done with
            (folder / name).unlink(missing_ok=True)
        return path

    def images(self, clouds: Tensor) -> Tensor:
        """Return the images (B, P) of clouds (B, M, T)."""
        if self.ripsnet is not None:
            predicted: Tensor = self.ripsnet(clouds)
            return predicted
        assert self.card is not None
        return exact_images(clouds, self.card.scale, self.card.dims)

    def compared(
        self, batch: Mapping[str, Any], target: Tensor, features: Tensor, offset: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the rows of one region of each frame, where clouds are of regions."""
        if self.regions is None:
            return target, features, offset
        coord = positions(batch, len(target), self.stages[1])
        rows, ends = self.regions(coord, offset)
        return target[rows], features[rows], ends

    def term(self, target: Tensor, features: Tensor, offset: Tensor) -> LossTerm:
        """Return the mean over clouds."""
        adapted = features if self.adapter is None else self.adapter(features)
        clouds = self.sampled_points(target, adapted, offset)
        for cloud, _ in clouds:
            refuse_small_frame(len(cloud), self.config.num_points)
        teachers, students = (torch.stack(each) for each in zip(*clouds, strict=True))
        with torch.no_grad():
            wanted = self.images(teachers)
        value = require_finite(self.name, mse_loss(self.images(students), wanted))
        return LossTerm(value, self.fixed_weight, "clouds")


def _targets(
    config: TopKDConfig, teacher: Network, batches: Iterable[Mapping[str, Any]], path: Path
) -> Targets:
    """Return the teacher's clouds and images: those that a stopped run made, or new ones."""
    if path.is_file():
        targets = load_targets(path)
        _refuse_other(path, targets.card, config, teacher, with_weights=True)
        return targets
    targets = make_targets(
        teacher,
        batches,
        config.choice(teacher),
        dims=config.dims,
        birth_margin=config.birth_margin,
        per_frame=config.clouds_per_frame,
        at_most=config.num_clouds,
    )
    save_targets(targets, path)
    return targets


def _fitting_maker(
    path: Path, config: TopKDConfig, teacher: Network, *, with_weights: bool
) -> ImageMaker:
    """Return what a file holds if it fits; the teacher's weights are compared if they are known."""
    maker = load_maker(path)
    _refuse_other(path, maker.card, config, teacher, with_weights=with_weights)
    if maker.ripsnet is None and not config.exact:
        raise UserError(
            f"{path}: was made for exact images and holds no RipsNet; add --method.exact, or make "
            "the file again without it"
        )
    return maker


def _refuse_other(
    path: Path, card: ImageCard, config: TopKDConfig, teacher: Network, *, with_weights: bool
) -> None:
    choice = config.choice(teacher)
    refuse_other(
        path,
        card,
        choice=choice,
        channels=teacher.stage_channels[choice.stage],
        dims=config.dims,
        birth_margin=config.birth_margin,
        teacher=checksum(teacher) if with_weights else None,
    )


def _refuse_without_kernel(device: torch.device) -> None:
    try:
        rips_persistence(torch.zeros(1, 1, device=device))
    except RuntimeError as error:
        raise UserError(f"--method.exact on {device}: {error}") from error

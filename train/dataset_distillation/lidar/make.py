"""A small set of LiDAR frames from beginning to end: real frames in, a few frames out.

Shape letters: B frames, M frames of the small set, N points of each, C classes, Q quantiles.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from train.core.console import logger
from train.core.errors import UserError
from train.data.files import listed
from train.dataset_distillation.coresets import coreset
from train.dataset_distillation.distill import build_rotator
from train.dataset_distillation.generator import PointGenerator
from train.dataset_distillation.lidar.evaluate import (
    FrameDraw,
    FrameScore,
    FrameTraining,
    train_and_score_frames,
)
from train.dataset_distillation.lidar.frames import FrameClouds, stretched
from train.dataset_distillation.lidar.start import FitOptions, FrameDistillation
from train.dataset_distillation.lidar.strengths import draw_strengths, strength_table
from train.dataset_distillation.make import learned, sampled
from train.dataset_distillation.networks.segmenters import HEIGHT, PointSegmenter
from train.dataset_distillation.objects.clouds import ObjectClouds
from train.dataset_distillation.options import LEARNED, DistillOptions
from train.dataset_distillation.real_clouds import canonical
from train.dataset_distillation.rotator import Rotator, principal_axes

_FEATURE_EPOCHS: Final = 10
_STRENGTHS: Final = 51
_NO_START: Final = FitOptions()


@dataclass(frozen=True, eq=False)
class RealFrames:
    """Real frames in the orientation that networks see, but for signs, which the rotator decides.

    Attributes
    ----------
    train, test
        On their principal axes in the plane where there is a rotator; as they were without.
    rotator
        Turns about z alone.
    """

    train: FrameClouds
    test: FrameClouds | None
    rotator: Rotator


@dataclass(frozen=True, eq=False)
class MadeFrames:
    """A small set of frames, and how to draw from it.

    Attributes
    ----------
    frames
        As they are written; N may differ from that of the real ones.
    generator
        Of DD3D.
    rotator
        Trained with it, where it has weights.
    strengths
        (C, Q) of the real frames: what generated and learned points are given.
    losses, seconds
        Of learning.
    """

    frames: FrameClouds
    generator: PointGenerator | None
    rotator: Rotator
    strengths: NDArray[np.float32]
    losses: tuple[float, ...] = ()
    seconds: float = 0.0

    @property
    def numbers_stored(self) -> int:
        """Return how many numbers stand for the set; strengths and labels count, too."""
        if self.generator is not None:
            return self.generator.num_parameters() + self.strengths.size
        return self.frames.clouds.points.size + self.frames.strength.size + self.frames.segment.size

    def draw(self, points: int, seed: int, *, resample: bool = True) -> FrameDraw:
        """Return what gives an epoch's frames.

        Parameters
        ----------
        points
            Of a generator's frames; other frames are as they are.
        seed
            Of the noise.
        resample
            Resample a generator's noise in every epoch, which is the paper's choice.
        """
        generator = self.generator
        if generator is None or not resample:
            return fixed_draw(self.frames)

        def drawn(epoch: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            frames = generated_frames(
                generator, self.rotator, self.strengths, self.frames.meters, points,
                seed * 100_003 + epoch,
            )  # fmt: skip
            return fixed_draw(frames)(epoch)

        return drawn


def fixed_draw(frames: FrameClouds) -> FrameDraw:
    """Return what gives the same frames in every epoch."""
    fixed = (
        torch.from_numpy(frames.clouds.points),
        torch.from_numpy(frames.strength),
        torch.from_numpy(frames.segment),
    )
    return lambda epoch: fixed


def prepare_frames(
    train: FrameClouds, test: FrameClouds | None, options: DistillOptions
) -> RealFrames:
    """Turn frames about z onto their principal axes, if there is a rotator.

    They are turned about the origin, which stays where it is: it says where the sensor is.

    Parameters
    ----------
    train, test
        As they were read.
    options
        The rotator is looked at.

    Raises
    ------
    UserError
        If the rotator would tilt frames, or the test frames have other classes or another unit.
    """
    chosen = options.rotator
    if chosen.mode != "none" and not chosen.upright:
        raise UserError(
            f"--rotator {chosen.mode}: LiDAR frames know which way is up; give --upright, or "
            "--rotator none"
        )
    if test is not None and (test.class_names, test.meters) != (train.class_names, train.meters):
        raise UserError("the held-out frames have other classes or another range; give one set")
    rotator = build_rotator(options)
    if chosen.mode == "none":
        return RealFrames(train, test, rotator)

    def turned(frames: FrameClouds) -> FrameClouds:
        points = torch.from_numpy(frames.clouds.points)
        axes = principal_axes(points, upright=True, proper=chosen.proper)
        return frames.with_points((points @ axes.vectors).numpy())

    return RealFrames(turned(train), None if test is None else turned(test), rotator)


def canonical_frames(frames: FrameClouds, rotator: Rotator) -> FrameClouds:
    """Return prepared frames with their signs decided."""
    return replace(frames, clouds=canonical(frames.clouds, rotator))


def frame_features(
    real: RealFrames, seed: int, device: torch.device, epochs: int = _FEATURE_EPOCHS
) -> NDArray[np.float64]:
    """Return the features (B, C) that herding and k-center look at, of a PointNet trained on all.

    Parameters
    ----------
    real
        Its training frames are looked at.
    seed
        Of its weights.
    device
        Where to compute.
    epochs
        Of its training.
    """
    train = canonical_frames(real.train, real.rotator)
    options = FrameTraining(network="pointnet", epochs=epochs, test_every=epochs, seed=seed)
    _, network = train_and_score_frames(fixed_draw(train), train, options, device)
    assert isinstance(network, PointSegmenter)
    rows = []
    with torch.no_grad():
        for points in torch.split(torch.from_numpy(train.clouds.points), 32):
            rows.append(
                network.network.features(network.seen(points.to(device))).double().cpu().numpy()
            )
    return np.concatenate(rows)


def make_frames(
    real: RealFrames,
    options: DistillOptions,
    device: torch.device,
    *,
    points: int,
    state: Path | None = None,
    resume: bool = False,
    features: NDArray[np.float64] | None = None,
    start: FitOptions = _NO_START,
    match: bool = True,
) -> MadeFrames:
    """Make a small set of frames by any method.

    Parameters
    ----------
    real
        What it stands for.
    options
        How; `clouds_per_class` is M.
    device
        Where to compute.
    points
        N of a generator's frames; others have as many as they were learned with, or were read with.
    state, resume
        See `train.dataset_distillation.distill.Distillation.run`.
    features
        What `frame_features` gave; made where it is needed and None.
    start
        How a generator is fitted to real points first; not at all, as in the paper, unless said.
    match
        False leaves a set as it starts: to see what the matching of gradients adds.

    Raises
    ------
    UserError
        If there are fewer frames than M, or they have fewer points than are learned with.
    """
    train = real.train
    if options.clouds_per_class > len(train):
        raise UserError(
            f"--cpc {options.clouds_per_class}: there are {len(train)} frames; ask for fewer, or "
            "read more (--frames)"
        )
    table = strength_table(train)
    if absent := train.absent():
        logger.info(
            f"no point of the training frames is of class {listed(absent)}: the result has none "
            "either"
        )
    if options.method not in LEARNED:
        if features is None:
            features = np.zeros((len(train), 1))
            if options.method != "random":
                features = frame_features(real, options.seed, device)
        rows = coreset(
            options.method, train.clouds, features, options.clouds_per_class, options.seed
        )
        chosen = canonical_frames(train.take(rows), real.rotator)
        return MadeFrames(chosen, None, real.rotator, table)
    distillation = FrameDistillation(stretched(train.clouds, HEIGHT), options, device, start)
    found = distillation.run(state, resume=resume) if match else distillation.unmatched()
    made = learned(found, train.clouds, points, options.seed)
    frames = _with_strengths(made.clouds, table, train.meters, options.method, options.seed)
    return MadeFrames(frames, made.generator, made.rotator, table, made.losses, made.seconds)


def generated_frames(
    generator: PointGenerator,
    rotator: Rotator,
    strengths: NDArray[np.float32],
    meters: float,
    points: int,
    seed: int,
) -> FrameClouds:
    """Return a generator's frames at any resolution, from 2 points on.

    Parameters
    ----------
    generator, rotator
        On the CPU.
    strengths
        (C, Q).
    meters
        One unit of the generator's coordinates.
    points
        N.
    seed
        Of the noise and the strengths.
    """
    clouds = sampled(generator, rotator, points, seed)
    return _with_strengths(clouds, strengths, meters, "dd3d", seed)


def score_frames_of(
    made: MadeFrames, real: RealFrames, options: FrameTraining, device: torch.device, points: int
) -> FrameScore:
    """Train a network on a small set from scratch and score it on the held-out frames.

    Raises
    ------
    UserError
        If there are no held-out frames.
    """
    if real.test is None:
        raise UserError("the data has no held-out frames to score on")
    test = canonical_frames(real.test, made.rotator)
    return train_and_score_frames(made.draw(points, options.seed), test, options, device)[0]


def _with_strengths(
    clouds: ObjectClouds, table: NDArray[np.float32], meters: float, name: str, seed: int
) -> FrameClouds:
    """Return what was learned as frames: with true heights, and strengths."""
    assert clouds.parts is not None
    strength = draw_strengths(table, clouds.parts, seed, _STRENGTHS)
    names = tuple(f"{name}/{number:06d}" for number in range(len(clouds)))
    return FrameClouds(stretched(clouds, 1 / HEIGHT), strength, meters, names)

"""A small set from beginning to end: real clouds in, a few that stand for them out.

Objects and LiDAR frames are made in one way. Frames are learned with their heights stretched, and
what is learned has no strengths: it is given those that real points of its class have.

Shape letters: B real clouds, S clouds of the small set, C classes of points, Q quantiles.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from train.core.console import logger
from train.core.errors import UserError
from train.data.files import listed
from train.dataset_distillation.chance import Stream, generator_for
from train.dataset_distillation.clouds import PointClouds
from train.dataset_distillation.coresets import coreset
from train.dataset_distillation.distill import Distillation, Distilled
from train.dataset_distillation.generator import PointGenerator, generate
from train.dataset_distillation.networks.classifiers import SMALL_POINTNET
from train.dataset_distillation.networks.segmenters import HEIGHT
from train.dataset_distillation.options import LEARNED, DistillOptions, refuse_below
from train.dataset_distillation.prepare import Prepared, canonical
from train.dataset_distillation.rotator import Rotator
from train.dataset_distillation.start import StartOptions
from train.dataset_distillation.synthetic import GeneratedClouds
from train.dataset_distillation.training import (
    ClassTraining,
    Draw,
    Found,
    FrameTraining,
    PartTraining,
    Sample,
    Score,
    Training,
    embed,
    fixed_draw,
    sample_of,
    train_and_score,
)

QUANTILES: Final = 17
SIGNS_ONCE_FROM: Final = 10
"""Clouds per class from which on a cloud's signs are decided once, as a real cloud's are. With
fewer, they are decided again for every draw, as in the authors' code: where a cloud does not decide
a sign, networks see it mirrored now and then, which helps where there are few clouds."""
_EPOCH_SEEDS: Final = 100_003
"""The noise of an epoch is of the seed times this, plus the epoch."""


def features_of(train: PointClouds, seed: int, device: torch.device) -> NDArray[np.float64]:
    """Return the features (B, C) that herding and k-center look at, of a PointNet trained on all.

    Its weights are of a seed; it is trained for 20 epochs on objects and 10 on frames, which are
    canonical.
    """
    training: Training[Any]
    if train.meters is None:
        training = ClassTraining(
            network=SMALL_POINTNET, epochs=20, batch_size=32, test_every=20, seed=seed
        )
    else:
        training = FrameTraining(network="pointnet", epochs=10, test_every=10, seed=seed)
    trained: tuple[Score[Any], nn.Module] = train_and_score(
        fixed_draw(train), train, training, device
    )
    return embed(trained[1], train, device)


@dataclass(frozen=True, eq=False)
class SmallSet:
    """A small set, and what it is made by.

    Attributes
    ----------
    clouds
        Canonical, as written. The number of points of frames may differ from that of the real ones.
    generator
        Of DD3D.
    rotator
        Trained with it, where it has weights.
    losses
        Of what was learned; empty for what was chosen.
    seconds
        Of learning or choosing.
    strengths
        (C, Q) of real frames: what generated and learned points are given. None of objects.
    redrawn
        Whether clouds without a generator are drawn from as a generator's: every epoch sees other
        points of them.
    """

    clouds: PointClouds
    generator: PointGenerator | None
    rotator: Rotator
    losses: tuple[float, ...] = ()
    seconds: float = 0.0
    strengths: NDArray[np.float32] | None = None
    redrawn: bool = False

    @property
    def numbers_stored(self) -> int:
        """Return how many numbers stand for the set; strengths and labels of points count, too."""
        clouds = self.clouds
        if self.generator is not None:
            return self.generator.num_parameters() + (
                0 if self.strengths is None else self.strengths.size
            )
        if clouds.strength is None or clouds.parts is None:
            return clouds.points.size
        return clouds.points.size + clouds.strength.size + clouds.parts.size

    def draw(self, points: int, seed: int) -> Draw:
        """Return what gives an epoch's clouds.

        Objects, and frames of a generator, have `points`; free coordinates and real clouds may have
        fewer, and other frames are as they are. To resample a generator's noise in every epoch is
        the paper's choice; the seed is that of the noise.
        """
        if self.generator is not None or self.redrawn:
            return RedrawnSet(self, points, seed)
        frames = self.clouds.meters is not None
        return fixed_draw(self.clouds if frames else self.clouds.first_points(points))


class RedrawnSet:
    """Gives other points of the same clouds in every epoch, by a generator or of real clouds."""

    def __init__(self, small: SmallSet, points: int, seed: int) -> None:
        self.small, self.points, self.seed = small, points, seed
        self.signs: torch.Tensor | None = None
        clouds, rotator = small.clouds, small.rotator
        many = len(clouds) >= SIGNS_ONCE_FROM * len(clouds.classes)
        if clouds.meters is None and (rotator.mode == "none" or many):
            with torch.no_grad():
                whole = self._bare(clouds.num_points, None)
                self.signs = rotator.canonical(whole, align=False).signs

    def __call__(self, epoch: int) -> Sample:
        """Return the clouds of an epoch, from 1."""
        small = self.small
        if small.clouds.meters is not None:
            assert small.generator is not None
            noise = self.seed * _EPOCH_SEEDS + epoch
            facts = small.strengths, small.clouds.meters
            return sample_of(sampled(small.generator, small.rotator, self.points, noise, *facts))
        words = self.seed * _EPOCH_SEEDS + epoch - 1
        labels = torch.from_numpy(small.clouds.labels)
        if self.signs is not None:
            return Sample(self._bare(self.points, words) * self.signs[:, None], labels)
        # A draw of as many points as a real cloud has decides: few decide by chance.
        made = self._bare(max(self.points, small.clouds.num_points), words)
        with torch.no_grad():
            return Sample(small.rotator(made, align=False)[:, : self.points], labels)

    def _bare(self, number: int, seed: int | None) -> torch.Tensor:
        """Return points of all objects, their signs undecided; spread evenly without a seed."""
        if self.small.generator is not None:
            return generate(self.small.generator, number, seed)[0].cpu()
        clouds = torch.from_numpy(self.small.clouds.points)
        if seed is None:
            return clouds
        chance = generator_for(seed, Stream.REDRAWN_CLOUDS)
        chosen = torch.randint(clouds.shape[1], (len(clouds), number), generator=chance)
        return clouds.gather(1, chosen[:, :, None].expand(-1, -1, 3))


def make(
    real: Prepared,
    options: DistillOptions,
    device: torch.device,
    *,
    points: int,
    state: Path | None = None,
    resume: bool = False,
    features: NDArray[np.float64] | None = None,
    start: StartOptions | None = None,
    match: bool = True,
) -> SmallSet:
    """Make a small set by any method.

    Parameters
    ----------
    real, options
        What it stands for, and how; `clouds_per_class` is the number of frames.
    points
        Of a generator's clouds; others have as many as they were learned with, or were given.
    state, resume
        See `Distillation.run`.
    features
        What `features_of` gave; made where it is needed and None.
    start
        How a generator of frames is fitted to real points first; None for not at all, as in the
        paper. A generator of objects starts as options say.
    match
        False leaves what would be learned as it starts: to see what the matching of gradients adds.

    Raises
    ------
    UserError
        See `Distillation`; if there are fewer frames than are asked for.
    """
    refuse_below(1, {"--points": points})
    train, frames = real.train, real.train.meters is not None
    if frames:
        _check_frames(train, options)
        start = start or StartOptions()
    strengths = strength_table(train) if frames else None
    learns = options.method in LEARNED
    # Free coordinates of frames start from frames that the distillation draws.
    choice = options.begins_as if learns and not frames else options.method
    goes_on = learns and resume and state is not None and state.exists()
    rows = None
    if not learns or not (frames or choice == "noise" or goes_on):
        if features is None:
            features = np.zeros((len(train), 1))
            if choice != "random":
                seen = canonical(train, real.rotator)
                features = features_of(
                    seen if frames else seen.first_points(options.points), options.seed, device
                )
        rows = coreset(choice, train, features, options.clouds_per_class, options.seed)
    if not learns:
        assert rows is not None
        chosen = canonical(train.take(rows), real.rotator)
        return SmallSet(chosen, None, real.rotator, strengths=strengths)
    seen = train.stretched(HEIGHT) if frames else train
    distillation = Distillation(seen, options, device, rows, start)
    found = distillation.run(state, resume=resume) if match else distillation.unmatched()
    return _learned(found, train, strengths, points, options)


def _check_frames(train: PointClouds, options: DistillOptions) -> None:
    if options.clouds_per_class > len(train):
        raise UserError(
            f"--cpc {options.clouds_per_class}: there are {len(train)} frames; ask for fewer, or "
            "read more (--frames)"
        )
    if absent := train.absent_parts():
        logger.info(
            f"no point of the training frames is of class {listed(absent)}: the result has none "
            "either"
        )


def _learned(
    found: Distilled,
    real: PointClouds,
    strengths: NDArray[np.float32] | None,
    points: int,
    options: DistillOptions,
) -> SmallSet:
    """Return the set that a distillation has learned; a generator's clouds have `points`."""
    rotator, meters = found.rotator.cpu(), real.meters
    if isinstance(found.synthetic, GeneratedClouds):
        generator = found.synthetic.generator.cpu()
        clouds = sampled(generator, rotator, points, options.seed, strengths, meters)
        return SmallSet(clouds, generator, rotator, found.losses, found.seconds, strengths)
    learned = found.synthetic.points.detach().cpu()
    if rotator.trained:  # else they have kept the signs that they started with
        with torch.no_grad():
            learned = rotator(learned, align=False)
    labels = np.arange(len(learned)) // found.synthetic.clouds_per_class
    parts = found.synthetic.parts
    clouds = PointClouds(
        learned.numpy(),
        labels.astype(np.int64),
        real.classes,
        None if parts is None else parts.cpu().numpy(),
        () if parts is None else real.part_names,
    )
    if strengths is not None:
        assert meters is not None
        clouds = _as_frames(clouds, strengths, meters, options.method, options.seed)
    return SmallSet(clouds, None, rotator, found.losses, found.seconds, strengths)


def sampled(
    generator: PointGenerator,
    rotator: Rotator,
    points: int,
    seed: int,
    strengths: NDArray[np.float32] | None = None,
    meters: float | None = None,
) -> PointClouds:
    """Return a generator's clouds, as they were learned, at any resolution from 2 points on.

    The generator and the rotator are on the CPU; the seed is of the noise and the strengths. Frames
    have the table (C, Q) that strengths are drawn from, and one unit of the coordinates in meters.
    """
    refuse_below(2, {"--points": points})
    made, labels, parts = generate(generator, points, seed)
    with torch.no_grad():
        turned = rotator(made, align=False)
    clouds = PointClouds(
        turned.numpy(),
        labels.numpy(),
        generator.spec.classes,
        None if parts is None else parts.numpy(),
        generator.spec.part_names,
    )
    if strengths is None:
        return clouds
    assert meters is not None
    return _as_frames(clouds, strengths, meters, "dd3d", seed)


def _as_frames(
    clouds: PointClouds, table: NDArray[np.float32], meters: float, name: str, seed: int
) -> PointClouds:
    """Return what was learned as frames: with true heights, strengths and names."""
    assert clouds.parts is not None
    return replace(
        clouds.stretched(1 / HEIGHT),
        strength=draw_strengths(table, clouds.parts, seed, Stream.STRENGTHS),
        meters=meters,
        names=tuple(f"{name}/{number:06d}" for number in range(len(clouds))),
    )


def strength_table(frames: PointClouds) -> NDArray[np.float32]:
    """Return (C, Q) quantiles of each class's strengths, evenly spread from least to greatest.

    A generator makes coordinates. A network that was trained without strengths cannot use those of
    real frames, and one number for each class would tell it the class; so a generated point is
    given a strength as points of its class have them. Classes without points have zeros.
    """
    assert frames.strength is not None
    table = np.zeros((len(frames.part_names), QUANTILES), dtype=np.float32)
    shares = np.linspace(0.0, 1.0, QUANTILES)
    for number in np.flatnonzero(frames.part_counts()):
        table[number] = np.quantile(frames.strength[frames.parts == number], shares)
    return table


def draw_strengths(
    table: NDArray[np.float32], segment: NDArray[np.int64], *words: int
) -> NDArray[np.float32]:
    """Return (B, N) strengths as the points' classes have them; 0 for points of no class.

    From a table (C, Q) and train ids (B, N), -1 for none; the draw depends on the words.
    """
    last = table.shape[1] - 1
    place = np.random.default_rng([*words]).random(segment.shape) * last
    below = np.minimum(place.astype(np.int64), last - 1)
    share = (place - below).astype(np.float32)
    rows = np.maximum(segment, 0)
    drawn = table[rows, below] * (1 - share) + table[rows, below + 1] * share
    return np.where(segment >= 0, drawn, 0).astype(np.float32)


def score(
    small: SmallSet,
    real: Prepared,
    training: Training[Found],
    device: torch.device,
    *,
    points: int,
) -> Score[Found]:
    """Train a network on a small set from scratch and score it on the real set's test clouds.

    For `points` see `SmallSet.draw`; objects are scored on as many, the first ones of those there
    are. Where parts of objects are learned, the set is as it was written.
    UserError if there are no test clouds, or they have other parts.
    """
    if real.test is None:
        raise UserError("the data has no test clouds to score on")
    test = canonical(real.test, small.rotator)
    if isinstance(training, PartTraining):
        if small.clouds.parts is None or small.clouds.part_names != test.part_names:
            raise UserError("clouds to learn from and to be scored on need parts of the same names")
        draw = fixed_draw(small.clouds)
    else:
        draw = small.draw(points, training.seed)
        if test.meters is None:
            test = test.first_points(points)
    return train_and_score(draw, test, training, device)[0]

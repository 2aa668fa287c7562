"""Starts a generator of frames from real points, class by class, before gradients are matched.

The paper's generator "cannot take original data as initialization", and names that a promising
direction (Sections 4.4 and 6). This one does, and is ours: the points of a class, of several real
frames together, are put in the order of a Hilbert curve; a noise at some share of the class's
interval is to give the point at that share of the curve. Neighbors on the curve are neighbors in
space, so the map from noise to points is one that a SIREN can learn.

Shape letters: M frames of the small set, B real frames, P points, N points of a step.
"""

import math
import time
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import torch
from torch import Tensor

from train.core.console import Progress
from train.core.errors import UserError
from train.dataset_distillation.chance import generator_for
from train.dataset_distillation.distill import Distillation
from train.dataset_distillation.generator import PointGenerator, build_generator
from train.dataset_distillation.objects.clouds import ObjectClouds
from train.dataset_distillation.options import DistillOptions
from train.dataset_distillation.synthetic import GeneratedClouds, Synthetic
from train.networks.ptv3.serialization import MAX_DEPTH, hilbert_code

_GROUPS, _NOISE = 61, 62

Intervals = tuple[tuple[int, float, float], ...]
"""Class, begin and end of its noise."""


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How a generator is fitted to real points.

    Attributes
    ----------
    steps
        Of Adam; 0 leaves the generator as it is, as the paper does.
    points
        N of each of the M frames in a step.
    lr
        Falls to 0 by a cosine.
    share_power
        Intervals of noise, and so the points of classes, are as wide as the classes' shares to this
        power: 1 is the paper's; below it, rare classes have more points than they have in reality.
    frames
        Real frames that one of the M stands for, at most: more of them have more of a class's
        places, fewer are followed more closely. 0 for no bound.
    """

    steps: int = 0
    points: int = 1024
    lr: float = 2e-3
    share_power: float = 1.0
    frames: int = 0

    def __post_init__(self) -> None:
        """Refuse what nothing can be fitted with."""
        if self.steps < 0:
            raise UserError(f"--start-steps {self.steps}: 0 or more")
        if not 0 <= self.share_power <= 1:
            raise UserError(f"--share-power {self.share_power}: 0 to 1")
        if self.frames < 0:
            raise UserError(f"--start-frames {self.frames}: 0 or more")
        if self.points < 1 or not 0 < self.lr < math.inf:
            raise UserError(f"a start of {self.points} points at rate {self.lr}: both above 0")


QUICK_START: Final = FitOptions(steps=600, share_power=0.5)
"""What `--preset quick` sets: from noise, so few iterations teach less than random points do."""


class FrameDistillation(Distillation):
    """A distillation of frames whose generator starts from real points, if that is wanted.

    Parameters
    ----------
    real, options, device
        As of `Distillation`.
    start
        How the generator is fitted first; free coordinates start from real frames anyway.
    """

    def __init__(
        self,
        real: ObjectClouds,
        options: DistillOptions,
        device: torch.device,
        start: FitOptions,
    ) -> None:
        self.start = start
        super().__init__(real, options, device)

    def start_options(self) -> dict[str, Any]:
        """Return how the generator is fitted first, as plain values."""
        return asdict(self.start)

    def _start(self) -> Synthetic:
        made = super()._start()
        if not isinstance(made, GeneratedClouds):
            return made
        if self.start.share_power != 1:
            spec = made.generator.spec
            wide = tuple(tempered(own, self.start.share_power) for own in spec.intervals)
            spec = replace(spec, intervals=wide)
            made = GeneratedClouds(build_generator(spec, self.options.seed))
        if self.start.steps:
            # Its frequencies are multiplied by w0, 400 for parts: a step of 1e-4 there turns sines
            # by radians, and what was fitted is gone after a few.
            made.generator.siren[0].requires_grad_(False)
        return made

    def begin(self) -> None:
        """Fit the generator to real points, where that is wanted."""
        if not self.start.steps or not isinstance(self.synthetic, GeneratedClouds):
            return
        begin = time.monotonic()
        generator = self.synthetic.generator
        generator.siren[0].requires_grad_(True)
        fit_generator(generator, self.real, self.start, self.options.seed)
        generator.siren[0].requires_grad_(False)
        self.seconds += time.monotonic() - begin


def tempered(intervals: Intervals, power: float) -> Intervals:
    """Return intervals whose widths are those of others to a power, over their sum.

    Parameters
    ----------
    intervals
        Class, begin and end of its noise, one after the other from 0 to 1.
    power
        0 makes all alike, 1 leaves them.
    """
    ends = torch.tensor([end - begin for _, begin, end in intervals], dtype=torch.float64)
    ends = (ends**power).cumsum(0)
    ends = ends / ends[-1]
    begins = [0.0, *ends[:-1].tolist()]
    return tuple(
        (number, begin, end)
        for (number, _, _), begin, end in zip(intervals, begins, ends.tolist(), strict=True)
    )


def fit_generator(
    generator: PointGenerator, real: ObjectClouds, options: FitOptions, seed: int
) -> list[float]:
    """Fit a generator to real points; return the mean squared distances of the steps.

    Parameters
    ----------
    generator
        Of one class of clouds, with intervals; is trained where it is.
    real
        Frames with parts, B at least M. Each of the M frames stands for a share of them.
    options
        How.
    seed
        Of the shares and the noise.
    """
    spec = generator.spec
    device = generator.decoder.weight.device
    curves = [
        class_curves(real.take(rows.tolist()), spec.part_names)
        for rows in _groups(len(real), spec.num_clouds, options.frames, seed)
    ]
    chance = generator_for(seed, _NOISE)
    optimizer = torch.optim.Adam(generator.parameters(), lr=options.lr)
    index = torch.arange(spec.num_clouds, device=device)
    progress = Progress("start from real points", options.steps)
    losses = []
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = options.lr * (1 + math.cos(math.pi * step / options.steps)) / 2
        noise = torch.rand(spec.num_clouds, options.points, generator=chance)
        pairs = [
            curve_points(spec.intervals[0], own, row)
            for own, row in zip(curves, noise, strict=True)
        ]
        wanted = torch.stack([points for points, _ in pairs]).to(device)
        known = torch.stack([there for _, there in pairs]).to(device)
        apart = (generator(noise.to(device), index) - wanted).square().sum(dim=2)
        loss = (apart * known).sum() / known.sum().clamp_min(1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        progress.advance({"distance": losses[-1]})
    progress.close()
    return losses


def class_curves(real: ObjectClouds, names: tuple[str, ...]) -> dict[int, Tensor]:
    """Return for each class its points (P, 3) of all frames, in the order of a Hilbert curve.

    Parameters
    ----------
    real
        Coordinates between -1 and 1; what is beyond is at the curve's border.
    names
        Of all classes; those without points are left out.
    """
    assert real.parts is not None
    points = torch.from_numpy(real.points).flatten(0, 1)
    parts = torch.from_numpy(real.parts).flatten()
    cells = ((points.double().clamp(-1, 1) + 1) / 2 * ((1 << MAX_DEPTH) - 1)).long()
    order = hilbert_code(cells, MAX_DEPTH).argsort(stable=True)
    found = {}
    for number in range(len(names)):
        own = order[parts[order] == number]
        if len(own):
            found[number] = points[own]
    return found


def curve_points(
    intervals: Intervals, curves: dict[int, Tensor], noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the point (N, 3) of a class's curve for each noise, and whether there is one (N,).

    Parameters
    ----------
    intervals
        Class, begin and end of its noise.
    curves
        Class -> points in order; a class can be missing.
    noise
        (N,).
    """
    wanted = torch.zeros(len(noise), 3)
    there = torch.zeros(len(noise), dtype=torch.bool)
    for number, begin, end in intervals:
        rows = (noise >= begin) & (noise < end)
        if number not in curves or not bool(rows.any()):
            continue
        curve = curves[number]
        share = (noise[rows] - begin) / (end - begin)
        place = (share * len(curve)).long().clamp_max(len(curve) - 1)
        wanted[rows], there[rows] = curve[place], True
    return wanted, there


def _groups(frames: int, clouds: int, most: int, seed: int) -> list[Tensor]:
    """Return which real frames each synthetic one stands for: shares as equal as can be."""
    order = torch.randperm(frames, generator=generator_for(seed, _GROUPS))
    return [order[number::clouds][: most or frames].sort().values for number in range(clouds)]

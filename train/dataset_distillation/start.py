"""Brings a generator near real clouds before it is distilled: a start that the paper does not have.

"A major drawback is that the generator cannot take original data as initialization" (Section 4.4).
It can: real points in an order in which neighbors are near make a curve, noise is a place on it,
and the generator learns the curves by squared distance, without any network. Two orders:

nearest: a walk through each cloud's points, each to the nearest one that was not visited.
hilbert: for each part, the points of several real clouds together on a Hilbert curve; a noise at
some share of the part's interval is to give the point at that share of its curve.

Shape letters: S clouds, N points of a step, P points of a curve.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor

from train.core.console import Progress
from train.core.errors import UserError
from train.dataset_distillation.chance import Stream, generator_for
from train.dataset_distillation.clouds import PointClouds
from train.dataset_distillation.generator import PartIntervals, PointGenerator, draw_noise
from train.dataset_distillation.options import refuse_below
from train.networks.ptv3.serialization import MAX_DEPTH, hilbert_code

_PLACES: Final = 3072
"""Places on all nearest curves together that a step looks at, and the fewest on one."""
_FEWEST: Final = 16


@dataclass(frozen=True, kw_only=True)
class StartOptions:
    """How a generator is fitted to real points first.

    Attributes
    ----------
    curve
        In which order real points are a curve.
    steps
        Of Adam; 0 leaves the generator as it is, as the paper does.
    points
        N of each of the S clouds in a step; None shares a fixed number out among them.
    lr
        Of nearest curves it falls to a tenth at three quarters, of Hilbert curves to 0 by a cosine.
    share_power
        Intervals of noise, and so the points of parts, are as wide as the parts' shares to this
        power: 1 is the paper's; below it, rare parts have more points than they have in reality.
    frames
        Real clouds that one of the S stands for, at most, of Hilbert curves: more of them have more
        of a part's places, fewer are followed more closely. 0 for no bound.
    """

    curve: Literal["nearest", "hilbert"] = "hilbert"
    steps: int = 0
    points: int | None = 1024
    lr: float = 2e-3
    share_power: float = 1.0
    frames: int = 0

    def __post_init__(self) -> None:
        """Refuse what nothing can be fitted with."""
        refuse_below(0, {"--start-steps": self.steps, "--start-frames": self.frames})
        if not 0 <= self.share_power <= 1:
            raise UserError(f"--share-power {self.share_power}: 0 to 1")
        if (self.points is not None and self.points < 1) or not 0 < self.lr < math.inf:
            raise UserError(f"a start of {self.points} points at rate {self.lr}: both above 0")

    def plain(self) -> dict[str, Any]:
        """Return what a state says of it beside the options: nothing of nearest curves."""
        plain = asdict(self)
        return {} if plain.pop("curve") == "nearest" else plain


QUICK_START: Final = StartOptions(steps=600, share_power=0.5)
"""What `--preset quick` sets for frames: from noise, so few iterations teach less than random
points do."""


class NearestCurves:
    """One curve through each of given clouds (S, P, 3), between whose points lines are drawn."""

    stream = Stream.NEAREST_CURVES

    def __init__(self, clouds: Tensor, device: torch.device) -> None:
        self.curves = torch.stack([cloud[walk(cloud)] for cloud in clouds]).to(device)

    def points(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Return the point (S, N, 3) at each noise (S, N), and whether there is one (S, N)."""
        return at(self.curves, noise.to(self.curves.device)), torch.ones_like(noise)

    def rate(self, step: int, steps: int) -> float:
        """Return the share of the rate that a step has."""
        return 0.1 if 4 * step >= 3 * steps else 1.0


class HilbertCurves:
    """A curve for each part of each of the S clouds.

    Each of them stands for a share of the real clouds, which are of one class, have parts and are S
    at least; for `most` of them where that is above 0. The seed decides the shares.
    """

    stream = Stream.HILBERT_CURVES

    def __init__(
        self, real: PointClouds, intervals: PartIntervals, clouds: int, most: int, seed: int
    ) -> None:
        self.intervals = intervals
        order = torch.randperm(len(real), generator=generator_for(seed, Stream.FRAME_SHARES))
        shares = [
            order[number::clouds][: most or len(real)].sort().values.tolist()
            for number in range(clouds)
        ]
        self.curves = [part_curves(real.take(share)) for share in shares]

    def points(self, noise: Tensor) -> tuple[Tensor, Tensor]:
        """See `NearestCurves`."""
        pairs = [
            curve_points(self.intervals, own, row)
            for own, row in zip(self.curves, noise, strict=True)
        ]
        return torch.stack([points for points, _ in pairs]), torch.stack([on for _, on in pairs])

    def rate(self, step: int, steps: int) -> float:
        """See `NearestCurves`."""
        return (1 + math.cos(math.pi * step / steps)) / 2


Curves = NearestCurves | HilbertCurves


def fit_generator(
    generator: PointGenerator, curves: Curves, options: StartOptions, seed: int
) -> list[float]:
    """Fit a generator of S clouds to S curves; return the mean squared distances of the steps."""
    clouds = generator.spec.num_clouds
    device = generator.decoder.weight.device
    points = options.points or max(_FEWEST, _PLACES // clouds)
    index = torch.arange(clouds, device=device)
    optimizer = torch.optim.Adam(generator.parameters(), lr=options.lr)
    chance = generator_for(seed, curves.stream)
    progress = Progress("start from real points", options.steps)
    losses = []
    for step in range(options.steps):
        for group in optimizer.param_groups:
            group["lr"] = options.lr * curves.rate(step, options.steps)
        noise = draw_noise(clouds, points, chance)
        wanted, known = (each.to(device) for each in curves.points(noise))
        apart = (generator(noise.to(device), index) - wanted).square().sum(dim=2)
        loss = (apart * known).sum() / known.sum().clamp_min(1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        progress.advance({"distance": losses[-1]})
    progress.close()
    return losses


def walk(cloud: Tensor) -> Tensor:
    """Return an order (P,) of a cloud's points: from the lowest, always to the nearest one left."""
    apart = torch.cdist(cloud, cloud)
    order = [int(cloud[:, 2].argmin())]
    for _ in range(len(cloud) - 1):
        apart[:, order[-1]] = torch.inf
        order.append(int(apart[order[-1]].argmin()))
    return torch.tensor(order)


def at(curves: Tensor, places: Tensor) -> Tensor:
    """Return the points (S, N, 3) at places (S, N) between 0 and 1 of curves (S, P, 3)."""
    last = curves.shape[1] - 1
    where = places * last
    begin = where.floor().clamp(0, max(last - 1, 0)).long()
    share = (where - begin)[..., None]
    first, second = (
        curves.gather(1, rows.clamp_max(last)[..., None].expand(-1, -1, 3))
        for rows in (begin, begin + 1)
    )
    return first + share * (second - first)


def part_curves(real: PointClouds) -> dict[int, Tensor]:
    """Return for each part its points (P, 3) of all clouds, in the order of a Hilbert curve.

    What is beyond -1 and 1 is at the curve's border. Parts without points are left out.
    """
    assert real.parts is not None
    points = torch.from_numpy(real.points).flatten(0, 1)
    parts = torch.from_numpy(real.parts).flatten()
    cells = ((points.double().clamp(-1, 1) + 1) / 2 * ((1 << MAX_DEPTH) - 1)).long()
    order = hilbert_code(cells, MAX_DEPTH).argsort(stable=True)
    curves = {number: order[parts[order] == number] for number in range(len(real.part_names))}
    return {number: points[own] for number, own in curves.items() if len(own)}


def curve_points(
    intervals: PartIntervals, curves: dict[int, Tensor], noise: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the point (N, 3) of a part's curve for each noise, and whether there is one."""
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

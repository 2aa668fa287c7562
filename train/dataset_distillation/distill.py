"""Learns synthetic clouds by matching gradients, or features, on freshly initialized networks.

The loop is that of Zhao et al. ("Dataset Condensation with Gradient Matching", ICLR 2021) with the
generator of DD3D: in each iteration a new network; on it `outer` steps of the clouds, and between
two of them `inner` epochs of the network on the clouds. Whatever is drawn depends on the seed and
the iteration alone, so a state is the learned numbers, the optimizer and a count.

Of several processes each has its share of the classes; gradients are summed.

Shape letters: K classes, B clouds, N points.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.core.console import Progress
from train.core.distributed import agree, is_first_process, sum_over_processes
from train.core.errors import UserError
from train.core.interrupts import Interrupted, StopRequest
from train.dataset_distillation.chance import Stream, generator_for
from train.dataset_distillation.clouds import NO_PART, PointClouds
from train.dataset_distillation.distill_state import load_state, made_from, save_state
from train.dataset_distillation.generator import (
    GeneratorSpec,
    PointGenerator,
    build_generator,
    noise_intervals,
)
from train.dataset_distillation.matcher import Matcher
from train.dataset_distillation.matching import labeled_loss
from train.dataset_distillation.networks.pointnet import PointNet
from train.dataset_distillation.options import DistillOptions, Task
from train.dataset_distillation.rotator import Rotator
from train.dataset_distillation.start import (
    Curves,
    HilbertCurves,
    NearestCurves,
    StartOptions,
    fit_generator,
)
from train.dataset_distillation.synthetic import FreeClouds, GeneratedClouds, Synthetic

SAVE_EVERY_S: Final = 60.0


@dataclass(frozen=True, eq=False)
class Distilled:
    """What a distillation learned.

    The synthetic clouds or their generator; what brings clouds to the orientation that was learned;
    the mean distance per class and outer step, one for each iteration; the seconds of all parts of
    the run together.
    """

    synthetic: Synthetic
    rotator: Rotator
    losses: tuple[float, ...]
    seconds: float


class Distillation:
    """Learns clouds for one set of real ones.

    Parameters
    ----------
    real
        In canonical orientation already, see `prepare.aligned_clouds`; each class has at least as
        many clouds as are wanted.
    options
        Of a method that learns.
    device
        Where to compute.
    chosen
        Rows of the real clouds to begin from, class by class, where options say so; None draws.
    start
        How a generator is fitted to real points first; None for what options say.

    Raises
    ------
    UserError
        If a class has too few clouds, or the clouds have fewer points than are asked for.
    """

    def __init__(
        self,
        real: PointClouds,
        options: DistillOptions,
        device: torch.device,
        chosen: NDArray[np.int64] | None = None,
        start: StartOptions | None = None,
    ) -> None:
        real.require(options.clouds_per_class)
        if real.num_points < options.points:
            raise UserError(
                f"--distill-points {options.points}: the clouds have {real.num_points} points; ask "
                "for fewer"
            )
        check_task(options.task, real)
        self.real, self.options, self.device, self.chosen = real, options, device, chosen
        self.start = start_of(options) if start is None else start
        self.rotator = options.rotator.build().to(device)
        # Free coordinates that start with the signs of whole clouds keep them: as few points as are
        # learned decide by chance. A trained rotator has a say in them, with a gradient.
        keep = options.method != "dd3d" and not self.rotator.trained
        self.made_rotator = Rotator("none") if keep else self.rotator
        self.matcher = Matcher(real, options, self.rotator, device, self.made_rotator)
        self.synthetic = self._clouds().to(device)
        learned = [*self.synthetic.parameters(), *self.rotator.parameters()]
        self.learned = [parameter for parameter in learned if parameter.requires_grad]
        generated = options.method == "dd3d"
        self.lr = options.lr if generated else options.coordinate_lr
        self.optimizer = torch.optim.Adam(
            self.learned, lr=self.lr, weight_decay=options.weight_decay if generated else 0.0
        )
        self.losses: list[float] = []
        self.seconds = 0.0

    def run(
        self,
        state: Path | None = None,
        *,
        resume: bool = False,
        after: Callable[[int], None] | None = None,
    ) -> Distilled:
        """Do the iterations that are missing.

        Parameters
        ----------
        state
            File to save to now and then, and when asked to stop; None to save nothing.
        resume
            Go on from `state`, if it is there.
        after
            Called with the number of iterations done, after each; for tests and pictures.

        Raises
        ------
        UserError
            If `state` is of another distillation, or a loss is not finite.
        Interrupted
            After a signal; the state is saved.
        """
        if resume and state is not None and state.exists():
            self._load(state)
        else:
            self.begin()
        progress = Progress(
            f"{self.options.method}, {self.options.clouds_per_class} per class",
            self.options.iterations,
            done=len(self.losses),
        )
        saved = time.monotonic()
        with StopRequest() as stop:
            while (done := len(self.losses)) < self.options.iterations:
                begin, error = time.monotonic(), None
                loss = float("nan")
                try:
                    loss = self._iterate(done)
                except UserError as caught:
                    error = caught
                self.losses.append(loss)
                self.seconds += time.monotonic() - begin
                signal = agree(error, stop=stop.signal)
                progress.advance({"distance": loss})
                if after is not None:
                    after(len(self.losses))
                if state is not None and (signal or time.monotonic() - saved > SAVE_EVERY_S):
                    self.save(state)
                    saved = time.monotonic()
                if signal:
                    raise Interrupted(
                        signal, after=f"iteration {len(self.losses)}", checkpoint=state
                    )
        progress.close()
        if state is not None:
            self.save(state)
        return Distilled(self.synthetic, self.rotator, tuple(self.losses), self.seconds)

    def unmatched(self) -> Distilled:
        """Return the clouds as they start, with no gradient matched."""
        self.begin()
        return Distilled(self.synthetic, self.rotator, (), self.seconds)

    def save(self, path: Path) -> None:
        """Write where the distillation is; the first of several processes does."""
        if not is_first_process():
            return
        learned = {
            "synthetic": self.synthetic.state_dict(),
            "rotator": self.rotator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "losses": list(self.losses),
            "seconds": self.seconds,
        }
        save_state(path, made_from(self.options, self.start, self.real), learned)

    def _load(self, path: Path) -> None:
        content = load_state(path, made_from(self.options, self.start, self.real))
        self.synthetic.load_state_dict(content["synthetic"])
        self.rotator.load_state_dict(content["rotator"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.losses = [float(loss) for loss in content["losses"]]
        self.seconds = float(content["seconds"])

    def _clouds(self) -> Synthetic:
        """Return an untrained generator, or free coordinates."""
        options = self.options
        if options.method == "dd3d":
            return GeneratedClouds(self._generator())
        rows = self._rows_to_start()
        chance = generator_for(options.seed, Stream.START_POINTS)
        points, drawn_parts = self.matcher.draw(rows, chance)
        if options.begins_as == "noise":  # as the paper's Table 6 has it
            return FreeClouds(
                2 * torch.rand(points.shape, generator=chance) - 1,
                options.clouds_per_class,
                drawn_parts,
            )
        if self.made_rotator is not self.rotator:
            signs = self.rotator.canonical(self.matcher.points[rows], align=False).signs
            points = points * signs[:, None]
        return FreeClouds(points, options.clouds_per_class, drawn_parts)

    def _generator(self) -> PointGenerator:
        options, parts = self.options, self.matcher.parts is not None
        spec = GeneratorSpec(
            classes=self.real.classes,
            clouds_per_class=options.clouds_per_class,
            width=options.width,
            layers=options.layers,
            w0=options.w0,
            part_names=self.real.part_names if parts else (),
            intervals=noise_intervals(self.real, self.start.share_power) if parts else (),
        )
        generator = build_generator(spec, options.seed)
        if self._freezes:
            generator.siren[0].requires_grad_(False)
        return generator

    @property
    def _freezes(self) -> bool:
        """Whether gradients leave the first layer of a generator as its start made it.

        Its frequencies are multiplied by w0, 400 for parts: a step of 1e-4 there turns sines by
        radians, and what was fitted is gone after a few.
        """
        return self.start.curve == "hilbert" and self.start.steps > 0

    def begin(self) -> None:
        """Bring a generator near real clouds, where that is wanted; `run` does it first."""
        if not isinstance(self.synthetic, GeneratedClouds) or not self.start.steps:
            return
        begin = time.monotonic()
        generator, start = self.synthetic.generator, self.start
        curves: Curves
        if start.curve == "nearest":
            curves = NearestCurves(self.matcher.points[self._rows_to_start()], self.device)
        else:
            curves = HilbertCurves(
                self.real,
                generator.spec.intervals[0],
                generator.spec.num_clouds,
                start.frames,
                self.options.seed,
            )
        generator.siren[0].requires_grad_(True)
        fit_generator(generator, curves, start, self.options.seed)
        generator.siren[0].requires_grad_(not self._freezes)
        self.seconds += time.monotonic() - begin

    def _rows_to_start(self) -> Tensor:
        """Return the real clouds that free coordinates, or a generator, start from."""
        if self.chosen is not None:
            return torch.from_numpy(self.chosen)
        return self.matcher.rows_of_each(
            self.options.clouds_per_class, generator_for(self.options.seed, Stream.START_CLOUDS)
        )

    def _iterate(self, done: int) -> float:
        """Do one iteration; return the mean distance per class and outer step."""
        options = self.options
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * (0.1 if done >= options.iterations / 2 else 1.0)
        network = self.matcher.network(done)
        trained = torch.optim.SGD(network.parameters(), lr=options.network_lr)
        chance = generator_for(options.seed, Stream.MATCHING, done)
        # One network has one look at the clouds' features: it is not trained in between.
        outer, inner = (1, 0) if options.method == "distribution-matching" else options.loops
        parts = self.matcher.parts is not None
        total = 0.0
        for step in range(outer):
            total += self._step(network, chance, local=parts and step % 2 == 1)
            if step < outer - 1:
                for _ in range(inner):
                    self._train(network, trained, chance)
        return total / (outer * len(self.real.classes))

    def _step(self, network: PointNet, chance: torch.Generator, *, local: bool) -> float:
        """Do one step of the clouds; return the sum of the classes' distances."""
        total, gradients = self.matcher.step(network, self.synthetic, chance, local=local)
        flat = sum_over_processes(torch.cat([total, *(g.flatten() for g in gradients)]))
        if not bool(torch.isfinite(flat).all()):
            raise UserError(
                f"iteration {len(self.losses) + 1}: the distance or its gradient is not finite; "
                "lower the learning rate"
            )
        begin = 1
        for parameter in self.learned:
            end = begin + parameter.numel()
            parameter.grad = flat[begin:end].view_as(parameter)
            begin = end
        self.optimizer.step()
        return float(flat[0])

    def _train(
        self, network: PointNet, optimizer: torch.optim.Optimizer, chance: torch.Generator
    ) -> None:
        """Train the matched network for one epoch on the clouds as they are now."""
        classes = range(len(self.real.classes))
        with torch.no_grad():
            found = self.synthetic.of_classes(classes, self.options.points, chance)
            clouds = self.made_rotator(torch.cat([made for made, _ in found]), align=False)
        labels = torch.cat(
            [self.matcher.labels(k, each, None) for k, each in zip(classes, found, strict=True)]
        )
        order = torch.randperm(len(clouds), generator=chance).to(self.device)
        for rows in torch.split(order, self.options.network_batch):
            loss = labeled_loss(network(clouds[rows]), labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def check_task(task: Task, real: PointClouds) -> None:
    """Refuse clouds without parts, or a class without, where parts are to be learned."""
    if task == "classes":
        return
    if real.parts is None:
        raise UserError("--task parts: the clouds have no parts; give others, or --task classes")
    for label, name in enumerate(real.classes):
        if not (real.parts[real.rows_of(label)] != NO_PART).any():
            raise UserError(f"--task parts: no point of class {name} has a part; leave it out")


def start_of(options: DistillOptions) -> StartOptions:
    """Return how a generator of objects is fitted first: to the clouds that options choose."""
    steps = 0 if options.begins_as == "noise" else options.start_steps
    return StartOptions(curve="nearest", steps=steps, points=None)

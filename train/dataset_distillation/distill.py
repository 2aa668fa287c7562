"""Learns synthetic clouds by matching gradients, or features, on networks that start anew.

The loop is that of Zhao et al. ("Dataset Condensation with Gradient Matching", ICLR 2021) with the
generator of DD3D: in each iteration a new network; on it `outer` steps of the clouds, and between
two of them `inner` epochs of the network on the clouds. Whatever is drawn depends on the seed and
the iteration alone, so a state is the learned numbers, the optimizer and a count.

Of several processes each has its share of the classes; gradients are summed.

Shape letters: K classes, B clouds, N points.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from train.core.atomic_write import atomic_write
from train.core.console import Progress
from train.core.distributed import agree, current_world, is_first_process, sum_over_processes
from train.core.errors import UserError
from train.core.interrupts import Interrupted, StopRequest
from train.core.tensor_file import read_tensors
from train.data.objects.clouds import ObjectClouds
from train.dataset_distillation.chance import generator_for, weights_from
from train.dataset_distillation.generator import GeneratorSpec, build_generator
from train.dataset_distillation.matching import (
    class_gradient,
    feature_distance,
    gradient_distance,
    labeled_loss,
    masked_labels,
)
from train.dataset_distillation.networks.pointnet import PointNet
from train.dataset_distillation.options import DistillOptions
from train.dataset_distillation.rotator import Rotator
from train.dataset_distillation.synthetic import Clouds, FreeClouds, GeneratedClouds, Synthetic
from train.dataset_distillation.tasks import (
    STATISTICS_CLOUDS,
    check_task,
    matched_network,
    noise_intervals,
    part_shares,
    settle_norms,
)

STATE_FORMAT: Final = "topodistill-distill-data-1"
SAVE_EVERY_S: Final = 60.0

_NETWORK, _DRAWS, _START, _STATISTICS = 1, 2, 3, 4
"""Second words of the seeds of a run."""


@dataclass(frozen=True, eq=False)
class Distilled:
    """What a distillation learned.

    Attributes
    ----------
    synthetic
        The clouds, or their generator.
    rotator
        What brings clouds to the orientation that was learned.
    losses
        Mean distance per class and outer step, one for each iteration.
    seconds
        Of all parts of the run together.
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
        In canonical orientation already, see `aligned_clouds`; each class has at least as many
        clouds as are wanted.
    options
        Of a method that learns.
    device
        Where to compute.

    Raises
    ------
    UserError
        If a class has too few clouds, or the clouds have fewer points than are asked for.
    """

    def __init__(self, real: ObjectClouds, options: DistillOptions, device: torch.device) -> None:
        real.require(options.clouds_per_class)
        if real.num_points < options.points:
            raise UserError(
                f"--distill-points {options.points}: the clouds have {real.num_points} points; ask "
                "for fewer"
            )
        check_task(options.task, real)
        self.real, self.options, self.device = real, options, device
        self.points = torch.from_numpy(real.points)
        self.parts: Tensor | None = None
        self.parts_of: list[list[int]] = []
        if options.task == "parts" and real.parts is not None:
            self.parts = torch.from_numpy(real.parts)
            self.parts_of = [sorted(shares) for shares in part_shares(real)]
        self.rows = [torch.from_numpy(real.rows_of(k)) for k in range(len(real.classes))]
        self.rotator = build_rotator(options).to(device)
        self.synthetic = self._start().to(device)
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

    def save(self, path: Path) -> None:
        """Write where the distillation is; the first of several processes does.

        Raises
        ------
        UserError
            If the file cannot be written.
        """
        if not is_first_process():
            return
        content = {
            "format": STATE_FORMAT,
            "options": _plain(self.options),
            "real": self._fingerprint(),
            "synthetic": self.synthetic.state_dict(),
            "rotator": self.rotator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "losses": list(self.losses),
            "seconds": self.seconds,
        }
        with atomic_write(path) as unfinished:
            torch.save(content, unfinished)

    def _load(self, path: Path) -> None:
        content = read_tensors(path, STATE_FORMAT, "state of distill-data")
        wanted = _plain(self.options) | {"iterations": content["options"]["iterations"]}
        for name, value in wanted.items():
            if content["options"].get(name) != value:
                raise UserError(
                    f"{path}: was made with {name} {content['options'].get(name)}, and here it is "
                    f"{value}; give the same options, or start over without --resume"
                )
        if content["options"]["iterations"] != self.options.iterations:
            raise UserError(
                f"{path}: was made for {content['options']['iterations']} iterations, and here are "
                f"{self.options.iterations}: the rate falls at half time; give the same number"
            )
        if content["real"] != self._fingerprint():
            raise UserError(f"{path}: was made from other real clouds; give the same --data")
        self.synthetic.load_state_dict(content["synthetic"])
        self.rotator.load_state_dict(content["rotator"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.losses = [float(loss) for loss in content["losses"]]
        self.seconds = float(content["seconds"])

    def _fingerprint(self) -> list[Any]:
        points = self.real.points
        return [list(points.shape), list(self.real.classes), float(points.astype("f8").sum())]

    def _start(self) -> Synthetic:
        options = self.options
        if options.method == "dd3d":
            spec = GeneratorSpec(
                classes=self.real.classes,
                clouds_per_class=options.clouds_per_class,
                width=options.width,
                layers=options.layers,
                w0=options.w0,
                part_names=self.real.part_names if self.parts is not None else (),
                intervals=noise_intervals(self.real) if self.parts is not None else (),
            )
            return GeneratedClouds(build_generator(spec, options.seed))
        # From real clouds: without, coordinates stay the noise that they are (Table 6).
        chance = generator_for(options.seed, _START)
        chosen = torch.cat(
            [
                rows[torch.randperm(len(rows), generator=chance)[: options.clouds_per_class]]
                for rows in self.rows
            ]
        )
        points, parts = self._draw(chosen, chance)
        return FreeClouds(points, options.clouds_per_class, parts)

    def _draw(self, chosen: Tensor, chance: torch.Generator) -> Clouds:
        """Return real clouds with as many of their points as are matched, drawn without repeats."""
        points = self.points[chosen]
        parts = None if self.parts is None else self.parts[chosen]
        if points.shape[1] == self.options.points:
            return points, parts
        order = torch.rand(points.shape[:2], generator=chance).argsort(dim=1)
        rows = order[:, : self.options.points]
        return (
            points.gather(1, rows[:, :, None].expand(-1, -1, 3)),
            None if parts is None else parts.gather(1, rows),
        )

    def _iterate(self, done: int) -> float:
        """Do one iteration; return the mean distance per class and outer step."""
        options = self.options
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * (0.1 if done >= options.iterations / 2 else 1.0)
        network = self._network(done)
        trained = torch.optim.SGD(network.parameters(), lr=options.network_lr)
        chance = generator_for(options.seed, _DRAWS, done)
        # One network has one look at the clouds' features: it is not trained in between.
        outer, inner = (1, 0) if options.method == "distribution-matching" else options.loops
        total = 0.0
        for step in range(outer):
            total += self._step(network, chance, local=self.parts is not None and step % 2 == 1)
            if step < outer - 1:
                for _ in range(inner):
                    self._train(network, trained, chance)
        return total / (outer * len(self.rows))

    def _network(self, done: int) -> PointNet:
        """Return a new network; the norms of a segmenter are frozen on some real clouds."""
        options = self.options
        with weights_from(options.seed, _NETWORK, done):
            network = matched_network(options.task, self.real, options.widths).to(self.device)
        if self.parts is not None:
            chance = generator_for(options.seed, _STATISTICS, done)
            chosen = torch.cat(
                [
                    rows[torch.randperm(len(rows), generator=chance)[:STATISTICS_CLOUDS]]
                    for rows in self.rows
                ]
            )
            with torch.no_grad():
                points = self.rotator(self._draw(chosen, chance)[0].to(self.device), align=False)
            settle_norms(network, points)
        return network

    def _step(self, network: PointNet, chance: torch.Generator, *, local: bool) -> float:
        """Do one step of the clouds; return the sum of the classes' distances.

        A local step matches, for each class, the gradients of one of its parts, drawn anew.
        """
        real = [self._real_batch(rows, chance) for rows in self.rows]
        only = (
            [None] * len(self.rows)
            if not local
            else [
                parts[int(torch.randint(len(parts), (1,), generator=chance))]
                for parts in self.parts_of
            ]
        )
        world = current_world()
        own = list(range(world.rank, len(self.rows), world.size))
        found = self.synthetic.of_classes(own, self.options.points, chance)
        gradients = [torch.zeros_like(parameter) for parameter in self.learned]
        total = torch.zeros(1, device=self.device)
        for label, made in zip(own, found, strict=True):
            distance = self._distance(network, label, made, real[label], only[label])
            parts = torch.autograd.grad(distance, self.learned, allow_unused=True)
            for gradient, part in zip(gradients, parts, strict=True):
                if part is not None:
                    gradient += part
            total += distance.detach()
        flat = sum_over_processes(torch.cat([total, *(g.flatten() for g in gradients)]))
        if not bool(torch.isfinite(flat).all()):
            raise UserError(
                f"iteration {len(self.losses) + 1}: the distance or its gradient is not finite; "
                "lower the learning rate"
            )
        begin = 1
        for parameter in self.learned:
            end = begin + parameter.numel()
            parameter.grad = flat[begin:end].view_as(parameter).clone()
            begin = end
        self.optimizer.step()
        return float(flat[0])

    def _distance(
        self, network: PointNet, label: int, made: Clouds, real: Clouds, part: int | None
    ) -> Tensor:
        """Return how far a class's clouds are from real ones on a network."""
        turned = self.rotator(made[0], align=False)
        wanted_points = self.rotator(real[0].to(self.device), align=False)
        if self.options.method == "distribution-matching":
            return feature_distance(network, turned, wanted_points)
        wanted = class_gradient(
            network,
            wanted_points,
            self._labels(label, real, part),
            # Real clouds pass through the rotator's weights too, where it has any.
            differentiable=self.rotator.trained,
        )
        got = class_gradient(network, turned, self._labels(label, made, part), differentiable=True)
        return gradient_distance(got, wanted)

    def _labels(self, label: int, clouds: Clouds, part: int | None) -> Tensor:
        """Return the class of each cloud, or the parts of its points, those of one part alone."""
        points, parts = clouds
        if parts is None:
            return torch.full((len(points),), label, device=self.device)
        parts = parts.to(self.device)
        return parts if part is None else masked_labels(parts, part)

    def _real_batch(self, rows: Tensor, chance: torch.Generator) -> Clouds:
        chosen = rows[torch.randperm(len(rows), generator=chance)[: self.options.real_batch]]
        return self._draw(chosen, chance)

    def _train(
        self, network: PointNet, optimizer: torch.optim.Optimizer, chance: torch.Generator
    ) -> None:
        """Train the matched network for one epoch on the clouds as they are now."""
        classes = range(len(self.rows))
        with torch.no_grad():
            found = self.synthetic.of_classes(classes, self.options.points, chance)
            clouds = torch.cat([self.rotator(made, align=False) for made, _ in found])
        labels = torch.cat(
            [self._labels(k, each, None) for k, each in zip(classes, found, strict=True)]
        )
        order = torch.randperm(len(clouds), generator=chance).to(self.device)
        for rows in torch.split(order, self.options.network_batch):
            loss = labeled_loss(network(clouds[rows]), labels[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()


def build_rotator(options: DistillOptions) -> Rotator:
    """Return an untrained rotator."""
    chosen = options.rotator
    return Rotator(
        chosen.mode,
        proper=chosen.proper,
        upright=chosen.upright,
        periods=chosen.periods,
        w0=chosen.w0,
    )


@torch.no_grad()
def aligned_clouds(clouds: ObjectClouds, rotator: nn.Module) -> ObjectClouds:
    """Return clouds on their principal axes, all signs still to be decided by the rotator.

    The paper does the same before training: PCA looks at all points, the rotator at those of a
    step.
    """
    assert isinstance(rotator, Rotator)
    if rotator.mode == "none":
        return clouds
    only_axes = Rotator("pca", proper=rotator.proper, upright=rotator.upright)
    return clouds.with_points(only_axes(torch.from_numpy(clouds.points)).numpy())


def _plain(options: DistillOptions) -> dict[str, Any]:
    """Return plain values, as a file of tensors keeps them."""
    plain: Mapping[str, Any] = asdict(options)
    return {name: list(v) if isinstance(v, tuple) else v for name, v in plain.items()}

"""Compares synthetic clouds with real ones on a network, and finds how to bring them nearer.

Whatever is drawn depends on the seed and a count alone.

Shape letters: K classes, G classes of a group, B clouds, N points.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import torch
from torch import Tensor, nn

from train.core.distributed import current_world
from train.dataset_distillation.chance import Stream, generator_for, weights_from
from train.dataset_distillation.clouds import PointClouds
from train.dataset_distillation.matching import (
    class_distances,
    class_gradient,
    class_gradients,
    gradient_distance,
    masked_labels,
    mean_features,
)
from train.dataset_distillation.networks.pointnet import PointNet
from train.dataset_distillation.options import DistillOptions, Task
from train.dataset_distillation.rotator import Rotator
from train.dataset_distillation.synthetic import Clouds, Synthetic

STATISTICS_CLOUDS: Final = 8
"""Real clouds per class on which a segmenter's batch norms are set, as in the authors' code."""
GROUP_POINTS: Final = 1 << 16
"""Points of the classes that go through a network together: more take memory and gain no time."""


class Matcher:
    """The real clouds, in canonical orientation, and the distance of synthetic ones from them.

    The rotator decides the signs of real clouds, and of synthetic ones where no `made_rotator`
    does.
    """

    def __init__(
        self,
        real: PointClouds,
        options: DistillOptions,
        rotator: Rotator,
        device: torch.device,
        made_rotator: Rotator | None = None,
    ) -> None:
        self.real, self.options, self.rotator, self.device = real, options, rotator, device
        self.made_rotator = rotator if made_rotator is None else made_rotator
        self.points = torch.from_numpy(real.points)
        self.parts: Tensor | None = None
        self.parts_of: list[list[int]] = []
        if options.task == "parts" and real.parts is not None:
            self.parts = torch.from_numpy(real.parts)
            self.parts_of = [sorted(shares) for shares in real.part_shares()]
        self.rows = [torch.from_numpy(real.rows_of(k)) for k in range(len(real.classes))]

    def draw(self, chosen: Tensor, chance: torch.Generator) -> Clouds:
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

    def rows_of_each(self, number: int, chance: torch.Generator) -> Tensor:
        """Return `number` real clouds of each class, drawn; fewer where a class has fewer."""
        return torch.cat([self._chosen(rows, number, chance) for rows in self.rows])

    def batch(self, label: int, chance: torch.Generator) -> Clouds:
        """Return the real clouds of a class for one step."""
        return self.draw(self._chosen(self.rows[label], self.options.real_batch, chance), chance)

    def network(self, done: int) -> PointNet:
        """Return the new network of an iteration; a segmenter's norms are frozen on real clouds.

        Its weights are a function of the seed and of how many iterations are done before it.
        """
        options = self.options
        with weights_from(options.seed, Stream.MATCHED_NETWORK, done):
            network = matched_network(options.task, self.real, options.widths).to(self.device)
        if self.parts is not None:
            chance = generator_for(options.seed, Stream.NORM_STATISTICS, done)
            some = self.draw(self.rows_of_each(STATISTICS_CLOUDS, chance), chance)[0]
            with torch.no_grad():
                points = self.rotator(some.to(self.device), align=False)
            settle_norms(network, points)
        return network

    def labels(self, label: int, clouds: Clouds, part: int | None) -> Tensor:
        """Return the class of each cloud, or the parts of its points, those of one part alone."""
        points, parts = clouds
        if parts is None:
            return torch.full((len(points),), label, device=self.device)
        parts = parts.to(self.device)
        return parts if part is None else masked_labels(parts, part)

    def distance(
        self, network: PointNet, label: int, made: Clouds, real: Clouds, part: int | None
    ) -> Tensor:
        """Return how far a class's clouds with parts are from real ones on a network.

        The numbers of clouds may differ. Gradients of one part alone are matched, of all where it
        is None.
        """
        turned = self.made_rotator(made[0], align=False)
        wanted_points = self.rotator(real[0].to(self.device), align=False)
        wanted = class_gradient(
            network,
            wanted_points,
            self.labels(label, real, part),
            # Real clouds pass through the rotator's weights too, where it has any.
            differentiable=self.rotator.trained,
        )
        got = class_gradient(network, turned, self.labels(label, made, part), differentiable=True)
        return gradient_distance(got, wanted)

    def distances(
        self, network: PointNet, labels: Sequence[int], made: Tensor, real: Tensor
    ) -> Tensor:
        """Return what `distance` gives for G classes of clouds (G, B, N, 3) without parts, (G,)."""
        turned = self.made_rotator(made.flatten(0, 1), align=False)
        turned = turned.unflatten(0, made.shape[:2])
        wanted_points = self.rotator(real.flatten(0, 1).to(self.device), align=False)
        wanted_points = wanted_points.unflatten(0, real.shape[:2])
        if self.options.method == "distribution-matching":
            with torch.no_grad():
                wanted_means = mean_features(network, wanted_points)
            return (mean_features(network, turned) - wanted_means).square().sum(dim=1)
        own = torch.tensor(labels, device=self.device)
        trained = self.rotator.trained
        wanted = class_gradients(network, wanted_points, own, differentiable=trained)
        return class_distances(class_gradients(network, turned, own, differentiable=True), wanted)

    def step(
        self, network: PointNet, synthetic: Synthetic, chance: torch.Generator, *, local: bool
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the sum (1,) of the distances of this process's classes, and its gradients.

        They are with respect to what is learned of the clouds, then of the rotator. Chance draws
        real clouds and noise, alike on every process. A `local` step matches, for each class, the
        gradients of one of its parts, drawn again each time.
        """
        count = len(self.rows)
        real = [self.batch(label, chance) for label in range(count)]
        only: list[int | None] = [None] * count
        if local:
            only = [
                parts[int(torch.randint(len(parts), (1,), generator=chance))]
                for parts in self.parts_of
            ]
        world = current_world()
        own = list(range(world.rank, count, world.size))
        found = dict(zip(own, synthetic.of_classes(own, self.options.points, chance), strict=True))
        # Distances are led back to the clouds group by group, and from there once to what is
        # learned: no more than a group's graph is held.
        leaves = {k: made.detach().requires_grad_() for k, (made, _) in found.items()}
        turning = _learned(self.rotator)
        turned = [torch.zeros_like(parameter) for parameter in turning]
        total = torch.zeros(1, device=self.device)
        back: dict[int, Tensor] = {}
        for group in self._groups(own, real, found):
            if self.parts is None:
                made = torch.stack([leaves[k] for k in group])
                wanted = torch.stack([real[k][0] for k in group])
                distance = self.distances(network, group, made, wanted).sum()
            else:
                (k,) = group
                distance = self.distance(network, k, (leaves[k], found[k][1]), real[k], only[k])
            got = torch.autograd.grad(
                distance, [*(leaves[k] for k in group), *turning], allow_unused=True
            )
            for k, gradient in zip(group, got, strict=False):
                assert gradient is not None
                back[k] = gradient
            for sum_, gradient in zip(turned, got[len(group) :], strict=True):
                if gradient is not None:
                    sum_ += gradient
            total += distance.detach()
        return total, [*self._led_back(synthetic, found, back), *turned]

    def _led_back(
        self, synthetic: Synthetic, found: dict[int, Clouds], back: dict[int, Tensor]
    ) -> list[Tensor]:
        """Return the gradients of the clouds' parameters from those of the clouds."""
        parameters = _learned(synthetic)
        if not found:  # more processes than classes
            return [torch.zeros_like(parameter) for parameter in parameters]
        got = torch.autograd.grad(
            [made for made, _ in found.values()],
            parameters,
            grad_outputs=[back[k] for k in found],
            allow_unused=True,
        )
        return [
            torch.zeros_like(parameter) if gradient is None else gradient
            for parameter, gradient in zip(parameters, got, strict=True)
        ]

    def _groups(
        self, own: Sequence[int], real: Sequence[Clouds], found: dict[int, Clouds]
    ) -> Iterator[list[int]]:
        """Yield classes that are matched together: of equal sizes, and not too many points."""
        group: list[int] = []
        for k in own:
            size = max(real[k][0].shape[:2].numel(), found[k][0].shape[:2].numel())
            apart = self.parts is not None or (len(group) + 1) * size > GROUP_POINTS
            if group and (apart or real[k][0].shape != real[group[0]][0].shape):
                yield group
                group = []
            group.append(k)
        if group:
            yield group

    def _chosen(self, rows: Tensor, number: int, chance: torch.Generator) -> Tensor:
        return rows[torch.randperm(len(rows), generator=chance)[:number]]


def _learned(module: nn.Module) -> list[nn.Parameter]:
    """Return the parameters that are not frozen."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def matched_network(task: Task, real: PointClouds, widths: Sequence[int]) -> PointNet:
    """Return an untrained PointNet: instance norms for classes, batch norms for parts."""
    if task == "classes":
        return PointNet(len(real.classes), widths=widths)
    return PointNet(len(real.part_names), widths=widths, norm="batch", segments=True)


def settle_norms(network: nn.Module, points: Tensor) -> None:
    """Set a network's batch norms to the statistics of clouds (B, N, 3), and freeze them there.

    Gradients of clouds can be compared only if the norms do not depend on what else is in a batch.
    The network is left in evaluation mode.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm1d)]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean over what is seen: one batch here
    network.train()
    with torch.no_grad():
        network(points)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
    network.eval()

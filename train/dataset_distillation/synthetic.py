"""Synthetic clouds that are learned: made by a generator, or free coordinates.

Shape letters: K classes, M clouds per class, S = K x M, N points.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from train.dataset_distillation.generator import PointGenerator, draw_noise, part_of_noise

Clouds = tuple[Tensor, Tensor | None]
"""Points (B, N, 3), and the part of each (B, N) where there are parts."""


class GeneratedClouds(nn.Module):
    """Clouds of a generator, which is trained: other noise every time, any number of points."""

    def __init__(self, generator: PointGenerator) -> None:
        super().__init__()
        self.generator = generator

    def of_classes(
        self, labels: Sequence[int], points: int, chance: torch.Generator
    ) -> list[Clouds]:
        """Return for each class its clouds (M, N, 3), and their parts (M, N) if they have any.

        The noise of all classes is drawn, so that what one gets does not depend on which others are
        asked for; chance is on the CPU.
        """
        spec = self.generator.spec
        device = self.generator.decoder.weight.device
        noise = draw_noise(spec.num_clouds, points, chance)
        if not labels:
            return []
        each = spec.clouds_per_class
        rows = (torch.tensor(labels)[:, None] * each + torch.arange(each)).flatten()
        own = noise[rows]
        made = self.generator(own.to(device), rows.to(device)).view(-1, each, points, 3)
        if not spec.intervals:
            return [(clouds, None) for clouds in made]
        parts = part_of_noise(spec, own, rows // each).to(device).view(-1, each, points)
        return list(zip(made, parts, strict=True))


class FreeClouds(nn.Module):
    """Coordinates (S, N, 3) that are learned themselves, from real clouds at first.

    Class by class, M each; parts (S, N) int64, where there are any, are fixed.
    """

    def __init__(self, points: Tensor, clouds_per_class: int, parts: Tensor | None = None) -> None:
        super().__init__()
        self.points = nn.Parameter(points.clone())
        self.clouds_per_class = clouds_per_class
        self.parts: Tensor | None
        self.register_buffer("parts", parts)

    def of_classes(
        self, labels: Sequence[int], points: int, chance: torch.Generator
    ) -> list[Clouds]:
        """Return for each class its clouds (M, N, 3) and their parts; N is fixed."""
        if points != self.points.shape[1]:
            raise ValueError(f"points is {points}; these clouds have {self.points.shape[1]}")
        m = self.clouds_per_class
        return [
            (
                self.points[label * m : (label + 1) * m],
                None if self.parts is None else self.parts[label * m : (label + 1) * m],
            )
            for label in labels
        ]


Synthetic = GeneratedClouds | FreeClouds

"""PointNet without transformation networks, the backbone of the matching (Appendix E).

Shape letters: B clouds, N points, C channels.
"""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

Norm = Literal["instance", "batch"]
WIDTHS = (64, 128, 1024)


class PointNet(nn.Module):
    """A classifier, or a segmenter of every point.

    Three point-wise layers, each with a norm and, but for the last (as in the authors' code), a
    ReLU; the largest value over the points; a linear head. A segmenter's head is given each point's
    features of the second layer beside the cloud's.

    Parameters
    ----------
    num_classes
        Logits.
    widths
        Channels of the layers.
    norm
        "instance" for classification, "batch" for segmentation.
    segments
        Whether it has logits for each point in place of each cloud.
    """

    def __init__(
        self,
        num_classes: int,
        *,
        widths: Sequence[int] = WIDTHS,
        norm: Norm = "instance",
        segments: bool = False,
    ) -> None:
        super().__init__()
        if num_classes < 1 or len(widths) < 2:
            raise ValueError(
                f"num_classes is {num_classes} and widths {tuple(widths)}; give at least one class "
                "and two layers"
            )
        made = {"instance": nn.InstanceNorm1d, "batch": nn.BatchNorm1d}
        befores = (3, *widths[:-1])
        self.layers = nn.ModuleList(
            nn.Conv1d(before, after, 1) for before, after in zip(befores, widths, strict=True)
        )
        self.norms = nn.ModuleList(made[norm](width) for width in widths)
        self.segments = segments
        self.head: nn.Module
        if segments:
            wide = widths[-1] + widths[-2]
            self.head = nn.Sequential(
                nn.Conv1d(wide, widths[-2], 1),
                made[norm](widths[-2]),
                nn.ReLU(),
                nn.Conv1d(widths[-2], num_classes, 1),
            )
        else:
            self.head = nn.Linear(widths[-1], num_classes)

    def features(self, points: Tensor) -> Tensor:
        """Return one vector per cloud, (B, C)."""
        return self._levels(points)[-1].amax(dim=2)

    def forward(self, points: Tensor) -> Tensor:
        """Return logits (B, classes), or (B, classes, N) of a segmenter.

        Parameters
        ----------
        points
            (B, N, 3), N at least 2.
        """
        levels = self._levels(points)
        pooled = levels[-1].amax(dim=2)
        if not self.segments:
            logits: Tensor = self.head(pooled)
            return logits
        spread = pooled[:, :, None].expand(-1, -1, points.shape[1])
        per_point: Tensor = self.head(torch.cat([levels[-2], spread], dim=1))
        return per_point

    def _levels(self, points: Tensor) -> list[Tensor]:
        hidden = points.transpose(1, 2)
        levels = []
        for number, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True), start=1):
            hidden = norm(layer(hidden))
            if number < len(self.layers):
                hidden = functional.relu(hidden)
            levels.append(hidden)
        return levels

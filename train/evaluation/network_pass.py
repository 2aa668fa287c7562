"""A network's pass over a batch: what it is given, its arithmetic, and test-time augmentation.

Test-time augmentation averages the predictions of several views of a cloud. Scores of a single pass
and of averaged passes are different things and are reported apart; what was done is called by the
names here.

Shape letters: N points.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from train.core.device import to_device
from train.core.errors import UserError
from train.data.frame import LidarFrame

Precision = Literal["fp32", "bf16"]
PRECISIONS: Final[tuple[Precision, ...]] = get_args(Precision)

_ON_THE_HOST: Final = frozenset({"inverse", "raw_offset", "segment", "raw_segment"})
"""What scoring needs of a batch and the network does not: a number or two for each raw point."""


def network_input(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of a batch without those that stay on the host."""
    return {name: value for name, value in batch.items() if name not in _ON_THE_HOST}


def arithmetic(device: torch.device, precision: Precision) -> AbstractContextManager[Any]:
    """Return the autocast in which a network runs on `device`.

    Parameters
    ----------
    device
        The network's.
    precision
        "fp32": every product in float32, as torch's own settings say (TensorFloat-32 is off unless
        the caller turned it on). "bf16": products in bfloat16, summed in float32.

    Raises
    ------
    ValueError
        If the precision is unknown.
    """
    if precision not in PRECISIONS:
        raise ValueError(f"arithmetic: precision is {precision!r}; pass one of {PRECISIONS}")
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


_COS_SIN: Final = ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))


@dataclass(frozen=True)
class TTATransform:
    """A cloud seen otherwise: turned about z, then flipped and mirrored, then scaled.

    Attributes
    ----------
    quarter_turns
        By how many times 90 degrees, counter-clockwise seen from above; 0 to 3.
    scale
        Factor of all three axes.
    flip
        Whether x and y both change their sign.
    mirror
        Whether y changes its sign: left and right are exchanged.
    """

    quarter_turns: int = 0
    scale: float = 1.0
    flip: bool = False
    mirror: bool = False

    def __post_init__(self) -> None:
        if self.quarter_turns not in range(4):
            raise ValueError(
                f"TTATransform: quarter_turns is {self.quarter_turns}, must be 0, 1, 2 or 3"
            )
        if not 0.0 < self.scale < np.inf:
            raise ValueError(f"TTATransform: scale is {self.scale}, must be a positive number")

    def apply(self, coord: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the seen coordinates, (N, 3) meters; quarter turns and flips are exact."""
        cos, sin = _COS_SIN[self.quarter_turns]
        sign = -1.0 if self.flip else 1.0
        x, y, z = coord.astype(np.float64).T
        side = -sign if self.mirror else sign
        turned = np.stack([sign * (cos * x - sin * y), side * (sin * x + cos * y), z], axis=1)
        return (turned * self.scale).astype(np.float32)

    def of(self, frame: LidarFrame) -> LidarFrame:
        """Return a frame as it is seen; points and labels keep their order."""
        return dataclasses.replace(frame, coord=self.apply(frame.coord))


def point_probabilities(
    model: nn.Module,
    batches: Iterable[Mapping[str, Tensor]],
    device: torch.device,
    source: object,
    precision: Precision = "fp32",
) -> Tensor:
    """Return the mean over views of the class probabilities of each point, [N, classes] float64.

    Parameters
    ----------
    model
        In evaluation mode, on `device`.
    batches
        One cloud, voxelized, a view; at least one.
    device
        Where the batches go.
    source
        What the cloud is called in messages.
    precision
        "bf16" runs the network under autocast.

    Raises
    ------
    UserError
        If the network's output is not finite.
    """
    total, passes = torch.zeros(()), 0
    for batch in batches:
        with torch.no_grad(), arithmetic(device, precision):
            logits = model(to_device(network_input(batch), device)).logits
        if not bool(torch.isfinite(logits).all()):
            raise UserError(
                f"{source}: the network's output has NaN or infinite values; its weights "
                "are damaged or its training diverged"
            )
        # float64, so that the largest logit stays the largest probability.
        softmax = torch.softmax(logits.double(), dim=1).cpu()
        total, passes = total + softmax[batch["inverse"]], passes + 1
    if not passes:
        raise ValueError("point_probabilities: batches is empty; give one for each view")
    return total / passes


SINGLE_PASS: Final = (TTATransform(),)
"""The cloud as it is."""

TEST_TIME_AUGMENTATIONS: Final = {
    "rotations": tuple(TTATransform(quarter_turns=turns) for turns in range(4)),
    "scales-flips": tuple(
        TTATransform(scale=scale, flip=flip)
        for flip in (False, True)
        for scale in (0.9, 0.95, 1.0, 1.05, 1.1)
    ),
    "scales": tuple(TTATransform(scale=scale) for scale in (0.9, 1.0, 1.1)),
    "mirrors": tuple(
        TTATransform(flip=flip, mirror=mirror) for flip in (False, True) for mirror in (False, True)
    ),
}
"""Views by name: ``rotations`` as Pointcept tests on Waymo and SemanticKITTI (0, 90, 180 and 270
degrees), ``scales-flips`` as it does on nuScenes (five scales, each with and without x and y
flipped). ``scales`` and ``mirrors`` are the mild parts of them: the vehicle keeps heading along its
axis, as it does in half of the training views (`train.data.transforms.PAPER_AUGMENTATION` turns the
other half), where quarter turns show the network scenes that run across."""

WHEN_IT_HELPS: Final = (
    "rotations are the benchmarks' custom; on a frame unlike those of training scales (3 passes) "
    "and mirrors (4) helped more: the guide on distilling has numbers"
)
"""What the commands' help says about the choice."""

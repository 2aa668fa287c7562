"""What makes two modalities alike: a discriminator behind a gradient reversal, or a discrepancy.

Shape letters: M points, C channels.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

MOST_COMPARED = 1024
"""Points of each side whose kernel values are taken at most: there are as many as their square."""


class _Reversal(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, features: Tensor, strength: Tensor) -> Tensor:
        ctx.save_for_backward(strength)
        return features.view_as(features)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (strength,) = ctx.saved_tensors
        return gradient * -strength.to(gradient.dtype), None


def reverse_gradient(features: Tensor, strength: Tensor) -> Tensor:
    """Return the features; their gradient is multiplied by ``-strength`` on its way back.

    Parameters
    ----------
    features
        Any shape.
    strength
        (), 0 or above; without gradient.

    Notes
    -----
    Ganin et al., "Domain-Adversarial Training of Neural Networks", JMLR 2016, Eq. 18.
    """
    found: Tensor = _Reversal.apply(features, strength)  # type: ignore[no-untyped-call]
    return found


class Ramp(nn.Module):
    """A number that grows from 0 to a limit over the steps of a run, and is part of its state.

    Parameters
    ----------
    limit
        What it grows to.
    steps
        After so many it has nearly (to 1 in 10,000) got there.

    Notes
    -----
    Ganin et al., JMLR 2016, Section 5.2.2: ``2 / (1 + exp(-10 p)) - 1`` at the share p of the
    steps.
    """

    done: Tensor

    def __init__(self, limit: float, steps: int) -> None:
        super().__init__()
        self.limit, self.steps = limit, steps
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))

    def value(self) -> Tensor:
        """Return the number now, () float32, on the module's device."""
        share = self.done.float() / self.steps
        return self.limit * (2 / (1 + torch.exp(-10 * share)) - 1)

    def advance(self) -> None:
        """Count a step."""
        self.done += 1


class Discriminator(nn.Module):
    """Says of a feature whether it came from a point or from a pixel.

    Parameters
    ----------
    width
        C.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
            nn.Linear(width, 1),
        )  # fmt: skip

    def forward(self, points: Tensor, pixels: Tensor) -> Tensor:
        """Return its cross-entropy (M,): the mean of a point's and of its pixels' feature.

        Parameters
        ----------
        points, pixels
            (M, C); at ln 2 it does not know.
        """
        of_points, of_pixels = (self.layers(each)[:, 0].float() for each in (points, pixels))
        return (functional.softplus(-of_points) + functional.softplus(of_pixels)) / 2


def maximum_mean_discrepancy(points: Tensor, pixels: Tensor) -> Tensor:
    """Return how far two samples are from being of one distribution.

    Parameters
    ----------
    points, pixels
        (M, C); M may be 0.

    Returns
    -------
    Tensor
        (), 0 or above: the squared discrepancy (with the points themselves, so it is 0 for equal
        samples) under the mean of three Gaussian kernels. Their squared bandwidths are the median
        squared distance of the joint sample times 1/2, 1 and 2, without gradient. In float32 at
        least.

    Notes
    -----
    Gretton et al., "A Kernel Two-Sample Test", JMLR 2012, Eq. 5.
    """
    wide = torch.promote_types(points.dtype, torch.float32)
    count = len(points)
    joint = torch.cat([points, pixels]).to(wide)
    if not count:
        return joint.sum() * 0.0
    squares = (joint[:, None] - joint[None, :]).square().sum(dim=2)
    scale = squares.detach().median().clamp(min=torch.finfo(wide).tiny)
    kernel = torch.stack([torch.exp(-squares / (factor * scale)) for factor in (1.0, 2.0, 4.0)])
    kernel = kernel.mean(dim=0)
    within = kernel[:count, :count].mean() + kernel[count:, count:].mean()
    return (within - 2 * kernel[:count, count:].mean()).clamp(min=0)

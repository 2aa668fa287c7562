"""The Rips layer and what is made of diagrams, as modules to put into a `torch.nn.Sequential`."""

import math
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from fast.checks import as_choice, as_grid, as_integer, as_number, as_positive
from fast.diagram import BatchedDiagram
from fast.persistence_curves import betti_curve, persistence_landscape
from fast.persistence_image import as_scale, persistence_image
from fast.rips import Clouds, Sizes, rips_persistence, rips_persistence_of_points
from reference.image_scale import ImageScale

_NO_PAIRS = torch.empty(0, 2)  # whose device and dtype a grid may have


class RipsLayer(nn.Module):
    """`rips_persistence_of_points`, or of distances `rips_persistence`, as a module.

    Parameters
    ----------
    max_dim, threshold, backend
        As in `rips_persistence`.
    of
        What `forward` takes: "points" or "distances".

    Raises
    ------
    ValueError
        If an option is out of range.

    Examples
    --------
    >>> components, loops = RipsLayer()(torch.tensor([[0.0], [3.0], [4.0]]))
    >>> components.deaths
    tensor([[1., 3.]])
    """

    def __init__(
        self,
        max_dim: int = 1,
        threshold: float = math.inf,
        *,
        of: Literal["points", "distances"] = "points",
        backend: str | None = None,
    ) -> None:
        super().__init__()
        self.max_dim = as_integer("RipsLayer", "max_dim", max_dim, least=0, most=2)
        self.threshold = as_number("RipsLayer", "threshold", threshold)
        as_choice("RipsLayer", "of", of, ("points", "distances"))
        self.of, self.backend = of, backend

    def extra_repr(self) -> str:
        """Return the options, for the module's repr."""
        return f"max_dim={self.max_dim}, threshold={self.threshold}, of={self.of!r}"

    def forward(self, clouds: Clouds, *, sizes: Sizes = None) -> list[BatchedDiagram]:
        """Return one `BatchedDiagram` per dimension of a batch, one cloud or a list of clouds."""
        layer = rips_persistence_of_points if self.of == "points" else rips_persistence
        return layer(clouds, self.max_dim, self.threshold, sizes=sizes, backend=self.backend)


class PersistenceImageLayer(nn.Module):
    """`persistence_image` on one scale, as a module: diagrams in, images (B, R, C) out.

    Parameters
    ----------
    scale
        That of all images, e.g. of `fit_persistence_image` on diagrams of the training set.

    Raises
    ------
    TypeError
        If it is no `ImageScale`.
    """

    def __init__(self, scale: ImageScale) -> None:
        super().__init__()
        self.scale = as_scale("PersistenceImageLayer", scale)

    def extra_repr(self) -> str:
        """Return the scale, for the module's repr."""
        return repr(self.scale)

    def forward(self, pairs: Tensor | BatchedDiagram, *, mask: Tensor | None = None) -> Tensor:
        """Return the images of diagrams, as `persistence_image`."""
        return persistence_image(pairs, self.scale, mask=mask)


class _OnGrid(nn.Module):
    """A function of the filtration value, on one grid that moves with the module."""

    grid: Tensor

    def __init__(self, grid: Tensor | np.ndarray[Any, Any]) -> None:
        super().__init__()
        self.register_buffer("grid", as_grid(type(self).__name__, "grid", grid, _NO_PAIRS))


class PersistenceLandscapeLayer(_OnGrid):
    """`persistence_landscape` on one grid, as a module: diagrams in, (B, L, G) out.

    Parameters
    ----------
    grid
        (G,) increasing filtration values, e.g. `default_grid` of the training set's diagrams. A
        buffer: it is saved with the module and moves with it.
    num_landscapes
        How many landscapes, L.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    def __init__(self, grid: Tensor | np.ndarray[Any, Any], num_landscapes: int = 5) -> None:
        super().__init__(grid)
        name = type(self).__name__
        self.num_landscapes = as_integer(name, "num_landscapes", num_landscapes, least=1)

    def extra_repr(self) -> str:
        """Return the options, for the module's repr."""
        return f"grid=({len(self.grid)},), num_landscapes={self.num_landscapes}"

    def forward(self, pairs: Tensor | BatchedDiagram, *, mask: Tensor | None = None) -> Tensor:
        """Return the landscapes of diagrams, as `persistence_landscape`."""
        return persistence_landscape(
            pairs, grid=self.grid, num_landscapes=self.num_landscapes, mask=mask
        )


class BettiCurveLayer(_OnGrid):
    """`betti_curve` on one grid, as a module: diagrams in, (B, G) out.

    Parameters
    ----------
    grid
        As in `PersistenceLandscapeLayer`.
    bandwidth
        As in `betti_curve`: None for the curve itself, which has no gradient.

    Raises
    ------
    ValueError
        If an option is out of range.
    """

    def __init__(self, grid: Tensor | np.ndarray[Any, Any], bandwidth: float | None = None) -> None:
        super().__init__(grid)
        name = type(self).__name__
        self.bandwidth = None if bandwidth is None else as_positive(name, "bandwidth", bandwidth)

    def extra_repr(self) -> str:
        """Return the options, for the module's repr."""
        return f"grid=({len(self.grid)},), bandwidth={self.bandwidth}"

    def forward(self, pairs: Tensor | BatchedDiagram, *, mask: Tensor | None = None) -> Tensor:
        """Return the curves of diagrams, as `betti_curve`."""
        return betti_curve(pairs, grid=self.grid, bandwidth=self.bandwidth, mask=mask)

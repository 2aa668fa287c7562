"""What an image says beyond the mean image, by a regression on distances: a bar for RipsNet.

RipsNet sees points one by one and never a distance. This regression is given distances, of which
persistence is made, and is linear: where it is no better than the mean image either, the clouds
leave little to predict.

Shape letters: K clouds, M points of a cloud, C channels, S statistics, P pixels of an image.
"""

import math
from dataclasses import dataclass, replace
from typing import Final

import torch
from torch import Tensor

_NEIGHBORS: Final = 3
_LEVELS: Final = 21
_CHUNK: Final = 256
_PENALTIES: Final = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_VALIDATION_SHARE: Final = 0.25
_FEWEST_CLOUDS: Final = 8


def distance_statistics(clouds: Tensor) -> Tensor:
    """Return quantiles of the distances within each cloud.

    Parameters
    ----------
    clouds
        (K, M, C), M at least 2.

    Returns
    -------
    Tensor
        (K, S) float64: 21 quantiles each of all distances, of those to the nearest neighbor, to the
        second and to the third (as far as there are as many points).
    """
    levels = torch.linspace(0, 1, _LEVELS, dtype=torch.float64, device=clouds.device)
    points = clouds.shape[1]
    first, second = torch.triu_indices(points, points, offset=1, device=clouds.device)
    found = []
    for some in torch.split(clouds.double(), _CHUNK):
        distances = torch.cdist(some, some)
        nearest = distances.sort(dim=-1).values[..., 1 : 1 + _NEIGHBORS]  # without the point itself
        parts = [distances[:, first, second], *nearest.unbind(dim=-1)]
        found.append(torch.cat([torch.quantile(part, levels, dim=1).T for part in parts], dim=1))
    return torch.cat(found)


@dataclass(frozen=True, eq=False)
class DistanceRegression:
    """Ridge regression of images on `distance_statistics`.

    Attributes
    ----------
    shift, spread
        (S,): how statistics are standardized.
    weights
        (S, P).
    mean_image
        (P,) of the clouds that it was fitted to: also the constant predictor.
    penalty
        The ridge that was chosen.
    validation_error
        Its mean squared error on the clouds that it was chosen by.
    """

    shift: Tensor
    spread: Tensor
    weights: Tensor
    mean_image: Tensor
    penalty: float
    validation_error: float = math.nan

    def __call__(self, clouds: Tensor) -> Tensor:
        """Return the predicted images (K, P), float64, of clouds (K, M, C)."""
        return self._predict(distance_statistics(clouds))

    def _predict(self, statistics: Tensor) -> Tensor:
        standardized = (statistics - self.shift) / self.spread
        return standardized @ self.weights + self.mean_image


def fit_distance_regression(clouds: Tensor, images: Tensor, seed: int = 0) -> DistanceRegression:
    """Return the regression whose ridge is best on a quarter of the clouds, fitted to the others.

    Parameters
    ----------
    clouds, images
        (K, M, C) and (K, P), K at least 8.
    seed
        Of the split; with 0 its quarter is that of a fit of RipsNet.

    Raises
    ------
    ValueError
        If there are fewer clouds, or another number of images.
    """
    number = len(clouds)
    if number < _FEWEST_CLOUDS or len(images) != number:
        raise ValueError(
            f"fit_distance_regression: {number} clouds and {len(images)} images; pass as many of "
            f"both, at least {_FEWEST_CLOUDS}"
        )
    order = torch.randperm(number, generator=torch.Generator().manual_seed(seed))
    held, rows = torch.tensor_split(order.to(clouds.device), [round(_VALIDATION_SHARE * number)])
    statistics, wanted = distance_statistics(clouds), images.double()
    best: DistanceRegression | None = None
    for penalty in _PENALTIES:
        tried = _ridge(statistics[rows], wanted[rows], penalty)
        error = float((tried._predict(statistics[held]) - wanted[held]).square().mean())
        if best is None or error < best.validation_error:
            best = replace(tried, validation_error=error)
    assert best is not None
    return best


def _ridge(statistics: Tensor, images: Tensor, penalty: float) -> DistanceRegression:
    spread, shift = torch.std_mean(statistics, dim=0, correction=0)
    spread = torch.where(spread > 1e-9, spread, torch.ones_like(spread))
    standardized = (statistics - shift) / spread
    mean_image = images.mean(dim=0)
    gram = standardized.T @ standardized / len(images)
    gram += penalty * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    weights = torch.linalg.solve(gram, standardized.T @ (images - mean_image) / len(images))
    return DistanceRegression(shift, spread, weights, mean_image, penalty)

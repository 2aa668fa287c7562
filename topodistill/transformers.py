"""Rips diagrams for scikit-learn: clouds to rows of numbers, and GUDHI's and giotto-tda's classes.

scikit-learn is the extra `topodistill[sklearn]`.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

try:
    from sklearn.base import BaseEstimator, TransformerMixin
except ImportError as error:
    raise ImportError(
        "topodistill.transformers needs scikit-learn; pip install 'topodistill[sklearn]'"
    ) from error

from topodistill.shadowing import refuse_shadowed

refuse_shadowed("fast", "reference")

from fast import (  # noqa: E402  (only once it is known to be ours)
    BatchedDiagram,
    betti_curve,
    default_grid,
    diagrams_to_giotto,
    fit_persistence_image,
    pairwise_distances,
    persistence_image,
    persistence_landscape,
    rips_persistence,
    rips_persistence_of_points,
)
from topodistill.endless import classes_to_the_end  # noqa: E402

__all__ = ["RipsPersistence", "RipsVectorizer", "VietorisRipsPersistence"]

Array = NDArray[np.float64]
Clouds = Sequence[Any] | NDArray[Any]


class RipsVectorizer(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Clouds to rows of numbers: their diagrams' images, landscapes or Betti curves.

    A transformer for a `sklearn.pipeline.Pipeline`. `fit` takes the scale of the images, or the
    grid of the functions, from the training set; each dimension has its own.

    Parameters
    ----------
    kind
        "image" (weight "linear"), "landscape" or "betti".
    max_dim, threshold
        As in `rips_persistence`.
    input_type
        "points", (N, C) per cloud, or "distances", (N, N).
    resolution
        Pixels along an image's sides, or values of a grid. Images of dimension 0, where all births
        are 0, are one column.
    num_landscapes
        How many landscapes.
    bandwidth
        Of Betti curves, as in `betti_curve`.

    Attributes
    ----------
    scales_
        After `fit`: per dimension the `ImageScale`, or the grid (G,).

    Examples
    --------
    >>> clouds = np.random.default_rng(0).random((4, 20, 2))
    >>> RipsVectorizer(kind="betti", resolution=10).fit_transform(clouds).shape
    (4, 20)
    """

    def __init__(
        self,
        kind: Literal["image", "landscape", "betti"] = "image",
        *,
        max_dim: int = 1,
        threshold: float = math.inf,
        input_type: Literal["points", "distances"] = "points",
        resolution: int = 20,
        num_landscapes: int = 5,
        bandwidth: float | None = None,
    ) -> None:
        self.kind, self.max_dim, self.threshold = kind, max_dim, threshold
        self.input_type, self.resolution = input_type, resolution
        self.num_landscapes, self.bandwidth = num_landscapes, bandwidth

    def fit(self, X: Clouds, y: Any = None) -> "RipsVectorizer":
        """Take scales or grids from clouds: an array (B, N, C) or a list of (N_b, C).

        Raises
        ------
        ValueError
            If an option is out of range, the clouds are none, or a dimension has no pairs in them.
        """
        del y
        self._fit(self._diagrams(X))
        return self

    def transform(self, X: Clouds) -> Array:
        """Return one float64 row per cloud, the dimensions one after another."""
        return self._rows(self._diagrams(X))

    def fit_transform(self, X: Clouds, y: Any = None) -> Array:
        """Return `fit(X).transform(X)`, the diagrams computed once."""
        del y
        diagrams = self._diagrams(X)
        self._fit(diagrams)
        return self._rows(diagrams)

    def get_feature_names_out(self, input_features: Any = None) -> NDArray[Any]:
        """Return a name per column: dimension, kind and number."""
        del input_features
        each = [self._row(batch) for batch in self._fitted_empty()]
        names = [
            f"H{dim}_{self.kind}{i}" for dim, row in enumerate(each) for i in range(row.shape[1])
        ]
        return np.array(names, dtype=object)

    def _diagrams(self, clouds: Clouds) -> list[BatchedDiagram]:
        for option, known in (
            ("kind", ("image", "landscape", "betti")),
            ("input_type", ("points", "distances")),
        ):
            if getattr(self, option) not in known:
                raise ValueError(
                    f"RipsVectorizer: {option} is {getattr(self, option)!r}; pass one of "
                    f"{', '.join(map(repr, known))}"
                )
        layer = rips_persistence_of_points if self.input_type == "points" else rips_persistence
        return layer(_as_doubles(clouds), self.max_dim, self.threshold)

    def _fit(self, diagrams: list[BatchedDiagram]) -> None:
        self.scales_: list[Any] = []
        for batch in diagrams:
            if not int(batch.counts.sum()):
                raise ValueError(
                    f"RipsVectorizer: X has no pair of dimension {batch.dim} in {len(batch)} "
                    f"cloud(s); pass other clouds, or max_dim={batch.dim - 1}"
                )
            if self.kind == "image":
                columns = self.resolution if batch.dim else 1
                resolution = (columns, self.resolution)
                scale = fit_persistence_image(batch, weight="linear", resolution=resolution)
                self.scales_.append(scale)
            else:
                self.scales_.append(default_grid(batch, self.resolution))

    def _rows(self, diagrams: list[BatchedDiagram]) -> Array:
        self._refuse_unfitted()
        return np.concatenate([self._row(batch) for batch in diagrams], axis=1)

    def _row(self, batch: BatchedDiagram) -> Array:
        """Return (B, F) numbers of one dimension."""
        scale = self.scales_[batch.dim]
        if self.kind == "image":
            found = persistence_image(batch, scale)
        elif self.kind == "landscape":
            found = persistence_landscape(batch, grid=scale, num_landscapes=self.num_landscapes)
        else:
            found = betti_curve(batch, grid=scale, bandwidth=self.bandwidth)
        return found.flatten(1).double().numpy()

    def _fitted_empty(self) -> list[BatchedDiagram]:
        self._refuse_unfitted()
        return [BatchedDiagram.from_list([[]], dim) for dim in range(len(self.scales_))]

    def _refuse_unfitted(self) -> None:
        from sklearn.utils.validation import check_is_fitted

        check_is_fitted(self, "scales_")


def _as_doubles(clouds: Clouds) -> list[Array]:
    """Return clouds as float64 arrays, one each."""
    return [np.asarray(cloud, dtype=np.float64) for cloud in clouds]


class RipsPersistence(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """`gudhi.sklearn.rips_persistence.RipsPersistence`, of dimensions 0, 1 and 2 over Z/2.

    Parameters
    ----------
    homology_dimensions
        A number, for one array per cloud; or several, for a list of arrays.
    threshold
        Longest edge that enters.
    input_type
        "point cloud", "full distance matrix" or "lower distance matrix" (the upper part of a full
        matrix is not read).
    num_collapses, n_jobs
        Taken and not used: all clouds are one call, on torch's number of threads.
    homology_coeff_field
        2. (GUDHI's default is 11: diagrams differ only where there is torsion.)
    """

    def __init__(
        self,
        homology_dimensions: int | Sequence[int],
        threshold: float = math.inf,
        input_type: Literal[
            "point cloud", "full distance matrix", "lower distance matrix"
        ] = "point cloud",
        num_collapses: int | str = "auto",
        homology_coeff_field: int = 2,
        n_jobs: int | None = None,
    ) -> None:
        self.homology_dimensions, self.threshold = homology_dimensions, threshold
        self.input_type, self.num_collapses = input_type, num_collapses
        self.homology_coeff_field, self.n_jobs = homology_coeff_field, n_jobs

    def fit(self, X: Any, y: Any = None) -> "RipsPersistence":
        """Check the options; nothing is learned."""
        del X, y
        known = ("point cloud", "full distance matrix", "lower distance matrix")
        if self.input_type not in known:
            raise ValueError(
                f"RipsPersistence: input_type is {self.input_type!r}; pass one of "
                f"{', '.join(map(repr, known))}"
            )
        _refuse_other_field(type(self).__name__, "homology_coeff_field", self.homology_coeff_field)
        return self

    def transform(self, X: Clouds) -> list[Any]:
        """Return per cloud the (birth, death) rows, float64; what never dies has the death inf.

        Rows are sorted by death, those without one come last.
        """
        self.fit(X)
        matrices = [_distances(cloud, self.input_type) for cloud in X]
        dims = np.atleast_1d(self.homology_dimensions).tolist()
        found = _all_classes(matrices, dims, self.threshold)
        return found if np.ndim(self.homology_dimensions) else [cloud[0] for cloud in found]

    def get_feature_names_out(self, input_features: Any = None) -> list[str]:
        """Return a name per dimension."""
        del input_features
        return [f"H{dim}" for dim in np.atleast_1d(self.homology_dimensions)]


class VietorisRipsPersistence(TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """`gtda.homology.VietorisRipsPersistence`, of dimensions 0, 1 and 2 over Z/2.

    Parameters
    ----------
    metric
        "euclidean" or "precomputed".
    homology_dimensions
        Which of 0, 1 and 2.
    coeff
        2.
    max_edge_length
        Longest edge that enters.
    infinity_values
        The death of classes that never die; None: `max_edge_length`.
    reduced_homology
        Leave out the one component that is always there.
    metric_params, collapse_edges, n_jobs
        Taken and not used.
    """

    def __init__(
        self,
        metric: Literal["euclidean", "precomputed"] = "euclidean",
        metric_params: Any = None,
        homology_dimensions: Sequence[int] = (0, 1),
        collapse_edges: bool = False,
        coeff: int = 2,
        max_edge_length: float = math.inf,
        infinity_values: float | None = None,
        reduced_homology: bool = True,
        n_jobs: int | None = None,
    ) -> None:
        self.metric, self.metric_params = metric, metric_params
        self.homology_dimensions, self.collapse_edges = homology_dimensions, collapse_edges
        self.coeff, self.max_edge_length = coeff, max_edge_length
        self.infinity_values, self.reduced_homology = infinity_values, reduced_homology
        self.n_jobs = n_jobs

    def fit(self, X: Any, y: Any = None) -> "VietorisRipsPersistence":
        """Check the options; nothing is learned."""
        del X, y
        if self.metric not in ("euclidean", "precomputed"):
            raise ValueError(
                f"VietorisRipsPersistence: metric is {self.metric!r}; pass 'euclidean', or "
                "'precomputed' and distances"
            )
        _refuse_other_field(type(self).__name__, "coeff", self.coeff)
        return self

    def transform(self, X: Clouds) -> Array:
        """Return (B, K, 3) float64 rows (birth, death, dimension), padded by (0, 0, dimension).

        Every dimension has a row at least. Rows of a dimension are sorted by death.
        """
        self.fit(X)
        input_type = "full distance matrix" if self.metric == "precomputed" else "point cloud"
        matrices = [_distances(cloud, input_type) for cloud in X]
        dims = sorted(self.homology_dimensions)
        found = _all_classes(matrices, dims, self.max_edge_length)
        end = self.max_edge_length if self.infinity_values is None else self.infinity_values
        batches = []
        for place, dim in enumerate(dims):
            rows = [cloud[place] for cloud in found]
            if dim == 0 and self.reduced_homology:
                rows = [each[:-1] for each in rows]
            rows = [np.where(np.isinf(each), end, each) for each in rows]
            batch = BatchedDiagram.from_list(rows, dim)
            array = diagrams_to_giotto([batch])
            batches.append(array if array.size else np.full((len(rows), 1, 3), [0.0, 0.0, dim]))
        return np.concatenate(batches, axis=1)


def _refuse_other_field(function: str, argument: str, value: int) -> None:
    if value != 2:
        raise ValueError(f"{function}: {argument} is {value!r}; diagrams are over Z/2 here, pass 2")


def _distances(cloud: Any, input_type: str) -> torch.Tensor:
    """Return the float64 distances (N, N) of a cloud."""
    if input_type == "lower distance matrix":
        whole = np.zeros((len(cloud), len(cloud)))
        for i, row in enumerate(cloud):
            whole[i, :i] = np.asarray(row, dtype=np.float64)[:i]
        return torch.from_numpy(whole + whole.T)
    values = torch.from_numpy(np.asarray(cloud, dtype=np.float64).copy())
    return pairwise_distances(values) if input_type == "point cloud" else values


def _all_classes(
    matrices: Sequence[torch.Tensor], dims: Sequence[int], threshold: float
) -> list[list[Array]]:
    """Return per cloud and dimension every class, (K, 2), those that never die last."""
    clouds = classes_to_the_end(matrices, max(dims), threshold)
    return [[cloud[dim].diagram.numpy() for dim in dims] for cloud in clouds]

"""Classes with the faces of torch-topological's, GUDHI's and giotto-tda's, computed by `fast`.

Change the import, keep the code around it: `VietorisRipsComplex`, `SignatureLoss`,
`WassersteinDistance` and `SummaryStatisticLoss` are torch-topological's; `RipsPersistence` is
GUDHI's and `VietorisRipsPersistence` giotto-tda's, both of scikit-learn. None of those libraries is
needed. What differs: docs/guides/replace_other_libraries.md.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor, nn

from topodistill.shadowing import refuse_shadowed

refuse_shadowed("fast", "reference")

from fast import (  # noqa: E402  (only once it is known to be ours)
    PersistenceInformation,
    diagrams_to_torch_topological,
    pairwise_distances,
    persistent_entropy,
    rips_persistence,
    rips_persistence_of_points,
    total_persistence,
    wasserstein_distance,
)
from topodistill.endless import classes_to_the_end  # noqa: E402

if TYPE_CHECKING:
    from topodistill.transformers import RipsPersistence as RipsPersistence
    from topodistill.transformers import VietorisRipsPersistence as VietorisRipsPersistence
else:

    def __getattr__(name: str) -> Any:
        """Return a class of scikit-learn's kind, which is loaded when it is asked for."""
        if name not in ("RipsPersistence", "VietorisRipsPersistence"):
            raise AttributeError(f"module 'topodistill.compat' has no attribute {name!r}")
        from topodistill import transformers

        return getattr(transformers, name)


__all__ = [
    "PersistenceInformation",
    "RipsPersistence",
    "SignatureLoss",
    "SummaryStatisticLoss",
    "VietorisRipsComplex",
    "VietorisRipsPersistence",
    "WassersteinDistance",
]

OneSpace = Sequence[PersistenceInformation]
"""One cloud's diagrams, an object per dimension: ours, or torch-topological's."""


class VietorisRipsComplex(nn.Module):
    """`torch_topological.nn.VietorisRipsComplex`, for dimensions 0, 1 and 2.

    Parameters
    ----------
    dim
        Highest dimension, 0, 1 or 2.
    p
        Exponent of the Minkowski norm between points, at least 1.
    threshold
        Longest edge that enters.
    keep_infinite_features
        Append classes that do not die by the threshold: death `inf` and the death edge (-1, -1).
    n_threads
        Taken and not used: torch's number of threads counts (`torch.set_num_threads`).

    Raises
    ------
    ValueError
        If an option is out of range, when the module is called.
    """

    def __init__(
        self,
        dim: int = 1,
        p: float = 2,
        threshold: float = math.inf,
        keep_infinite_features: bool = False,
        *,
        n_threads: int | None = None,
    ) -> None:
        super().__init__()
        del n_threads
        self.dim, self.p, self.threshold = dim, p, threshold
        self.keep_infinite_features = keep_infinite_features

    def forward(self, x: Tensor | Sequence[Tensor], treat_as_distances: bool = False) -> list[Any]:
        """Return per cloud one `PersistenceInformation` for each dimension, with gradients.

        Parameters
        ----------
        x
            (N, C) for one cloud, whose list is returned by itself; (B, N, C), or a list of clouds
            that may differ in size.
        treat_as_distances
            `x` holds distances in place of points, (N, N).

        Notes
        -----
        The first column of the pairing of dimension 0 is -1, where the original has the vertex
        that is merged away. Distances of points are our `pairwise_distances`, those of the original
        torch.cdist's: they differ in the last digit.
        """
        one = isinstance(x, Tensor) and x.ndim == 2
        if treat_as_distances or self.p != 2 or self.keep_infinite_features:
            clouds = [x] if isinstance(x, Tensor) and one else list(x)
            if not treat_as_distances:
                clouds = [_minkowski(each, self.p) for each in clouds]
            if self.keep_infinite_features:
                listed = classes_to_the_end(clouds, self.dim, self.threshold)
                return listed[0] if one else listed
            diagrams = rips_persistence(clouds, self.dim, self.threshold)
        else:
            diagrams = rips_persistence_of_points(x, self.dim, self.threshold)
        listed = diagrams_to_torch_topological(diagrams)
        return listed[0] if one else listed


def _minkowski(points: Tensor, p: float) -> Tensor:
    """Return the distances (N, N) of points (N, C) in a norm."""
    return pairwise_distances(points) if p == 2 else torch.cdist(points, points, p=p)


class SignatureLoss(nn.Module):
    """`torch_topological.nn.SignatureLoss`: the loss of topological autoencoders, as published.

    Parameters
    ----------
    p
        Exponent of the norm between points and of the norm of the differences.
    normalise
        Divide the distances of each space by their largest.
    dimensions
        Which dimensions are compared. Above 0 the persistences are, at the edges of the pairs.

    Notes
    -----
    M. Moor, M. Horn, B. Rieck, K. Borgwardt, "Topological Autoencoders" (ICML 2020).
    `topodistill.signature_loss` takes batches, and means in place of sums.
    """

    def __init__(
        self, p: float = 2, normalise: bool = True, dimensions: int | Sequence[int] = 0
    ) -> None:
        super().__init__()
        self.p, self.normalise = p, normalise
        self.dimensions = [dimensions] if isinstance(dimensions, int) else list(dimensions)

    def forward(self, X: tuple[Tensor, OneSpace], Y: tuple[Tensor, OneSpace]) -> Tensor:
        """Return the loss () of two spaces, each its points (N, C) and its diagrams."""
        distances = [_minkowski(points, self.p) for points, _ in (X, Y)]
        if self.normalise:
            distances = [each / each.max() for each in distances]
        terms = []
        for dim in self.dimensions:
            for _, diagrams in (X, Y):  # at whose edges
                here, there = (_at_pairs(each, diagrams[dim].pairing) for each in distances)
                terms.append(0.5 * torch.linalg.vector_norm(here - there, ord=self.p))
        return torch.stack(terms).sum()


def _at_pairs(distances: Tensor, pairing: Any) -> Tensor:
    """Return each pair's death length (K,), above dimension 0 its distance from the birth's."""
    ends = torch.as_tensor(pairing, device=distances.device).long()
    deaths = distances[ends[:, -2], ends[:, -1]]
    if ends.shape[1] == 3:
        return deaths
    return (deaths - distances[ends[:, 0], ends[:, 1]]).abs()


class WassersteinDistance(nn.Module):
    """`torch_topological.nn.WassersteinDistance`, exact, without its transport solver.

    Parameters
    ----------
    p
        Which norm of the plane: `inf`, or 2. (The original's 2 measures the ways to the diagonal
        in the norm 2 and the others in the norm `inf`; here all are in one.)
    q
        Order of the distance, at least 1.
    """

    def __init__(self, p: float = math.inf, q: float = 1) -> None:
        super().__init__()
        self.p, self.q = p, q

    def forward(
        self, X: PersistenceInformation | OneSpace, Y: PersistenceInformation | OneSpace
    ) -> Tensor:
        """Return the distance () of two clouds' diagrams, over all their dimensions."""
        pairs = zip(_as_list(X), _as_list(Y), strict=True)
        each = [
            wasserstein_distance(one.diagram, other.diagram, order=self.q, ground=self.p)
            for one, other in pairs
        ]
        total: Tensor = torch.linalg.vector_norm(torch.stack(each), ord=self.q)
        return total


def _as_list(diagrams: Any) -> list[Any]:
    """Return a cloud's diagrams; a `PersistenceInformation` of ours is a tuple itself."""
    return [diagrams] if hasattr(diagrams, "diagram") else list(diagrams)


class SummaryStatisticLoss(nn.Module):
    """`torch_topological.nn.SummaryStatisticLoss`: |s(X) - s(Y)|^p of a number s of a diagram.

    Parameters
    ----------
    summary_statistic
        "total_persistence", "persistent_entropy" (in bits), "p_norm" or "polynomial_function".
    p
        Exponent of the loss, 1 if it is not given, and of the statistic, 2 if it is not. (Of
        "p_norm" the original's sum keeps the exponent 2.)
    q
        Exponent of the means of birth and death, for "polynomial_function".

    Raises
    ------
    ValueError
        If the statistic is unknown, or "polynomial_function" lacks an exponent.
    """

    def __init__(
        self,
        summary_statistic: Literal[
            "total_persistence", "persistent_entropy", "p_norm", "polynomial_function"
        ] = "total_persistence",
        *,
        p: float | None = None,
        q: float | None = None,
    ) -> None:
        super().__init__()
        known = ("total_persistence", "persistent_entropy", "p_norm", "polynomial_function")
        if summary_statistic not in known:
            raise ValueError(
                f"SummaryStatisticLoss: summary_statistic is {summary_statistic!r}; pass one of "
                f"{', '.join(map(repr, known))}"
            )
        if summary_statistic == "polynomial_function" and None in (p, q):
            raise ValueError(
                f"SummaryStatisticLoss: p is {p} and q is {q}; 'polynomial_function' needs both"
            )
        self.summary_statistic = summary_statistic
        self.p, self.q = (1.0 if p is None else p), q
        self.order = 2.0 if p is None else p

    def forward(self, X: OneSpace, Y: OneSpace | None = None) -> Tensor:
        """Return the loss () of two clouds' diagrams, all dimensions; without Y of one's number."""
        gap = self._sum(X) if Y is None else self._sum(Y) - self._sum(X)
        return gap.abs().pow(self.p)

    def _sum(self, diagrams: OneSpace) -> Tensor:
        return torch.stack([self._statistic(each.diagram) for each in diagrams]).sum()

    def _statistic(self, diagram: Tensor) -> Tensor:
        """Return the number of one diagram; classes that never die do not count."""
        pairs = diagram[diagram[:, 1].isfinite()]
        if self.summary_statistic == "persistent_entropy":
            return persistent_entropy(pairs) / math.log(2)
        if self.summary_statistic == "polynomial_function":
            assert self.q is not None  # see the constructor
            lengths, means = pairs[:, 1] - pairs[:, 0], pairs.sum(dim=1) / 2
            return (lengths.pow(self.order) * means.pow(self.q)).sum()
        total = total_persistence(pairs, order=self.order)
        return total.pow(1 / self.order) if self.summary_statistic == "p_norm" else total

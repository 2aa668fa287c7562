"""Topology-preserving sampling of each cloud (Algorithm 5) and the covering radius.

Shape letters: N points, C channels, M samples.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from fast.checks import as_clouds, as_integer, as_points, refuse_two_devices
from fast.compiler import disable_compile
from fast.dispatch import kernel


def topology_preserving_sampling(
    points: Tensor, num_samples: int, start: int = 0, *, backend: str | None = None
) -> tuple[Tensor, Tensor]:
    """Return indices of points that cover each cloud, each the farthest from those before it.

    Parameters
    ----------
    points
        (..., N, C) positions or features, any unit; the radii have the same.
    num_samples
        M: how many to take, from 1 to N.
    start
        Index of the first sample. The paper draws it at random; draw it with your own generator
        if you want that.
    backend
        Which kernel; None: the one of the tensor's device, "numba" on the CPU, "numba-cuda" on a
        GPU.

    Returns
    -------
    indices
        (..., M) int64 rows of `points`, no two at the same place: once the covering radius is 0
        every point left is a duplicate, and sampling stops. One cloud, (N, C), then gets fewer
        than M; in a batch the rows left over are -1.
    covering_radii
        (..., M) in the points' dtype: entry k is the covering radius of the first k + 1 samples.
        Never increases. No gradient: the choice of samples is not differentiated.

    Raises
    ------
    ValueError
        If `num_samples` or `start` is out of range, or `points` is no tensor of finite rows.
    RuntimeError
        If no kernel serves the tensor's device, or not the backend asked for.

    Notes
    -----
    Algorithm 5: the greedy 2-approximation of the k-center problem (T. F. Gonzalez, 1985). Of
    equally far points the one of lowest index is taken. O(N M C) at worst.

    Examples
    --------
    >>> topology_preserving_sampling(torch.tensor([[0.0], [1.0], [5.0]]), 2)
    (tensor([0, 2]), tensor([5., 1.]))
    """
    name = "topology_preserving_sampling"
    points = as_points(name, "points", points, least=1)
    n = points.shape[-2]
    num_samples = as_integer(name, "num_samples", num_samples, least=1)
    if num_samples > n:
        raise ValueError(f"{name}: num_samples is {num_samples}; a cloud has only {n} points")
    start = as_integer(name, "start", start, least=0)
    if start >= n:
        raise ValueError(f"{name}: start is {start}; pass an index from 0 to {n - 1}")
    clouds = list(as_clouds(points.detach()))
    if not clouds:
        shape = (*points.shape[:-2], num_samples)
        return torch.empty(shape, dtype=torch.int64, device=points.device), points.new_empty(shape)
    indices, radii = sample_clouds(clouds, [num_samples] * len(clouds), start, backend)
    if points.ndim == 2:
        count = int((indices[0] >= 0).sum())
        return indices[0][:count], radii[0][:count]
    shape = (*points.shape[:-2], num_samples)
    return torch.stack(indices).view(shape), torch.stack(radii).view(shape)


@disable_compile  # numba cannot be traced
def covering_radius(points: Tensor, indices: Tensor, *, backend: str | None = None) -> Tensor:
    """Return how far the worst point of a cloud is from its nearest sample.

    Parameters
    ----------
    points
        (N, C) positions or features, any unit; the radius has the same.
    indices
        (M,) int64 rows of `points` that were sampled, at least one.
    backend
        As in `topology_preserving_sampling`.

    Returns
    -------
    Tensor
        () max over points of the distance to the nearest sample; 0 if every point is one.

    Raises
    ------
    ValueError
        If there are no indices, (on the CPU) one is out of range, or the tensors are on two
        devices.
    RuntimeError
        As `topology_preserving_sampling`.

    Notes
    -----
    Appendix A.2. O(N M C) time.
    """
    name = "covering_radius"
    points = as_points(name, "points", points.detach(), least=1)
    refuse_two_devices(name, points=points, indices=indices)
    if indices.ndim != 1 or not len(indices):
        raise ValueError(
            f"{name}: indices has shape {tuple(indices.shape)}; pass at least one, (M,)"
        )
    if points.device.type == "cpu" and not 0 <= int(indices.min()) <= int(indices.max()) < len(
        points
    ):
        raise ValueError(
            f"{name}: indices go from {int(indices.min())} to {int(indices.max())}; "
            f"the cloud has {len(points)} points"
        )
    samples = points[indices]
    radius: Tensor = kernel(name, points.device, backend)(points, samples)
    return radius


@disable_compile  # numba cannot be traced
def sample_clouds(
    clouds: Sequence[Tensor], num_samples: Sequence[int], start: int, backend: str | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Return indices and radii (M_b,) of clouds (N_b, C) of any sizes; -1 as in a batch."""
    launch = kernel("topology_preserving_sampling", clouds[0].device, backend)
    indices, radii = launch([cloud.detach() for cloud in clouds], num_samples, start)
    return indices, radii

"""Which points are compared: farthest ones (Algorithm 5), random ones, and their covering radius.

Shape letters: N points, C channels, M samples.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from fast.checks import (
    as_choice,
    as_clouds,
    as_integer,
    as_points,
    as_tensor,
    refuse_two_devices,
)
from fast.dispatch import disable_compile, kernel

Sampling = Literal["farthest", "random", "mixed"]

# Of SplitMix64: the odd step between its states, and the two factors that mix a state.
_STEP = 0x9E3779B97F4A7C15 - 2**64
_FACTORS = (0xBF58476D1CE4E5B9 - 2**64, 0x94D049BB133111EB - 2**64)


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
    points, num_samples, start = _as_samples(name, points, num_samples, start)
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
    points = as_points(name, "points", points, least=1).detach()
    indices = as_tensor(name, "indices", indices)
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
def covering_radii(
    clouds: Sequence[Tensor], indices: Sequence[Tensor], backend: str | None
) -> Tensor:
    """Return `covering_radius` (B,) of clouds (N_b, C) and their samples' rows (M_b,).

    On a GPU in one launch, whatever the number of clouds.
    """
    launch = kernel("covering_radius", clouds[0].device, backend)
    points = [cloud.detach() for cloud in clouds]
    samples = [cloud[picked] for cloud, picked in zip(points, indices, strict=True)]
    if launch.__module__.endswith("_cpu"):
        return torch.stack([launch(*each) for each in zip(points, samples, strict=True)])
    from fast.kernels.sampling import sampling_gpu  # loads numba: on first use

    radii: Tensor = sampling_gpu.covering_radii(points, samples)
    return radii


def sample_points(
    points: Tensor,
    num_samples: int,
    start: int = 0,
    *,
    sampling: Sampling = "farthest",
    generator: torch.Generator | None = None,
    backend: str | None = None,
) -> Tensor:
    """Return indices of the points of one cloud whose diagrams are compared.

    Parameters
    ----------
    points
        (N, C) positions or features, any unit.
    num_samples
        M: how many to take, from 1 to N.
    start
        Index of the first farthest point; "random" does not use it.
    sampling
        "farthest": `topology_preserving_sampling`. "random": uniform, without repetition. "mixed":
        the farthest points for half of the samples, rounded up, then points drawn uniformly among
        those left.
    generator
        One number is drawn from it, and all points from that; "farthest" does not use it.
    backend
        As in `topology_preserving_sampling`; "random" does not use it.

    Returns
    -------
    Tensor
        (M,) int64, different rows of `points`; with "farthest" fewer if the rest are duplicates.

    Raises
    ------
    ValueError
        If `num_samples` or `start` is out of range, `sampling` is unknown, `points` is no tensor of
        finite rows, or points are to be drawn without a generator.
    RuntimeError
        As `topology_preserving_sampling`.

    Notes
    -----
    Farthest points lie at least a covering radius apart, so no H0 death is below it. Random ones
    have near neighbors too, and are spread as the points are. The draws are a function of the
    generator's state, N and M alone, the same on every device; with one state "mixed" takes its
    random points from those that "random" takes.

    Examples
    --------
    >>> points, generator = torch.arange(8.0)[:, None], torch.Generator().manual_seed(0)
    >>> len(sample_points(points, 5, sampling="mixed", generator=generator).unique())
    5
    """
    name = "sample_points"
    as_choice(name, "sampling", sampling, get_args(Sampling))
    if sampling == "farthest":
        return topology_preserving_sampling(points, num_samples, start, backend=backend)[0]
    points, num_samples, start = _as_samples(name, points, num_samples, start)
    if points.ndim != 2:
        raise ValueError(f"{name}: points has shape {tuple(points.shape)}; pass one cloud, (N, C)")
    key = key_from(name, sampling, generator)
    return choose_points([points.detach()], [num_samples], start, backend, sampling, key)[0][0]


def _as_samples(
    function: str, points: Tensor, num_samples: int, start: int
) -> tuple[Tensor, int, int]:
    """Return points (..., N, C), how many of a cloud are to be taken, and which is the first."""
    points = as_points(function, "points", points, least=1)
    n = points.shape[-2]
    num_samples = as_integer(function, "num_samples", num_samples, least=1)
    if num_samples > n:
        raise ValueError(f"{function}: num_samples is {num_samples}; a cloud has only {n} points")
    start = as_integer(function, "start", start, least=0)
    if start >= n:
        raise ValueError(f"{function}: start is {start}; pass an index from 0 to {n - 1}")
    return points, num_samples, start


def choose_points(
    clouds: Sequence[Tensor],
    num_samples: Sequence[int],
    start: int,
    backend: str | None,
    sampling: Sampling,
    key: Tensor | None,
) -> tuple[list[Tensor], list[Tensor] | None]:
    """Return each cloud's samples (M_b,) and, if known by then, their covering radii ().

    "farthest" needs no `key` (see `draw_points`), and gives fewer samples where only duplicates
    are left.
    """
    drawn = []
    if sampling != "farthest":
        assert key is not None
        drawn = draw_points(key.to(clouds[0].device), [len(cloud) for cloud in clouds], num_samples)
    if sampling == "random":
        return drawn, None
    if sampling == "mixed":
        farthest, _ = choose_points(
            clouds, [(count + 1) // 2 for count in num_samples], start, backend, "farthest", None
        )
        mixed = [
            _fill_up(taken, new, count, len(cloud))
            for taken, new, count, cloud in zip(farthest, drawn, num_samples, clouds, strict=True)
        ]
        return mixed, None
    indices, radii = sample_clouds(clouds, num_samples, start, backend)
    found = torch.stack([(picked >= 0).sum() for picked in indices]).tolist()
    return (
        [picked[:count] for picked, count in zip(indices, found, strict=True)],
        [radius[count - 1] for radius, count in zip(radii, found, strict=True)],
    )


def key_from(function: str, sampling: Sampling, generator: torch.Generator | None) -> Tensor | None:
    """Return the key () int64 that all draws of a call come from; None if nothing is drawn."""
    if sampling == "farthest":
        return None
    if generator is None:
        raise ValueError(
            f"{function}: generator is None; sampling {sampling!r} draws points, "
            "pass torch.Generator().manual_seed(seed)"
        )
    return torch.randint(2**63 - 1, (), generator=generator, device=generator.device)


def key_of_call(seed: int, call: Tensor) -> Tensor:
    """Return the key () int64 of a call, numbered () int64: nothing is read from the device."""
    return _mixed(_mixed(torch.full_like(call, seed)) + call)


def draw_points(key: Tensor, sizes: Sequence[int], num_samples: Sequence[int]) -> list[Tensor]:
    """Return different rows (M_b,) of each of the clouds, uniformly drawn, in random order.

    Every row gets a number from SplitMix64 (G. Steele, D. Lea, C. Flood, 2014), whose stream is
    the key's and the cloud's; the rows of the smallest numbers are taken. No two numbers of a
    cloud are equal, because each step of the mixing can be undone. So the draw is one function of
    the key on all devices, and no generator's state has to leave them.
    """
    drawn = []
    for cloud, (size, count) in enumerate(zip(sizes, num_samples, strict=True)):
        stream = _mixed(key + cloud)
        numbers = _mixed(stream + torch.arange(1, size + 1, device=key.device) * _STEP)
        drawn.append(numbers.topk(count, largest=False).indices)
    return drawn


def _mixed(state: Tensor) -> Tensor:
    """Return SplitMix64's number for each state, int64 in place of its unsigned integers."""
    for shift, factor in zip((30, 27), _FACTORS, strict=True):
        state = (state ^ _shifted_right(state, shift)) * factor
    return state ^ _shifted_right(state, 31)


def _shifted_right(state: Tensor, shift: int) -> Tensor:
    """Shift as an unsigned integer: the sign does not move in."""
    low_bits: int = 2 ** (64 - shift) - 1
    return (state >> shift) & low_bits


def _fill_up(taken: Tensor, drawn: Tensor, num_samples: int, num_points: int) -> Tensor:
    """Return `taken`, then the first of `drawn` (M,) that are not among them, (M,) in all."""
    is_taken = torch.zeros(num_points, dtype=torch.bool, device=taken.device)
    is_taken.index_fill_(0, taken, True)
    # A stable sort, not a selection by mask: how many it selects would have to come to the host.
    new_first = drawn[is_taken[drawn].to(torch.uint8).argsort(stable=True)]
    return torch.cat([taken, new_first[: num_samples - len(taken)]])


@disable_compile  # numba cannot be traced
def sample_clouds(
    clouds: Sequence[Tensor], num_samples: Sequence[int], start: int, backend: str | None
) -> tuple[list[Tensor], list[Tensor]]:
    """Return indices and radii (M_b,) of clouds (N_b, C) of any sizes; -1 as in a batch."""
    launch = kernel("topology_preserving_sampling", clouds[0].device, backend)
    indices, radii = launch([cloud.detach() for cloud in clouds], num_samples, start)
    return indices, radii

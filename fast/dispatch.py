"""Which kernel serves which device; one clear error where none does."""

from collections.abc import Callable
from typing import Any

import torch

Kernel = Callable[..., Any]


def _rips_pairs_numba() -> Kernel:
    from fast.kernels.rips_cpu import rips_pairs

    launcher: Kernel = rips_pairs
    return launcher


def _pairwise_distances_numba() -> Kernel:
    from fast.kernels.distances_cpu import pairwise_distances

    launcher: Kernel = pairwise_distances
    return launcher


def _nearest_pairs_numba() -> Kernel:
    from fast.kernels.chamfer_cpu import nearest_pairs

    launcher: Kernel = nearest_pairs
    return launcher


def _farthest_points_numba() -> Kernel:
    from fast.kernels.sampling_cpu import farthest_points

    launcher: Kernel = farthest_points
    return launcher


def _covering_radius_numba() -> Kernel:
    from fast.kernels.sampling_cpu import covering_radius

    launcher: Kernel = covering_radius
    return launcher


# (operation, device type) -> {backend: loader}; the first backend of a row is the default.
# Loaders import on first use, so that nobody waits for a compiler they do not need.
_KERNELS: dict[tuple[str, str], dict[str, Callable[[], Kernel]]] = {
    ("pairwise_distances", "cpu"): {"numba": _pairwise_distances_numba},
    ("persistence_weighted_chamfer", "cpu"): {"numba": _nearest_pairs_numba},
    ("rips_persistence", "cpu"): {"numba": _rips_pairs_numba},
    ("covering_radius", "cpu"): {"numba": _covering_radius_numba},
    ("topology_preserving_sampling", "cpu"): {"numba": _farthest_points_numba},
}


def kernel(operation: str, device: torch.device, backend: str | None = None) -> Kernel:
    """Return the kernel that serves `operation` on `device`.

    Parameters
    ----------
    operation
        Name of the public function.
    device
        Where its tensors are. The default backend depends on nothing else.
    backend
        A backend's name, or None for the device's default.

    Returns
    -------
    Kernel
        The launcher; its arguments are those of the operation's kernel module.

    Raises
    ------
    RuntimeError
        If nothing serves the operation on that device, or not the backend asked for.
    """
    backends = _KERNELS.get((operation, device.type))
    if backends is None:
        served = sorted(kind for name, kind in _KERNELS if name == operation)
        raise RuntimeError(
            f"{operation}: no kernel for {device.type} tensors; "
            f"move the input to {' or '.join(served)}, e.g. tensor.to({served[0]!r})"
        )
    if backend is None:
        backend = next(iter(backends))
    if backend not in backends:
        raise RuntimeError(
            f"{operation}: no backend {backend!r} for {device.type} tensors; "
            f"pass one of {', '.join(map(repr, backends))}, or None"
        )
    return backends[backend]()

"""Which kernel serves which device, one clear error where none does; no torch.compile in it."""

import functools
import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any, ParamSpec, TypeVar

import torch

from fast.kernels import launch_gpu

Kernel = Callable[..., Any]

_P = ParamSpec("_P")
_R = TypeVar("_R")

# (operation, device type) -> {backend: launcher in fast.kernels}; the first backend of a row is
# the default. Launchers are imported on first use, so that nobody waits for a compiler they do not
# need. All launchers of an operation take the same arguments and give the same: tensors.
_KERNELS: dict[tuple[str, str], dict[str, str]] = {
    ("bottleneck_distance", "cpu"): {"numba": "transport.bottleneck_cpu.bottleneck_partners"},
    ("bottleneck_distance", "cuda"): {"numba": "transport.bottleneck_cpu.bottleneck_partners"},
    ("column_means", "cpu"): {"numba": "distances.distances_cpu.column_means"},
    ("column_means", "cuda"): {"numba-cuda": "distances.distances_gpu.column_means"},
    ("covering_radius", "cpu"): {"numba": "sampling.sampling_cpu.covering_radius"},
    ("covering_radius", "cuda"): {"numba-cuda": "sampling.sampling_gpu.covering_radius"},
    ("farthest_pair", "cpu"): {"numba": "distances.distances_cpu.farthest_pair"},
    ("farthest_pair", "cuda"): {"numba-cuda": "distances.distances_gpu.farthest_pair"},
    ("pairwise_distances", "cpu"): {"numba": "distances.distances_cpu.pairwise_distances"},
    ("pairwise_distances", "cuda"): {"numba-cuda": "distances.distances_gpu.pairwise_distances"},
    ("persistence_weighted_chamfer", "cpu"): {"numba": "transport.chamfer_cpu.nearest_pairs"},
    ("persistence_weighted_chamfer", "cuda"): {"numba-cuda": "transport.chamfer_gpu.nearest_pairs"},
    ("rips_persistence", "cpu"): {"numba": "rips.rips_cpu.rips_pairs"},
    ("rips_persistence", "cuda"): {"numba-cuda": "rips.rips_gpu.rips_pairs"},
    # By columns that wait for each other, and long: a GPU's distances are refused, not copied.
    ("rips_persistence up to dimension 2", "cpu"): {"numba": "rips.voids_cpu.rips_pairs"},
    ("row_lengths", "cpu"): {"numba": "distances.distances_cpu.row_lengths"},
    ("row_lengths", "cuda"): {"numba-cuda": "distances.distances_gpu.row_lengths"},
    ("sorted_wasserstein", "cpu"): {"numba": "transport.wasserstein_cpu.optimal_partners"},
    ("sorted_wasserstein", "cuda"): {"torch": "transport.wasserstein_rows.optimal_partners"},
    ("topology_preserving_sampling", "cpu"): {"numba": "sampling.sampling_cpu.farthest_points"},
    ("topology_preserving_sampling", "cuda"): {
        "numba-cuda": "sampling.sampling_gpu.farthest_points"
    },
    ("wasserstein_distance", "cpu"): {"numba": "transport.assignment_cpu.optimal_partners"},
    # Augmenting paths wait for each other: a GPU's diagrams are copied to the CPU for them.
    ("wasserstein_distance", "cuda"): {"numba": "transport.assignment_cpu.optimal_partners"},
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
        If nothing serves the operation on that device, or not the backend asked for, or the
        backend lacks its compiler or driver.
    """
    if backend is None and device.type == "cpu" and (operation, "cpu") in _KERNELS:
        return _loaded(next(iter(_KERNELS[operation, "cpu"].values())))
    backends = _backends(operation, device.type)
    if not backends:
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
    if backends[backend].rpartition(".")[0].endswith("_gpu"):
        launch_gpu.require(backend, device)
    return _loaded(backends[backend])


def _loaded(launcher: str) -> Kernel:
    """Return a launcher by its name in fast.kernels, and import its module if it is not yet."""
    module, _, function = launcher.rpartition(".")
    loaded: Kernel = getattr(_module(module), function)
    return loaded


@functools.cache  # a small cloud's persistence takes little longer than finding a module again
def _module(name: str) -> ModuleType:
    return importlib.import_module(f"fast.kernels.{name}")


def _backends(operation: str, device_type: str) -> dict[str, str]:
    """Return the backends of a device; in numba's simulator CPU tensors have the GPU's too."""
    backends = dict(_KERNELS.get((operation, device_type), {}))
    if device_type == "cpu" and launch_gpu.is_simulated():
        for launcher in _KERNELS.get((operation, "cuda"), {}).values():
            backends["cuda-simulator"] = launcher
    return backends


def disable_compile(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Return `function` as `torch.compiler.disable` does: a graph break, and no tracing inside.

    `torch.compiler.disable` itself loads torch._dynamo where it decorates, which takes as long as
    loading torch; here it is called when torch.compile first traces a call of the function.
    """
    disabled: Callable[_P, _R] | None = None

    @functools.wraps(function)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        nonlocal disabled
        if torch.compiler.is_compiling():
            if disabled is None:
                disabled = torch.compiler.disable(function)  # type: ignore[no-untyped-call]
            return disabled(*args, **kwargs)
        return function(*args, **kwargs)

    return call

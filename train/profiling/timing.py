"""Measure one network on one frame: seconds, peak memory, and the operators behind both."""

import multiprocessing
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from train.core.errors import UserError
from train.networks.litept import SIZES as LITEPT_SIZES
from train.networks.protocol import NetworkSpec
from train.networks.ptv3 import SIZES as PTV3_SIZES
from train.networks.ptv3 import Hierarchy
from train.networks.ptv3.convolution_spconv import allow_nondeterministic_threads
from train.networks.ptv3.hierarchy_config import HierarchyConfig
from train.networks.ptv3.hierarchy_segmentor import HierarchySegmentor
from train.networks.registry import build_network

Precision = Literal["float32", "bfloat16"]
Arrays = Mapping[str, NDArray[Any]]
"""A batch as arrays on the host: feat, coord, grid_coord, offset."""

NUM_CLASSES, IN_CHANNELS = 16, 4  # Table 8 counts the nuScenes head
WARM_UPS = {"cpu": 1, "cuda": 3}


CONFIGS: dict[str, HierarchyConfig] = {
    **PTV3_SIZES,
    **{f"litept:{size}": config for size, config in LITEPT_SIZES.items()},
}
"""What can be measured: PTv3 by its size alone, others as NETWORK:SIZE."""


def make_network(name: str, device: torch.device, **overrides: Any) -> HierarchySegmentor:
    """Return a network in evaluation mode with fresh weights; they do not change its cost."""
    torch.manual_seed(0)
    network, size = name.split(":") if ":" in name else ("ptv3", name)
    spec = NetworkSpec(network, size, NUM_CLASSES, IN_CHANNELS)
    made: Any = build_network(spec, **overrides).eval().to(device)
    return cast("HierarchySegmentor", made)


def to_batch(arrays: Arrays, device: torch.device) -> dict[str, Tensor]:
    """Return the batch as tensors on a device."""
    return {name: torch.from_numpy(values).to(device) for name, values in arrays.items()}


def _run(
    model: HierarchySegmentor,
    batch: Mapping[str, Tensor],
    hierarchy: Hierarchy | None,
    precision: Precision,
) -> None:
    """Run one pass in an autocast context of its own: a longer one keeps the 16-bit weights."""
    device = batch["feat"].device
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
    with autocast, allow_nondeterministic_threads():
        model(batch, hierarchy)


def clocked(call: Callable[[], Any], device: torch.device) -> tuple[Any, float]:
    """Return what a call returns and its seconds; the device has nothing to do before or after."""
    _synchronize(device)
    begin = time.perf_counter()
    result = call()
    _synchronize(device)
    return result, time.perf_counter() - begin


def _synchronize(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """Return the 20th, 50th and 80th percentile of some times: "p20_s", "p50_s", "p80_s"."""
    values = np.percentile(seconds, [20, 50, 80])
    return {f"p{name}_s": float(value) for name, value in zip((20, 50, 80), values, strict=True)}


@torch.no_grad()
def time_network(
    model: HierarchySegmentor, batch: Mapping[str, Tensor], repeats: int, precision: Precision
) -> dict[str, dict[str, float]]:
    """Time a network after warming up.

    Parameters
    ----------
    model
        In evaluation mode.
    batch
        On the model's device; reading and voxelizing a frame are not in the times.
    repeats
        Timed passes.
    precision
        Of the layers.

    Returns
    -------
    dict
        Percentiles of ``"hierarchy"`` (curves, pooling, neighbor and patch tables), ``"network"``
        and ``"total"`` (their sum, pass by pass).
    """
    device = batch["feat"].device
    seconds: dict[str, list[float]] = {"hierarchy": [], "network": [], "total": []}
    for number in range(WARM_UPS[device.type] + repeats):
        hierarchy, of_hierarchy = clocked(partial(model.prepare_whole, batch), device)
        _, of_network = clocked(partial(_run, model, batch, hierarchy, precision), device)
        if number >= WARM_UPS[device.type]:
            seconds["hierarchy"].append(of_hierarchy)
            seconds["network"].append(of_network)
            seconds["total"].append(of_hierarchy + of_network)
    return {name: percentiles(values) for name, values in seconds.items()}


def repeat(batch: Mapping[str, Tensor], times: int) -> dict[str, Tensor]:
    """Return a batch of a cloud, several times."""
    count = len(batch["coord"])
    ends = count * torch.arange(1, times + 1, device=batch["offset"].device)
    return {
        name: ends if name == "offset" else values.repeat(times, 1)
        for name, values in batch.items()
    }


@torch.no_grad()
def time_passes(
    model: HierarchySegmentor,
    batch: Mapping[str, Tensor],
    repeats: int,
    precision: Precision,
    warm_up: Mapping[str, Tensor],
) -> dict[str, float]:
    """Return percentiles of whole passes, hierarchy and network, after one of `warm_up`."""
    device = batch["feat"].device
    _run(model, warm_up, None, precision)
    seconds = [
        clocked(partial(_run, model, batch, None, precision), device)[1] for _ in range(repeats)
    ]
    return percentiles(seconds)


def peak_memory(
    size: str,
    arrays: Arrays,
    device: torch.device,
    precision: Precision,
    **overrides: Any,
) -> dict[str, int | None]:
    """Measure the peak of one pass: weights, hierarchy and activations.

    Parameters
    ----------
    size, **overrides
        The network, see `make_network`.
    arrays
        The batch.
    device, precision
        Where and in what it runs.

    Returns
    -------
    dict
        ``"peak_bytes"``: on a GPU what torch's allocator held at most; on a CPU what a process of
        its own held at most, Python and torch included. ``"before_bytes"``: the same with only
        the frame loaded. None where the system does not tell.

    Raises
    ------
    UserError
        If there is not enough memory.
    """
    if device.type == "cuda":
        return _peak_on_gpu(size, arrays, device, precision, overrides)
    arguments = (size, dict(arrays), precision, torch.get_num_threads(), overrides)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        try:
            before, peak = pool.submit(_peak_of_process, *arguments).result()
        except BrokenProcessPool as error:
            raise UserError(
                f"{size}: the process that measures memory was killed, probably for memory; "
                "give fewer --voxels"
            ) from error
    return {"before_bytes": before, "peak_bytes": peak}


@torch.no_grad()
def _peak_on_gpu(
    size: str,
    arrays: Arrays,
    device: torch.device,
    precision: Precision,
    overrides: dict[str, Any],
) -> dict[str, int | None]:
    batch = to_batch(arrays, device)
    before = torch.cuda.memory_allocated(device)
    torch.cuda.reset_peak_memory_stats(device)
    try:
        _run(make_network(size, device, **overrides), batch, None, precision)
    except torch.cuda.OutOfMemoryError as error:
        raise UserError(
            f"{size}: the GPU's memory is too small for this frame; give fewer --voxels"
        ) from error
    return {"before_bytes": before, "peak_bytes": torch.cuda.max_memory_allocated(device)}


@torch.no_grad()
def _peak_of_process(
    size: str, arrays: Arrays, precision: Precision, threads: int, overrides: dict[str, Any]
) -> tuple[int | None, int | None]:
    """Run in a process of its own: return its resident bytes before the network and its peak."""
    torch.set_num_threads(threads)
    device = torch.device("cpu")
    batch = to_batch(arrays, device)
    before = resident_bytes("VmRSS")
    _run(make_network(size, device, **overrides), batch, None, precision)
    return before, resident_bytes("VmHWM")


def resident_bytes(field: Literal["VmRSS", "VmHWM"]) -> int | None:
    """Return this process's resident memory now or at its peak; None where there is no /proc."""
    if not sys.platform.startswith("linux"):
        return None
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    found = re.search(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    return None if found is None else 1024 * int(found[1])


@torch.no_grad()
def operators(
    model: HierarchySegmentor, batch: Mapping[str, Tensor], precision: Precision
) -> list[dict[str, Any]]:
    """Profile one pass of a network whose hierarchy is ready, after one that warms up.

    Returns
    -------
    list of dict
        For each operator `name`, `calls`, seconds of its own on the host (`self_cpu_s`) and on the
        GPU (`self_cuda_s`, 0 without one), and `bytes` allocated inside it over all calls, not
        held at once. Sorted by own time on the device.
    """
    device = batch["feat"].device
    activities = [ProfilerActivity.CPU]
    if device.type == "cuda":
        activities.append(ProfilerActivity.CUDA)
    hierarchy = model.prepare_whole(batch)
    _run(model, batch, hierarchy, precision)
    with profile(activities=activities, profile_memory=True) as profiler:
        _run(model, batch, hierarchy, precision)
        _synchronize(device)
    rows = [
        {
            "name": event.key,
            "calls": event.count,
            "self_cpu_s": event.self_cpu_time_total / 1e6,
            "self_cuda_s": event.self_device_time_total / 1e6,
            "bytes": event.device_memory_usage if device.type == "cuda" else event.cpu_memory_usage,
        }
        for event in profiler.key_averages()
        if event.device_type.name == "CPU"  # kernels are in their operators already
    ]
    clock = "self_cuda_s" if device.type == "cuda" else "self_cpu_s"
    return sorted(rows, key=lambda row: row[clock], reverse=True)

"""Print which CUDA kernels the launchers start, and on what types: one JSON object per line.

Run in numba's simulator (NUMBA_ENABLE_CUDASIM=1), which runs kernels but checks no types;
test_compilation.py compiles what is printed here.
"""

import importlib
import json
import sys
from pathlib import Path
from unittest import mock

import torch

from fast import dispatch
from fast.kernels import launch_gpu
from fast.kernels.rips import rips_gpu

KERNELS = Path(launch_gpu.__file__).parent


def described(argument):
    """Return [dtype, dimensions] of a tensor, the type's name of a number."""
    if isinstance(argument, torch.Tensor):
        return [str(argument.dtype).removeprefix("torch."), argument.ndim]
    return type(argument).__name__


def record(kernel, blocks, threads, *arguments):
    """Launch as `launch_gpu.launch` does, and print the kernel and its arguments' types."""
    record_prepared(kernel, blocks, threads, *arguments)()


def record_prepared(kernel, blocks, threads, *arguments):
    """Prepare as `launch_gpu.prepare` does, and print the kernel and its arguments' types."""
    entry = {
        "module": kernel.py_func.__module__,
        "kernel": kernel.py_func.__name__,
        "types": [described(argument) for argument in arguments],
    }
    sys.stdout.write(json.dumps(entry) + "\n")
    return launch_gpu.prepare(kernel, blocks, threads, *arguments)


def run_everything(dtype):
    """Call every launcher once on small tensors."""
    torch.manual_seed(0)
    points = torch.rand(2, 12, 3, dtype=dtype)
    pairs, mask = points[..., :2].contiguous(), torch.ones(2, 12, dtype=torch.bool)
    arguments = {
        "column_means": (points[0],),
        "covering_radius": (points[0], points[0, :4].contiguous()),
        "farthest_pair": (points[0],),
        "pairwise_distances": (points,),
        "persistence_weighted_chamfer": (pairs, pairs, mask),
        "rips_persistence": (torch.cdist(points, points), None, 1, 9.0),
        "row_lengths": (points[0],),
        "topology_preserving_sampling": ([points[0], points[1, :7]], [5, 4], 0),
    }
    for (operation, device), backends in dispatch._KERNELS.items():
        if device == "cuda" and "numba-cuda" in backends:
            launcher = dispatch.kernel(operation, torch.device("cpu"), "cuda-simulator")
            launcher(*arguments[operation])
            if operation == "rips_persistence":
                with mock.patch.multiple(rips_gpu, _LEAST_ROW_BYTES=0, _ROWS_PER_MATRIX=0):
                    launcher(*arguments[operation])  # by lists


if __name__ == "__main__":
    for path in KERNELS.glob("*/*_gpu.py"):
        module = importlib.import_module(f"fast.kernels.{path.parent.name}.{path.stem}")
        if hasattr(module, "launch"):
            module.launch = record
        if hasattr(module, "prepare"):
            module.prepare = record_prepared
    for each in (torch.float32, torch.float64):
        run_everything(each)

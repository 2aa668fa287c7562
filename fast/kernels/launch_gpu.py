"""Launch numba-cuda kernels on torch tensors: no copies, on torch's current stream.

Rules for every kernel that is launched here:

- it strides over its work by the grid, so that any number of blocks and threads is right: a GPU is
  given more than there is work for, the simulator two blocks of four threads;
- no warp functions and no assumption that a warp runs in step: `cuda.syncthreads` orders, alone;
- every thread of a block reaches every `cuda.syncthreads`, so no early return before one unless
  the whole block takes it;
- results do not depend on the order of atomics.

In numba's simulator (`NUMBA_ENABLE_CUDASIM=1`, set before Python starts) the same kernels run on
CPU tensors, one Python thread per CUDA thread: backend "cuda-simulator".
"""

import contextlib
import functools
import importlib.util
import os
import sys
import threading

import numpy as np
import torch

# numba warns of fewer blocks, as of a mistake; blocks without work end at once and cost nothing.
_FEWEST_BLOCKS = 128
_SIMULATED_BLOCKS, _SIMULATED_THREADS = 2, 4

INSTALL_HINT = (
    "pip install 'topodistill[gpu]' (numba-cuda with the compiler of your CUDA version), "
    "or give tensors that lie on the CPU"
)


def is_simulated():
    """Whether this process runs CUDA kernels in numba's simulator, on CPU tensors."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


def require(backend, device):
    """Raise RuntimeError unless kernels of `backend` run on `device`."""
    if backend == "cuda-simulator":
        return
    if is_simulated():
        raise RuntimeError(
            "NUMBA_ENABLE_CUDASIM is set, so numba cannot reach the GPU; unset it and start again"
        )
    _run_trial(device)


@functools.cache  # of what succeeded: an exception is not remembered, and is tried again
def _run_trial(device):
    """Run a trial kernel on `device`; raise RuntimeError with what is missing."""
    failed = f"GPU kernels cannot run on {device}"
    if importlib.util.find_spec("numba_cuda") is None:
        raise RuntimeError(f"{failed}: the package numba-cuda is not installed; {INSTALL_HINT}")
    try:
        from numba import cuda

        @cuda.jit
        def trial(cell):
            cell[0] = 1

        launch(trial, 1, 1, torch.zeros(1, device=device))
    except Exception as error:  # of the driver, the compiler or the linker: each has its own
        said = " ".join(str(error).split())
        raise RuntimeError(
            f"{failed}: a trial kernel fails with {type(error).__name__}: {said}; {INSTALL_HINT}"
        ) from error


def launch(kernel, blocks, threads, *arguments):
    """Run `kernel` on the current stream of its tensors' device; nothing is copied or waited for.

    Parameters
    ----------
    kernel
        A `cuda.jit` function.
    blocks, threads
        How many blocks, and threads per block, there is work for; see the rules above.
    *arguments
        Contiguous tensors, all on one device, passed as arrays; plain numbers.
    """
    prepare(kernel, blocks, threads, *arguments)()


def prepare(kernel, blocks, threads, *arguments):
    """Return a function that launches as `launch` does, each time on the same arguments.

    Tensors are turned into arrays once, which costs the host more than the launch itself. The
    stream is torch's current one now.
    """
    if is_simulated():
        grid = min(max(blocks, 1), _SIMULATED_BLOCKS), min(threads, _SIMULATED_THREADS)
        return functools.partial(_simulate, kernel[grid], *map(_host_array, arguments))
    from numba import cuda

    device = next(argument.device for argument in arguments if isinstance(argument, torch.Tensor))
    with torch.cuda.device(device):  # numba follows torch
        pointer = torch.cuda.current_stream(device).cuda_stream
        stream = cuda.external_stream(pointer) if pointer else 0
        arrays = [_device_array(argument) for argument in arguments]
        configured = kernel[max(blocks, _FEWEST_BLOCKS), threads, stream]

    def run():
        with torch.cuda.device(device):
            configured(*arrays)

    return run


def _simulate(configured, *arrays):
    """Run a kernel in numba's simulator, whose scheduler spins until its threads give way."""
    _patch_simulator()
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # at the usual 5 ms, each `syncthreads` would take as long
    try:
        configured(*arrays)
    finally:
        sys.setswitchinterval(before)


@functools.cache
def _patch_simulator():
    """Let threads share what the simulator makes for one of them (0.30.4).

    Two that look up a shared array at once may make one each. A thread that leaves a device
    function of another module takes the simulated `cuda` away from those that are still in it.
    """
    from numba import cuda, types
    from numba.cuda.simulator import kernel
    from numba.cuda.simulator.kernelapi import FakeCUDAShared
    from numba.np.numpy_support import as_dtype

    lock = threading.Lock()
    modules = {}  # id of a module's names -> [threads that are in it, its names of `cuda`]

    @contextlib.contextmanager
    def swapped_cuda_module(function, simulated):
        names = function.__globals__
        with lock:
            if id(names) not in modules:
                modules[id(names)] = [0, [name for name, value in names.items() if value is cuda]]
            state = modules[id(names)]
            state[0] += 1
            names.update(dict.fromkeys(state[1], simulated))
        try:
            yield
        finally:
            with lock:
                state[0] -= 1
                if not state[0]:
                    names.update(dict.fromkeys(state[1], cuda))
                    del modules[id(names)]

    def array(self, shape, dtype):
        caller = sys._getframe(1)
        place = caller.f_code.co_filename, caller.f_lineno  # as the simulator tells them apart
        with lock:
            if place not in self._allocations:
                numpy_dtype = as_dtype(dtype) if isinstance(dtype, types.Type) else dtype
                self._allocations[place] = np.empty(shape, numpy_dtype)
            return self._allocations[place]

    FakeCUDAShared.array = array
    kernel.swapped_cuda_module = swapped_cuda_module


def _device_array(argument):
    """Return a numba view of a CUDA tensor, which it keeps alive; anything else as it is."""
    if not isinstance(argument, torch.Tensor):
        return argument
    from numba import cuda

    return cuda.as_cuda_array(argument.detach(), sync=False)


def _host_array(argument):
    """Return a numpy view of a CPU tensor; anything else as it is."""
    return argument.detach().numpy() if isinstance(argument, torch.Tensor) else argument

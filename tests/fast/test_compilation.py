"""Every CUDA kernel compiles, without a GPU: the simulator runs kernels but checks no types."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HERE = Path(__file__).parent
OLDEST, HOPPER = (7, 5), (9, 0)


class _NoDevice:
    """Stands for the GPU where numba asks which one to compile device functions for."""

    compute_capability = HOPPER


@pytest.fixture(scope="module")
def cuda():
    """Return numba.cuda with its compiler; skip, saying so, without."""
    from cuda.pathfinder import DynamicLibNotFoundError, load_nvidia_dynamic_lib

    for library in ("nvvm", "nvrtc"):
        try:
            load_nvidia_dynamic_lib(library)
        except DynamicLibNotFoundError:
            pytest.skip(f"CUDA's library {library} is not here: pip install 'numba-cuda[cu13]'")
    from numba import cuda

    return cuda


@pytest.fixture(scope="module")
def launches():
    """Return (module, kernel, types of the arguments) of every launch, each once."""
    run = subprocess.run(
        [sys.executable, "-m", "tests.fast.launches"],  # the kernels of this checkout
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1"},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-4000:]
    return [json.loads(line) for line in dict.fromkeys(run.stdout.splitlines())]


def signature(types, described):
    """Return the numba types of described arguments, as a launch on a GPU would see them."""
    from numba.np.numpy_support import from_dtype

    numbers = {"int": types.int64, "float": types.float64, "bool": types.boolean}

    def array(dtype, ndim):
        return types.Array(from_dtype(np.dtype(dtype)), ndim, "C")

    return tuple(numbers[one] if isinstance(one, str) else array(*one) for one in described)


def test_every_kernel_is_launched_by_the_recording(launches):
    started = {(launch["module"], launch["kernel"]) for launch in launches}
    paths = list((HERE.parents[1] / "fast" / "kernels").glob("*/*_gpu.py"))
    assert paths
    for path in paths:
        kernels = re.findall(r"@cuda\.jit\((?!.*device).*\)\ndef (\w+)", path.read_text())
        for kernel in kernels:
            assert (f"fast.kernels.{path.parent.name}.{path.stem}", kernel) in started


@pytest.mark.slow
@pytest.mark.parametrize(
    "capability",
    [
        pytest.param(OLDEST, marks=pytest.mark.thorough, id="sm_75"),
        pytest.param(HOPPER, id="sm_90"),
    ],
)
def test_every_kernel_compiles(cuda, launches, monkeypatch, capability):
    monkeypatch.setattr("numba.cuda.dispatcher.get_current_device", lambda: _NoDevice)
    for launch in launches:
        kernel = getattr(importlib.import_module(launch["module"]), launch["kernel"])
        types = signature(cuda.types, launch["types"])
        ptx, result = cuda.compile_ptx(kernel.py_func, types, cc=capability)
        assert result == cuda.types.void
        assert f".target sm_{capability[0]}{capability[1]}" in ptx
        if not any("float" in str(each) for each in types):
            # An integer kernel that computes in floats mixes signed and unsigned by mistake.
            assert ".f64" not in ptx, launch["kernel"]


def test_a_kernel_with_a_wrong_type_does_not_compile(cuda):
    def kernel(array):
        array[0.5] = 1

    with pytest.raises(Exception, match=r"getitem|setitem|index"):
        cuda.compile_ptx(kernel, (cuda.types.Array(cuda.types.int32, 1, "C"),), cc=HOPPER)

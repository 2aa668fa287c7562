"""Run the tests of the CUDA kernels in numba's simulator, in a process of its own.

numba decides when it is imported whether kernels are simulated, so it cannot be done here.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FILES = sorted(HERE.glob("test_*_gpu.py"))


@pytest.mark.slow
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_kernels_pass_their_tests_in_the_simulator(file):
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", str(file), "-q", "-x", "-m", "not gpu"),
            *("-p", "no:cacheprovider"),
        ],
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "NUMBA_NUM_THREADS": "1"},
        cwd=HERE.parents[1],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-2000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed is not None
    assert int(passed[1]) >= 5, run.stdout
    assert "skipped" not in run.stdout.splitlines()[-1], run.stdout


def test_there_are_kernels_to_simulate():
    assert [file.stem for file in FILES if file.stem == "test_rips_gpu"] == ["test_rips_gpu"]


IN_TWO_MODULES = """
import sys
import numpy as np
from numba import cuda
from fast.kernels.launch_gpu import launch
from fast.kernels.pairing.pairing_gpu import highest_bit
import torch

@cuda.jit
def count(bits):
    for _ in range(2000):
        bits[0] = highest_bit(np.uint64(5))

bits = torch.zeros(1, dtype=torch.int64)
launch(count, 4, 64, bits)
assert bits.tolist() == [2]
"""


def test_threads_leave_each_other_the_simulated_module(tmp_path):
    """A device function of another module, which numba's own simulator takes from the others."""
    script = tmp_path / "two_modules.py"
    script.write_text(IN_TWO_MODULES)
    run = subprocess.run(
        [sys.executable, str(script)],
        env=os.environ | {"NUMBA_ENABLE_CUDASIM": "1", "PYTHONPATH": str(HERE.parents[1])},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-2000:]

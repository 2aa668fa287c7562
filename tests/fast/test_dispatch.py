"""Which kernel serves which tensors, and what is said where none does."""

import importlib.util

import pytest
import torch

from fast import dispatch
from fast.kernels import launch_gpu

CUDA = torch.device("cuda", 0)


@pytest.fixture
def fresh_trial():
    launch_gpu._run_trial.cache_clear()
    yield
    launch_gpu._run_trial.cache_clear()


@pytest.mark.parametrize("operation", sorted({name for name, _ in dispatch._KERNELS}))
def test_every_operation_has_a_kernel_on_either_device(operation):
    assert callable(dispatch.kernel(operation, torch.device("cpu")))
    elsewhere = {"sorted_wasserstein": "torch"}
    elsewhere |= dict.fromkeys(["bottleneck_distance", "wasserstein_distance"], "numba")
    if operation == "rips_persistence up to dimension 2":
        with pytest.raises(RuntimeError, match=r"no kernel for cuda tensors; move the input to cp"):
            dispatch.kernel(operation, CUDA)
        return
    on_gpu = elsewhere.get(operation, "numba-cuda")
    assert list(dispatch._KERNELS[operation, "cuda"]) == [on_gpu]


def test_a_cuda_tensor_without_numba_cuda_is_refused_with_what_to_install(monkeypatch, fresh_trial):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeError, match=r"numba-cuda is not installed; pip install 'topodist"):
        dispatch.kernel("rips_persistence", CUDA)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU, so nothing is missing")
def test_a_cuda_tensor_without_a_driver_is_refused_with_what_fails(fresh_trial):
    with pytest.raises(RuntimeError, match=r"cannot run on cuda:0: a trial kernel fails with "):
        dispatch.kernel("rips_persistence", CUDA)


def test_in_the_simulator_a_cuda_tensor_is_refused(monkeypatch):
    monkeypatch.setenv("NUMBA_ENABLE_CUDASIM", "1")
    with pytest.raises(RuntimeError, match="NUMBA_ENABLE_CUDASIM is set"):
        dispatch.kernel("rips_persistence", CUDA)


def test_the_simulator_is_no_backend_elsewhere():
    with pytest.raises(RuntimeError, match="no backend 'cuda-simulator' for cpu tensors"):
        dispatch.kernel("rips_persistence", torch.device("cpu"), "cuda-simulator")

"""Small clouds and LitePTs, and a slow second implementation."""

import importlib.util
from pathlib import Path

import pytest
import torch

from tests.train.networks.ptv3.conftest import _make_batch, _randomize
from train.networks.litept import build_litept


@pytest.fixture(scope="session")
def make_batch():
    """Return a function from cloud sizes to a batch of that many distinct voxels each."""
    return _make_batch


@pytest.fixture(scope="session")
def make_network():
    """Return a function from options to a float64 tiny LitePT with telling weights."""

    def make(size="tiny", num_classes=5, seed=0, **overrides):
        torch.manual_seed(seed)
        return _randomize(build_litept(size, num_classes, **overrides).double(), seed)

    return make


@pytest.fixture(scope="session")
def plain_litept():
    """Load the slow second implementation that lies beside this file."""
    path = Path(__file__).with_name("plain_litept.py")
    spec = importlib.util.spec_from_file_location("plain_litept", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module

"""Which device a name means, and that torch then works on that one alone."""

import pytest
import torch

from train.core.device import resolve_device
from train.core.errors import UserError


@pytest.fixture
def two_gpus(monkeypatch):
    """A machine with two GPUs, as far as torch says; returns which were made current."""
    current = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: current.append(str(device)))
    return current


def test_a_gpu_named_by_its_number_becomes_the_current_one(two_gpus):
    """Else the thread that pins batches opens GPU 0."""
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    assert two_gpus == ["cuda:1"]


@pytest.mark.parametrize(("name", "found"), [("cuda", "cuda"), ("auto", "cuda"), ("cpu", "cpu")])
def test_other_names_change_nothing(two_gpus, name, found):
    assert resolve_device(name) == torch.device(found)
    assert two_gpus == []


@pytest.mark.parametrize("name", ["cuda:2", "meta", "gpu"])
def test_what_is_not_there_is_refused_and_changes_nothing(two_gpus, name):
    with pytest.raises(UserError, match=f"--device '?{name}"):
        resolve_device(name)
    assert two_gpus == []

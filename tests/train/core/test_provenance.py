"""What a record says of its run, and the device that a run takes."""

import subprocess
from pathlib import Path

import pytest
import torch

from train.core import provenance
from train.core.device import resolve_device
from train.core.errors import UserError

ROOT = Path(__file__).resolve().parents[3]


def test_what_is_not_installed_has_no_version(monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGES", ("torch", "no-such-distribution"))
    found = provenance.versions()
    assert found["torch"] == torch.__version__
    assert found["no-such-distribution"] is None
    assert list(found) == ["python", "torch", "no-such-distribution"]


def test_the_commit_is_gits(monkeypatch, tmp_path):
    if provenance.git(ROOT, "rev-parse", "HEAD") is None:
        expected = {"commit": None, "dirty": None}  # a copy without its history
    else:
        say = ["git", "-C", str(ROOT), "rev-parse", "HEAD"]
        head = subprocess.run(say, capture_output=True, text=True, check=True).stdout.strip()
        expected = {"commit": head, "dirty": provenance.commit()["dirty"]}
    assert provenance.commit() == expected
    assert provenance.git(tmp_path, "rev-parse", "HEAD") is None
    monkeypatch.setenv("PATH", str(tmp_path))
    assert provenance.git(ROOT, "rev-parse", "HEAD") is None
    assert provenance.commit() == {"commit": None, "dirty": None}


def test_the_processor_has_a_name():
    assert provenance.processor().strip()


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

"""Versions, commit and processor, also where a package or git is missing."""

import subprocess
from pathlib import Path

import torch

from train.core import provenance

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

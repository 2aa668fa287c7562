"""What a record says of the machine, the software and the checkout; nothing that names a host."""

import os
import platform
import re
from dataclasses import fields
from pathlib import Path

import torch

from benchmarks.schema import Machine, Software
from train.core.provenance import carried_commit, git, processor, version

ROOT = Path(__file__).resolve().parents[1]
_OUTPUTS = (":!benchmarks/results", ":!docs/results")


def describe_machine() -> Machine:
    """Return the processor, the memory, the GPU, and how busy the machine is now."""
    has_gpu = torch.cuda.is_available()
    return Machine(
        cpu=processor(),
        cores=num_cores(),
        ram_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        gpu=torch.cuda.get_device_name() if has_gpu else None,
        load_1m_before=round(os.getloadavg()[0], 2),
    )


def machine_slug(machine: Machine) -> str:
    """Return the name of the machine in file names, e.g. "amd-epyc-2-cores"."""
    name = machine.gpu if machine.gpu is not None else f"{machine.cpu} {machine.cores} cores"
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def describe_software() -> Software:
    """Return the versions that matter; None for what is not installed."""
    names = [field.name for field in fields(Software) if field.name != "python"]
    versions = {name: version(name.replace("_", "-")) for name in names}
    return Software(python=platform.python_version(), **versions)


def num_cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def checkout() -> tuple[str, bool]:
    """Return (commit, dirty).

    Where there is no git checkout: what the file `.commit` says, or "unknown"; and dirty, since
    nobody knows.
    """
    commit = git(ROOT, "rev-parse", "--short=10", "HEAD") if (ROOT / ".git").exists() else None
    if commit is None:
        return (carried_commit(ROOT) or "unknown")[:10], True
    return commit, git(ROOT, "status", "--porcelain", "--", ".", *_OUTPUTS) != ""

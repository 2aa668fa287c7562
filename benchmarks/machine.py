"""The machine: what a record says of it, how many cores work may use, how much memory it took.

Nothing names a host. Peak memory is the kernel's own high-water mark, on Linux only, which counts
what C, Rust and numba allocate too; of a GPU what torch's allocator gave out.
"""

import ctypes
import gc
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TypeVar

import numba
import torch

from benchmarks.schema import Machine, Software
from train.core.provenance import carried_commit, git, processor, version

ROOT = Path(__file__).resolve().parents[1]
_OUTPUTS = (":!benchmarks/results", ":!docs/results")
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")

T = TypeVar("T")


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


@contextmanager
def cores(count: int) -> Iterator[None]:
    """Let the block use `count` cores, whichever pool its threads come from."""
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    if available is not None and count > len(available):
        raise ValueError(f"cores: count is {count}; this process may use {len(available)}")
    torch_threads, numba_threads = torch.get_num_threads(), numba.get_num_threads()
    torch.set_num_threads(count)
    numba.set_num_threads(min(count, numba.config.NUMBA_NUM_THREADS))
    if available is not None:
        _pin(available[:count])
    try:
        yield
    finally:
        if available is not None:
            _pin(available)
        torch.set_num_threads(torch_threads)
        numba.set_num_threads(numba_threads)


def _pin(chosen: list[int]) -> None:
    """Move every thread of this process to the chosen cores; those it starts later inherit them."""
    for task in Path("/proc/self/task").iterdir():
        try:
            os.sched_setaffinity(int(task.name), chosen)
        except ProcessLookupError:
            continue  # a thread that ended meanwhile needs no core


def with_peak(call: Callable[[], T]) -> tuple[T, int | None]:
    """Return what `call` returns and the peak in bytes; None where the system cannot tell."""
    if not sys.platform.startswith("linux"):
        return call(), None
    gc.collect()
    # Freed blocks that the allocator keeps would be used again and not be seen.
    ctypes.CDLL(None).malloc_trim(0)
    try:
        _CLEAR.write_text("5")  # sets the high-water mark to what is resident now
    except OSError:  # a sandbox may forbid it
        return call(), None
    before = _kilobytes("VmRSS")
    result = call()
    return result, max(0, _kilobytes("VmHWM") - before) * 1024


def with_device_peak(call: Callable[[], T]) -> tuple[T, int | None]:
    """Return what `call` returns and the most bytes of its GPU tensors, above those before it."""
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    result = call()
    torch.cuda.synchronize()
    return result, max(0, torch.cuda.max_memory_allocated() - before)


def _kilobytes(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{_STATUS} has no {field}; the kernel does not account memory")
    return int(found[1])

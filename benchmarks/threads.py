"""How many cores a piece of work may use: thread counts of torch and numba, and where they run."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numba
import torch


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

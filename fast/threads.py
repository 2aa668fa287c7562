"""Threads for compiled loops that release the GIL; numba's own pools do not survive a fork."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

_MIN_OPERATIONS = 2**20  # about 0.1 ms: handing over takes as long

_Result = TypeVar("_Result")

_pools: dict[int, ThreadPoolExecutor] = {}
os.register_at_fork(after_in_child=_pools.clear)  # a child has the pool, but not its threads


def number_for(operations: int) -> int:
    """Return torch's number of threads, or 1 if there are too few operations to share."""
    return torch.get_num_threads() if operations >= _MIN_OPERATIONS else 1


def run(
    function: Callable[..., _Result], calls: Sequence[tuple[Any, ...]], num_threads: int
) -> list[_Result]:
    """Return [function(*arguments) for arguments in calls], on up to `num_threads` threads.

    Results come in the order of the calls; the first exception is raised. Do not call it from a
    thread of the pool: it would wait for itself.
    """
    if num_threads == 1 or len(calls) == 1:
        return [function(*arguments) for arguments in calls]
    if num_threads not in _pools:
        _pools[num_threads] = ThreadPoolExecutor(num_threads, thread_name_prefix="fast")
    return list(_pools[num_threads].map(lambda arguments: function(*arguments), calls))

"""Threads for compiled loops that release the interpreter's lock."""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

_pools: dict[int, ThreadPoolExecutor] = {}
# A forked child (a reader of sweeps) has the pool but not its threads.
os.register_at_fork(after_in_child=_pools.clear)


def run(function: Callable[..., None], calls: Iterable[tuple[Any, ...]]) -> None:
    """Make the calls on as many threads as torch uses; the first error is raised.

    Not numba's own threads: its pools do not survive a fork.
    """
    num_threads = torch.get_num_threads()
    if num_threads == 1:
        for arguments in calls:
            function(*arguments)
        return
    if num_threads not in _pools:
        _pools[num_threads] = ThreadPoolExecutor(num_threads, thread_name_prefix="model")
    for done in [_pools[num_threads].submit(function, *arguments) for arguments in calls]:
        done.result()

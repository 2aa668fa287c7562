"""A pool of threads for kernels that release the GIL; numba's own pools do not survive a fork."""

import os
from concurrent.futures import ThreadPoolExecutor

import torch

_WORTH_SHARING = 2**20  # operations, about 0.1 ms: handing over takes as long

_pools = {}
os.register_at_fork(after_in_child=_pools.clear)  # a child has the pool, but not its threads


def number_for(operations):
    """Return torch's number of threads, or 1 if there are too few operations to share."""
    return torch.get_num_threads() if operations >= _WORTH_SHARING else 1


def run(function, calls, num_threads):
    """Return [function(*arguments) for arguments in calls], on up to `num_threads` threads.

    Results come in the order of the calls; the first exception is raised. Do not call it from a
    thread of the pool: it would wait for itself.
    """
    if num_threads == 1 or len(calls) == 1:
        return [function(*arguments) for arguments in calls]
    if num_threads not in _pools:
        _pools[num_threads] = ThreadPoolExecutor(num_threads, thread_name_prefix="fast")
    return list(_pools[num_threads].map(lambda arguments: function(*arguments), calls))

"""A pool of threads for kernels that release the GIL; numba's own pools do not survive a fork."""

import os
from concurrent.futures import ThreadPoolExecutor

_pools = {}
os.register_at_fork(after_in_child=_pools.clear)  # a child has the pool, but not its threads


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

"""The peak of this process's memory during a call, above what it held before.

Of the host, on Linux only, the kernel's own high-water mark, which counts what C, Rust and numba
allocate too; of a GPU what torch's allocator gave out.
"""

import ctypes
import gc
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")

T = TypeVar("T")


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
    import torch

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

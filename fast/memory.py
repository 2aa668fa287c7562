"""Refuse what does not fit into memory before it is allocated, with its size and a way out."""

import re
from pathlib import Path

from torch import Tensor

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")  # version 2: what a container may use
_WORTH_ASKING = 2**28  # bytes; less is allocated without a question


def available_bytes() -> int | None:
    """Return how much the system can still give this process; None where it cannot tell."""
    if not _MEMINFO.exists():
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", _MEMINFO.read_text(), re.MULTILINE)
    if found is None:
        return None
    free = 1024 * int(found[1])
    limit, used = _CGROUP / "memory.max", _CGROUP / "memory.current"
    if limit.exists() and used.exists():
        most = limit.read_text().strip()
        if most != "max":
            free = min(free, max(0, int(most) - int(used.read_text())))
    return free


def refuse_distances_beyond_memory(function: str, points: Tensor, matrices: float) -> None:
    """Raise MemoryError if `matrices` times the distances of (..., N, C) CPU points do not fit."""
    if points.device.type != "cpu":
        return  # torch's own allocator says so there
    n = points.shape[-2]
    clouds = points.shape[:-2].numel()
    needed = _bytes_of_distances(points, matrices)
    each = f"{clouds} clouds of {n:,} points" if clouds > 1 else f"{n:,} points"
    refuse_beyond_memory(
        f"{function}: points has {each}, whose distances would take {{needed}} with what is needed "
        "to work on them; {available} are available. Pass fewer points, e.g. those that "
        "topology_preserving_sampling picks, fewer clouds in one call, or float32",
        needed,
    )


def distances_fit(points: Tensor, matrices: float) -> bool:
    """Whether `matrices` times the distances of (..., N, C) CPU points fit, as far as is known."""
    available = available_bytes()
    return available is None or _bytes_of_distances(points, matrices) <= available


def _bytes_of_distances(points: Tensor, matrices: float) -> int:
    n = points.shape[-2]
    return int(matrices * points.shape[:-2].numel() * n * n * points.element_size())


def refuse_beyond_memory(message: str, needed: int) -> None:
    """Raise MemoryError if so many bytes are not available; {needed} and {available} are filled."""
    if needed < _WORTH_ASKING:
        return
    available = available_bytes()
    if available is None or needed <= available:
        return
    sizes = {"needed": needed, "available": available}
    raise MemoryError(
        message.format(**{name: f"{size / 2**30:.1f} GiB" for name, size in sizes.items()})
    )

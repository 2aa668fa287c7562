"""How far this process's memory grew while something was done."""

import re
from pathlib import Path
from typing import Final, Self

_STATUS: Final = Path("/proc/self/status")
_CLEAR: Final = Path("/proc/self/clear_refs")


class PeakMemory:
    """Measures the resident memory of this process inside a `with` block.

    Attributes
    ----------
    growth_bytes
        The most that was resident at once inside the block, beyond what was before; None where
        the system does not say (no Linux, or a container that forbids to reset the peak).
    """

    def __init__(self) -> None:
        self.growth_bytes: int | None = None
        self._before: int | None = None

    def __enter__(self) -> Self:
        """Forget the peak so far."""
        try:
            _CLEAR.write_text("5", encoding="ascii")  # proc(5): resets VmHWM to what is resident
            self._before = _resident("VmHWM")
        except OSError:
            self._before = None
        return self

    def __exit__(self, *_: object) -> None:
        """Read the peak."""
        if self._before is not None:
            peak = _resident("VmHWM")
            self.growth_bytes = None if peak is None else peak - self._before


def _resident(field: str) -> int | None:
    found = re.search(rf"^{field}:\s+(\d+) kB$", _STATUS.read_text(encoding="ascii"), re.MULTILINE)
    return None if found is None else 1024 * int(found[1])

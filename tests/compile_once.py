"""Lets pytest's processes wait for each other's compilation instead of all doing the same.

Numba keeps what it compiled on disk, but only once it is done: processes that start together would
all compile the same kernels, a minute of every core.
"""

import functools
from pathlib import Path
from typing import Any

from filelock import FileLock
from numba.core.compiler_lock import global_compiler_lock
from numba.core.dispatcher import Dispatcher


def share_compilation() -> None:
    """From now on, let one process at a time compile a function that is kept on disk."""
    alone = Dispatcher.compile

    @functools.wraps(alone)
    def shared(self: Any, sig: Any) -> Any:
        folder = getattr(self._cache, "cache_path", None)
        if folder is None:
            return alone(self, sig)
        # Numba's own lock first: a thread that has it may be about to ask for this one.
        with global_compiler_lock, _lock(Path(folder), self.py_func):
            return alone(self, sig)

    Dispatcher.compile = shared


def _lock(folder: Path, function: Any) -> FileLock:
    return _lock_at(folder / f"{function.__module__}.{function.__qualname__}.lock")


@functools.cache
def _lock_at(path: Path) -> FileLock:
    """Return one lock for one file: it may be taken again by whoever has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileLock(path)

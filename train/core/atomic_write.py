"""Write files whole or not at all, so that a kill leaves the old content or the new."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a neighbor of `path` to write to; it replaces `path` unless something raises."""
    unfinished = path.with_name(path.name + ".unfinished")
    yield unfinished
    unfinished.replace(path)

"""Sweeps that cannot be used: what a run does with them, and the list of those it met.

With "stop" the first one ends the run. With "skip" training takes the next sweep that can be used
in its place, so that a batch has its size and a run its number of steps, and evaluation leaves it
out; either way it is reported once and listed in the end.

Each process of a run has the list of what it met itself; `SkippedFrames.share` makes the lists one.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from train.core.atomic_write import atomic_write
from train.core.console import logger
from train.core.distributed import gather_objects, is_first_process
from train.core.errors import UserError

OnBadFrame = Literal["stop", "skip"]
"""What to do with a sweep that cannot be read."""

SKIPPED: Final = "skipped"
"""Where a batch holds the sweeps that were skipped while it was made."""


@dataclass(frozen=True)
class BadFrame:
    """A sweep that could not be read; it travels in the batch, out of the process that read it.

    Attributes
    ----------
    name
        The sweep's.
    message
        What is wrong; it starts with the path of the file.
    """

    name: str
    message: str


class SkippedFrames:
    """The sweeps that a run could not read, each once, with what was said of it.

    Parameters
    ----------
    path
        A JSON file that keeps the list, so that a run that goes on knows what its first part met;
        None to keep it in memory alone. Of several processes only the first writes it.

    Raises
    ------
    UserError
        If the file is there and is no such list.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._messages: dict[str, str] = {}
        if path is not None and path.exists():
            self._messages = _read(path)

    @property
    def messages(self) -> dict[str, str]:
        """What was said, by sweep name, in the order in which they were met."""
        return dict(self._messages)

    def __len__(self) -> int:
        """Return how many sweeps were skipped."""
        return len(self._messages)

    def add(self, bad: Iterable[BadFrame]) -> None:
        """Add sweeps; report those that are new, and write the list again."""
        self._add({sweep.name: sweep.message for sweep in bad})

    def share(self) -> None:
        """Make the lists of all processes one; every process calls this at the same point."""
        for messages in gather_objects(self._messages):
            self._add(messages)

    def _add(self, messages: Mapping[str, str]) -> None:
        new = {name: line for name, line in messages.items() if name not in self._messages}
        if not new:
            return
        self._messages |= new
        for message in new.values():
            logger.info(f"skipped: {message}")
        if self.path is not None and is_first_process():
            with atomic_write(self.path) as unfinished:
                unfinished.write_text(json.dumps(self._messages, indent=2) + "\n", encoding="utf-8")

    def watch(self, batches: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """Yield the batches of a loader, those without a sweep too, and add what was skipped.

        An empty batch is a step that other processes take with sweeps: it must not be left out.
        """
        for batch in batches:
            self.add(batch[SKIPPED])
            yield batch

    def lines(self) -> list[str]:
        """Return the list to be read at the end of a run; nothing if every sweep was read."""
        if not self._messages:
            return []
        return [f"sweeps that could not be read: {len(self)}", *self._messages.values()]


def _read(path: Path) -> dict[str, str]:
    """Return a list that an earlier part of the run wrote."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read ({error}); remove it") from error
    if not isinstance(found, dict) or not all(isinstance(entry, str) for entry in found.values()):
        raise UserError(f"{path}: is no list of skipped sweeps; remove it")
    return found

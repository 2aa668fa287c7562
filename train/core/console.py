"""What people read while a command runs: lines, and how far a loop is.

Of several processes only the first writes; errors are written by all, with their process.
"""

import logging
import sys
import time
from collections.abc import Mapping
from typing import Any, Final, TextIO

from tqdm import tqdm

from train.core.distributed import PeerLost, current_world, error_line, is_first_process
from train.core.errors import UserError

PLAIN_LINE_EVERY_S = 15.0


class _AboveProgressBars(logging.Handler):
    """Write each record as a line on the standard error stream, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; the stream is looked up now, because it can be replaced."""
        line = self.format(record)
        if not is_first_process():
            if record.levelno < logging.ERROR:
                return
            world = current_world()
            line = f"process {world.rank} of {world.size}: {line}"
        tqdm.write(line, file=sys.stderr)


def _command_logger() -> logging.Logger:
    made = logging.getLogger("train")
    made.setLevel(logging.INFO)
    made.propagate = False
    made.handlers = [_AboveProgressBars()]
    return made


logger: Final = _command_logger()
"""Lines for the person who runs a command; silent on all processes of a run but the first.

Lines of level ERROR and above are written by every process; those of the others say which.
"""


def show_error(error: UserError) -> None:
    """Write the error that ends a command, as one line.

    What ends all processes of a run ends the first one too, which writes it; that others are lost
    is written by each process that is left.
    """
    if is_first_process() or isinstance(error, PeerLost):
        logger.error("error: %s", error_line(error))


class Progress:
    """Show how far a loop is: a bar in a terminal, a plain line now and then elsewhere.

    Silent on all processes of a run but the first.

    Parameters
    ----------
    title
        What is being done.
    total
        Steps in all.
    done
        Steps that an earlier part of the run has done.
    stream
        Where to write; the standard error stream by default.
    """

    def __init__(
        self, title: str, total: int, *, done: int = 0, stream: TextIO | None = None
    ) -> None:
        self.title, self.total, self.done, self.first = title, total, done, done
        self.stream = stream if stream is not None else sys.stderr
        self.started = self.last_line = time.monotonic()
        self.bar: Any = None
        if self.stream.isatty() and is_first_process():
            self.bar = tqdm(
                total=total, initial=done, desc=title, file=self.stream, dynamic_ncols=True
            )

    def advance(self, numbers: Mapping[str, float]) -> None:
        """Count a step and show its numbers."""
        self.done += 1
        if not is_first_process():
            return
        shown = "  ".join(f"{name} {value:.4g}" for name, value in numbers.items())
        if self.bar is not None:
            self.bar.set_postfix_str(shown, refresh=False)
            self.bar.update()
            return
        now = time.monotonic()
        if now - self.last_line >= PLAIN_LINE_EVERY_S or self.done == self.total:
            self.last_line = now
            elapsed = now - self.started
            left = elapsed / (self.done - self.first) * (self.total - self.done)
            print(
                f"{self.title}: {self.done}/{self.total}  {shown}  "
                f"{_clock(elapsed)} gone, about {_clock(left)} left",
                file=self.stream,
                flush=True,
            )

    def close(self) -> None:
        """Leave the last state of the bar on the screen."""
        if self.bar is not None:
            self.bar.close()


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"

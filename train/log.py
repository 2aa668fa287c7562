"""What a run tells while it goes: a progress bar or plain lines, log.jsonl, TensorBoard."""

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from train.files import whole_file

PLAIN_LINE_EVERY_S = 15.0


def say(message: str) -> None:
    """Print a line on the standard error stream without breaking a progress bar."""
    tqdm.write(message, file=sys.stderr)


class Progress:
    """Show how far a loop is: a bar in a terminal, a plain line now and then elsewhere.

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
        if self.stream.isatty():
            self.bar = tqdm(
                total=total, initial=done, desc=title, file=self.stream, dynamic_ncols=True
            )

    def advance(self, numbers: Mapping[str, float]) -> None:
        """Count a step and show its numbers."""
        self.done += 1
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


class RunLog:
    """Write one line a step to log.jsonl, and the same numbers as TensorBoard events.

    Parameters
    ----------
    folder
        The run's output folder.
    resume_at
        When a run goes on: the stage and the number of its steps that stand. Later lines of that
        stage, written after the last checkpoint, are dropped because those steps are done again.
    """

    def __init__(self, folder: Path, resume_at: tuple[str, int] | None = None) -> None:
        self.path = folder / "log.jsonl"
        if resume_at is not None:
            drop_later_steps(self.path, *resume_at)
        self._lines = self.path.open("a", encoding="utf-8")
        self._folder = folder
        self._writers: dict[str, SummaryWriter] = {}
        self._resume_at = resume_at

    def step(self, stage: str, step: int, record: Mapping[str, Any]) -> None:
        """Record a training step; numbers also go to TensorBoard."""
        self._lines.write(json.dumps({"stage": stage, "step": step, **record}) + "\n")
        self._lines.flush()
        writer = self._writer(stage)
        for name, value in record.items():
            if isinstance(value, float):
                writer.add_scalar(f"{stage}/{name}", value, step)

    def _writer(self, stage: str) -> SummaryWriter:
        if stage not in self._writers:
            purge = None
            if self._resume_at is not None and self._resume_at[0] == stage:
                purge = self._resume_at[1] + 1
            self._writers[stage] = SummaryWriter(
                self._folder / "tensorboard" / stage, purge_step=purge
            )
        return self._writers[stage]

    def close(self) -> None:
        """Flush and close all files."""
        self._lines.close()
        for writer in self._writers.values():
            writer.close()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def drop_later_steps(path: Path, stage: str, step: int) -> None:
    """Remove lines of `stage` after `step`, and a last line that a kill cut short."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            break  # only the last line can be cut: a line is written in one piece, in order
        if record["stage"] != stage or record["step"] <= step:
            kept.append(line + "\n")
    with whole_file(path) as unfinished:
        unfinished.write_text("".join(kept), encoding="utf-8")

"""The record of a run's steps: log.jsonl and TensorBoard."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from train.core.atomic_write import append_whole, atomic_write
from train.core.console import logger
from train.core.errors import UserError, cannot_write

if TYPE_CHECKING:
    from train.engine.event_file import EventFile

_STANDS = "the steps up to the last checkpoint stand"


class RunLog:
    """Write one line per step to log.jsonl, and the same numbers as TensorBoard events.

    Parameters
    ----------
    folder
        The run's output folder.
    resume_at
        When a run goes on: the stage and the number of its steps that stand. Later lines of that
        stage, written after the last checkpoint, are dropped because those steps are done again.

    Raises
    ------
    UserError
        From every method, if a file cannot be written. No step is left half written.
    """

    def __init__(self, folder: Path, resume_at: tuple[str, int] | None = None) -> None:
        self.path = folder / "log.jsonl"
        if resume_at is not None:
            drop_later_steps(self.path, *resume_at)
        try:
            self._lines = self.path.open("ab", buffering=0)
            _end_last_line(self.path, self._lines.fileno())
        except OSError as error:
            raise cannot_write(self.path, error, note=_STANDS) from error
        self._folder = folder / "tensorboard"
        self._events: dict[str, EventFile] = {}
        self._resume_at = resume_at

    def step(self, stage: str, step: int, record: Mapping[str, Any]) -> None:
        """Record a training step; numbers also go to TensorBoard."""
        line = json.dumps({"stage": stage, "step": step, **record}) + "\n"
        try:
            append_whole(self._lines.fileno(), line.encode())
        except OSError as error:
            raise cannot_write(self.path, error, note=_STANDS) from error
        numbers = {
            f"{stage}/{name}": value for name, value in record.items() if isinstance(value, float)
        }
        try:
            events = self._events_of(stage)
            if numbers:
                events.scalars(numbers, step)
        except OSError as error:
            raise cannot_write(self._folder / stage, error, note=_STANDS) from error

    def _events_of(self, stage: str) -> "EventFile":
        from train.engine.event_file import EventFile  # loads protobuf: not for --help

        if stage not in self._events:
            purge = None
            if self._resume_at is not None and self._resume_at[0] == stage:
                purge = self._resume_at[1] + 1
            self._events[stage] = EventFile(self._folder / stage, purge_step=purge)
        return self._events[stage]

    def close(self) -> None:
        """Close all files; every step is written already."""
        self._lines.close()
        for events in self._events.values():
            events.close()

    def __enter__(self) -> "RunLog":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the records of a log.jsonl, in order; what is damaged is left out and counted aloud.

    Parameters
    ----------
    path
        The file.

    Returns
    -------
    list of dict
        Each with "stage" (str), "step" (int), "seconds" where they were recorded, and the rest of
        the step's record. Nothing about a record is checked beyond "stage" and "step".

    Raises
    ------
    UserError
        If the file is missing or cannot be read.
    """
    records, damaged = _records_of(path)
    if damaged:
        shown = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
        logger.warning(
            f"{path}: {len(damaged)} damaged line{'s' * (len(damaged) > 1)} left out "
            f"(line{'s' * (len(damaged) > 1)} {shown})"
        )
    return records


def seconds_by_stage(records: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """Sum the steps' wall times, reading and checkpoints included, over all parts of a run."""
    seconds: dict[str, float] = {}
    for record in records:
        stage = record["stage"]
        seconds[stage] = seconds.get(stage, 0.0) + float(record.get("seconds", 0.0))
    return seconds


def left_out(rays: Mapping[str, int]) -> str:
    """Say how many rows of some frames' files are no points; `rays` has them by frame."""
    return (
        f"{sum(rays.values()):,} rows of {len(rays):,} frames are rays without a return (NaN), and "
        "left out"
    )


def drop_later_steps(path: Path, stage: str, step: int) -> None:
    """Remove lines of `stage` after `step`, and damaged ones, which are counted aloud.

    All other lines stay as they are. A last line that a kill cut short is a damaged one.

    Raises
    ------
    UserError
        If the file cannot be read or written.
    """
    if not path.exists():
        return
    records = read_log(path)
    kept = [r for r in records if r["stage"] != stage or r["step"] <= step]
    with atomic_write(path) as unfinished:
        unfinished.write_text(
            "".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8"
        )


def _records_of(path: Path) -> tuple[list[dict[str, Any]], list[int]]:
    """Return the records of a log and the numbers of its damaged lines, from 1."""
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError as error:
        raise UserError(f"{path}: no such file; give the folder of a run that has one") from error
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}); check its permissions"
        ) from error
    records: list[dict[str, Any]] = []
    damaged = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode())
        except ValueError:  # no UTF-8, or no JSON
            record = None
        if _is_record(record):
            records.append(record)
        else:
            damaged.append(number)
    return records, damaged


def _is_record(value: object) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("stage"), str)
        and isinstance(value.get("step"), int)
    )


def _end_last_line(path: Path, file: int) -> None:
    """End a line that a kill cut short, so that the next one does not become part of it."""
    with path.open("rb") as content:
        if content.seek(0, os.SEEK_END):
            content.seek(-1, os.SEEK_END)
            if content.read(1) != b"\n":
                os.write(file, b"\n")

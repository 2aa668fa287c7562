"""TensorBoard's file of scalars, written at once and without a thread.

torch's `SummaryWriter` writes in a thread of its own, which ends in a traceback where the disk is
full, and a process that forks readers should have no such thread.
"""

import os
import secrets
import time
from collections.abc import Mapping
from io import FileIO
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter

from train.core.atomic_write import append_whole

_FILE_VERSION = "brain.Event:2"


class EventFile:
    """One new event file in a folder.

    Parameters
    ----------
    folder
        Made if need be.
    purge_step
        TensorBoard forgets what earlier files of the folder say from this step on.

    Raises
    ------
    OSError
        From every method, if the file cannot be written.
    """

    def __init__(self, folder: Path, *, purge_step: int | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a folder in the order of their names: a run that goes on
        # within the same second must come later.
        seconds, nanoseconds = divmod(time.time_ns(), 10**9)
        unique = f"{nanoseconds:09d}.{os.getpid()}.{secrets.token_hex(4)}"
        name = f"events.out.tfevents.{seconds:010d}.{unique}"
        self._file = _WholeRecords((folder / name).open("ab", buffering=0))
        self._records = RecordWriter(self._file)
        self._write(Event(wall_time=time.time(), file_version=_FILE_VERSION))
        if purge_step is not None:
            start = SessionLog(status=SessionLog.START)
            self._write(Event(wall_time=time.time(), step=purge_step, session_log=start))

    def scalars(self, values: Mapping[str, float], step: int) -> None:
        """Write the scalars of one step by their tags."""
        summary = Summary(
            value=[Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        )
        self._write(Event(wall_time=time.time(), step=step, summary=summary))

    def _write(self, event: Event) -> None:
        self._records.write(event.SerializeToString())

    def close(self) -> None:
        """Close the file; nothing is left to write."""
        self._file.close()


class _WholeRecords:
    """A file in which each record is whole, also the last one before the disk was full."""

    def __init__(self, file: FileIO) -> None:
        self._file = file

    def write(self, record: bytes) -> None:
        append_whole(self._file.fileno(), record)

    def close(self) -> None:
        self._file.close()

"""The record of a run's steps: log.jsonl and TensorBoard."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from train.core.atomic_write import atomic_write


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
    with atomic_write(path) as unfinished:
        unfinished.write_text("".join(kept), encoding="utf-8")

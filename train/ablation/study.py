"""The engine of every study: runs that are resumed and recorded, and the page that they give.

A study is data: what all runs share (`settings`), which runs are wanted (`runs`), what does one of
them (`run_one`) and what shows them all (`page`). `Study.start` does those runs that the file of
records lacks, adds each to it as soon as it ends, and writes the page; a study that was stopped
goes on when it is started again. ::

    def train(run):  # a NamedTuple with grid, variant and seed
        ...
        return {run.variant: Outcome(teacher=..., options=..., scores={"miou": 0.4}, scenes=...)}

    Study(settings={"dataset": "waymo", ...}, runs=[Run("main", "kd", 0), ...], run_one=train,
          page=write, records=Path("runs/main/records.jsonl.gz"), device=device).start()

Runs are paired by seed: variants of a seed are to share all that is drawn. Differences, intervals
and verdicts of the records are in `train.ablation.statistics` and `verdicts`, the records' file in
`train.ablation.records`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch

from train.ablation.records import (
    Outcome,
    Records,
    RunRecord,
    add_records,
    differences,
    hash_of,
    read_records,
    refuse_single_files,
)
from train.core import provenance
from train.core.atomic_write import make_folder
from train.core.console import logger
from train.core.device import describe_device
from train.core.errors import UserError


class Run(Protocol):
    """Which run."""

    @property
    def grid(self) -> str:
        """The name of the table that it is in."""

    @property
    def variant(self) -> str:
        """Its row."""

    @property
    def seed(self) -> int:
        """What runs of a grid are paired by."""


R = TypeVar("R", bound=Run)
Key = tuple[str, str, int]
"""Grid, variant and seed."""


@dataclass(frozen=True, kw_only=True)
class Study(Generic[R]):
    """Runs that share their settings, their records, and the page of these.

    Attributes
    ----------
    settings
        What all runs share, in plain JSON values; its hash names the setup. The page reads
        `dataset` (str), `simulated` (bool) and `pair` (str).
    runs
        What is wanted, in the order in which they run.
    run_one
        Does a run; returns what it gave by the variant that it is recorded as. A run is done when
        its own variant is recorded.
    page
        Writes the page of all records.
    records
        The file of records; its folder is made.
    also
        Further files of records, of other machines, for the page.
    device
        Where the runs are computed.
    """

    settings: Mapping[str, Any]
    runs: Sequence[R]
    run_one: Callable[[R], Mapping[str, Outcome]]
    page: Callable[[Records], None]
    records: Path
    also: Sequence[Path] = ()
    device: torch.device

    @property
    def setup(self) -> str:
        """12 hexadecimal digits that stand for the settings."""
        return hash_of(self.settings)

    def done(self) -> dict[Key, RunRecord]:
        """Return the runs that are recorded, of these grids and of others.

        Raises
        ------
        UserError
            If the file is damaged, or a run of these grids has other settings.
        """
        refuse_single_files(self.records)
        if not self.records.is_file():
            return {}
        grids = {run.grid for run in self.runs}
        found = read_records([self.records]).runs
        for record in found:
            if record.grid in grids and record.setup != self.setup:
                changed = differences(record.setup_settings, self.settings)
                raise UserError(
                    f"{self.records}: {record} is of another configuration ({changed}); give "
                    "another --output, or the flags that it was made with"
                )
        return {(record.grid, record.variant, record.seed): record for record in found}

    def start(self) -> int:
        """Do the missing runs one after the other, and write the page; return how many there were.

        The page is written too where the runs are stopped.
        """
        make_folder(self.records.parent, "--output")
        done = self.done()
        missing = [run for run in self.runs if (run.grid, run.variant, run.seed) not in done]
        logger.info(
            f"{len(self.runs) - len(missing)} of {len(self.runs)} runs are done, setup "
            f"{self.setup}; on {describe_device(self.device)}"
        )
        started = time.monotonic()
        try:
            for number, run in enumerate(missing, start=1):
                outcomes = self.run_one(run)
                add_records(
                    self.records,
                    [self.record(run, variant, of) for variant, of in outcomes.items()],
                )
                left_s = (time.monotonic() - started) / number * (len(missing) - number)
                logger.info(
                    f"{number} of {len(missing)}: {run.grid}, {run.variant}, seed {run.seed}"
                    f"{_shown(outcomes[run.variant])}; about {left_s / 60:.0f} minutes left"
                )
        finally:
            if self.records.is_file():
                self.page(read_records([self.records, *self.also]))
        return len(missing)

    def record(self, run: R, variant: str, outcome: Outcome) -> RunRecord:
        """Return the record of a run that ends now."""
        found = provenance.commit()
        commit = found["commit"]
        return RunRecord(
            grid=run.grid,
            variant=variant,
            seed=run.seed,
            setup=self.setup,
            setup_settings=self.settings,
            versions=provenance.versions(),
            commit=None if commit is None else f"{commit}{'+' * bool(found['dirty'])}",
            device=f"{describe_device(self.device)}, {provenance.processor()}",
            utc=datetime.now(UTC).isoformat(timespec="seconds"),
            **vars(outcome),
        )


def records_for_page(path: Path) -> Records:
    """Return the records of a file, for a page without new runs.

    Raises
    ------
    UserError
        If there is none, or `read_records` refuses it.
    """
    if not path.is_file():
        raise UserError(f"--page-only: no records in {path}; run it without")
    return read_records([path])


def _shown(outcome: Outcome) -> str:
    """Return the first score in percent."""
    name, value = next(iter(outcome.scores.items()), ("", None))
    return "" if value is None else f": {name} {100 * value:.2f}"

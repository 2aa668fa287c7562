"""The command that makes the page of TopKD: runs on digits that are missing, then the page.

python -m benchmarks.studies topkd-digits --output docs/results
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import cores
from benchmarks.studies.study_page import command, refuse_below, write_page
from benchmarks.studies.topkd_digits.experiment import Experiment, Settings, variants
from benchmarks.studies.topkd_digits.lidar import RECORD_NAME, read_record
from benchmarks.studies.topkd_digits.page import RECORDS_NAME, markdown
from train.ablation.records import Records
from train.ablation.study import records_for_page
from train.core.errors import UserError

PAGE_NAME = "topkd.md"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command is asked."""

    output: Path = Path("runs/topkd-digits")
    """folder of the page and the records"""
    seeds: int = 40
    """seeds 0 to K - 1, the teachers in turn"""
    page_only: bool = False
    """run nothing; write the page from the records"""


def run(options: Options, settings: Settings | None = None) -> None:
    """Do the missing runs and write the page, with what topkd-fidelity left beside it.

    `settings` are what all variants share, None for those of the command. UserError if there is
    nothing to show, or records are of other settings.
    """
    refuse_below(1, seeds=options.seeds)
    settings = settings or Settings()
    lidar = read_record(options.output / RECORD_NAME)

    def page(records: Records) -> None:
        # Where the runs were stopped there may be a teacher alone.
        if any(run.role == "student" for run in records.runs):
            write_page(options.output / PAGE_NAME, markdown(records, variants(settings), lidar))

    file = options.output / RECORDS_NAME
    if options.page_only:
        records = records_for_page(file)
        if not any(run.role == "student" for run in records.runs):
            raise UserError(f"--page-only: no student in {file}; run it without")
        page(records)
        return
    with tempfile.TemporaryDirectory(prefix="topkd-digits-") as work, cores(1):  # sums in one order
        Experiment(settings, Path(work)).study(options.seeds, file, page).start()


COMMAND = command(
    "topkd-digits",
    Options,
    run,
    "Distill a small convolutional pair on scikit-learn's digits by TopKD and without it, paired "
    "by seed, and write the page that sets the numbers beside the paper's. Some 25 minutes on "
    "one quiet core.",
)
main = COMMAND.main

"""The command that makes the page of TopKD: runs on digits that are missing, then the page.

python -m benchmarks.studies topkd-digits --output docs/results
"""

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.studies.page_command import write_page
from benchmarks.studies.topkd_digits.experiment import Experiment, Settings, arms
from benchmarks.studies.topkd_digits.lidar import RECORD_NAME, read_record
from benchmarks.studies.topkd_digits.page import markdown
from train.ablation.records import read_folders
from train.core.atomic_write import make_folder
from train.core.command import run_command
from train.core.errors import UserError

PAGE_NAME = "topkd.md"
RECORDS_NAME = "topkd_records"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a user's mistake, 128 + signal when stopped."""
    options = _parser().parse_args(arguments)
    return run_command(
        lambda: run(options.output, options.seeds, page_only=options.page_only),
        stopped="the same command goes on with the missing runs",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies topkd-digits",
        description="Distill a small convolutional pair on scikit-learn's digits by TopKD and "
        "without it, paired by seed, and write the page that sets the numbers beside the paper's. "
        "Under two minutes on one quiet core.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/topkd-digits"),
        help=f"folder of {PAGE_NAME} and {RECORDS_NAME}/ [runs/topkd-digits]",
    )
    parser.add_argument("--seeds", type=int, default=5, metavar="K", help="seeds 0 to K - 1 [5]")
    parser.add_argument(
        "--page-only", action="store_true", help="run nothing; write the page from the records"
    )
    return parser


def run(
    output: Path, seeds: int, *, page_only: bool = False, settings: Settings | None = None
) -> None:
    """Do the missing runs and write the page, with what topkd-fidelity left beside it.

    Parameters
    ----------
    output
        Folder; is made.
    seeds
        How many, at least 1.
    page_only
        Run nothing.
    settings
        What all arms share; None for those of the command.

    Raises
    ------
    UserError
        If there is nothing to show, or records are of other settings.
    """
    if seeds < 1:
        raise UserError(f"--seeds {seeds}: at least 1")
    settings = settings or Settings()
    records = output / RECORDS_NAME
    if not page_only:
        make_folder(records, "--output")
        with _one_thread():
            Experiment(settings, records).start(seeds)
    found = read_folders([records])
    if not any(run.role == "student" for run in found.runs):
        raise UserError(f"--page-only: no records in {records}; run it without")
    lidar = read_record(output / RECORD_NAME)
    write_page(output / PAGE_NAME, markdown(found, arms(settings), lidar))


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one thread: sums are then in one order, whatever the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

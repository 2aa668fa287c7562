"""The command that compares the methods of cameras: runs that are missing, then the page.

python -m benchmarks.studies cross-modal --output docs/results
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.studies.cross_modal.arms import GRIDS
from benchmarks.studies.cross_modal.experiment import Experiment, Settings
from benchmarks.studies.cross_modal.page import markdown
from benchmarks.studies.page_command import (
    add_folder_flags,
    add_run_flags,
    records_for_page,
    write_page,
)
from train.core.atomic_write import make_folder
from train.core.command import run_command
from train.core.device import resolve_device
from train.core.errors import UserError

PAGE_NAME = "cross_modal.md"
RECORDS_NAME = "cross_modal_records"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a user's mistake, 128 + signal when stopped."""
    options = _parser().parse_args(arguments)
    return run_command(
        lambda: _run(options), stopped="the same command goes on with the missing runs"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies cross-modal",
        description="Compare xmodel-kd, udakd and fskd with LiDAR alone, with placebos and with "
        "plain projection, on simulated streets with cameras. Hours on two cores; choose a part of "
        "it, records add up.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add_folder_flags(
        parser,
        page=PAGE_NAME,
        records=RECORDS_NAME,
        runs="cross-modal",
        work="the streets and the image network",
    )
    add("--grids", nargs="+", choices=tuple(GRIDS), default=tuple(GRIDS), metavar="GRID")
    add("--seeds", type=int, default=5, metavar="N", help="seeds 0 to N - 1 [5]")
    add_run_flags(parser)
    return parser


def _run(options: argparse.Namespace) -> None:
    if options.seeds < 1:
        raise UserError(f"--seeds {options.seeds}: at least 1")
    run(
        options.output,
        options.work,
        grids=options.grids,
        seeds=range(options.seeds),
        device=options.device,
        page_only=options.page_only,
    )


def run(
    output: Path,
    work: Path,
    *,
    grids: Sequence[str] = tuple(GRIDS),
    seeds: Sequence[int] = range(5),
    device: str = "cpu",
    page_only: bool = False,
    settings: Settings | None = None,
) -> None:
    """Do the missing runs and write the page.

    Parameters
    ----------
    output, work
        Folders; are made.
    grids, seeds
        Which runs.
    device
        Where to compute.
    page_only
        Run nothing.
    settings
        What all runs share; None for those of the command.

    Raises
    ------
    UserError
        If there is nothing to show, or records are of other settings.
    """
    records = output / RECORDS_NAME
    if not page_only:
        make_folder(records, "--output")
        make_folder(work, "--work")
        experiment = Experiment(settings or Settings(), records, work, resolve_device(device))
        experiment.start(grids, seeds)
    found = records_for_page(records)
    write_page(output / PAGE_NAME, markdown(found))

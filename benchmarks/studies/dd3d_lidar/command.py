"""The command that makes the page of distilled LiDAR frames: missing runs, then the page.

python -m benchmarks.studies dd3d-lidar --output docs/results
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmarks.studies.dd3d_lidar.experiment import ARMS, Experiment, Plan, Settings
from benchmarks.studies.dd3d_lidar.page import PICTURE, markdown
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
from train.dataset_distillation.networks.segmenters import SEGMENTERS

PAGE_NAME = "dd3d_lidar.md"
RECORDS_NAME = "dd3d_lidar_records"
_PLAN = Plan()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a user's mistake, 128 + signal when stopped."""
    options = _parser().parse_args(arguments)
    return run_command(
        lambda: _run(options), stopped="the same command goes on with the missing runs"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies dd3d-lidar",
        description="Distill simulated LiDAR frames by DD3D, train networks on the result and on "
        "as many real points, and write the page that compares them. Under an hour on one core; "
        "records add up.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add_folder_flags(
        parser,
        page=PAGE_NAME,
        records=RECORDS_NAME,
        runs="dd3d-lidar-page",
        work="the frames and the small sets",
    )
    add("--frames", type=int, nargs="+", default=_PLAN.frames, metavar="M", help="of a small set")
    add("--networks", nargs="+", choices=SEGMENTERS, default=_PLAN.networks, metavar="NETWORK")
    add(
        "--methods",
        nargs="+",
        choices=ARMS,
        default=_PLAN.methods,
        metavar="METHOD",
    )
    add("--seeds", type=int, nargs="+", default=_PLAN.seeds, metavar="S")
    add_run_flags(parser)
    return parser


def _run(options: argparse.Namespace) -> None:
    plan = Plan(
        frames=tuple(options.frames),
        networks=tuple(options.networks),
        methods=tuple(options.methods),
        seeds=tuple(options.seeds),
    )
    for flag, values, least in (("--frames", plan.frames, 1), ("--seeds", plan.seeds, 0)):
        if min(values) < least:
            raise UserError(f"{flag} {min(values)}: at least {least}")
    run(options.output, options.work, plan, device=options.device, page_only=options.page_only)


def run(
    output: Path,
    work: Path,
    plan: Plan,
    *,
    device: str = "cpu",
    page_only: bool = False,
    settings: Settings | None = None,
) -> None:
    """Do the missing runs and write the page, with a picture of the first seed's frames.

    Parameters
    ----------
    output, work
        Folders; are made.
    plan
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
        if experiment.start(plan) or not (output / PICTURE).is_file():
            experiment.draw(output / PICTURE, plan)
    found = records_for_page(records)
    write_page(output / PAGE_NAME, markdown(found, picture=(output / PICTURE).is_file()))

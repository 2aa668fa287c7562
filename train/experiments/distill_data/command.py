"""The command that makes the page of dataset distillation: runs that are missing, then the page.

python -m train.distill_data_page --output docs/results
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from train.core.atomic_write import atomic_write, make_folder
from train.core.command import run_command
from train.core.console import logger
from train.core.device import resolve_device
from train.core.errors import UserError
from train.core.provenance import program
from train.dataset_distillation.networks.build import NETWORKS
from train.dataset_distillation.options import METHODS
from train.experiments.distill_data.experiment import Experiment, Plan, Setting, Settings
from train.experiments.distill_data.page import markdown
from train.experiments.records import read_folders

PAGE_NAME = "dd3d.md"
RECORDS_NAME = "dd3d_records"
_PLAN = Plan()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a user's mistake, 128 + signal when stopped."""
    options = _parser().parse_args(arguments)
    return run_command(
        lambda: _run(options), stopped="the same command goes on with the missing runs"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("train.distill_data_page"),
        description="Distill simulated objects by DD3D and by every baseline, train networks on "
        "the results, and write the page that sets the numbers beside the paper's. Hours on two "
        "cores; choose a part of it, records add up.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "--output",
        type=Path,
        default=Path("runs/dd3d-page"),
        help=f"folder of {PAGE_NAME} and {RECORDS_NAME}/ [runs/dd3d-page]",
    )
    add(
        "--work",
        type=Path,
        default=Path("runs/dd3d-work"),
        help="folder of the objects and the small sets [runs/dd3d-work]",
    )
    add("--settings", nargs="+", choices=get_args(Setting), default=_PLAN.settings)
    add("--cpc", type=int, nargs="+", default=_PLAN.clouds_per_class, metavar="M")
    add("--methods", nargs="+", choices=METHODS, default=_PLAN.methods, metavar="METHOD")
    add("--networks", nargs="+", choices=NETWORKS, default=_PLAN.networks, metavar="NETWORK")
    add("--distillations", type=int, default=_PLAN.distillations, metavar="D")
    add("--evaluations", type=int, default=_PLAN.evaluations, metavar="E")
    add("--device", default="auto", help="cpu, cuda, cuda:N or auto [auto]")
    add("--page-only", action="store_true", help="run nothing; write the page from the records")
    return parser


def _run(options: argparse.Namespace) -> None:
    plan = Plan(
        settings=tuple(options.settings),
        clouds_per_class=tuple(options.cpc),
        methods=tuple(options.methods),
        networks=tuple(options.networks),
        distillations=options.distillations,
        evaluations=options.evaluations,
    )
    for name, values in (
        ("--cpc", plan.clouds_per_class),
        ("--distillations", (plan.distillations,)),
        ("--evaluations", (plan.evaluations,)),
    ):
        if min(values) < 1:
            raise UserError(f"{name} {min(values)}: at least 1")
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
    """Do the missing runs and write the page.

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
        Experiment(settings or Settings(), records, work, resolve_device(device)).start(plan)
    found = read_folders([records])
    if not found.runs:
        raise UserError(f"--page-only: no records in {records}; run it without")
    page = output / PAGE_NAME
    with atomic_write(page) as unfinished:
        unfinished.write_text(markdown(found), encoding="utf-8")
    logger.info(f"page: {page}")

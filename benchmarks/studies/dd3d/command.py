"""The command that makes the page of dataset distillation: runs that are missing, then the page.

python -m benchmarks.studies dd3d --output docs/results
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, get_args

from benchmarks.studies.dd3d.experiment import (
    CONTROLS,
    Experiment,
    Plan,
    Setting,
    Settings,
)
from benchmarks.studies.dd3d.page import Beside, markdown
from benchmarks.studies.dd3d.picture import draw_page_picture
from benchmarks.studies.page_command import (
    add_folder_flags,
    add_run_flags,
    records_for_page,
    write_page,
)
from train.core.atomic_write import atomic_write, make_folder
from train.core.command import run_command
from train.core.device import resolve_device
from train.core.errors import UserError
from train.dataset_distillation.networks.build import NETWORKS
from train.dataset_distillation.options import METHODS

PAGE_NAME: Final = "dd3d.md"
RECORDS_NAME: Final = "dd3d_records"
PICTURE_NAME: Final = "dd3d.png"
COMMAND_NAME: Final = "dd3d_command.json"
TUNING_NAME: Final = "dd3d_tuning.json"
_TIMED: Final = (
    "command",
    "threads",
    "processor",
    "commit",
    "wall_seconds",
    "cpu_seconds",
    "seconds",
    "scores",
)
"""What the page tells of a set that was made by one command, beside how it was made."""
_PLAN = Plan()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a user's mistake, 128 + signal when stopped."""
    options = _parser().parse_args(arguments)
    return run_command(
        lambda: _run(options), stopped="the same command goes on with the missing runs"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies dd3d",
        description="Distill simulated objects by DD3D and by every baseline, train networks on "
        "the results, and write the page that sets the numbers beside the paper's. Hours on two "
        "cores; choose a part of it, records add up.",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add_folder_flags(
        parser,
        page=PAGE_NAME,
        records=RECORDS_NAME,
        runs="dd3d-page",
        work="the objects and the small sets",
    )
    add("--settings", nargs="+", choices=get_args(Setting), default=_PLAN.settings)
    add("--cpc", type=int, nargs="+", default=_PLAN.clouds_per_class, metavar="M")
    add(
        "--methods",
        nargs="+",
        choices=(*METHODS, *CONTROLS),
        default=_PLAN.methods,
        metavar="METHOD",
    )
    add("--networks", nargs="+", choices=NETWORKS, default=_PLAN.networks, metavar="NETWORK")
    add("--distillations", type=int, default=_PLAN.distillations, metavar="D")
    add("--evaluations", type=int, default=_PLAN.evaluations, metavar="E")
    add(
        "--points",
        type=int,
        metavar="N",
        help=f"of each cloud that networks see [{Settings().points}]",
    )
    add(
        "--distill-points",
        type=int,
        metavar="N",
        help=f"of a cloud while it is learned [{Settings().distill_points}]",
    )
    add("--no-full", action="store_true", help="train nothing on the full set")
    add_run_flags(parser)
    add(
        "--timed",
        type=Path,
        metavar="FILE",
        help="a distill.json of topodistill distill-data that was made with --evaluate: the page "
        f"tells how long that took; is kept as {COMMAND_NAME}",
    )
    return parser


def _run(options: argparse.Namespace) -> None:
    plan = Plan(
        settings=tuple(options.settings),
        clouds_per_class=tuple(options.cpc),
        methods=tuple(options.methods),
        networks=tuple(options.networks),
        distillations=options.distillations,
        evaluations=options.evaluations,
        full=not options.no_full,
        points=options.points,
        distill_points=options.distill_points,
    )
    for name, values in (
        ("--cpc", plan.clouds_per_class),
        ("--distillations", (plan.distillations,)),
        ("--evaluations", (plan.evaluations,)),
        ("--points", () if plan.points is None else (plan.points,)),
        ("--distill-points", () if plan.distill_points is None else (plan.distill_points,)),
    ):
        least = 2 if name.endswith("points") else 1
        if values and min(values) < least:
            raise UserError(f"{name} {min(values)}: at least {least}")
    if options.timed is not None:
        keep_timed(options.timed, options.output)
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
    found = records_for_page(records)
    draw_page_picture(output / PICTURE_NAME, work, (settings or Settings()).data.num_points)
    write_page(output / PAGE_NAME, markdown(found, beside(output)))


def beside(output: Path) -> Beside:
    """Return what stands in the page's folder beside the records.

    Raises
    ------
    UserError
        If a file is damaged.
    """
    command, tuning = (
        _read(output / name) if (output / name).exists() else {}
        for name in (COMMAND_NAME, TUNING_NAME)
    )
    picture = PICTURE_NAME if (output / PICTURE_NAME).exists() else None
    return Beside(command=command or None, tuning=tuning, picture=picture)


def keep_timed(file: Path, output: Path) -> None:
    """Keep what the page tells of a set that was made by one command.

    Parameters
    ----------
    file
        A `distill.json`.
    output
        Folder of the page.

    Raises
    ------
    UserError
        If the file is none, or its set was not scored.
    """
    report = _read(file)
    missing = [name for name in (*_TIMED, "made_from") if name not in report]
    if missing or not report["scores"]:
        raise UserError(
            f"{file}: does not say {', '.join(missing) or 'any score'}; give the distill.json of "
            "a run with --evaluate"
        )
    kept = {name: report[name] for name in (*_TIMED, "made_from")}
    make_folder(output, "--output")
    with atomic_write(output / COMMAND_NAME) as unfinished:
        unfinished.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


def _read(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read as JSON ({error}); write it again") from error
    if not isinstance(found, dict):
        raise UserError(f"{file}: holds no names and values; write it again")
    return found

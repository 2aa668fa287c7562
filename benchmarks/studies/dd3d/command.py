"""The command that makes the page of dataset distillation: runs that are missing, then the page.

python -m benchmarks.studies dd3d --output docs/results
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final

from tyro.conf import OmitArgPrefixes

from benchmarks.studies.dd3d.experiment import CONTROLS, Experiment, Plan, Settings, draw_made
from benchmarks.studies.dd3d.page import RECORDS_NAME, Beside, markdown
from benchmarks.studies.study_page import (
    RunOptions,
    command,
    read_json,
    refuse_below,
    refuse_unknown,
    write_json,
    write_page,
)
from train.ablation.records import Records
from train.ablation.study import records_for_page
from train.core.atomic_write import make_folder
from train.core.device import resolve_device
from train.core.errors import UserError
from train.dataset_distillation.networks.classifiers import NETWORKS
from train.dataset_distillation.options import METHODS

PAGE_NAME: Final = "dd3d.md"
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


@dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    """What the command is asked."""

    output: Path = Path("runs/dd3d-page")
    """folder of the page and the records"""
    work: Path = Path("runs/dd3d-work")
    """folder of the objects and the small sets"""
    plan: Annotated[Plan, OmitArgPrefixes] = field(default_factory=Plan)
    timed: Path | None = None
    """a distill.json of topodistill distill-data that was made with --evaluate: the page tells how
    long that took; is kept as dd3d_command.json"""


def run(options: Options, settings: Settings | None = None) -> None:
    """Do the missing runs and write the page.

    `settings` are what all runs share, None for those of the command. UserError if there is
    nothing to show, or records are of other settings.
    """
    plan, settings = options.plan, settings or Settings()
    refuse_below(1, cpc=plan.cpc, distillations=plan.distillations, evaluations=plan.evaluations)
    refuse_below(2, points=plan.points, distill_points=plan.distill_points)
    refuse_unknown(NETWORKS, "--networks", plan.networks)
    refuse_unknown((*METHODS, *CONTROLS), "--methods", plan.methods)
    output = options.output
    if options.timed is not None:
        keep_timed(options.timed, output)

    def page(records: Records) -> None:
        draw_made(output / PICTURE_NAME, options.work, settings.data.num_points)
        write_page(output / PAGE_NAME, markdown(records, beside(output)))

    file = output / RECORDS_NAME
    if options.page_only:
        page(records_for_page(file))
        return
    make_folder(options.work, "--work")
    experiment = Experiment(settings, options.work, resolve_device(options.device))
    experiment.study(plan, file, page).start()


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
    write_json(output / COMMAND_NAME, kept)


def _read(file: Path) -> dict[str, Any]:
    found = read_json(file, "write it again")
    if not isinstance(found, dict):
        raise UserError(f"{file}: holds no names and values; write it again")
    return found


COMMAND = command(
    "dd3d",
    Options,
    run,
    "Distill simulated objects by DD3D and by every baseline, train networks on the results, and "
    "write the page that sets the numbers beside the paper's. Hours on two cores; choose a part of "
    "it, records add up.",
)
main = COMMAND.main

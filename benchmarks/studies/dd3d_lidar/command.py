"""The command that makes the page of distilled LiDAR frames: missing runs, then the page.

python -m benchmarks.studies dd3d-lidar --output docs/results
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from tyro.conf import OmitArgPrefixes

from benchmarks.studies.dd3d_lidar.experiment import VARIANTS, Experiment, Plan, Settings
from benchmarks.studies.dd3d_lidar.page import PICTURE, RECORDS_NAME, markdown
from benchmarks.studies.study_page import (
    RunOptions,
    command,
    refuse_below,
    refuse_unknown,
    write_page,
)
from train.ablation.records import Records
from train.ablation.study import records_for_page
from train.core.atomic_write import make_folder
from train.core.device import resolve_device
from train.core.errors import UserError
from train.dataset_distillation.networks.segmenters import SEGMENTERS

PAGE_NAME = "dd3d_lidar.md"


@dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    """What the command is asked."""

    output: Path = Path("runs/dd3d-lidar-page")
    """folder of the page and the records"""
    work: Path = Path("runs/dd3d-lidar-work")
    """folder of the frames and the small sets"""
    plan: Annotated[Plan, OmitArgPrefixes] = field(default_factory=Plan)


def run(options: Options, settings: Settings | None = None) -> None:
    """Do the missing runs and write the page, with a picture of the first seed's frames.

    `settings` are what all runs share, None for those of the command. UserError if there is
    nothing to show, or records are of other settings.
    """
    plan, picture = options.plan, options.output / PICTURE
    for name, given in (("--frames", plan.frames), ("--seeds", plan.seeds)):
        if not given:
            raise UserError(f"{name}: give one at least")
    refuse_below(1, frames=plan.frames)
    refuse_below(0, seeds=plan.seeds)
    refuse_unknown(SEGMENTERS, "--networks", plan.networks)
    refuse_unknown(VARIANTS, "--methods", plan.methods)

    def page(records: Records) -> None:
        text = markdown(records, picture=picture.is_file())
        write_page(options.output / PAGE_NAME, text)

    file = options.output / RECORDS_NAME
    if options.page_only:
        page(records_for_page(file))
        return
    make_folder(options.work, "--work")
    experiment = Experiment(settings or Settings(), options.work, resolve_device(options.device))

    def page_with_picture(records: Records) -> None:
        if experiment.has_run or not picture.is_file():
            experiment.draw(picture, plan)
        page(records)

    experiment.study(plan, file, page_with_picture).start()


COMMAND = command(
    "dd3d-lidar",
    Options,
    run,
    "Distill simulated LiDAR frames by DD3D, train networks on the result and on as many real "
    "points, and write the page that compares them. Under an hour on one core; records add up.",
)
main = COMMAND.main

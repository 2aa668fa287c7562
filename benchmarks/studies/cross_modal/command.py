"""The command that compares the methods of cameras: runs that are missing, then the page.

python -m benchmarks.studies cross-modal --output docs/results
"""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.studies.cross_modal.experiment import Experiment, Settings
from benchmarks.studies.cross_modal.page import RECORDS_NAME, markdown
from benchmarks.studies.cross_modal.variants import GRIDS
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

PAGE_NAME = "cross_modal.md"


@dataclass(frozen=True, kw_only=True)
class Options(RunOptions):
    """What the command is asked."""

    output: Path = Path("runs/cross-modal")
    """folder of the page and the records"""
    work: Path = Path("runs/cross-modal-work")
    """folder of the scenes and the image network"""
    grids: tuple[str, ...] = tuple(GRIDS)
    """tables of variants"""
    seeds: int = 5
    """seeds 0 to N - 1"""


def run(options: Options, settings: Settings | None = None) -> None:
    """Do the missing runs and write the page.

    `settings` are what all runs share, None for those of the command. UserError if there is
    nothing to show, or records are of other settings.
    """
    refuse_below(1, seeds=options.seeds)
    refuse_unknown(GRIDS, "--grids", options.grids)

    def page(records: Records) -> None:
        write_page(options.output / PAGE_NAME, markdown(records))

    file = options.output / RECORDS_NAME
    if options.page_only:
        page(records_for_page(file))
        return
    make_folder(options.work, "--work")
    device = resolve_device(options.device)
    experiment = Experiment(settings or Settings(), options.work, device)
    experiment.study(file, page, options.grids, range(options.seeds)).start()


COMMAND = command(
    "cross-modal",
    Options,
    run,
    "Compare xmodel-kd, udakd and fskd with LiDAR alone, with placebos and with plain projection, "
    "on simulated scenes with cameras. Hours on two cores; choose a part of it, records add up.",
)
main = COMMAND.main

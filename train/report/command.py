"""Write a finished run's page again, or elsewhere.

python -m train.report --run runs/semantickitti
python -m train.report --run runs/semantickitti --output pages/semantickitti.html
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import arg

from train.core.atomic_write import make_folder
from train.core.command import Command
from train.core.console import logger
from train.core.errors import UserError
from train.core.provenance import program
from train.engine.scoring import score_lines
from train.report.records import read_run, records_of_this_version
from train.report.write import report_from_files


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command takes."""

    run: Annotated[Path, arg(metavar="DIR")]
    "the --output of a finished run"
    output: Annotated[Path | None, arg(metavar="PAGE.html")] = None
    "where the page goes [report.html in the run's folder]"
    data_root: Annotated[Path | None, arg(metavar="DIR")] = None
    "where the run's data is now, for the pictures of frames [where it was]"


def _run(options: Options) -> None:
    folder, output = options.run, options.output
    if output is not None and output.suffix != ".html":
        raise UserError(f"--output {output}: the page is HTML; give a name that ends in .html")
    records = read_run(folder)  # refuses before a folder is made
    if output is not None:
        make_folder(output.parent, "--output")
    page = report_from_files(records, output, options.data_root)
    with records_of_this_version(folder):
        scores = score_lines(records.metrics)
    for line in [*scores, f"report: {page}"]:
        logger.info(line)


COMMAND = Command(
    program("train.report"), Options, _run, "Turn a finished run into a page: one HTML file."
)
main = COMMAND.main

"""The report of a run: an HTML page by default, or a Markdown page and a picture.

python -m train.report --run runs/semantickitti
python -m train.report --run runs/semantickitti --output docs/results/semantickitti_sweep
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from train.core.atomic_write import atomic_write, make_folder
from train.core.command import run_command
from train.core.console import logger
from train.core.errors import UserError
from train.core.provenance import program
from train.engine.scoring import score_lines
from train.report.markdown import draw, markdown
from train.report.records import curves, read_run, records_of_this_version
from train.report.write import report_from_files


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return 0, 2 for a mistake of the user's, 128 + N after signal N."""
    parser = argparse.ArgumentParser(
        prog=program("train.report"),
        description="Turn a finished run into a page: one HTML file, or Markdown and a picture.",
        allow_abbrev=False,
    )
    parser.add_argument("--run", type=Path, required=True, help="the --output of a finished run")
    parser.add_argument(
        "--output",
        type=Path,
        help="a page ending in .html [report.html in the run's folder], or a Markdown page, "
        "ending in .md or nothing, with a picture beside it that ends in .png",
    )
    parser.add_argument(
        "--data-root",
        type=Path,
        help="where the run's data is now, for the pictures of sweeps [where it was]",
    )
    options = parser.parse_args(arguments)
    return run_command(lambda: _run(options.run, options.output, options.data_root))


def _run(folder: Path, output: Path | None, data_root: Path | None) -> None:
    if output is None or output.suffix == ".html":
        read_run(folder)  # refuses before a folder is made
        if output is not None:
            make_folder(output.parent, "--output")
        page = report_from_files(folder, output, data_root)
        with records_of_this_version(folder):
            scores = score_lines(read_run(folder)[0])
        for line in [*scores, f"report: {page}"]:
            logger.info(line)
        return
    if data_root is not None:
        raise UserError("--data-root: the Markdown page has no pictures of sweeps; leave it out")
    metrics, config, steps = read_run(folder)
    stem = output.name.removesuffix(".md")
    picture = output.with_name(f"{stem}.png") if curves(steps) else None
    page = output.with_name(f"{stem}.md")
    with records_of_this_version(folder):
        text = markdown(metrics, config, steps, None if picture is None else picture.name)
        scores = score_lines(metrics)
    make_folder(output.parent, "--output")
    if picture is not None:
        draw(steps, picture)
    with atomic_write(page) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    for line in scores:
        logger.info(line)
    logger.info(f"report: {page}")

"""What the commands have in common that do missing runs and then write a page of all records."""

import argparse
from pathlib import Path

from train.ablation.records import Records, read_folders
from train.core.atomic_write import atomic_write
from train.core.console import logger
from train.core.errors import UserError


def add_folder_flags(
    parser: argparse.ArgumentParser, *, page: str, records: str, runs: str, work: str
) -> None:
    """Add ``--output`` and ``--work``.

    Parameters
    ----------
    parser
        Of the command.
    page, records
        Names of the page and of the folder of records, in the output.
    runs
        The output where none is given; the work is beside it.
    work
        What the second folder holds, for people.
    """
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(f"runs/{runs}"),
        help=f"folder of {page} and {records}/ [runs/{runs}]",
    )
    name = f"runs/{runs.removesuffix('-page')}-work"
    parser.add_argument("--work", type=Path, default=Path(name), help=f"folder of {work} [{name}]")


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Add ``--device`` and ``--page-only``."""
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:N or auto [auto]")
    parser.add_argument(
        "--page-only", action="store_true", help="run nothing; write the page from the records"
    )


def records_for_page(folder: Path) -> Records:
    """Return the records of a folder.

    Raises
    ------
    UserError
        If there is none, or `read_folders` refuses them.
    """
    found = read_folders([folder])
    if not found.runs:
        raise UserError(f"--page-only: no records in {folder}; run it without")
    return found


def write_page(path: Path, text: str) -> None:
    """Write a page, whole or not at all, and say where it is."""
    with atomic_write(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    logger.info(f"page: {path}")

"""Write `efficiency.md` and `efficiency.png` from `efficiency.json`, which train.efficiency wrote.

python -m train.efficiency --output docs/results
python -m benchmarks.studies efficiency --output docs/results
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import arg

from benchmarks.studies.efficiency.page import markdown
from benchmarks.studies.efficiency.plot import draw
from benchmarks.studies.study_page import read_json, write_page
from train.core.atomic_write import atomic_write
from train.core.command import Command
from train.core.console import logger
from train.core.errors import UserError
from train.profiling.command import NAME
from train.profiling.measure import SCHEMA

_AGAIN = "make it: python -m train.efficiency"


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command takes."""

    output: Annotated[Path, arg(metavar="DIR")]
    "where efficiency.json is, and where the page and the picture go"


def read_record(path: Path) -> dict[str, Any]:
    """Return the record in a file.

    Raises
    ------
    UserError
        If there is none of this version.
    """
    record = read_json(path, _AGAIN)
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise UserError(f"{path}: is no record of this version; {_AGAIN}")
    return record


def _run(options: Options) -> None:
    record = read_record(options.output / f"{NAME}.json")
    picture = options.output / f"{NAME}.png"
    with atomic_write(picture) as unfinished:
        draw(record, unfinished)
    logger.info(f"picture: {picture}")
    write_page(options.output / f"{NAME}.md", markdown(record, picture.name))


COMMAND = Command(
    "python -m benchmarks.studies efficiency",
    Options,
    _run,
    "Write the page and the picture of what the networks cost, from efficiency.json.",
)
main = COMMAND.main

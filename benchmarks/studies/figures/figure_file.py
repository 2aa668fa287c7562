"""A figure on disk: its numbers as JSON, and a PNG that says which numbers it was drawn from."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure

from benchmarks import stamped_png
from benchmarks.studies.study_page import read_json
from train.core.atomic_write import atomic_write
from train.core.errors import UserError

FORMAT: Final = 1
"""Of the JSON files; a reader refuses every other one."""

DPI: Final = 110
_NUMBERS = "Numbers-SHA256"


@dataclass(frozen=True)
class Drawn:
    """A figure that was made.

    Attributes
    ----------
    numbers
        What it shows, as plain values.
    picture
        It, drawn.
    """

    numbers: dict[str, Any]
    picture: Figure


def rounded(value: float, digits: int = 7) -> float:
    """Return a number with so many significant digits: records should not differ by rounding."""
    return float(f"{value:.{digits - 1}e}") if math.isfinite(value) else value


def write_figure(folder: Path, name: str, drawn: Drawn) -> list[Path]:
    """Write `name`.json and `name`.png; a picture that is the same keeps its bytes.

    Raises
    ------
    UserError
        If a file cannot be written.
    """
    numbers, picture = folder / f"{name}.json", folder / f"{name}.png"
    content = {"format": FORMAT, "figure": name, **drawn.numbers}
    with atomic_write(numbers) as unfinished:
        text = json.dumps(content, indent=1, allow_nan=False)
        unfinished.write_text(text + "\n", encoding="utf-8")
    image = stamped_png.drawn(drawn.picture, dpi=DPI)
    source = _digest(content)
    if stamped_png.said(picture, _NUMBERS) != (source, stamped_png.pixels(image)):
        with atomic_write(picture) as unfinished:
            stamped_png.save(image, unfinished, _NUMBERS, source)
    return [numbers, picture]


def read_numbers(folder: Path, name: str) -> dict[str, Any] | None:
    """Return the numbers of a figure that was made; None if it was not.

    Raises
    ------
    UserError
        If the file cannot be read, or is no record of this figure in this format.
    """
    path = folder / f"{name}.json"
    if not path.is_file():
        return None
    again = f"make it again: python -m benchmarks.studies figures --only {name}"
    content = read_json(path, again)
    found = (content.get("format"), content.get("figure")) if isinstance(content, dict) else None
    if found != (FORMAT, name):
        raise UserError(f"{path}: holds no numbers of {name} in format {FORMAT}; {again}")
    return dict(content)


def disagreement(folder: Path, name: str) -> str | None:
    """Return why a figure's picture does not show the numbers beside it; None if it does."""
    content = read_numbers(folder, name)
    picture = folder / f"{name}.png"
    if content is None:
        return f"{picture.name} has no {name}.json beside it" if picture.is_file() else None
    return stamped_png.disagreement(picture, _NUMBERS, _digest(content))


def _digest(content: Mapping[str, Any]) -> str:
    return stamped_png.digest(json.dumps(content, sort_keys=True))

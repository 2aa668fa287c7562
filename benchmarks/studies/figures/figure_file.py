"""A figure on disk: its numbers as JSON, and a PNG that says which numbers it was drawn from.

The picture carries two digests, of the numbers and of its own pixels. So a check needs no second
drawing, which another version of matplotlib would make a little differently.
"""

import hashlib
import io
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure
from PIL import Image, PngImagePlugin

from benchmarks.studies.study_page import read_json
from train.core.atomic_write import atomic_write
from train.core.errors import UserError

FORMAT: Final = 1
"""Of the JSON files; a reader refuses every other one."""

DPI: Final = 110
_NUMBERS, _PIXELS = "Numbers-SHA256", "Pixels-SHA256"


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
    buffer = io.BytesIO()
    drawn.picture.savefig(buffer, format="png", dpi=DPI)
    image = Image.open(buffer).convert("RGB")
    if _said(picture) != (_digest(content), _pixels(image)):
        note = PngImagePlugin.PngInfo()
        note.add_text(_NUMBERS, _digest(content))
        note.add_text(_PIXELS, _pixels(image))
        with atomic_write(picture) as unfinished:
            image.save(unfinished, format="png", pnginfo=note, optimize=True)
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
    if not picture.is_file():
        return f"{picture.name} is missing"
    numbers, pixels = _said(picture)
    if numbers != _digest(content):
        return f"{picture.name} was drawn from other numbers"
    with Image.open(picture) as image:
        if pixels != _pixels(image.convert("RGB")):
            return f"{picture.name} was changed after it was drawn"
    return None


def _said(picture: Path) -> tuple[str | None, str | None]:
    """Return the two digests that a picture carries."""
    if not picture.is_file():
        return None, None
    try:
        with Image.open(picture) as image:
            found = dict(image.info)
    except OSError:  # no picture: it carries none
        return None, None
    return found.get(_NUMBERS), found.get(_PIXELS)


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _pixels(image: Image.Image) -> str:
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()

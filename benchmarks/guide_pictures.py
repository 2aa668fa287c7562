"""`python -m benchmarks.guide_pictures`: runs the guides' Python and keeps the pictures it draws.

A picture stands in a guide as `![...](pictures/NAME.png)`, and a block of that guide saves it. It
carries two digests, of the guide's Python and of its own pixels, so that `--check` needs no second
drawing, which another version of matplotlib would make a little differently.
"""

import argparse
import contextlib
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import torch
from matplotlib import pyplot
from PIL import Image

from benchmarks import stamped_png
from benchmarks.machine import ROOT

CODE = "Code-SHA256"
FOLDER: Final = "pictures"
"""Of the pictures, beside the guides."""

_PYTHON = re.compile(r"^```python\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_SHOWN = re.compile(rf"!\[[^\]]*\]\({FOLDER}/([\w-]+\.png)\)")


def pictures(text: str) -> list[str]:
    """Return the file names of the pictures that a guide shows, in order."""
    return _SHOWN.findall(text)


def draw(guide: Path) -> list[str]:
    """Run a guide's Python in an empty folder, and keep its pictures; returns what was written.

    Raises
    ------
    ValueError
        If a picture that the guide shows is not drawn by it.
    """
    text = guide.read_text(encoding="utf-8")
    names = pictures(text)
    folder = guide.parent / FOLDER
    folder.mkdir(exist_ok=True)
    written = []
    with tempfile.TemporaryDirectory() as place:
        _run(guide.name, text, place)
        for name in names:
            drawn = Path(place) / name
            if not drawn.is_file():
                raise ValueError(f"{guide.name} shows {name}, but no block of it saves {name}")
            with Image.open(drawn) as image:
                pixels = image.convert("RGB")
            now = _digest(text), stamped_png.pixels(pixels)
            if stamped_png.said(folder / name, CODE) != now:
                stamped_png.save(pixels, folder / name, CODE, now[0])
                written.append(name)
    return written


def disagreements(guides: Path) -> list[str]:
    """Return a line for every picture that is missing, out of date, changed, or shown nowhere."""
    found = []
    shown = set()
    for guide in sorted(guides.glob("*.md")):
        text = guide.read_text(encoding="utf-8")
        for name in pictures(text):
            shown.add(name)
            path = guides / FOLDER / name
            if not path.is_file():
                found.append(f"{name}, which {guide.name} shows, is missing")
                continue
            by_other = f"by other code than that of {guide.name}"
            wrong = stamped_png.disagreement(path, CODE, _digest(text), by_other)
            found += [wrong] if wrong else []
    lying = {path.name for path in (guides / FOLDER).glob("*")}
    return found + [f"no guide shows {name}" for name in sorted(lying - shown)]


def _run(name: str, text: str, place: str) -> None:
    """Execute the blocks one after another, in one namespace, their folder the current one."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.chdir(place), contextlib.redirect_stdout(None):
        for code in _PYTHON.findall(text):
            exec(compile(code, name, "exec"), namespace)
    pyplot.close("all")


def _digest(text: str) -> str:
    return stamped_png.digest("\n".join(_PYTHON.findall(text)))


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guide_pictures")
    parser.add_argument("--check", action="store_true", help="write nothing, fail on disagreement")
    parser.add_argument("--guides", type=Path, default=ROOT / "docs" / "guides")
    parser.add_argument("--only", nargs="+", metavar="NAME.md", help="draw these guides' alone")
    options = parser.parse_args(arguments)
    if options.check:
        found = disagreements(options.guides)
        for line in found:
            print(f"{line}; run: python -m benchmarks.guide_pictures", file=sys.stderr)
        return 1 if found else 0
    mpl.use("Agg")
    torch.set_num_threads(1)  # so that training takes the same steps on every machine
    names = options.only or sorted(path.name for path in options.guides.glob("*.md"))
    for name in names:
        guide = options.guides / name
        if not guide.is_file():
            print(f"--only {name}: no such guide in {options.guides}", file=sys.stderr)
            return 2
        if pictures(guide.read_text(encoding="utf-8")):
            try:
                written = draw(guide)
            except ValueError as error:
                print(f"benchmarks.guide_pictures: {error}", file=sys.stderr)
                return 2
            print(f"{name}: wrote {', '.join(written) or 'nothing new'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""`python -m benchmarks.guide_pictures`: runs the guides' Python and keeps the pictures it draws.

A picture stands in a guide as `![...](pictures/NAME.png)`, and a block of that guide saves it. It
carries two digests, of the guide's Python and of its own pixels, so that `--check` needs no second
drawing, which another version of matplotlib would make a little differently.
"""

import argparse
import contextlib
import hashlib
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import torch
from matplotlib import pyplot
from PIL import Image, PngImagePlugin

from benchmarks.machine import ROOT

CODE, PIXELS = "Code-SHA256", "Pixels-SHA256"
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
            if _said(folder / name) != (_digest(text), _digest_of(pixels)):
                note = PngImagePlugin.PngInfo()
                note.add_text(CODE, _digest(text))
                note.add_text(PIXELS, _digest_of(pixels))
                pixels.save(folder / name, pnginfo=note, optimize=True)
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
            code, pixels = _said(path)
            with Image.open(path) as image:
                is_whole = pixels == _digest_of(image.convert("RGB"))
            if code != _digest(text):
                found.append(f"{name} was drawn by other code than that of {guide.name}")
            elif not is_whole:
                found.append(f"{name} was changed after it was drawn")
    lying = {path.name for path in (guides / FOLDER).glob("*")}
    return found + [f"no guide shows {name}" for name in sorted(lying - shown)]


def _run(name: str, text: str, place: str) -> None:
    """Execute the blocks one after another, in one namespace, their folder the current one."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    with contextlib.chdir(place), contextlib.redirect_stdout(None):
        for code in _PYTHON.findall(text):
            exec(compile(code, name, "exec"), namespace)
    pyplot.close("all")


def _said(path: Path) -> tuple[str | None, str | None]:
    """Return the two digests that a picture carries."""
    if not path.is_file():
        return None, None
    with Image.open(path) as image:
        return image.info.get(CODE), image.info.get(PIXELS)


def _digest(text: str) -> str:
    return hashlib.sha256("\n".join(_PYTHON.findall(text)).encode()).hexdigest()


def _digest_of(image: Image.Image) -> str:
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()


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

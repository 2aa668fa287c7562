"""PNG files that say what they were drawn from, so that a check needs no second drawing.

A picture carries two digests: of its source (numbers, or code) and of its own pixels. Another
version of matplotlib would draw it a little differently.
"""

import hashlib
import io
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image, PngImagePlugin

PIXELS = "Pixels-SHA256"


def digest(text: str) -> str:
    """Return the digest of a source."""
    return hashlib.sha256(text.encode()).hexdigest()


def drawn(figure: Figure, **settings: float) -> Image.Image:
    """Return a figure's pixels; the settings are those of `savefig`."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", **settings)  # type: ignore[arg-type]
    return Image.open(buffer).convert("RGB")


def save(image: Image.Image, path: Path, key: str, source: str) -> None:
    """Write a picture that says, under a key, the digest of its source."""
    note = PngImagePlugin.PngInfo()
    note.add_text(key, source)
    note.add_text(PIXELS, pixels(image))
    image.save(path, format="png", pnginfo=note, optimize=True)


def said(path: Path, key: str) -> tuple[str | None, str | None]:
    """Return the two digests that a picture carries: of its source, of its pixels."""
    try:
        with Image.open(path) as image:
            return image.info.get(key), image.info.get(PIXELS)
    except OSError:  # missing, or no picture: it carries none
        return None, None


def disagreement(
    path: Path, key: str, source: str, drawn_from: str = "from other numbers"
) -> str | None:
    """Return why a file is not the picture of a source; None if it is."""
    if not path.is_file():
        return f"{path.name} is missing"
    of_source, of_pixels = said(path, key)
    if of_source != source:
        return f"{path.name} was drawn {drawn_from}"
    with Image.open(path) as image:
        if of_pixels != pixels(image.convert("RGB")):
            return f"{path.name} was changed after it was drawn"
    return None


def pixels(image: Image.Image) -> str:
    """Return the digest of a picture's size and pixels."""
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()

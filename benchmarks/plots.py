"""The generated pictures: time over N in logarithms, each file saying which numbers it shows.

A PNG carries two digests: of the numbers and words it was drawn from, and of its own pixels. So a
check needs no second drawing, which another version of matplotlib would make a little differently.
"""

import hashlib
import io
import json
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from PIL import Image, PngImagePlugin

from benchmarks.schema import Result

mpl.use("Agg")

NUMBERS, PIXELS = "Numbers-SHA256", "Pixels-SHA256"


@dataclass(frozen=True)
class Plot:
    """Curves of seconds over N; `lines` are dashed horizontal limits."""

    title: str
    curves: dict[str, list[tuple[int, float]]]
    lines: dict[str, float]

    @property
    def digest(self) -> str:
        """What the picture is drawn from, as a hash."""
        content = json.dumps([self.title, self.curves, self.lines], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


def plot_of(
    title: str, series: dict[str, list[Result]], lines: dict[str, float] | None = None
) -> Plot:
    """Return the plot of every timed result."""
    curves = {
        label: [(result.num_points, result.p50_s) for result in results if result.p50_s is not None]
        for label, results in series.items()
    }
    return Plot(title, curves, lines or {})


def save(plot: Plot, path: Path) -> None:
    """Draw a plot into a PNG file."""
    figure = Figure(figsize=(7, 4.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    for (label, points), marker in zip(plot.curves.items(), "osd^vPX*" * 4, strict=False):
        axes.plot([n for n, _ in points], [s for _, s in points], marker=marker, ms=4, label=label)
    for label, height in plot.lines.items():
        axes.axhline(height, ls="--", lw=0.8, color="0.4")
        axes.annotate(
            label, (1, height), xycoords=("axes fraction", "data"), xytext=(-4, 3),
            textcoords="offset points", ha="right", fontsize=8, color="0.3",
        )  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="points N", ylabel="seconds", title=plot.title)
    sizes = sorted({n for points in plot.curves.values() for n, _ in points})
    axes.set_xticks(sizes, [f"{n:,}" for n in sizes])
    axes.set_xticks([], minor=True)
    axes.grid(which="major", lw=0.4, color="0.85")
    if plot.curves:
        axes.legend(fontsize=8, frameon=False)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    image = Image.open(buffer).convert("RGB")
    said = PngImagePlugin.PngInfo()
    said.add_text(NUMBERS, plot.digest)
    said.add_text(PIXELS, _pixels(image))
    image.save(path, pnginfo=said, optimize=True)


def disagreement(plot: Plot, path: Path) -> str | None:
    """Return why a PNG file is not the picture of `plot`; None if it is."""
    if not path.is_file():
        return f"{path.name} is missing"
    with Image.open(path) as image:
        said = dict(image.info)
        pixels = _pixels(image.convert("RGB"))
    if said.get(NUMBERS) != plot.digest:
        return f"{path.name} was drawn from other numbers"
    if said.get(PIXELS) != pixels:
        return f"{path.name} was changed after it was drawn"
    return None


def _pixels(image: Image.Image) -> str:
    return hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()

"""The generated pictures: time over N in logarithms, each file saying which numbers it shows."""

import json
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks import stamped_png
from benchmarks.schema import Result

mpl.use("Agg")

NUMBERS = "Numbers-SHA256"


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
        return stamped_png.digest(content)


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
    stamped_png.save(stamped_png.drawn(figure), path, NUMBERS, plot.digest)


def disagreement(plot: Plot, path: Path) -> str | None:
    """Return why a PNG file is not the picture of `plot`; None if it is."""
    return stamped_png.disagreement(path, NUMBERS, plot.digest)

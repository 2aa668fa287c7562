"""`python -m benchmarks.table`: pages, plots, the README's and the guides' blocks from records.

With `--check` nothing is written; it fails where a file disagrees with the records.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks import stamped_png
from benchmarks.clouds import TITLES
from benchmarks.data_page import data_page
from benchmarks.guides_page import pages_with_blocks
from benchmarks.machine import ROOT
from benchmarks.peers_page import peers_page
from benchmarks.readme_block import readme_block
from benchmarks.rips_cases import OF_POINTS
from benchmarks.schema import Record, Result, read_all
from benchmarks.selection import newest
from benchmarks.suite_pages import (
    convolution_page,
    figure_page,
    persistence_image_page,
    processes_page,
    table6_page,
    vectorizations_page,
)
from train.core.blocks import with_block

mpl.use("Agg")

BLOCK = "benchmark"
"""Name of the README's markers."""


FIGURES: Final[dict[str, tuple[str, str, dict[str, dict[str, object]]]]] = {
    "figure7": (
        "Figure 7: random and topology-preserving sampling",
        "Time to choose 128 of N points of 64 channels. Random sampling draws indices without "
        "looking at the points; topology-preserving sampling looks at all of them for each "
        "pick.",
        {
            "topology-preserving sampling (ours)": {"implementation": "fast"},
            "random sampling": {"implementation": "random"},
        },
    ),
    "figure8": (
        "Figure 8: H1 and H2",
        "Time for all diagrams up to H1 and up to H2 of N points. H2 needs tetrahedra, O(N^4) "
        "simplices against O(N^3): polynomial growth, not factorial. Ours and giotto-ph's come "
        "with critical edges, ripser.py's are values; all on one thread.",
        {
            **{
                f"up to H1 ({who}), {TITLES['features']}": {"implementation": name, "max_dim": 1}
                for who, name in (("ours", "fast"), ("ripser.py", "ripser.py"))
            },
            **{
                f"up to H2 ({who}), {TITLES[family]}": {
                    "implementation": name,
                    "max_dim": 2,
                    "data": family,
                }
                for family in ("features", "cube", "sphere3")
                for who, name in (("ours", "fast"), ("giotto-ph", "giotto-ph, one thread"))
            },
            f"up to H2 (ripser.py), {TITLES['features']}": {
                "implementation": "ripser.py",
                "max_dim": 2,
            },
        },
    ),
    "scaling": (
        "How our cost grows with N",
        "H0 and H1 with critical edges and triangles of one cloud from its distances, and H0 "
        "alone.",
        {
            **{
                f"{what}, {TITLES[family]}": {"op": "rips", "data": family, "max_dim": max_dim}
                for what, family, max_dim in (
                    ("H0 and H1", "features", 1),
                    ("H0 and H1", "cube", 1),
                    ("H0 alone", "features", 0),
                )
            },
            **{
                f"H0 and H1, {TITLES[family]}, without distances": {"op": OF_POINTS, "data": family}
                for family in ("cube", "circle", "features")
            },
        },
    ),
}
"""By suite: title, text, and which results each curve has."""


NUMBERS = "Numbers-SHA256"


@dataclass(frozen=True)
class Plot:
    """Curves of seconds over N, in logarithms."""

    title: str
    curves: dict[str, list[tuple[int, float]]]

    @property
    def digest(self) -> str:
        """What the picture is drawn from, as a hash."""
        # The empty table is of lines, which no figure has; the committed pictures' digests have it.
        content = json.dumps([self.title, self.curves, {}], sort_keys=True)
        return stamped_png.digest(content)

    def disagreement(self, path: Path) -> str | None:
        """Return why a PNG file is not this picture; None if it is."""
        return stamped_png.disagreement(path, NUMBERS, self.digest)


def plot_of(title: str, series: dict[str, list[Result]]) -> Plot:
    """Return the plot of every timed result."""
    curves = {
        label: [(result.num_points, result.p50_s) for result in results if result.p50_s is not None]
        for label, results in series.items()
    }
    return Plot(title, curves)


def draw(plot: Plot, path: Path) -> None:
    """Draw a plot into a PNG file."""
    figure = Figure(figsize=(7, 4.2), dpi=110, layout="constrained")
    axes = figure.subplots()
    for (label, points), marker in zip(plot.curves.items(), "osd^vPX*" * 4, strict=False):
        axes.plot([n for n, _ in points], [s for _, s in points], marker=marker, ms=4, label=label)
    axes.set(xscale="log", yscale="log", xlabel="points N", ylabel="seconds", title=plot.title)
    sizes = sorted({n for points in plot.curves.values() for n, _ in points})
    axes.set_xticks(sizes, [f"{n:,}" for n in sizes])
    axes.set_xticks([], minor=True)
    axes.grid(which="major", lw=0.4, color="0.85")
    if plot.curves:
        axes.legend(fontsize=8, frameon=False)
    stamped_png.save(stamped_png.drawn(figure), path, NUMBERS, plot.digest)


def generate(records: dict[str, Record]) -> tuple[dict[str, str], dict[str, Plot], str]:
    """Return pages by file name, plots by file name, and the README's block."""
    texts = {
        "table6.md": table6_page(records),
        "table6_peers.md": peers_page(records),
        "convolution.md": convolution_page(records),
        "data.md": data_page(records),
        "processes.md": processes_page(records),
        "persistence_images.md": persistence_image_page(records),
        "vectorizations.md": vectorizations_page(records),
    }
    drawings = {}
    for name, (title, text, curves) in FIGURES.items():
        source = newest(records, name)
        found = {label: source.where(**wanted) for label, wanted in curves.items()}
        series = {label: results for label, results in found.items() if results}
        texts[f"{name}.md"] = figure_page(records, name, title, text, series)
        if series:
            drawings[f"{name}.png"] = plot_of(title, series)
    return texts, drawings, readme_block(records)


def write(records: dict[str, Record], docs: Path, readme: Path, guides: Path) -> list[str]:
    """Write everything; returns what was written."""
    texts, drawings, block = generate(records)
    text = with_block(readme.read_text(encoding="utf-8"), block, BLOCK)  # first: it may refuse
    pages = pages_with_blocks(guides, records)
    docs.mkdir(parents=True, exist_ok=True)
    for name, content in texts.items():
        (docs / name).write_text(content, encoding="utf-8")
    for name, plot in drawings.items():
        if plot.disagreement(docs / name):  # the same picture keeps its bytes
            draw(plot, docs / name)
    for page, content in {**pages, readme: text}.items():
        page.write_text(content, encoding="utf-8")
    return [*texts, *drawings, *(page.name for page in pages), readme.name]


def disagreements(records: dict[str, Record], docs: Path, readme: Path, guides: Path) -> list[str]:
    """Return a line for everything that is not what the records say."""
    texts, drawings, block = generate(records)
    found = []
    for name, content in texts.items():
        path = docs / name
        if not path.is_file():
            found.append(f"{name} is missing")
        elif path.read_text(encoding="utf-8") != content:
            found.append(f"{name} disagrees with the records")
    for name, plot in drawings.items():
        if (reason := plot.disagreement(docs / name)) is not None:
            found.append(reason)
    text = readme.read_text(encoding="utf-8")
    marked = {readme: with_block(text, block, BLOCK), **pages_with_blocks(guides, records)}
    for page, content in marked.items():
        if page.read_text(encoding="utf-8") != content:
            found.append(f"{page.name} disagrees with the records between its markers")
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.table", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, fail on disagreement")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs" / "results")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    parser.add_argument(
        "--guides", type=Path, default=None, help="default: guides/ beside the folder of --docs"
    )
    options = parser.parse_args(arguments)
    guides = options.guides or options.docs.parent / "guides"
    try:
        records = read_all(options.results)
        if not records:
            raise ValueError(
                f"no record in {options.results.name}/; make one: pytest benchmarks/ --benchmark"
            )
        if options.check:
            found = disagreements(records, options.docs, options.readme, guides)
        else:
            print("wrote", ", ".join(write(records, options.docs, options.readme, guides)))
            found = []
    except ValueError as error:
        print(f"benchmarks.table: {error}", file=sys.stderr)
        return 2
    for line in found:
        print(f"{line}; run: python -m benchmarks.table", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

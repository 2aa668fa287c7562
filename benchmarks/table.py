"""`python -m benchmarks.table`: pages, plots, the README's and the guides' blocks from records.

With `--check` nothing is written; it fails where a file disagrees with the records.
"""

import argparse
import sys
from pathlib import Path
from typing import Final

from benchmarks import plots
from benchmarks.clouds import TITLES
from benchmarks.data_page import data_page
from benchmarks.guides_page import pages_with_blocks
from benchmarks.machine import ROOT
from benchmarks.peers_page import peers_page
from benchmarks.plots import Plot
from benchmarks.readme_block import readme_block
from benchmarks.rips_cases import OF_POINTS
from benchmarks.schema import Record, read_all
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
        "Time for all diagrams up to H1 and up to H2 of N features. H2 needs tetrahedra, "
        "O(N^4) simplices against O(N^3): polynomial growth, not factorial. We compute no H2; "
        "that side is ripser.py's, beside its own H1.",
        {
            "up to H1 (ours)": {"implementation": "fast"},
            "up to H1 (ripser.py)": {"implementation": "ripser.py", "max_dim": 1},
            "up to H2 (ripser.py)": {"implementation": "ripser.py", "max_dim": 2},
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
                f"H0 and H1, {TITLES[family]}, without distances": {
                    "op": OF_POINTS,
                    "data": family,
                }
                for family in ("cube", "circle", "features")
            },
        },
    ),
}
"""By suite: title, text, and which results each curve has."""


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
            drawings[f"{name}.png"] = plots.plot_of(title, series)
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
        if plots.disagreement(plot, docs / name):  # the same picture keeps its bytes
            plots.save(plot, docs / name)
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
        if (reason := plots.disagreement(plot, docs / name)) is not None:
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

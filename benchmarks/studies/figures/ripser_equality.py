"""Figure 10: our persistence diagrams beside Ripser's, on shapes that everyone knows.

Both get the same distances, rounded to float32, which is what ripser.py keeps; so nothing but the
algorithm can differ, and the diagrams should be equal to the last bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from benchmarks.studies.figures.figure_file import Drawn
from benchmarks.studies.figures.palette import BLUE, VERMILION
from benchmarks.studies.figures.shapes import SHAPES, shape
from benchmarks.studies.study_page import optional_package
from fast import pairwise_distances, rips_persistence
from train.core import blocks

NAME: Final = "figure10"
_COLORS: Final = (BLUE, VERMILION)
Pairs = NDArray[np.float64]


@dataclass(frozen=True)
class Compared:
    """One shape's diagrams of one dimension, ours and Ripser's.

    Attributes
    ----------
    ours, theirs
        (K, 2) finite (birth, death) rows of positive persistence, in lexicographic order.
    zero
        How many pairs of persistence 0 Ripser had.
    """

    ours: Pairs
    theirs: Pairs
    zero: int

    @property
    def largest_difference(self) -> float | None:
        """Of births and deaths in this order; None where the counts differ."""
        if len(self.ours) != len(self.theirs):
            return None
        return float(np.abs(self.ours - self.theirs).max(initial=0.0))


def ripser_pairs(distances: NDArray[np.float32]) -> list[Pairs]:
    """Return ripser.py's finite (birth, death) rows of dimensions 0 and 1.

    Raises
    ------
    UserError
        If ripser.py is not installed.
    """
    ripser = optional_package("ripser", figure=NAME, install="'topodistill[test]'")
    found = ripser.ripser(distances, maxdim=1, distance_matrix=True)["dgms"]
    return [rows[np.isfinite(rows[:, 1])].astype(np.float64) for rows in found]


def compare(points: NDArray[np.float64]) -> list[Compared]:
    """Return the diagrams of a cloud (N, C) by both, of dimensions 0 and 1."""
    distances = pairwise_distances(torch.from_numpy(points)).to(torch.float32)
    compared = []
    ours = rips_persistence(distances)
    for diagram, theirs in zip(ours, ripser_pairs(distances.numpy()), strict=True):
        lasting = theirs[theirs[:, 1] > theirs[:, 0]]
        compared.append(
            Compared(
                _in_order(diagram.cloud(0).pairs), _in_order(lasting), len(theirs) - len(lasting)
            )
        )
    return compared


def _in_order(pairs: Pairs) -> Pairs:
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]


def make() -> Drawn:
    """Return the figure.

    Raises
    ------
    UserError
        If ripser.py is not installed.
    """
    compared = {name: compare(shape(name)) for name in SHAPES}
    rows = [
        {
            "shape": name,
            "points": len(shape(name)),
            "channels": shape(name).shape[1],
            "dimension": dimension,
            "ours": len(found.ours),
            "ripser": len(found.theirs),
            "zero_persistence": found.zero,
            "largest_difference": found.largest_difference,
        }
        for name, diagrams in compared.items()
        for dimension, found in enumerate(diagrams)
    ]
    return Drawn({"rows": rows}, _draw(compared))


def _draw(compared: Mapping[str, Sequence[Compared]]) -> Figure:
    figure = Figure(figsize=(12.4, 6.6), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(2, 4).flat
    for (name, diagrams), axis in zip(compared.items(), axes, strict=True):
        largest = max(float(found.ours.max(initial=0.0)) for found in diagrams)
        axis.plot([0, 1.08 * largest], [0, 1.08 * largest], color="0.7", lw=0.8, zorder=0)
        for dimension, (found, color) in enumerate(zip(diagrams, _COLORS, strict=True)):
            axis.plot(*found.ours.T, "o", ms=7, mfc="none", mec=color, mew=1.1, alpha=0.8)
            mark = "x" if dimension == 0 else "+"
            axis.plot(*found.theirs.T, mark, ms=4.5, color=color, mew=1.0)
        axis.set(title=name, xlabel="birth", ylabel="death", aspect="equal")
        axis.set(xlim=(-0.05 * largest, 1.08 * largest), ylim=(-0.05 * largest, 1.08 * largest))
        axis.tick_params(labelsize=8)
    kinds = [("o", BLUE, "H0, ours"), ("x", BLUE, "H0, Ripser")]
    kinds += [("o", VERMILION, "H1, ours"), ("+", VERMILION, "H1, Ripser")]
    figure.legend(
        handles=[
            Line2D([], [], ls="", marker=mark, color=color, mfc="none", label=label)
            for mark, color, label in kinds
        ],
        loc="outside lower center",
        ncols=4,
        frameon=False,
    )
    figure.suptitle("Persistence diagrams, edge lengths in the unit of the points")
    return figure


def are_equal(numbers: Mapping[str, Any]) -> bool:
    """Return whether every shape has the same diagrams by both."""
    return all(row["largest_difference"] == 0.0 for row in numbers["rows"])


def summary(numbers: Mapping[str, Any]) -> str:
    """Return what the figure shows, in a sentence or two."""
    rows = numbers["rows"]
    pairs = sum(row["ours"] for row in rows)
    shapes = len({row["shape"] for row in rows})
    if are_equal(numbers):
        return (
            f"{pairs} pairs of {shapes} shapes: counts, births and deaths are equal to the last bit"
        )
    unequal = [row for row in rows if row["largest_difference"] != 0.0]
    return f"{len(unequal)} of {len(rows)} diagrams differ: " + ", ".join(
        f"{row['shape']} H{row['dimension']}" for row in unequal
    )


def page(numbers: Mapping[str, Any], picture: str) -> str:
    """Return the page with the numbers, as Markdown."""
    rows = []
    for row in numbers["rows"]:
        rows.append(
            [
                row["shape"],
                f"{row['points']} in R^{row['channels']}",
                f"H{row['dimension']}",
                str(row["ours"]),
                str(row["ripser"]),
                str(row["zero_persistence"]),
                blocks.number(row["largest_difference"], "g", missing="counts differ"),
            ]
        )
    header = ["shape", "points", "dimension", "pairs, ours", "pairs, Ripser"]
    header += ["Ripser's of persistence 0", "largest difference in births and deaths"]
    return blocks.page(
        blocks.generated("python -m benchmarks.studies figures"),
        "# Figure 10: equality with Ripser",
        f"`fast.rips_persistence` beside ripser.py on the same distances. {summary(numbers)}.",
        blocks.figure(picture, "persistence diagrams, ours and Ripser's"),
        blocks.table(header, rows, "lllr"),
        "Distances are rounded to float32 first, which is what ripser.py keeps, so that "
        "nothing but the algorithm can differ. Finite pairs are compared; the one "
        "component that never dies has no row on either side. Pairs of persistence 0, "
        "which ties and duplicates bring, are dropped on both sides: ours never lists "
        "them, and the column says how many of ripser.py's were dropped. Rows are "
        "compared in the order of (birth, death).",
        "The paper's Figure 10 validates its pure-PyTorch baseline, not the pipeline that "
        "it trains with; this is what `train` computes with. More shapes, sizes and "
        "oracles (GUDHI, and matrices of small whole numbers, which are all ties) are in "
        "`tests/reference/test_rips_oracles.py` and `tests/fast/test_rips.py`. Again: "
        "`python -m benchmarks.studies figures --only figure10`.",
    )

"""The README's block on what distilling gave: the main comparison's intervals, and no more."""

from collections.abc import Mapping, Sequence
from typing import Final

from benchmarks.studies.figures.paper_page import Compared, interval
from train.ablation.grids import built_in

NAME: Final = "ablation"
"""Of the README's markers."""

GRIDS: Final = ("main", "exploratory")
"""The first that has runs is shown."""

_EXPLORATORY: Final = (
    "Exploratory: these 288-step runs were made before [the "
    "rules](docs/decisions/0009-rules-of-the-comparison.md) that now judge them, whose own runs "
    "are being added. "
)

_WORDS: Final[Mapping[str, str]] = {
    "ce": "cross-entropy alone",
    "kd": "softened logits",
    "pwcd": "softened logits and the paper's topological term",
    "saliency": "softened logits and the paper's saliency term",
    "paper": "softened logits and both terms: the paper",
    "edges": "softened logits and distances at critical edges",
    "placebo": "the same, against the teacher's features of another cloud",
    "rkd": "softened logits and relational KD on the same points",
}


def ablation_block(compared: Sequence[Compared]) -> str:
    """Return the primary comparisons of the main grid, and where the rest of them stands.

    Parameters
    ----------
    compared
        Those of `ablation.json`, of any grids.
    """
    there = {each.grid for each in compared if each.seeds}
    grid = next((name for name in GRIDS if name in there), None)
    asked = built_in()[grid].comparisons if grid is not None else ()
    primary = {each.pair for each in asked if each.primary}
    found = [c for c in compared if c.grid == grid and (c.variant, c.baseline) in primary]
    if not found:
        return "No comparison has runs yet: [what is measured](docs/results/ablation.md)."
    rows = [
        f"| {_WORDS[c.variant]} | {_WORDS[c.baseline]} | {interval(c)} | {c.seeds} | {c.verdict} |"
        for c in found
    ]
    return "\n".join(
        [
            "| student trained by | against | mIoU over known classes, 95% interval | seeds | |",
            "| --- | --- | ---: | ---: | --- |",
            *rows,
            "",
            "The tiny pair on simulated Waymo scenes, one teacher; known classes are those in "
            "which the teacher has an IoU of 20 or more. "
            + (_EXPLORATORY if grid == "exploratory" else "")
            + "Other metrics, and what this cannot say: "
            "[docs/results/ablation.md](docs/results/ablation.md).",
        ]
    )

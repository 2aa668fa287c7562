"""The README's block on what distilling gave: the main comparison's intervals, and no more."""

from collections.abc import Mapping, Sequence
from typing import Final

from benchmarks.studies.figures.paper_page import Compared, interval
from train.ablation.grids import built_in

NAME: Final = "ablation"
"""Of the README's markers."""

GRID: Final = "main"

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
    """Return the primary comparisons of the grid `main`, and where the rest of them stands.

    Parameters
    ----------
    compared
        Those of `ablation.json`, of any grids.
    """
    primary = {
        (each.variant, each.baseline) for each in built_in()[GRID].comparisons if each.primary
    }
    found = [c for c in compared if c.grid == GRID and (c.variant, c.baseline) in primary]
    if not found:
        return "No comparison has runs yet: [what is measured](docs/results/ablation.md)."
    rows = [
        f"| {_WORDS[c.variant]} | {_WORDS[c.baseline]} | {interval(c)} | {c.seeds} | {c.verdict} |"
        for c in found
    ]
    return "\n".join(
        [
            "| student trained by | against | mIoU, 95% interval | seeds | |",
            "| --- | --- | ---: | ---: | --- |",
            *rows,
            "",
            "The tiny pair on simulated Waymo scenes, one teacher; other metrics, gates and what "
            "this cannot say: [docs/results/ablation.md](docs/results/ablation.md).",
        ]
    )

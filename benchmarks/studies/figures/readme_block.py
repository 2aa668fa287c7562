"""The README's block on what distilling gave: the main comparison's intervals, and no more."""

from collections.abc import Mapping, Sequence
from typing import Final

from benchmarks.studies.figures.paper_page import Compared, interval
from train.ablation.grids import built_in

NAME: Final = "ablation"
"""Of the README's markers."""

GRIDS: Final = (("control",), ("main", "exploratory"))
"""Of each question, the first grid that has runs is shown."""

_MARK: Final = " \u2020"

_EXPLORATORY: Final = (
    "\u2020 Exploratory: these 288-step runs were made before [the "
    "rules](docs/decisions/0009-rules-of-the-comparison.md) that now judge them, whose own runs "
    "are being added. "
)

_WORDS: Final[Mapping[str, str]] = {
    "ce": "cross-entropy alone",
    "kd": "softened logits",
    "kd-none": "softened logits, without a label",
    "pwcd": "softened logits and the paper's topological term",
    "saliency": "softened logits and the paper's saliency term",
    "paper": "softened logits and both terms: the paper",
    "edges": "softened logits and distances at critical edges",
    "placebo": "the same, against the teacher's features of another cloud",
    "rkd": "softened logits and relational KD on the same points",
}


def ablation_block(compared: Sequence[Compared]) -> str:
    """Return what distilling gave in a sentence, and the primary comparisons of the grids.

    Parameters
    ----------
    compared
        Those of `ablation.json`, of any grids.
    """
    there = {each.grid for each in compared if each.seeds}
    asked = built_in()
    shown: list[Compared] = []
    for grids in GRIDS:
        grid = next((name for name in grids if name in there), None)
        primary = {c.pair for c in asked[grid].comparisons if c.primary} if grid else set()
        primary -= {(c.variant, c.baseline) for c in shown}  # a question has one answer
        shown += [c for c in compared if c.grid == grid and (c.variant, c.baseline) in primary]
    if not shown:
        return "No comparison has runs yet: [what is measured](docs/results/ablation.md)."
    rows = [
        f"| {_WORDS[c.variant]} | {_WORDS[c.baseline]} | {interval(c)} | {c.seeds} "
        f"| {c.verdict}{_MARK * (c.grid == 'exploratory')} |"
        for c in shown
    ]
    return "\n".join(
        [
            *_sentence(shown),
            "| student trained by | against | mIoU over known classes, 95% interval | seeds | |",
            "| --- | --- | ---: | ---: | --- |",
            *rows,
            "",
            "The tiny pair on simulated Waymo scenes; known classes are those in which the "
            "teacher has an IoU of 20 or more. "
            + (_EXPLORATORY if any(c.grid == "exploratory" for c in shown) else "")
            + "Other metrics, and what this cannot say: "
            "[docs/results/ablation.md](docs/results/ablation.md).",
        ]
    )


def _sentence(shown: Sequence[Compared]) -> list[str]:
    """Return what the positive control says, once it has intervals; else nothing."""
    found = {c.variant: c for c in shown if c.grid == "control" and c.low is not None}
    if set(found) != {"kd", "kd-none"}:
        return []
    said = {
        name: f"**{interval(each)} mIoU** ({each.verdict})" for name, each in sorted(found.items())
    }
    return [
        "Against the same student trained on all labels without a teacher, on scenes that the "
        f"teacher never saw: softened logits {said['kd']}, and softened logits without a single "
        f"label {said['kd-none']}, over the classes that the teacher knows.",
        "",
    ]

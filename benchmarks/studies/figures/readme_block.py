"""The README's block on what distilling gave: one sentence, and an interval for each question."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.studies.figures.paper_page import Compared, interval

NAME: Final = "ablation"
"""Of the README's markers."""

_MARK: Final = " \u2020"

_EXPLORATORY: Final = (
    "\u2020 Exploratory: these 288-step runs were made before [the "
    "rules](docs/decisions/0009-rules-of-the-comparison.md) that now judge them, whose own runs "
    "are being added. "
)


@dataclass(frozen=True)
class _Question:
    """A row: two variants, in words, and the grids that compare them, each with other seeds."""

    variant: str
    words: str
    baseline: str
    baseline_words: str
    grids: tuple[str, ...]


_ALL_LABELS: Final = "all labels, no teacher"
_KD: Final = "softened logits"
_LABELS: Final = ("control", "labels")
_TERMS: Final = ("main", "exploratory")  # runs under other rules: the first that has any counts

_QUESTIONS: Final = (
    _Question("kd", "all labels and softened logits", "ce", _ALL_LABELS, _LABELS),
    _Question(
        "kd-5", "labels on 5 % of the frames, softened logits on all", "ce-5",
        "the same labels, no teacher", ("labels",),
    ),
    _Question(
        "kd-1", "labels on 1 % of the frames, softened logits on all", "ce-1",
        "the same labels, no teacher", ("labels",),
    ),
    _Question("kd-none", "softened logits, no label", "ce", _ALL_LABELS, _LABELS),
    _Question("edges", "softened logits and distances at critical edges", "kd", _KD, _TERMS),
    _Question("pwcd", "softened logits and the paper's topological term", "kd", _KD, _TERMS),
    _Question("paper", "the paper: softened logits, topology, saliency", "kd", _KD, _TERMS),
)  # fmt: skip
"""With labels, with few, without; what topology adds to that; what the paper's setting gives."""


def ablation_block(compared: Sequence[Compared]) -> str:
    """Return what distilling gave in a sentence, and a row for each question that has an answer.

    Parameters
    ----------
    compared
        Those of `ablation.json`, of any grids.
    """
    shown = [(question, found) for question in _QUESTIONS for found in _answers(question, compared)]
    if not shown:
        return "No comparison has runs yet: [what is measured](docs/results/ablation.md)."
    rows = [
        f"| {question.words} | {question.baseline_words} | {interval(c)} | {c.seeds} "
        f"| {c.verdict}{_MARK * (c.grid == 'exploratory')} |"
        for question, c in shown
    ]
    answers = [answer for _, answer in shown]
    return "\n".join(
        [
            *_sentence(answers),
            "| student trained by | against | mIoU over known classes, 95% interval | seeds | |",
            "| --- | --- | ---: | ---: | --- |",
            *rows,
            "",
            "The tiny pair on simulated Waymo scenes; known classes are those in which the "
            "teacher has an IoU of 20 or more. "
            + (_EXPLORATORY if any(c.grid == "exploratory" for c in answers) else "")
            + "Other losses and metrics, and what this cannot say: "
            "[docs/results/ablation.md](docs/results/ablation.md).",
        ]
    )


def _answers(question: _Question, compared: Sequence[Compared]) -> list[Compared]:
    """Return the comparisons that have an interval; of terms, those of one grid."""
    pair = (question.variant, question.baseline)
    found = [
        each
        for grid in question.grids
        for each in compared
        if (each.grid, each.variant, each.baseline) == (grid, *pair) and each.low is not None
    ]
    return found[:1] if question.grids == _TERMS else found


def _sentence(shown: Sequence[Compared]) -> list[str]:
    """Return what the positive control says, once it has intervals; else nothing."""
    said: dict[str, str] = {}
    for each in shown:
        answer = f"**{interval(each)} mIoU** ({each.seeds} seeds: {each.verdict})"
        said[each.variant] = f"{said.get(each.variant, '')} and {answer}".removeprefix(" and ")
    if not {"kd", "kd-none"} <= said.keys():
        return []
    few = (
        f" With labels on one frame in a hundred: {said['kd-1']} over the student trained on those "
        "labels alone."
        if "kd-1" in said
        else ""
    )
    return [
        "Against the same student trained on all labels without a teacher, on scenes that the "
        f"teacher never saw: softened logits {said['kd']}, and softened logits without a single "
        f"label {said['kd-none']}, over the classes that the teacher knows.{few}",
        "",
    ]

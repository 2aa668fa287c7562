"""The page `cross_modal.md`: what camera images brought on simulated scenes."""

from collections.abc import Sequence
from typing import Final

from benchmarks.studies.cross_modal.variants import FUSED, GRIDS, Grid
from benchmarks.studies.study_page import generated, mean_sd
from train.ablation.records import Records, RunRecord
from train.ablation.statistics import PRIMARY_METRIC, Metric
from train.ablation.verdicts import Result, compare
from train.core import blocks

RECORDS_NAME: Final = "cross_modal_records.jsonl.gz"
"""The records, beside the page."""

_MIOU: Final = Metric(PRIMARY_METRIC, "mIoU", "points", 100, digits=1)


def markdown(records: Records) -> str:
    """Return the page.

    Parameters
    ----------
    records
        Of one setup, one at least.
    """
    runs = records.runs
    settings = runs[0].setup_settings
    parts = [
        "# What camera images bring",
        f"{generated('cross-modal', RECORDS_NAME)}"
        " The methods are our readings of abstracts, and "
        "nothing here is a reproduction: [the guide](../guides/cameras_methods.md).",
        f"Simulated {settings['dataset']}: {settings['frames']} frames to train on, "
        f"{settings['validation_frames']} of other scenes to be scored on, "
        f"{settings['epochs']} epochs of the tiny student. One image network, of other scenes "
        "again, serves all runs. mIoU is over all points, seen by a camera or not. Variants of one "
        "seed share weights, order and crops; intervals are Student's, paired by seed, over seeds "
        "alone: other scenes are not in them. Questions asked of one table are corrected for "
        "their number by Holm's procedure.",
    ]
    found = {
        name: _results(grid, own)
        for name, grid in GRIDS.items()
        if (own := [run for run in runs if run.grid == name])
    }
    said = [line for name, results in found.items() for line in _answers(GRIDS[name], results)]
    if said:
        parts += ["## What was found", "\n".join(said)]
    for name, results in found.items():
        own = [run for run in runs if run.grid == name]
        parts += [f"## {GRIDS[name].title}", _scores(GRIDS[name], own), _comparisons(results)]
    return blocks.page(*parts, *records.notes)


def _scores(grid: Grid, runs: Sequence[RunRecord]) -> str:
    rows = []
    for variant, what in grid.variants.items():
        for name, words in (
            (variant, what.description),
            (variant + FUSED, "the same runs, scored with images"),
        ):
            own = [run for run in runs if run.variant == name]
            if own:
                rows.append([f"`{name}`", words, str(len(own)), mean_sd(own, _MIOU)])
    return blocks.table(["variant", "what", "runs", "mIoU"], rows, "llr")


def _results(grid: Grid, runs: Sequence[RunRecord]) -> list[Result]:
    """Return the comparisons of which both variants have run."""
    results = compare(runs, grid.comparisons, None)
    return [each for each in results if each.metric.name == PRIMARY_METRIC and each.estimate.seeds]


def _answers(grid: Grid, results: Sequence[Result]) -> list[str]:
    """Return a line for each question that the grid asks."""
    return [
        f"- {grid.title.lower()}, `{each.comparison.variant}` against "
        f"`{each.comparison.baseline}`: "
        f"**{each.verdict}**, {blocks.signed(each.estimate.difference)} points {_interval(each)}."
        for each in results
        if each.primary
    ]


def _comparisons(results: Sequence[Result]) -> str:
    if not results:
        return "No two variants of a comparison have run yet."
    rows = [
        [
            f"`{each.comparison.variant}` against `{each.comparison.baseline}`",
            "asked" if each.primary else "beside",
            str(len(each.estimate.seeds)),
            blocks.signed(each.estimate.difference),
            _interval(each),
            each.verdict,
        ]
        for each in results
    ]
    header = ["comparison", "", "pairs", "difference, points", "95% interval", "verdict"]
    return blocks.table(header, rows, "llr")


def _interval(result: Result) -> str:
    return blocks.interval(result.estimate.low, result.estimate.high)

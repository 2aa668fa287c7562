"""The page `cross_modal.md`: what camera images brought on simulated streets."""

import statistics
from collections.abc import Sequence
from typing import Final

from benchmarks.studies.cross_modal.arms import FUSED, GRIDS, Grid
from benchmarks.studies.study_page import generated
from train.ablation.records import Records, RunRecord
from train.ablation.statistics import PRIMARY_METRIC, Result, compare

RECORDS_NAME: Final = "cross_modal_records.jsonl.gz"
"""The records, beside the page."""


def markdown(records: Records) -> str:
    """Return the page.

    Parameters
    ----------
    records
        Of one assay, one at least.
    """
    runs = records.runs
    settings = runs[0].assay_settings
    parts = [
        "# What camera images bring",
        f"{generated('cross-modal', RECORDS_NAME)}"
        " The methods are our readings of abstracts, and "
        "nothing here is a reproduction: [the guide](../guides/cameras_methods.md).",
        f"Simulated {settings['dataset']}: {settings['sweeps']} sweeps to train on, "
        f"{settings['validation_sweeps']} of other streets to be scored on, "
        f"{settings['epochs']} epochs of the tiny student. One image network, of other streets "
        "again, serves all runs. mIoU is over all points, seen by a camera or not. Arms of one "
        "seed share weights, order and crops; intervals are Student's, paired by seed, over seeds "
        "alone: other streets are not in them. Questions asked of one table are corrected for "
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
    return "\n\n".join([*parts, *records.notes]) + "\n"


def _scores(grid: Grid, runs: Sequence[RunRecord]) -> str:
    rows = []
    for arm, what in grid.arms.items():
        for name, words in (
            (arm, what.description),
            (arm + FUSED, "the same runs, scored with images"),
        ):
            values = [100 * (run.scores["miou"] or 0.0) for run in runs if run.arm == name]
            if values:
                spread = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
                mean = f"{statistics.fmean(values):.1f}{spread}"
                rows.append([f"`{name}`", words, str(len(values)), mean])
    return _table(["arm", "what", "runs", "mIoU"], rows)


def _results(grid: Grid, runs: Sequence[RunRecord]) -> list[Result]:
    """Return the comparisons of which both arms have run."""
    results = compare(runs, grid.comparisons, None)
    return [each for each in results if each.metric.name == PRIMARY_METRIC and each.estimate.seeds]


def _answers(grid: Grid, results: Sequence[Result]) -> list[str]:
    """Return a line for each question that the grid asks."""
    return [
        f"- {grid.title.lower()}, `{each.comparison.arm}` against `{each.comparison.baseline}`: "
        f"**{each.verdict}**, {_signed(each.estimate.difference)} points {_interval(each)}."
        for each in results
        if each.primary
    ]


def _comparisons(results: Sequence[Result]) -> str:
    if not results:
        return "No two arms of a comparison have run yet."
    rows = [
        [
            f"`{each.comparison.arm}` against `{each.comparison.baseline}`",
            "asked" if each.primary else "beside",
            str(len(each.estimate.seeds)),
            _signed(each.estimate.difference),
            _interval(each),
            each.verdict,
        ]
        for each in results
    ]
    header = ["comparison", "", "pairs", "difference, points", "95% interval", "verdict"]
    return _table(header, rows)


def _signed(number: float | None) -> str:
    return "–" if number is None else f"{number:+.1f}"


def _interval(result: Result) -> str:
    low, high = result.estimate.low, result.estimate.high
    return "–" if low is None or high is None else f"[{low:+.1f}, {high:+.1f}]"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [list(header), ["---", "---", *["---:"] * (len(header) - 2)], *map(list, rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

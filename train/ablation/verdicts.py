"""Which variants are compared, which p values are corrected together, and what a result is called.

One place for each rule: `Result.verdict` is the word, `correct` the family, `gate_verdict` and
`GATE_POINTS` what a teacher must be above its students. Intervals are in
`train.ablation.statistics`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from train.ablation.records import RunRecord
from train.ablation.statistics import (
    METRICS,
    PRIMARY_METRIC,
    SIGNIFICANCE,
    Estimate,
    Metric,
    SceneBootstrap,
    estimate,
    metrics_of,
    paired_sample,
)

MIN_SEEDS_CLAIM: Final = 5
"""Pairs below which nothing is claimed."""
GATE_POINTS: Final = 6.0
"""mIoU that a teacher must be above a student that learned from labels alone."""


@dataclass(frozen=True)
class Comparison:
    """A variant and what it is held against."""

    variant: str
    baseline: str
    primary: bool = False
    """Whether it is one of the grid's few questions, which Holm's correction covers."""


@dataclass(frozen=True)
class Result:
    """What is known about one comparison in one metric."""

    comparison: Comparison
    metric: Metric
    estimate: Estimate
    p_holm: float | None
    """Corrected over the primary comparisons; None for everything secondary."""

    @property
    def primary(self) -> bool:
        """Whether it answers one of the grid's questions."""
        return self.comparison.primary and self.metric.name == PRIMARY_METRIC

    @property
    def verdict(self) -> str:
        """The answer in words: the same numbers give the same words for everyone."""
        found, margin = self.estimate, self.metric.margin
        if len(found.seeds) < MIN_SEEDS_CLAIM:
            return f"not enough runs ({len(found.seeds)} of at least {MIN_SEEDS_CLAIM} seeds)"
        if found.p is None or found.difference is None:
            return "no claim (the same difference in every seed: did the seeds vary?)"
        corrected = found.p if not self.primary else 1.0 if self.p_holm is None else self.p_holm
        if found.p < SIGNIFICANCE <= corrected:
            return "no effect seen (not after Holm's correction)"
        if found.p < SIGNIFICANCE:
            return "better" if (found.difference > 0) == self.metric.higher_is_better else "worse"
        if margin is None:
            return "no effect seen"
        words = f"within {margin:g} {self.metric.title}"
        if found.equivalent:
            return f"no effect seen (equivalent {words})"
        return "no effect seen (interval too wide to say)"

    @property
    def verdict_with_size(self) -> str:
        """The verdict; a gain that is real but of no interest is called so."""
        verdict, margin = self.verdict, self.metric.margin
        if verdict in ("better", "worse") and self.estimate.equivalent and margin is not None:
            return f"{verdict}, by less than {margin:g} {self.metric.title}"
        return verdict


def result_of(
    runs: Sequence[RunRecord],
    comparison: Comparison,
    metric: Metric,
    bootstrap: SceneBootstrap | None = None,
) -> Result:
    """Return one comparison in one metric, uncorrected.

    Parameters
    ----------
    runs
        Of one grid and setup; those of other variants are not looked at.
    comparison, metric
        What is compared, in what.
    bootstrap
        As for `compare`.
    """
    variant, baseline = (
        [run for run in runs if run.variant == name]
        for name in (comparison.variant, comparison.baseline)
    )
    sample = paired_sample(variant, baseline, metric, bootstrap)
    return Result(comparison, metric, estimate(sample, metric.margin), None)


def compare(
    runs: Sequence[RunRecord],
    comparisons: Sequence[Comparison],
    bootstrap: SceneBootstrap | None,
) -> list[Result]:
    """Return every comparison in every metric that both variants have, comparison by comparison.

    The primary metric is there even where no run has it yet.

    Parameters
    ----------
    runs
        Of one grid and setup.
    comparisons
        What to compare; the primary ones are one family for Holm's correction.
    bootstrap
        Draws scenes; None leaves their variance out.

    Raises
    ------
    ValueError
        If runs are of several grids or setups, or one is there twice.
    """
    if len({(run.grid, run.setup) for run in runs}) > 1:
        raise ValueError("compare: runs of several grids or setups; compare those of one")
    students = [run for run in runs if run.role == "student"]
    metrics = metrics_of(students)
    results = []
    for comparison in comparisons:
        for metric in metrics:
            result = result_of(students, comparison, metric, bootstrap)
            if result.estimate.seeds or metric.name == PRIMARY_METRIC:
                results.append(result)
    return correct(results)


def correct(results: Sequence[Result]) -> list[Result]:
    """Return results whose family, the primary ones, has corrected p values.

    One below `MIN_SEEDS_CLAIM` counts in the family's size, and has no p value yet.
    """
    family = [result.estimate for result in results if result.primary]
    found = iter(holm([of.p if len(of.seeds) >= MIN_SEEDS_CLAIM else None for of in family]))
    return [replace(each, p_holm=next(found)) if each.primary else each for each in results]


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return the p values corrected for their number, in the order given.

    Parameters
    ----------
    p_values
        Of one family. None for a comparison that has none yet: it counts in the family's size,
        so that what is claimed today is not taken back when it arrives.

    Notes
    -----
    The step-down procedure of S. Holm, "A simple sequentially rejective multiple test
    procedure", Scand. J. Stat. 6 (1979): the k-th smallest of m is multiplied with m - k + 1,
    and none is below the one before it.

    Examples
    --------
    >>> holm([0.01, 0.5, None])
    [0.03, 1.0, None]
    """
    known = sorted((p, i) for i, p in enumerate(p_values) if p is not None)
    corrected: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, i) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(p_values) - rank)))
        corrected[i] = highest
    return corrected


def teacher_gap(
    runs: Sequence[RunRecord], control: str, bootstrap: SceneBootstrap | None
) -> Estimate:
    """Return how far the teachers are above the students that learned from labels alone.

    Parameters
    ----------
    runs
        Of one grid and setup.
    control
        The variant that learned from labels alone; each of its runs is paired with its teacher.
    bootstrap
        As for `compare`.

    Returns
    -------
    Estimate
        In points of mIoU; without seeds where there is no such student or teacher.
    """
    metric = next(metric for metric in METRICS if metric.name == PRIMARY_METRIC)
    teachers = {run.teacher: run for run in runs if run.role == "teacher"}
    students = [run for run in runs if run.variant == control and run.teacher in teachers]
    # One teacher stands beside several students; the records differ in nothing but the seed.
    beside = [replace(teachers[run.teacher], seed=run.seed) for run in students]
    return estimate(paired_sample(beside, students, metric, bootstrap), metric.margin)


def gate_verdict(gap: Estimate) -> str:
    """Return "met", "not met" or "unknown": whether teachers have enough to teach."""
    if gap.difference is None:
        return "unknown"
    return "met" if gap.difference >= GATE_POINTS else "not met"

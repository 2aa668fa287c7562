"""Which variants are compared, which p values are corrected together, and what a result is called.

One place for each rule (docs/decisions/0009): `Result.verdict` is the word, `correct` the
gatekeeper and the family behind it, `hangs_on` what a word would not survive. Intervals are in
`train.ablation.statistics`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from train.ablation.records import RunRecord
from train.ablation.statistics import (
    KNOWN_MIOU,
    METRICS,
    PRIMARY_METRIC,
    SIGNIFICANCE,
    WITHOUT,
    Estimate,
    Metric,
    SceneBootstrap,
    estimate,
    metrics_of,
    paired_sample,
)
from train.core.blocks import p_value

MIN_SEEDS_CLAIM: Final = 5
"""Pairs below which nothing is claimed."""


@dataclass(frozen=True)
class Comparison:
    """A variant and what it is held against."""

    variant: str
    baseline: str
    primary: bool = False
    """Whether it is one of the grid's few questions, which Holm's correction covers."""

    @property
    def pair(self) -> tuple[str, str]:
        """The variant and what it is held against."""
        return self.variant, self.baseline


@dataclass(frozen=True)
class Result:
    """What is known about one comparison in one metric."""

    comparison: Comparison
    metric: Metric
    estimate: Estimate
    p_holm: float | None = None
    """Corrected over the primary comparisons; None for everything secondary, and for the gate."""
    primary: bool = False
    """Whether it answers one of the grid's questions."""
    is_gate: bool = False
    """Whether it is the positive control, which is tested first and alone."""
    judged: bool = True
    """Whether the positive control lets it be judged."""

    @property
    def verdict(self) -> str:
        """The answer in words: the same numbers give the same words for everyone."""
        found, margin = self.estimate, self.metric.margin
        if len(found.seeds) < MIN_SEEDS_CLAIM:
            return f"not enough runs ({len(found.seeds)} of at least {MIN_SEEDS_CLAIM} seeds)"
        if found.p is None or found.difference is None:
            return "no claim (the same difference in every seed: did the seeds vary?)"
        if not self.judged:
            return "not judged (the positive control has not passed)"
        in_family = self.primary and not self.is_gate
        corrected = found.p if not in_family else 1.0 if self.p_holm is None else self.p_holm
        if found.p < SIGNIFICANCE <= corrected:
            return f"suggestive (p {p_value(found.p)}, {p_value(corrected)} after Holm)"
        if found.p < SIGNIFICANCE:
            return "better" if (found.difference > 0) == self.metric.higher_is_better else "worse"
        if margin is None:
            return "no effect seen"
        if found.equivalent:
            return f"no effect seen (equivalent within {self.metric.margin_in_words})"
        return "no effect seen (interval too wide to say)"

    @property
    def verdict_with_size(self) -> str:
        """The verdict; a gain that is real but of no interest is called so."""
        verdict, margin = self.verdict, self.metric.margin
        if verdict in ("better", "worse") and self.estimate.equivalent and margin is not None:
            return f"{verdict}, by less than {self.metric.margin_in_words}"
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
    return Result(comparison, metric, estimate(sample, metric.margin))


def primary_metric(runs: Sequence[RunRecord]) -> str:
    """Return the metric in which a grid's questions are asked: over known classes where it can."""
    known = any(KNOWN_MIOU in run.scores for run in runs)
    return KNOWN_MIOU if known else PRIMARY_METRIC


def compare(
    runs: Sequence[RunRecord],
    comparisons: Sequence[Comparison],
    bootstrap: SceneBootstrap | None,
    gate: tuple[str, str] | None = None,
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
    gate
        The positive control, variant and baseline: if it is among the primary comparisons it is
        tested first, and the others are judged only if it passes.

    Raises
    ------
    ValueError
        If runs are of several grids or setups, or one is there twice.
    """
    if len({(run.grid, run.setup) for run in runs}) > 1:
        raise ValueError("compare: runs of several grids or setups; compare those of one")
    students = [run for run in runs if run.role == "student"]
    metrics, asked = metrics_of(students), primary_metric(students)
    results = []
    for comparison in comparisons:
        for metric in metrics:
            result = result_of(students, comparison, metric, bootstrap)
            if result.estimate.seeds or metric.name == asked:
                primary = comparison.primary and metric.name == asked
                is_gate = primary and comparison.pair == gate
                results.append(replace(result, primary=primary, is_gate=is_gate))
    return correct(results)


def correct(results: Sequence[Result]) -> list[Result]:
    """Return results with what the gatekeeper and Holm's correction say of the primary ones.

    The gatekeeper is tested alone, so it costs the family nothing. One of the family below
    `MIN_SEEDS_CLAIM` counts in its size, and has no p value yet.
    """
    judged = all(result.verdict == "better" for result in results if result.is_gate)
    family = [each.estimate for each in results if each.primary and not each.is_gate]
    found = iter(holm([of.p if len(of.seeds) >= MIN_SEEDS_CLAIM else None for of in family]))
    return [
        replace(each, p_holm=next(found), judged=judged)
        if each.primary and not each.is_gate
        else each
        for each in results
    ]


def hangs_on(
    result: Result, runs: Sequence[RunRecord], bootstrap: SceneBootstrap | None
) -> list[str] | None:
    """Return the classes and seeds without one of which an interval would not leave out 0.

    Parameters
    ----------
    result
        Of the metric over known classes, whose scores without each class the runs have.
    runs
        Of its grid and setup.
    bootstrap
        As for `compare`.

    Returns
    -------
    list of str, or None
        Empty where nothing does; None where the interval has 0 in it as it is.
    """
    if result.estimate.p is None or result.estimate.p >= SIGNIFICANCE:
        return None
    students = [run for run in runs if run.role == "student"]

    def falls(others: Sequence[RunRecord], metric: Metric) -> bool:
        found = result_of(others, result.comparison, metric, bootstrap).estimate
        side = (found.difference or 0) * (result.estimate.difference or 0) > 0
        return found.p is None or found.p >= SIGNIFICANCE or not side

    classes = sorted({name for run in students for name in run.scores if name.startswith(WITHOUT)})
    found = [
        name.removeprefix(WITHOUT)
        for name in classes
        if falls(students, replace(result.metric, name=name))
    ]
    seeds = [
        f"seed {seed}"
        for seed in result.estimate.seeds
        if falls([run for run in students if run.seed != seed], result.metric)
    ]
    return [*found, *seeds]


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
    metric = next(metric for metric in METRICS if metric.name == primary_metric(runs))
    teachers = {run.teacher: run for run in runs if run.role == "teacher"}
    students = [run for run in runs if run.variant == control and run.teacher in teachers]
    # One teacher stands beside several students; the records differ in nothing but the seed.
    beside = [replace(teachers[run.teacher], seed=run.seed) for run in students]
    return estimate(paired_sample(beside, students, metric, bootstrap), metric.margin)

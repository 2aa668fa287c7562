"""Paired differences between variants: intervals over seeds, teachers and scenes.

How an interval is made. The variants of one seed share their teacher, initial weights, crops and
order, so what is compared is the difference within a seed. The mean difference over n seeds is
uncertain for up to three reasons, each with a variance of its own:

- seeds: the sample variance of the differences over n, with n - 1 degrees of freedom;
- scenes: both variants were scored on the same J validation scenes, other scenes would have given
  another difference, and more seeds do not help. The variance of the mean difference under a
  bootstrap of scenes, the same scenes for every variant and seed, times J / (J - 1), because a
  bootstrap of J things sees only (J - 1) / J of their variance; J - 1 degrees of freedom;
- teachers: from three teachers on, the variance of the teachers' mean differences over their
  number, in place of that over seeds where it is larger. With one or two teachers nothing can be
  said about others, and the result is about the teachers that were used.

The interval is the mean, plus and minus a quantile of Student's t times the root of the summed
variances, with Welch and Satterthwaite's degrees of freedom. Why not the percentiles of a
bootstrap over seeds: with 5 seeds these are too narrow, some 85% where 95% is said (the variance of
a resample is (n - 1) / n of the sample's, and no resample leaves the range of the five). A
studentized bootstrap of 5 seeds divides by resamples of almost no variance. The t interval asks
that differences between seeds are about normal, which for means over many thousand points they
are. The percentiles are recorded beside it (`bootstrap_low`, `bootstrap_high`).

What differs between seeds only on some scenes is counted in both variances; the intervals are a
little too wide for it, never too narrow. `tests/train/ablation/test_statistics.py` simulates
experiments of known effect and counts how often the interval holds it.

Shape letters: P pairs of runs, B draws of scenes, J scenes.
"""

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from train.ablation.records import RunRecord

MIN_SEEDS_INTERVAL: Final = 3
"""Pairs below which no interval is given."""
MIN_TEACHERS: Final = 3
"""Teachers from which on a result is about teachers at large."""
CONFIDENCE: Final = 0.95
SIGNIFICANCE: Final = 0.05
POWER: Final = 0.8
"""With which the minimum detectable difference would be seen."""
DRAWS: Final = 400
"""Of scenes: their standard error is then known to 4%; from 20 scenes it is known to 16%."""
_MOST_EXACT_SEEDS: Final = 16  # 65,536 sign patterns
_RANDOM_PATTERNS: Final = 65_536

Floats = NDArray[np.float64]
Scene = Mapping[str, Any]


@dataclass(frozen=True)
class Metric:
    """A score, and how a difference of it is shown."""

    name: str
    title: str
    unit: str = ""
    scale: float = 1.0
    """What a recorded value is multiplied with to have the unit."""
    higher_is_better: bool = True
    margin: float | None = None
    """Differences below it, in the unit, are of no interest."""
    digits: int = 2

    @property
    def margin_in_words(self) -> str:
        """As in "0.3 points of mIoU"."""
        unit = self.unit.removesuffix("s") if self.margin == 1 else self.unit
        return f"{self.margin:g} {unit} of {self.title}"


PRIMARY_METRIC: Final = "miou"
KNOWN_MIOU: Final = "known_miou"
"""mIoU over the classes that a run's teacher knows: primary where a page has it."""
WITHOUT: Final = f"{KNOWN_MIOU} without "
"""With a class behind it: the same over the others, to see what a verdict hangs on."""
KNOWN_IOU: Final = 0.2
"""IoU from which on a teacher knows a class; the students are not looked at."""
METRICS: Final = (
    Metric(KNOWN_MIOU, "mIoU over known classes", "points", 100, margin=0.3),
    Metric(PRIMARY_METRIC, "mIoU", "points", 100, margin=0.3),
    Metric("thin_iou", "thin classes' IoU", "points", 100),
    Metric("boundary_iou", "boundary IoU", "points", 100),
    Metric("fragmentation", "fragmentation", higher_is_better=False),
    Metric("missed", "components missed", "points", 100, higher_is_better=False),
    Metric("spurious_per_10k", "spurious components per 10,000 points", higher_is_better=False),
    Metric("distance_correlation", "distance correlation with the teacher", digits=3),
    Metric("own_other", "own/other ratio", higher_is_better=False, digits=3),
)
"""What is compared, the primary metric first. Points are percentage points."""
_OF_A_LOSS: Final = "own_other_"


def metrics_of(runs: Sequence[RunRecord]) -> tuple[Metric, ...]:
    """Return what runs can be compared in: `METRICS`, and the own/other ratio of each loss.

    Parameters
    ----------
    runs
        Their scores may name `own_other_LOSS`; other names outside `METRICS` are not compared.
    """
    names = sorted({name for run in runs for name in run.scores if name.startswith(_OF_A_LOSS)})
    return METRICS + tuple(
        Metric(
            name,
            f"own/other ratio of {name.removeprefix(_OF_A_LOSS)}",
            higher_is_better=False,
            digits=3,
        )
        for name in names
    )


class SceneBootstrap:
    """Scores of runs over validation scenes drawn with replacement, alike for every run.

    What is drawn of a record is kept for as long as this is.

    Parameters
    ----------
    read
        From a scene's recorded counts to an object that adds up with `+`.
    score
        From a sum of such objects, and the run that they are of, to metrics by name; called once
        per run and draw.
    draws
        B, at least 2.
    seed
        Of the generator.
    """

    def __init__(
        self,
        read: Callable[[Scene], Any],
        score: Callable[[Any, RunRecord], Mapping[str, float | None]],
        draws: int = DRAWS,
        seed: int = 0,
    ) -> None:
        if draws < 2:
            raise ValueError(f"SceneBootstrap: draws is {draws}; give at least 2")
        self.read, self.score = read, score
        self.draws, self.seed = draws, seed
        # By scenes, not by run: a teacher stands beside several students.
        self._known: dict[int, tuple[Mapping[str, Scene], dict[str, Floats]]] = {}

    def scores(self, run: RunRecord) -> Mapping[str, Floats]:
        """Return the (B,) scores of a run by metric, NaN where a draw has none.

        Empty where the run has fewer than two scenes: nothing can be drawn.
        """
        if id(run.scenes) not in self._known:
            self._known[id(run.scenes)] = (run.scenes, self._drawn(run))
        return self._known[id(run.scenes)][1]

    def of_all_scenes(self, run: RunRecord) -> Mapping[str, float | None]:
        """Return the scores of a run over its scenes as they are, each once."""
        return self.score(functools.reduce(operator.add, map(self.read, run.scenes.values())), run)

    def _drawn(self, run: RunRecord) -> dict[str, Floats]:
        counts = [self.read(run.scenes[name]) for name in sorted(run.scenes)]
        if len(counts) < 2:
            return {}
        rng = np.random.default_rng(self.seed)
        draws = rng.integers(len(counts), size=(self.draws, len(counts)))
        rows = [
            self.score(functools.reduce(operator.add, [counts[i] for i in draw]), run)
            for draw in draws
        ]
        return {
            name: np.array([math.nan if row[name] is None else row[name] for row in rows])
            for name in rows[0]
        }


@dataclass(frozen=True)
class PairedSample:
    """The differences of a variant and its baseline in one metric, in the metric's unit."""

    seeds: tuple[int, ...]
    """(P,) of each pair."""
    teachers: tuple[str, ...]
    """(P,) of each pair."""
    differences: Floats
    """(P,) variant minus baseline."""
    drawn: Floats | None = None
    """(P, B) the same over drawn scenes; None where scenes cannot be drawn."""
    scenes: int = 0
    """J, how many the draws are from."""


def paired_sample(
    variant: Sequence[RunRecord],
    baseline: Sequence[RunRecord],
    metric: Metric,
    bootstrap: SceneBootstrap | None = None,
) -> PairedSample:
    """Pair the runs of two variants by teacher and seed, and take the differences of a metric.

    A run without a partner, or without the metric, is left out.

    Parameters
    ----------
    variant, baseline
        Runs of one grid and setup, each at most once.
    metric
        What is compared.
    bootstrap
        Draws scenes; without it the sample has none.

    Raises
    ------
    ValueError
        If a variant has two runs of one teacher and seed.
    """
    ours, theirs = _by_pair(variant, metric), _by_pair(baseline, metric)
    keys = sorted(ours.keys() & theirs.keys())
    values = [metric.scale * (ours[key][0] - theirs[key][0]) for key in keys]
    sample = PairedSample(
        seeds=tuple(seed for _, seed in keys),
        teachers=tuple(teacher for teacher, _ in keys),
        differences=np.array(values, dtype=np.float64),
    )
    if bootstrap is None or not keys:
        return sample
    rows = []
    for key in keys:
        drawn = [bootstrap.scores(run[key][1]).get(metric.name) for run in (ours, theirs)]
        if drawn[0] is None or drawn[1] is None:
            return sample
        rows.append(metric.scale * (drawn[0] - drawn[1]))
    table = np.array(rows)
    table = table[:, np.isfinite(table).all(axis=0)]
    if table.shape[1] < bootstrap.draws // 2:  # most draws lack what the metric speaks of
        return sample
    return replace(sample, drawn=table, scenes=len(ours[keys[0]][1].scenes))


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean difference and how sure it is, in the metric's unit; None for what has no base."""

    seeds: tuple[int, ...]
    """The seeds that both variants have."""
    teachers: int
    difference: float | None
    """Mean over seeds."""
    standard_deviation: float | None
    """Of the differences between seeds."""
    low: float | None = None
    high: float | None = None
    """Ends of the 95% interval; None below three seeds."""
    scenes: int = 0
    """Whose variance is in the interval; 0 where scenes could not be drawn."""
    over: tuple[str, ...] = ()
    """What the interval speaks for beyond what was run: "seeds", "teachers", "scenes"."""
    standard_error: float | None = None
    degrees_of_freedom: float | None = None
    p: float | None = None
    """Two-sided, of the same t as the interval: below 0.05 exactly where that leaves out 0."""
    p_sign_flip: float | None = None
    """Two-sided, by flipping the signs of the seeds' differences; knows nothing of scenes."""
    equivalent: bool | None = None
    """Whether the 90% interval lies within the margin; None without interval or margin."""
    minimum_detectable: float | None = None
    """The true difference that as many seeds and scenes would show with a power of 80%."""
    bootstrap_low: float | None = None
    bootstrap_high: float | None = None
    """Percentiles of the hierarchical bootstrap; too narrow for few seeds, see above."""


def estimate(sample: PairedSample, margin: float | None = None, seed: int = 0) -> Estimate:
    """Return the mean difference of a sample with its interval.

    Parameters
    ----------
    sample
        Any number of pairs, none included.
    margin
        Differences below it are of no interest, in the sample's unit.
    seed
        Of the hierarchical bootstrap's generator.

    Notes
    -----
    Equivalence is two one-sided tests at 5% [1]_. The minimum detectable difference is the
    standard error times the sum of the t quantiles of 97.5% and 80%; half the interval's width,
    the first of these alone, is what 5% significance needs and what half of the repeats would
    reach. Three differences that are exactly equal and not 0 get no interval: nothing that was
    to vary did.

    References
    ----------
    .. [1] D. Schuirmann, "A comparison of the two one-sided tests procedure and the power
       approach for assessing the equivalence of average bioavailability", J. Pharmacokinet.
       Biopharm. 15 (1987).
    .. [2] F. Satterthwaite, "An approximate distribution of estimates of variance components",
       Biometrics Bull. 2 (1946).
    """
    seeds, means = _by_group(sample.seeds, sample.differences)
    count = len(means)
    difference = float(means.mean()) if count else None
    deviation = float(means.std(ddof=1)) if count >= 2 else None
    result = Estimate(
        seeds=tuple(int(seed) for seed in seeds),
        teachers=len(set(sample.teachers)),
        difference=difference,
        standard_deviation=deviation,
    )
    if difference is None or deviation is None or count < MIN_SEEDS_INTERVAL:
        return result
    if deviation == 0 and difference != 0:
        return result
    variances = _variances(sample, means)
    variance = sum(part for part, _ in variances.values())
    error = math.sqrt(variance)
    degrees = count - 1.0
    if variance > 0:
        degrees = variance**2 / sum(part**2 / free for part, free in variances.values())
    half = _quantile((1 + CONFIDENCE) / 2, degrees) * error
    half_90 = _quantile(1 - SIGNIFICANCE, degrees) * error
    bounds = np.percentile(
        _hierarchical_bootstrap(sample, np.random.default_rng(seed)),
        [50 * (1 - CONFIDENCE), 50 * (1 + CONFIDENCE)],
    )
    teachers = ["teachers"] if result.teachers >= MIN_TEACHERS else []
    return replace(
        result,
        low=difference - half,
        high=difference + half,
        scenes=sample.scenes,
        over=("seeds", *teachers, *list(variances)[1:]),
        standard_error=error,
        degrees_of_freedom=degrees,
        p=2 * _below(-abs(difference) / error, degrees) if error > 0 else 1.0,
        p_sign_flip=sign_flip(means),
        equivalent=None if margin is None else abs(difference) + half_90 < margin,
        minimum_detectable=half + _quantile(POWER, degrees) * error,
        bootstrap_low=float(bounds[0]),
        bootstrap_high=float(bounds[1]),
    )


def _variances(sample: PairedSample, means: Floats) -> dict[str, tuple[float, float]]:
    """Return the variances of the mean difference with their degrees of freedom, seeds first."""
    found = {"seeds": _variance_of_mean(means)}
    if len(set(sample.teachers)) >= MIN_TEACHERS:
        # The larger of the two: teachers' means vary at least as much as their seeds make them.
        _, by_teacher = _by_group(sample.teachers, sample.differences)
        found["seeds"] = max(found["seeds"], _variance_of_mean(by_teacher))
    if sample.drawn is not None:
        _, by_seed = _by_group(sample.seeds, sample.drawn)
        seen = float(by_seed.mean(0).var(ddof=1))
        found["scenes"] = (seen * sample.scenes / (sample.scenes - 1), sample.scenes - 1.0)
    return found


def _variance_of_mean(values: Floats) -> tuple[float, float]:
    return float(values.std(ddof=1)) ** 2 / len(values), len(values) - 1.0


def _by_group(names: Sequence[int | str], values: Floats) -> tuple[list[Any], Floats]:
    """Return the sorted names and the means of their values, over the first axis."""
    groups = sorted(set(names))
    means = [values[np.equal(names, name)].mean(axis=0) for name in groups]
    return groups, np.array(means, dtype=np.float64)


def sign_flip(differences: Floats, seed: int = 0) -> float:
    """Return the two-sided p value of a mean under flipped signs.

    Parameters
    ----------
    differences
        (n,), at least one. With n = 5 no p value can be below 2 / 32.
    seed
        Of the generator; used above 16 differences only, where patterns are drawn.

    Notes
    -----
    Exact where all patterns are tried. Of drawn patterns the seen one is one, so p is never 0.
    """
    count = len(differences)
    seen = abs(differences.sum()) * (1 - 1e-12)  # sums in another order may round below it
    if count <= _MOST_EXACT_SEEDS:
        signs = 2.0 * (np.arange(2**count)[:, None] >> np.arange(count) & 1) - 1
        return float((np.abs(signs @ differences) >= seen).mean())
    rng = np.random.default_rng(seed)
    signs = rng.choice((-1.0, 1.0), size=(_RANDOM_PATTERNS, count))
    reached = int((np.abs(signs @ differences) >= seen).sum())
    return (reached + 1) / (_RANDOM_PATTERNS + 1)


# Both from scipy.special, without the second that scipy.stats takes, and not for --help.


def _quantile(probability: float, degrees: float) -> float:
    """Return the value that Student's t lies below with a probability."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, probability))


def _below(value: float, degrees: float) -> float:
    """Return the probability with which Student's t lies below a value."""
    from scipy.special import stdtr

    return float(stdtr(degrees, value))


def _by_pair(
    runs: Sequence[RunRecord], metric: Metric
) -> dict[tuple[str, int], tuple[float, RunRecord]]:
    """Return the runs that have a metric, with its value, by teacher and seed."""
    found: dict[tuple[str, int], tuple[float, RunRecord]] = {}
    for run in runs:
        key = (run.teacher, run.seed)
        if key in found:
            raise ValueError(
                f"paired_sample: variant {run.variant} has two runs of seed {run.seed} and teacher "
                f"{run.teacher}; give each run once"
            )
        value = run.scores.get(metric.name)
        if value is not None:
            found[key] = (value, run)
    return found


def _hierarchical_bootstrap(sample: PairedSample, rng: np.random.Generator) -> Floats:
    """Return (B,) mean differences: teachers drawn, then seeds of each, then scenes.

    One or two teachers are kept as they are. The scenes of a draw are the same for all pairs.
    """
    drawn = sample.drawn
    if drawn is None:
        drawn = np.repeat(sample.differences[:, None], DRAWS, axis=1)
    members = [
        np.flatnonzero(np.equal(sample.teachers, name)) for name in sorted(set(sample.teachers))
    ]
    sizes = np.array([len(of) for of in members])
    padded = np.array([np.resize(of, sizes.max()) for of in members])
    draws = np.arange(drawn.shape[1])
    teachers = np.repeat(np.arange(len(members))[:, None], len(draws), axis=1)
    if len(members) >= MIN_TEACHERS:
        teachers = rng.integers(len(members), size=teachers.shape)
    size = sizes[teachers]  # (teachers, B)
    total, count = np.zeros(len(draws)), np.zeros(len(draws))
    for i in range(sizes.max()):  # the i-th pair drawn for each teacher that has so many
        pair = padded[teachers, (rng.random(size.shape) * size).astype(np.int64)]
        total += np.where(i < size, drawn[pair, draws], 0.0).sum(axis=0)
        count += (i < size).sum(axis=0)
    return total / count

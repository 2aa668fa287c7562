"""The page `dd3d.md`: what the runs on simulated objects gave, beside the paper."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Self

from benchmarks.studies.dd3d.experiment import CONTROLS, FULL, MANY, REDRAWN, START_ALONE
from benchmarks.studies.study_page import Cost, cells_of, generated, mean_sd
from train.ablation.records import Records, RunRecord
from train.ablation.statistics import Metric
from train.ablation.verdicts import Comparison, Result, result_of
from train.core import blocks
from train.dataset_distillation.generator import GeneratorSpec, pays_from
from train.dataset_distillation.make import SIGNS_ONCE_FROM
from train.dataset_distillation.networks.classifiers import SMALL_POINTNET
from train.dataset_distillation.options import METHODS

RECORDS_NAME: Final = "dd3d_records.jsonl.gz"
"""The records, beside the page."""

LAST: Final = Metric("accuracy", "last epoch", "points", 100, digits=1)
BEST: Final = Metric("best_accuracy", "best test epoch", "points", 100, digits=1)
OURS: Final = "dd3d"
MUST_BEAT: Final = ("random", "k-center")
"""What DD3D is to beat with an interval above 0."""
OTHERS: Final = (*METHODS, *CONTROLS)
"""What can stand beside it, in the order of the tables."""
PAPER: Final[Mapping[tuple[str, str], Mapping[str, str]]] = {
    ("aligned", "1"): {
        "random": "40.53",
        "herding": "43.41",
        "k-center": "43.90",
        "gradient-matching": "53.38",
        "distribution-matching": "53.21",
        "dd3d": "53.82",
    },
    ("aligned", "10"): {
        "random": "71.89",
        "herding": "74.63",
        "k-center": "73.13",
        "gradient-matching": "75.45",
        "distribution-matching": "74.45",
        "dd3d": "76.31",
    },
    ("aligned", "50"): {
        "random": "82.37",
        "herding": "82.75",
        "k-center": "82.73",
        "gradient-matching": "81.74",
        "distribution-matching": "83.02",
        "dd3d": "83.91",
    },
    ("rotated", "1"): {
        "random": "34.65",
        "herding": "30.03",
        "k-center": "30.05",
        "gradient-matching": "41.32",
        "distribution-matching": "41.71",
        "dd3d": "42.36",
    },
    ("rotated", "10"): {
        "random": "58.87",
        "herding": "56.03",
        "k-center": "57.69",
        "gradient-matching": "55.69",
        "distribution-matching": "55.45",
        "dd3d": "58.14",
    },
    ("rotated", "50"): {
        "random": "70.13",
        "herding": "70.02",
        "k-center": "69.68",
        "gradient-matching": "68.92",
        "distribution-matching": "69.31",
        "dd3d": "71.27",
    },
    ("aligned", FULL): {FULL: "88.05"},
    ("rotated", FULL): {FULL: "80.45"},
}
"""ModelNet40 with PointNet, Table 1: means over 10 runs, each at its best test epoch."""
_MIB: Final = 2**20


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What stands on the page beside the runs.

    Attributes
    ----------
    command
        What `topodistill distill-data` wrote about one set made from nothing (`distill.json`).
    tuning
        What was tried on clouds of another seed before the runs: `about`, and `rows` of
        `changed`, `accuracy` and `against`.
    picture
        The picture's file name.
    """

    command: Mapping[str, Any] | None = None
    tuning: Mapping[str, Any] = field(default_factory=dict)
    picture: str | None = None


def markdown(records: Records, beside: Beside | None = None) -> str:
    """Return the page.

    Parameters
    ----------
    records
        Of one setup, one at least.
    beside
        What else is shown.
    """
    runs = records.runs
    beside = beside or Beside()
    parts = [
        "# DD3D: our numbers beside the paper's",
        f"{generated('dd3d', RECORDS_NAME)}"
        ' The paper: "Point Cloud Dataset Distillation" (D. Bo and '
        "X. Wang, ICML 2025). How to use it: [the guide](../guides/dataset_distillation.md).",
        "## Is DD3D better than real clouds?",
        _verdicts(runs),
        "## What was run",
        _experiment(runs),
    ]
    if beside.picture is not None:
        parts += ["## What is made", _picture(beside.picture)]
    # Networks in the order of their grids' names, which cannot have a plus.
    places = sorted(
        {Place.of(run) for run in runs},
        key=lambda place: place._replace(network=place.network.replace("++", "2")),
    )
    for place in places:
        if not place.other:
            parts += [f"## Objects that are {place.setting}", _table_of(runs, place)]
    parts += ["## Differences", _differences(runs)]
    others = [_table_of(runs, place) for place in places if place.other]
    if others:
        parts += ["## Other networks, and other resolutions", _OTHERS, *others]
    parts += ["## Cost", _cost(runs)]
    if beside.command is not None:
        parts += ["## One command", _one_command(beside.command)]
    if beside.tuning:
        parts += ["## What was tried", _tried(beside.tuning)]
    parts += ["## What cannot be compared", _LIMITS, *records.notes]
    return blocks.page(*parts)


class Place(NamedTuple):
    """Which table a run is in, as its options say it."""

    setting: str
    other: bool
    """Whether it is not of the network that sets are made with, at the points of the settings."""
    network: str
    points: int
    """0 for those of the settings."""
    distill_points: int
    """0 for those of the settings."""

    @classmethod
    def of(cls, run: RunRecord) -> Self:
        """Return the place of a run."""
        told = run.options
        points, learned = told.get("points", 0), told.get("distill_points", 0)
        network = told["network"]
        other = network != SMALL_POINTNET or points > 0
        return cls(told["setting"], other, network, points, learned)

    def words(self, size: str) -> str:
        """Return the name of a grid: this table's runs with so many clouds per class."""
        words = f"{self.setting}, {size} per class"
        words += "" if self.network == SMALL_POINTNET else f", {self.network}"
        words += f", {self.points:,} points" if self.points else ""
        return words + (f", learned at {self.distill_points:,}" if self.distill_points else "")


def comparisons(runs: Sequence[RunRecord]) -> list[tuple[str, Result]]:
    """Return DD3D against everything else of its grid, in both metrics, with the grid in words.

    Parameters
    ----------
    runs
        Of one setup.
    """
    found = []
    for grid in sorted({run.grid for run in runs}):
        own = [run for run in runs if run.grid == grid]
        there = {run.variant for run in own}
        for variant in OTHERS:
            if variant == OURS or not {OURS, variant} <= there:
                continue
            comparison = Comparison(OURS, variant, primary=variant in (*MUST_BEAT, *CONTROLS))
            found += [
                (_spoken(own[0]), result_of(own, comparison, metric)) for metric in (LAST, BEST)
            ]
    return found


def _spoken(run: RunRecord) -> str:
    """Return the name of a run's grid in words."""
    return Place.of(run).words(_size(run))


def _size(run: RunRecord) -> str:
    """Return the clouds per class."""
    return str(run.options["clouds_per_class"] or FULL)


def _verdicts(runs: Sequence[RunRecord]) -> str:
    lines = []
    for grid, result in comparisons(runs):
        if result.comparison.primary and result.metric is LAST:
            seen = result.estimate
            if seen.low is None or seen.high is None or seen.difference is None:
                said = "not enough runs to say"
            else:
                ends = blocks.interval(seen.low, seen.high)
                numbers = f"{blocks.signed(seen.difference)} points {ends}"
                if seen.low > 0:
                    said = f"better, with an interval above 0: {numbers}"
                elif seen.high < 0:
                    said = f"worse: {numbers}"
                else:
                    said = f"not shown to be better: {numbers}"
            lines.append(f"- {grid}, against `{result.comparison.baseline}`: **{said}**.")
    if not lines:
        return "There is no run of `dd3d` beside random clouds yet."
    return (
        "After the last epoch, 95% intervals in brackets; `random` and `k-center` are real "
        "clouds, as many; `start-alone` is the generator fitted to real clouds, as it starts, with "
        "no gradient matched; `redrawn` are the real clouds that it is fitted to, with all their "
        "points, of which every epoch sees others.\n\n" + "\n".join(lines) + _added(runs)
    )


def _added(runs: Sequence[RunRecord]) -> str:
    """Return where matching improves on the generator's start, and where it does not."""
    said: dict[str, list[str]] = {"better": [], "worse": [], "neither": []}
    beats_redrawn = []
    for grid, result in comparisons(runs):
        low, high = result.estimate.low, result.estimate.high
        if result.metric is LAST and result.comparison.baseline == REDRAWN:
            beats_redrawn.append(low is not None and low > 0)
        if result.comparison.baseline != START_ALONE or result.metric is not LAST:
            continue
        if low is not None and high is not None:
            found = "better" if low > 0 else "worse" if high < 0 else "neither"
            said[found].append(grid)
    if not any(said.values()):
        return ""
    if not said["better"]:
        text = (
            "\n\n**Gradient matching is nowhere shown to improve on its initialization**: what is "
            "better than real clouds here is a generator fitted to them and resampled in every "
            "epoch."
        )
        if beats_redrawn and not any(beats_redrawn):
            text += (
                " The real clouds that it is fitted to teach as well or better when they are "
                "redrawn so; the generator holds them in a form that gives any number of points."
            )
        return text
    words = {
        "better": "improves on its initialization",
        "worse": "makes it worse",
        "neither": "is not shown to change it",
    }
    told = "; ".join(
        f"{words[name]}: {' and '.join(grids)}" for name, grids in said.items() if grids
    )
    return f"\n\n**Gradient matching {told}.**"


def _experiment(runs: Sequence[RunRecord]) -> str:
    settings = runs[0].setup_settings
    data = settings["data"]
    classes = len(runs[0].scenes)
    clouds = sum(group["clouds"] for group in runs[0].scenes.values())
    pairs = {(run.grid, run.variant) for run in runs}
    most = max(sum((run.grid, run.variant) == pair for run in runs) for pair in pairs)
    widths = "-".join(str(width) for width in settings["widths"])
    many = settings["many_epochs"]
    many = "" if many == settings["epochs"] else f" ({many} from {MANY} clouds per class on)"
    rate = f"{settings['lr']:f}".rstrip("0")
    return (
        f"Simulated objects in {classes} classes ({', '.join(runs[0].scenes)}): "
        f"{data['train_per_class']} of each to learn from and {clouds} of other models to be "
        f"scored on, so that chance is {100 / classes:.1f} %. Networks see {settings['points']} of "
        f"{data['num_points']:,} points of each.\n\n"
        f"Distillations take {settings['iterations']} iterations of {settings['outer']} steps "
        f"({settings['many_iterations']} from {MANY} clouds per class on) at "
        f"{settings['distill_points']} points with {settings['real_batch']} real clouds of a class "
        "in a step; the authors take 400 of 10 (of 20) at 1,024 points with 32. So short a run "
        "does not lead from noise to objects, where the authors start. **Here every method that "
        f"learns starts from real clouds, chosen by {settings['start']}**, free coordinates "
        f"and the generator alike; the generator is fitted to them first, in "
        f"{settings['start_steps']:,} steps, which is ours. At 1 per "
        "class `k-center` chooses the same clouds as herding: the difference to it is what the "
        f"fit, fresh draws and matching add. The rate is {rate} and its first frequency "
        f"{settings['w0']:g} (theirs: 0.001 and 100). "
        f"The matched PointNet, and the one that is trained and scored, has layers of {widths} in "
        f"place of 64-128-1024. A network learns for {settings['epochs']} epochs from a small "
        f"set{many} in batches of {settings['batch_size']}, and for "
        f"{settings['full_epochs']} from the full one. All else "
        "is the authors', and all methods share it. Clouds of a generator are resampled in every "
        "epoch, which is the paper's choice too, and below "
        f"{SIGNS_ONCE_FROM} per class so are a rotated cloud's signs, as in the authors' code: "
        "where its points do not decide a sign, networks see it mirrored now and then. Up to "
        f"{most} runs a cell: distillations times evaluations.\n\n"
        f"The score is the accuracy after the last epoch. The best of the epochs looked at (every "
        f"{settings['test_every']}th), chosen by its test score, which is what the paper reports, "
        "stands apart."
    )


def _picture(name: str) -> str:
    return (
        f"![real and generated clouds, a row per class]({name})\n\n"
        "Real clouds of the training set, and what was made from them: by DD3D with one cloud per "
        "class and with ten, drawn at 1,024 points though they were learned at fewer, and by "
        "gradient matching, whose free coordinates are as many as were learned. Generated points "
        "lie on curves: each is made from one number. Height is told by color."
    )


def _table_of(runs: Sequence[RunRecord], place: Place) -> str:
    own = [run for run in runs if Place.of(run) == place]
    sizes = sorted({_size(run) for run in own}, key=lambda size: (size == FULL, size.zfill(4)))
    rows = []
    for size in sizes:
        told = PAPER.get((place.setting, size), {})
        for variant in (*OTHERS, FULL):
            cell = [run for run in own if _size(run) == size and run.variant == variant]
            if cell:
                scores = [mean_sd(cell, metric) for metric in (LAST, BEST)]
                paper = [] if place.other else [told.get(variant, blocks.DASH)]
                rows.append([size, f"`{variant}`", str(len(cell)), *scores, *paper])
    header = ["clouds per class", "method", "runs", "last epoch, % right", "best test epoch"]
    header += [] if place.other else ["paper, ModelNet40, best"]
    title = f"Trained and scored: {place.network}, {place.setting} clouds"
    title += f" of {place.points:,} points" if place.points else ""
    title += f", learned at {place.distill_points:,}" if place.distill_points else ""
    return f"{title}.\n\n" + blocks.table(header, rows, "llr")


def _differences(runs: Sequence[RunRecord]) -> str:
    rows = []
    for grid, result in comparisons(runs):
        seen = result.estimate
        rows.append(
            [
                grid,
                f"`{OURS}` against `{result.comparison.baseline}`",
                result.metric.title,
                str(len(seen.seeds)),
                blocks.signed(seen.difference),
                blocks.interval(seen.low, seen.high),
            ]
        )
    if not rows:
        return "There is no run of `dd3d` beside another method yet."
    header = ["runs", "comparison", "metric", "pairs", "difference, points", "95% interval"]
    return (
        "Intervals are Student's, paired by distillation and evaluation, as in "
        "`train.ablation.statistics`. Evaluations of one distillation are more alike than those "
        "of several: below three distillations an interval speaks of these distillations.\n\n"
        + blocks.table(header, rows, "llr")
    )


def _cost(runs: Sequence[RunRecord]) -> str:
    rows = []
    for own in cells_of(runs, (*OTHERS, FULL)):
        cost = Cost.of(own)
        peaks = [run.stats.get("distillation_peak_bytes") for run in own if run.stats]
        peak = max((value for value in peaks if value), default=0)
        rows.append(
            [
                _spoken(own[0]),
                f"`{own[0].variant}`",
                cost.distilling,
                f"{peak / _MIB:.0f}" if cost.distilling != blocks.DASH and peak else blocks.DASH,
                f"{cost.training_s:.1f}",
                cost.numbers_stored,
            ]
        )
    devices = "; ".join(sorted({run.device for run in runs}))
    settings = runs[0].setup_settings
    spec = GeneratorSpec(classes=tuple(runs[0].scenes), clouds_per_class=1)
    pays = [
        f"{number:,} points from {pays_from(spec, number)} clouds per class on"
        for number in (settings["data"]["num_points"], settings["points"])
        if pays_from(spec, number) is not None
    ]
    smaller = f" It has fewer numbers than clouds of {'; of '.join(pays)}." if pays else ""
    header = [
        "runs",
        "method",
        "distilling, s",
        "its memory, MiB",
        "training a network, s",
        "numbers stored",
    ]
    return (
        f"One thread, wall time, median, on a machine that others used too: {devices}. Memory is "
        "by how much the process grew while it distilled, at most; the time holds the fit to real "
        "clouds, but not the training of the network whose features choose them, on the full set "
        f"(20 epochs). Stored are the generator's weights, or coordinates.{smaller}\n\n"
        + blocks.table(header, rows, "llr")
    )


def _one_command(report: Mapping[str, Any]) -> str:
    scores = "; ".join(
        f"{name} {100 * score['last']:.1f} % right after the last epoch, "
        f"{100 * score['best']:.1f} % at the best"
        for name, score in report["scores"].items()
    )
    options = report["made_from"]["options"]
    minutes = {
        name: f"{report[name] / 60:.1f}" for name in ("wall_seconds", "cpu_seconds", "seconds")
    }
    widths = "-".join(map(str, options["widths"]))
    return (
        f"`{report['command']}` from nothing, on {report['threads']} thread of "
        f"{report['processor']}: **{minutes['wall_seconds']} minutes** in all, on a machine that "
        f"others used too; {minutes['cpu_seconds']} minutes of a core's time. Of the first, "
        f"{minutes['seconds']} are distilling ({options['iterations']} iterations at "
        f"{options['points']} points, PointNet of {widths}). Its result: {scores}."
    )


def _tried(tuning: Mapping[str, Any]) -> str:
    rows = [[str(row[name]) for name in tuning["columns"]] for row in tuning["rows"]]
    return f"{tuning['about']}\n\n" + blocks.table(tuning["columns"], rows, "llr")


_OTHERS: Final = (
    "The same small sets, learned with PointNet, teach networks of other kinds; and the same "
    "generator, learned at few points, is sampled at more. The paper's table of transfer has 50 "
    "clouds per class alone: there DD3D's mean over five networks on ModelNet40 is 76.3, gradient "
    "matching's 74.7, distribution matching's 74.0."
)

_LIMITS: Final = blocks.bullets(
    [
        "The paper's numbers are of ModelNet40: 40 classes and 9,843 models to learn from. Ours "
        "are of simulated scene objects in far fewer classes; only signs and orders can be set "
        "side by side.",
        "The paper's networks are wider, its clouds have 1,024 points, and it distills for far "
        "longer.",
        "The paper reports the best of 200 test epochs; here the best of a few.",
        "In the rotated setting the authors train the matched network for five epochs between "
        "two steps (ten at 10 clouds per class); here as in the aligned one.",
        "The learning rates of free coordinates are ours: the paper's table of them is lost.",
        "Trajectory matching, a baseline of the paper, is not among ours.",
    ]
)

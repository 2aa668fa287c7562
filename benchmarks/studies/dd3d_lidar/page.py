"""The page `dd3d_lidar.md`: students trained on distilled frames beside those on real points."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from benchmarks.studies.dd3d_lidar.experiment import FULL, VARIANTS
from benchmarks.studies.study_page import Cost, cells_of, generated, mean_sd
from train.ablation.records import Records, RunRecord
from train.ablation.statistics import Metric, SceneBootstrap
from train.ablation.verdicts import Comparison, Result, result_of
from train.core import blocks
from train.core.iou import ClassCounts

RECORDS_NAME: Final = "dd3d_lidar_records.jsonl.gz"
"""The records, beside the page."""
PICTURE: Final = "dd3d_lidar.png"

LAST: Final = Metric("miou", "mIoU, last epoch", "points", 100, digits=1)
BEST: Final = Metric("best_miou", "mIoU, best epoch looked at", "points", 100, digits=1)
MUST_BEAT: Final = "random"
"""What DD3D is to beat: as many real points, drawn."""
PRIMARY: Final = (("dd3d", MUST_BEAT), ("dd3d-start", MUST_BEAT))
"""The questions of the page."""
MATCHING: Final = ("dd3d-start", "start-alone")
"""What tells whether matching gradients adds anything to where it starts."""
OTHERS: Final = (
    MATCHING,
    ("dd3d-start", "random-weighted"),
    ("start-alone", MUST_BEAT),
    ("dd3d-start", "k-center"),
    ("dd3d-start", "gradient-matching"),
)
"""What tells where a difference comes from."""
_BASELINES: Final = {
    MUST_BEAT: "as many random real points",
    MATCHING[1]: "its own start, without matching gradients",
}
_STUDENT: Final = "ptv3"


def markdown(records: Records, *, picture: bool) -> str:
    """Return the page.

    Parameters
    ----------
    records
        Of one setup, one at least.
    picture
        Whether there is one beside it.
    """
    runs = records.runs
    networks = sorted({run.options["network"] for run in runs}, key=lambda n: (n != _STUDENT, n))
    parts = [
        "# DD3D on LiDAR frames: a few generated frames against as many real points",
        f"{generated('dd3d-lidar', RECORDS_NAME)}"
        " How to use it: [the guide]"
        "(../guides/dataset_distillation.md#lidar-frames).",
        "## The answer",
        _answers(runs, networks),
        "## What was run",
        _experiment(runs),
    ]
    if picture:
        parts.append(f"![A real frame beside a generated one]({PICTURE})")
    for network in networks:
        parts += [f"## Scores: {network}", _scores(runs, network)]
    parts += ["## By class", _classes(runs)]
    parts += ["## Cost", _cost(runs), "## What was tried, and what this cannot say", _TRIED]
    return blocks.page(*parts, *records.notes)


def comparisons(runs: Sequence[RunRecord]) -> list[tuple[str, Result]]:
    """Return the comparisons of `PRIMARY` and `OTHERS` that have runs, with their grids' names.

    Parameters
    ----------
    runs
        Of one setup.

    Notes
    -----
    After the last epoch an interval is over seeds and scenes; for the best epoch, whose counts are
    not kept, over seeds.
    """
    bootstrap = SceneBootstrap(_read, _scores_of)
    found = []
    for grid in sorted({run.grid for run in runs}):
        own = [run for run in runs if run.grid == grid]
        there = {run.variant for run in own}
        for pair in (*PRIMARY, *OTHERS):
            if not set(pair) <= there:
                continue
            comparison = Comparison(*pair, primary=pair in PRIMARY)
            for metric, draws in ((LAST, bootstrap), (BEST, None)):
                found.append((grid, result_of(own, comparison, metric, draws)))
    return found


def _read(scene: Mapping[str, Any]) -> ClassCounts:
    right, true, named = (np.array(scene[name]) for name in ("right", "true", "found"))
    return ClassCounts(right, true, named)


def _scores_of(counts: ClassCounts, _: RunRecord) -> Mapping[str, float | None]:
    return {"miou": counts.miou()}


def _answers(runs: Sequence[RunRecord], networks: Sequence[str]) -> str:
    rows, verdicts = [], []
    sets = {run.grid: (_frames(run), run.options["network"]) for run in runs}
    for grid, result in comparisons(runs):
        seen = result.estimate
        interval = blocks.interval(seen.low, seen.high)
        difference = blocks.signed(seen.difference)
        frames, network = sets[grid]
        rows.append(
            [
                f"{network}, {frames} frame{'s' * (frames != '1')}",
                f"`{result.comparison.variant}` - `{result.comparison.baseline}`",
                result.metric.title,
                str(len(seen.seeds)),
                difference,
                interval,
                f"{' and '.join(seen.over)}" if seen.over else "–",
            ]
        )
        pair = (result.comparison.variant, result.comparison.baseline)
        if (result.comparison.primary or pair == MATCHING) and result.metric is LAST:
            if seen.low is None or seen.high is None:
                said = "not enough runs to say"
            elif seen.low > 0:
                said = "**better**, with an interval above 0"
            elif seen.high < 0:
                said = "**worse**, with an interval below 0"
            else:
                said = "**not shown to be better**"
            verdicts.append(
                (
                    networks.index(network),
                    int(frames),
                    f"- {network}, {frames} frame{'s' * (frames != '1')}, "
                    f"`{pair[0]}` against {_BASELINES[pair[1]]}: {said} "
                    f"({difference} points of mIoU, {interval}).",
                )
            )
    if not rows:
        return "There is no run of DD3D beside another method yet."
    header = ["student, set", "comparison", "metric", "seeds", "points", "95% interval", "over"]
    return (
        "\n".join(line for *_, line in sorted(verdicts, key=lambda row: row[:2]))
        + "\n\nIntervals are Student's, paired by seed, as in `train.ablation.statistics`. A "
        "seed has its own distillation, its own draw of real frames and its own weights.\n\n"
        + blocks.table(header, rows, "lllr")
    )


def _experiment(runs: Sequence[RunRecord]) -> str:
    settings = runs[0].setup_settings
    scenes = len(runs[0].scenes)
    seeds = len({run.seed for run in runs})
    variants = [name for name in VARIANTS if any(run.variant == name for run in runs)]
    return (
        f"Simulated frames in SemanticKITTI's classes: {settings['train_frames']} to learn from, "
        f"{settings['test_frames']} of {scenes} other scenes to be scored on, "
        f"{settings['points']:,} points of each, drawn within {settings['range_m']:g} m. A small "
        "set is a few frames of as many points:\n\n"
        + "\n".join(f"- `{name}`: {VARIANTS[name][1]};" for name in variants)
        + f"\n- `{FULL}`: all frames, with the first seed, to see how far there is to go.\n\n"
        f"Gradients are matched for {settings['iterations']} iterations of {settings['outer']} "
        f"steps at {settings['distill_points']} points with {settings['real_batch']} real frames, "
        f"on a PointNet of widths {', '.join(map(str, settings['widths']))}. A start takes "
        f"{settings['start_steps']} steps; it gives classes points by their shares to the power "
        f"{settings['share_power']:g}, and the rate after it is {settings['started_lr']:g} in "
        f"place of {settings['lr']:g}. Generated frames are resampled in every epoch. A student "
        f"(PTv3 tiny on voxels of {settings['grid_size_m']:g} m; PointNet) learns for "
        f"{settings['epochs']} epochs from a small set, and for {settings['full_epochs']} from "
        "all frames. Scores are the mean IoU over the classes that the held-out frames have. "
        f"{seeds} seeds."
    )


def _frames(run: RunRecord) -> str:
    """Return how many frames a small set has."""
    return str(run.options["frames"] or FULL)


def _sizes(runs: Sequence[RunRecord]) -> list[str]:
    return sorted({_frames(run) for run in runs}, key=lambda size: (size == FULL, size.zfill(4)))


def _scores(runs: Sequence[RunRecord], network: str) -> str:
    own = [run for run in runs if run.options["network"] == network]
    points = runs[0].setup_settings["points"]
    rows = []
    for size in _sizes(own):
        for variant in (*VARIANTS, FULL):
            cell = [run for run in own if _frames(run) == size and run.variant == variant]
            if not cell:
                continue
            number = cell[0].setup_settings["train_frames"] if size == FULL else int(size)
            rows.append(
                [
                    str(number),
                    f"`{variant}`",
                    f"{number * points:,}",
                    str(len(cell)),
                    mean_sd(cell, LAST),
                    mean_sd(cell, BEST),
                    mean_sd(cell, Metric("accuracy", "", scale=100, digits=1)),
                ]
            )
    header = ["frames", "method", "points", "runs", "mIoU, last epoch", "best epoch looked at"]
    header += ["% of points right"]
    return blocks.table(header, rows, "llr")


def _classes(runs: Sequence[RunRecord]) -> str:
    """Return the IoU of each class, of the student that the page is about."""
    own = [run for run in runs if run.options["network"] == _STUDENT]
    if not own:
        return "No run of the student yet."
    columns = [
        (size, variant)
        for size in _sizes(own)
        for variant in (*dict.fromkeys(a for pair in PRIMARY for a in pair), FULL)
        if any(_frames(run) == size and run.variant == variant for run in own)
    ]
    names = [name for name, value in (own[0].stats or {})["iou"].items() if value is not None]
    rows = []
    for name in names:
        row = [name]
        for size, variant in columns:
            cell = [run for run in own if _frames(run) == size and run.variant == variant]
            row.append(f"{100 * statistics.fmean((r.stats or {})['iou'][name] for r in cell):.0f}")
        rows.append(row)
    header = [
        "class",
        *(variant if size == FULL else f"{variant}, {size}" for size, variant in columns),
    ]
    return f"IoU of {_STUDENT}, means over seeds.\n\n" + blocks.table(header, rows)


def _cost(runs: Sequence[RunRecord]) -> str:
    rows = []
    for own in cells_of(runs, (*VARIANTS, FULL)):
        cost, run = Cost.of(own), own[0]
        training = f"{cost.training_s:.0f}"
        rows.append([run.grid, f"`{run.variant}`", cost.distilling, training, cost.numbers_stored])
    devices = "; ".join(sorted({run.device for run in runs}))
    header = ["runs", "method", "distilling, s", "training a network, s", "numbers stored"]
    said = f"Wall time, median, on a machine that others used too: {devices}."
    return f"{said}\n\n{blocks.table(header, rows, 'llr')}"


_TRIED: Final = "\n".join(
    [
        "Settings were chosen on other simulated scenes, never on those of this page, with one "
        "seed each unless said; a student's mIoU there differs by up to two points between seeds. "
        "PTv3, one frame, where random real points gave 11.7 and 9.5:",
        "",
        "- From scratch, 600 steps: 1.5 to 1.9 at w0 of 30 and 100 and at rates of 0.001 and "
        "0.005. The distance of gradients hardly falls, and half of the steps, the local ones, "
        "look at a class of which the few points of a step often are none.",
        "- Started from real points, not matched: 10.2; from four frames in place of all 10.5. "
        "With heights not stretched 9.0, and so with a generator of width 64 in place of 256, 5.5.",
        "- Matched after that start: 2.0 (rate 3e-4) and 4.1 (3e-5) while heights were not "
        "stretched, because gradients then hardly depend on them; 4.7 (1e-4) with them stretched; "
        "9.0 (1e-4) and 10.1 (1e-5) with the first layer kept as it was fitted, whose frequencies "
        "are multiplied by 400. The distance of gradients fell each time, from 194 to 175 of 307 "
        "in the last but one.",
        "- Classes with points by their shares to the power 0.5: 11.8, not matched.",
        "- Four frames: 10.5 (started from all frames) and 10.7 (from three each), where random "
        "gave 15.4 and 16.1. A PointNet student: 11.9 and 11.5, where random gave 9.6 and 11.0.",
        "",
        "A small distance of gradients on an untrained PointNet is no sign of a good set: started "
        "frames are nearer to the real ones' gradients (177 of 307) than one real frame is (212), "
        "and teach PTv3 no more.",
        "",
        "What this cannot say:",
        "",
        "- The frames are simulated, thinned and cropped: a test of the method on this data, not a "
        "number to set beside SemanticKITTI's.",
        "- The distillations are short, on one core; the authors' take 400 iterations for each of "
        "many classes of objects on a GPU.",
        "- A generated frame is resampled in every epoch, the paper's way: a student sees more "
        "different points of it than of a real frame of as many, which stays as it is.",
        "- A generator stores far more numbers than the few points that it is set beside (see "
        "Cost), as the paper's do at one cloud per class; it is no way to save memory here.",
        "- There are two questions for each student; intervals are not corrected for that.",
    ]
)

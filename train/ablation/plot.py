"""Draw the differences of an ablation with their intervals: one row per comparison."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from train.ablation.statistics import KNOWN_MIOU, METRICS, PRIMARY_METRIC, Metric
from train.ablation.verdicts import MIN_SEEDS_CLAIM, Comparison, Result

BESIDE: Final = ("thin_iou", "boundary_iou", "fragmentation")
"""The metrics that are drawn beside the primary one, which comes first and largest."""

# Of a color-blind safe palette (Okabe and Ito).
_BETTER, _WORSE, _NOTHING, _TOO_FEW = "#009E73", "#D55E00", "#404040", "#A0A0A0"
_SUGGESTIVE: Final = "#0072B2"
_ROW_INCHES: Final = 0.3
_FRAME_INCHES: Final = 1.15


def draw(panels: Mapping[str, Sequence[Result]], path: Path) -> None:
    """Draw each panel's comparisons in a row of charts, and write a PNG.

    Parameters
    ----------
    panels
        Title and results, of one grid and setup; at least one panel.
    path
        The picture; the same results give the same bytes.
    """
    rows = [_comparisons(results) for results in panels.values()]
    found = {r.metric.name for results in panels.values() for r in results if r.estimate.seeds}
    asked = KNOWN_MIOU if KNOWN_MIOU in found else PRIMARY_METRIC
    shown = (asked, *BESIDE)
    heights = [_FRAME_INCHES + _ROW_INCHES * len(of) for of in rows]
    figure = Figure(figsize=(13, sum(heights) + 0.35), layout="constrained")
    charts = figure.subplots(
        len(panels),
        len(shown),
        squeeze=False,
        width_ratios=[2.2, 1, 1, 1],
        height_ratios=heights,
    )
    metrics = {metric.name: metric for metric in METRICS}
    for axes, (title, results), comparisons in zip(charts, panels.items(), rows, strict=True):
        for axis, name in zip(axes, shown, strict=True):
            _forest(axis, results, comparisons, metrics[name])
            if name == asked:
                axis.set_title(f"{title}: {metrics[name].title}", fontsize=9)
                names = [f"{each.variant} − {each.baseline}" for each in comparisons]
                axis.set_yticks(range(len(comparisons)), names, fontsize=8)
                for label, each in zip(axis.get_yticklabels(), comparisons, strict=True):
                    label.set_fontweight("bold" if each.primary else "normal")
            else:
                axis.set_yticks(range(len(comparisons)), [""] * len(comparisons))
    figure.legend(handles=_legend(), loc="outside lower center", ncols=7, fontsize=8, frameon=False)
    figure.savefig(path, dpi=110, format="png", metadata={"Software": None})


def _comparisons(results: Sequence[Result]) -> list[Comparison]:
    """Return the comparisons of some results, the primary ones first."""
    found = list(dict.fromkeys(result.comparison for result in results))
    return sorted(found, key=lambda comparison: not comparison.primary)


def _forest(
    axis: Axes, results: Sequence[Result], comparisons: Sequence[Comparison], metric: Metric
) -> None:
    if metric.margin is not None:
        axis.axvspan(-metric.margin, metric.margin, color="0.93", zorder=0)
    axis.axvline(0, color="0.4", linewidth=0.8, zorder=1)
    found = {r.comparison: r for r in results if r.metric.name == metric.name}
    nothing = True
    for row, comparison in enumerate(comparisons):
        result = found.get(comparison)
        seen = result.estimate if result is not None else None
        difference, low, high = (seen.difference, seen.low, seen.high) if seen else [None] * 3
        if result is None or difference is None or low is None or high is None:
            axis.annotate(
                _why_not(result),
                (0.98, row),
                xycoords=("axes fraction", "data"),
                ha="right",
                va="center",
                fontsize=6.5,
                color="0.45",
            )
            continue
        nothing = False
        color = _color(result)
        few = len(result.estimate.seeds) < MIN_SEEDS_CLAIM
        axis.plot(
            [low, high],
            [row, row],
            color=color,
            linewidth=1.8 if result.primary else 1.1,
            linestyle=":" if few else "-",
            solid_capstyle="butt",
        )
        axis.plot(
            [difference],
            [row],
            marker="o",
            markersize=5.5 if result.primary else 4,
            markerfacecolor="white" if few or not result.primary else color,
            color=color,
            linestyle="none",
        )
    axis.set_ylim(len(comparisons) - 0.4, -0.6)
    primary = metric.name in (KNOWN_MIOU, PRIMARY_METRIC)
    axis.set_title(metric.title, fontsize=9)
    unit = f"difference, {metric.unit}" if metric.unit else "difference"
    better = "better →" if metric.higher_is_better else "← better"
    axis.set_xlabel(f"{unit}  ({better})", fontsize=8)
    axis.xaxis.set_major_locator(MaxNLocator(7 if primary else 4))
    axis.tick_params(labelsize=7)
    axis.tick_params(axis="y", length=0, labelsize=8)
    axis.grid(axis="x", color="0.9", linewidth=0.6)
    axis.set_axisbelow(True)
    if nothing:
        axis.set_xlim(-1, 1)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)


def _why_not(result: Result | None) -> str:
    if result is None:
        return "not measured"
    if len(result.estimate.seeds) < MIN_SEEDS_CLAIM:
        return f"not enough runs ({len(result.estimate.seeds)})"
    return "no interval"


def _color(result: Result) -> str:
    if len(result.estimate.seeds) < MIN_SEEDS_CLAIM:
        return _TOO_FEW
    if result.verdict.startswith("suggestive"):
        return _SUGGESTIVE
    return {"better": _BETTER, "worse": _WORSE}.get(result.verdict, _NOTHING)


def _legend() -> list[Line2D]:
    def mark(color: str, label: str, *, dotted: bool = False, hollow: bool = False) -> Line2D:
        return Line2D(
            [],
            [],
            color=color,
            linestyle=":" if dotted else "-",
            marker="o",
            markersize=5,
            markerfacecolor="white" if hollow else color,
            label=label,
        )

    return [
        mark(_BETTER, "better"),
        mark(_WORSE, "worse"),
        mark(_SUGGESTIVE, "suggestive"),
        mark(_NOTHING, "no effect seen, not judged"),
        mark(_TOO_FEW, f"below {MIN_SEEDS_CLAIM} seeds: no verdict", dotted=True, hollow=True),
        mark(_NOTHING, "hollow: secondary, uncorrected", hollow=True),
        Line2D([], [], color="0.85", linewidth=7, label="margin of equivalence"),
    ]

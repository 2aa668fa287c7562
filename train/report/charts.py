"""A report's charts: SVG that matplotlib draws and an HTML page takes in, in the page's own colors.

matplotlib draws in stand-in colors, which become variables of the page's style sheet, so that one
drawing serves light and dark. The same numbers give the same text.
"""

import io
import math
import re
from collections.abc import Sequence
from html import escape
from typing import Any, Final

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

NUM_COLORS: Final = 8
"""Colors of a chart; a ninth series has the first one's again."""

_VARIABLES: Final = {
    **{f"#0101{number:02x}": f"c{number}" for number in range(NUM_COLORS)},
    "#020100": "ink",
    "#020200": "rule",
}
"""Stand-in color -> variable of the style sheet."""
_SERIES: Final = list(_VARIABLES)[:NUM_COLORS]
_INK, _RULE = list(_VARIABLES)[NUM_COLORS:]

_MAX_POINTS: Final = 240  # of a line; more are averaged
_MAX_COLUMNS: Final = 40


def averaged(values: Sequence[float], count: int) -> list[float]:
    """Return the means of `count` consecutive parts, as equal as can be; all if there are fewer."""
    if len(values) <= count:
        return list(values)
    return [float(part.mean()) for part in np.array_split(np.asarray(values, float), count)]


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Return for each value the mean of it and of those before it, `width` in all at most."""
    ends = range(1, len(values) + 1)
    return [float(np.mean(values[max(0, end - width) : end])) for end in ends]


def line_chart(
    title: str,
    steps: Sequence[int],
    values: Sequence[float],
    *,
    x_label: str = "step",
    smooth: bool = True,
) -> str:
    """Return a chart of one number over steps, 0 included.

    Parameters
    ----------
    title
        Above the chart.
    steps, values
        As many of each, at least one finite; values that are not finite are left out.
    x_label
        What the steps are.
    smooth
        Draw the values faintly and their running mean over a tenth of them strongly.
    """
    pairs = [(s, v) for s, v in zip(steps, values, strict=True) if math.isfinite(v)]
    if not pairs:
        raise ValueError(f"line_chart: {title} has no finite value")
    xs, ys = (averaged(column, _MAX_POINTS) for column in zip(*pairs, strict=True))
    figure, axes = _axes(title, 4.5, 2.4)
    if len(xs) == 1:
        axes.plot(xs, ys, "o", color=_SERIES[0], clip_on=False)
    else:
        strong = ys
        if smooth:
            axes.plot(xs, ys, color=_SERIES[0], lw=1, alpha=0.28, clip_on=False)
            strong = running_mean(ys, max(2, len(ys) // 10))
        axes.plot(xs, strong, color=_SERIES[0], lw=1.8, clip_on=False)
    ticks = MaxNLocator(4).tick_values(min(0.0, *ys), max(0.0, *ys) or 1.0)
    axes.set_yticks(ticks)
    axes.set_ylim(ticks[0], ticks[-1])
    axes.margins(x=0)
    axes.set_xticks(sorted({pairs[0][0], pairs[-1][0]}))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.set_xlabel(x_label, color=_INK, fontsize=10.5)
    return _svg(figure, title)


def stacked_columns(
    title: str, steps: Sequence[int], names: Sequence[str], shares: Sequence[Sequence[float]]
) -> str:
    """Return columns of shares over steps, the first name at the bottom.

    Parameters
    ----------
    title
        Above the chart.
    steps
        Of the rows.
    names
        Of the shares; `NUM_COLORS` have a color of their own.
    shares
        A row for each step, a share for each name; a row sums to 1, or to 0.
    """
    if not steps or any(len(row) != len(names) for row in shares):
        raise ValueError(f"stacked_columns: {title} has no steps, or rows of another length")
    by_name = [averaged([row[at] for row in shares], _MAX_COLUMNS) for at in range(len(names))]
    places = np.arange(len(by_name[0]))
    figure, axes = _axes(title, 9.4, 3.2)
    below = np.zeros(len(places))
    said: list[str] = []
    for number, (name, values) in enumerate(zip(names, by_name, strict=True)):
        color = _SERIES[number % NUM_COLORS]
        bars = axes.bar(places, values, 0.94, bottom=below, color=color, clip_on=False)
        for bar, value in zip(bars, values, strict=True):
            bar.set_gid(f"said{len(said)}")
            said.append(f"{name}: {value:.0%}")
        below += values
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0%", "50%", "100%"])
    ends = {places[0]: f"step {steps[0]:,}", places[-1]: f"step {steps[-1]:,}"}
    axes.set_xticks(list(ends), list(ends.values()))
    return _svg(figure, title, said)


def _axes(title: str, width: float, height: float) -> tuple[Figure, Axes]:
    """Return an empty chart; sizes in inches, of which a page shows what fits."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    # A dollar sign begins mathematics, a name's own must not.
    axes.set_title(
        title.replace("$", r"\$"), loc="left", fontsize=12.5, fontweight="bold", color=_INK
    )
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=10.5, labelcolor=_INK)
    axes.grid(axis="y", color=_RULE, clip_on=False)
    axes.set_axisbelow(True)
    return figure, axes


def _svg(figure: Figure, title: str, said: Sequence[str] = ()) -> str:
    """Return the drawing as an element; `said` are the words of the parts named said0, said1..."""
    drawn = io.StringIO()
    nobody: dict[str, Any] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    style: Any = {  # a text stays text, whose font is the page's
        "svg.fonttype": "none",
        "svg.hashsalt": title,
        "font.sans-serif": ["DejaVu Sans"],
    }
    with rc_context(style):
        figure.savefig(drawn, format="svg", transparent=True, metadata=nobody)
    text = drawn.getvalue()
    text = text[text.index("<svg ") :].rstrip()
    text = text.replace("<svg ", f'<svg role="img" aria-label="{escape(title)}" ', 1)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f"var(--{variable})")

    def words(found: re.Match[str]) -> str:
        name = found[1]
        number = name.removeprefix("said")
        shown = f"<title>{escape(said[int(number)])}</title>" if number != name else ""
        return f"<g{found[2]}>{shown}"

    # Names of groups would be there once a chart, and a page may have each name once.
    return re.sub(r'<g id="([^"]*)"(/?)>', words, text)

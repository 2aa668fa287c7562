"""Charts as SVG text for an HTML page: they take the page's colors, light or dark, and scale.

Colors are classes of the page's style sheet (`.c0` to `.c7`, `.ink`, `.grid`), so that a chart is
drawn once for both.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from html import escape
from typing import Final

NUM_COLORS: Final = 8
"""Colors of a chart; a ninth series has the first one's again."""

_MAX_POINTS: Final = 240  # of a line; more are averaged
_MAX_COLUMNS: Final = 40

_Place = Callable[[float], float]


def nice_ticks(high: float, count: int = 4) -> list[float]:
    """Return round numbers from 0 up to at least `high`, about `count` steps apart.

    Parameters
    ----------
    high
        Finite; at most 0 gives ticks up to 1.
    count
        At least 1.
    """
    if not math.isfinite(high):
        raise ValueError(f"nice_ticks: high is {high}, must be finite")
    if high <= 0:
        high = 1.0
    rough = high / count
    unit: float = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    return [step * number for number in range(math.ceil(high / step * 0.999) + 1)]


def averaged(values: Sequence[float], count: int) -> list[float]:
    """Return the means of `count` consecutive parts, as equal as can be; all if there are fewer."""
    if len(values) <= count:
        return list(values)
    edges = [round(part * len(values) / count) for part in range(count + 1)]
    return [sum(values[low:high]) / (high - low) for low, high in itertools.pairwise(edges)]


def running_mean(values: Sequence[float], width: int) -> list[float]:
    """Return for each value the mean of it and of those before it, `width` in all at most."""
    found = []
    for end in range(1, len(values) + 1):
        part = values[max(0, end - width) : end]
        found.append(sum(part) / len(part))
    return found


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
        As many of each, at least one; values that are not finite are left out.
    x_label
        What the steps are.
    smooth
        Draw the values faintly and their running mean over a tenth of them strongly.
    """
    pairs = [(s, v) for s, v in zip(steps, values, strict=True) if math.isfinite(v)]
    if not pairs:
        raise ValueError(f"line_chart: {title} has no finite value")
    xs = averaged([float(step) for step, _ in pairs], _MAX_POINTS)
    ys = averaged([value for _, value in pairs], _MAX_POINTS)
    low, high = min(0.0, *ys), max(ys)
    ticks = nice_ticks(high)
    top = ticks[-1]
    width, height, left, right, above, below = 340.0, 190.0, 46.0, 12.0, 26.0, 34.0

    def x_of(step: float) -> float:
        first, last = xs[0], xs[-1]
        across = (step - first) / (last - first) if last > first else 0.5
        return left + across * (width - left - right)

    def y_of(value: float) -> float:
        return above + (top - value) / (top - low) * (height - above - below)

    parts = [_open(width, height, title), _text(left, 15, title, "ink title")]
    for tick in ticks:
        y = y_of(tick)
        parts.append(_line(left, y, width - right, y, "grid"))
        parts.append(_text(left - 5, y + 4, _short(tick), "ink small", anchor="end"))
    parts.append(_text(left, height - 18, f"{pairs[0][0]:,}", "ink small"))
    parts.append(_text(width - right, height - 18, f"{pairs[-1][0]:,}", "ink small", anchor="end"))
    middle = (left + width - right) / 2
    parts.append(_text(middle, height - 18, x_label, "ink small", anchor="middle"))
    if len(xs) == 1:
        parts.append(
            f'<circle class="fill c0" cx="{x_of(xs[0]):.1f}" cy="{y_of(ys[0]):.1f}" r="4"/>'
        )
    elif smooth:
        parts.append(_path(xs, ys, x_of, y_of, "line c0 faint"))
        mean = running_mean(ys, max(2, len(ys) // 10))
        parts.append(_path(xs, mean, x_of, y_of, "line c0"))
    else:
        parts.append(_path(xs, ys, x_of, y_of, "line c0"))
    return "".join([*parts, "</svg>"])


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
    count = len(by_name[0])
    width, height, left, right, above, below = 680.0, 230.0, 46.0, 12.0, 26.0, 26.0
    full = height - above - below
    column = (width - left - right) / count
    parts = [_open(width, height, title), _text(left, 15, title, "ink title")]
    for tick in (0.0, 0.5, 1.0):
        y = above + (1 - tick) * full
        parts.append(_text(left - 5, y + 4, f"{tick:.0%}", "ink small", anchor="end"))
        parts.append(_line(left, y, width - right, y, "grid"))
    for place in range(count):
        y = above + full
        for number, values in enumerate(by_name):
            size = values[place] * full
            y -= size
            parts.append(
                f'<rect class="fill c{number % NUM_COLORS}" x="{left + place * column:.1f}" '
                f'y="{y:.1f}" width="{max(column - 1, 0.5):.1f}" height="{size:.1f}">'
                f"<title>{escape(names[number])}: {values[place]:.0%}</title></rect>"
            )
    parts.append(_text(left, height - 8, f"step {steps[0]:,}", "ink small"))
    parts.append(_text(width - right, height - 8, f"step {steps[-1]:,}", "ink small", anchor="end"))
    return "".join([*parts, "</svg>"])


def confusion_chart(names: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Return a confusion matrix, each row in shares of its labeled points.

    Parameters
    ----------
    names
        Of the C classes.
    counts
        C rows (the truth) of C predictions. Classes without any count have no row and no column;
        classes that are only predicted have no row.
    """
    if len(counts) != len(names) or any(len(row) != len(names) for row in counts):
        raise ValueError(f"confusion_chart: {len(names)} names for other counts")
    rows = [at for at, row in enumerate(counts) if sum(row)]
    columns = [at for at in range(len(names)) if sum(counts[at]) or any(r[at] for r in counts)]
    cell, left, above = 26.0, 130.0, 104.0
    width, height = left + cell * len(columns) + 36, above + cell * len(rows) + 6
    parts = [_open(width, height, "confusion matrix")]
    for place, at in enumerate(columns):
        x = left + (place + 0.5) * cell
        parts.append(
            f'<text class="ink small" x="{x + 3:.1f}" y="{above - 6:.1f}" '
            f'transform="rotate(-55 {x + 3:.1f} {above - 6:.1f})">{escape(names[at])}</text>'
        )
    for row_place, at in enumerate(rows):
        total = sum(counts[at])
        y = above + row_place * cell
        parts.append(_text(left - 6, y + 17, names[at], "ink small", anchor="end"))
        for place, predicted in enumerate(columns):
            share = counts[at][predicted] / total
            x = left + place * cell
            kind = "hit" if predicted == at else "miss"
            said = f"{names[at]} taken for {names[predicted]}: {share:.1%}"
            parts.append(
                f'<g><title>{escape(said)}</title><rect class="cell" x="{x:.1f}" y="{y:.1f}" '
                f'width="{cell - 1:.1f}" height="{cell - 1:.1f}"/><rect class="{kind}" '
                f'fill-opacity="{share:.3f}" x="{x:.1f}" y="{y:.1f}" width="{cell - 1:.1f}" '
                f'height="{cell - 1:.1f}"/>'
            )
            if share >= 0.095:
                number = f"{100 * share:.0f}"
                shade = "ink tiny" if share < 0.55 else "over tiny"
                parts.append(_text(x + cell / 2, y + 17, number, shade, anchor="middle"))
            parts.append("</g>")
    return "".join([*parts, "</svg>"])


def _open(width: float, height: float, title: str) -> str:
    return (
        f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(title)}" '
        'xmlns="http://www.w3.org/2000/svg">'
    )


def _text(x: float, y: float, words: str, kind: str, *, anchor: str = "start") -> str:
    return (
        f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'


def _path(xs: Sequence[float], ys: Sequence[float], x_of: _Place, y_of: _Place, kind: str) -> str:
    points = " ".join(f"{x_of(x):.1f},{y_of(y):.1f}" for x, y in zip(xs, ys, strict=True))
    return f'<polyline class="{kind}" points="{points}"/>'


def _short(number: float) -> str:
    return f"{number:.3g}"

"""A report as one HTML file: rows, charts and pictures for the template beside this file.

Words stand in `page.html.jinja`, which escapes whatever it is given; nothing comes from outside.
"""

import base64
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray

from train.core.blocks import number, percent
from train.data.dataset_spec import DatasetSpec
from train.data.frame import IGNORE_INDEX
from train.inspection.views import class_colors, from_above, from_sensor, indexed_png, values_seen
from train.report.charts import NUM_COLORS, line_chart, stacked_columns
from train.report.frames import PicturedFrame
from train.report.gather import GradientNorms, RunReport

TITLES: Final = {"teacher": "teacher", "student": "student", "baseline": "student alone"}
"""What a reader calls the networks; the student alone was trained without the teacher."""

_RIGHT, _WRONG, _UNLABELED, _NO_POINT = (
    (0.30, 0.34, 0.38),
    (1.0, 0.25, 0.20),
    (0.16, 0.18, 0.20),
    (0.0, 0.0, 0.0),
)
_GAINED, _BOTH_WRONG = (0.25, 0.85, 0.45), (0.62, 0.47, 0.10)

ERRORS: Final = {"right": _RIGHT, "wrong": _WRONG, "no label": _UNLABELED}
"""What a point is in a picture of errors -> its color."""

CHANGES: Final = {
    "both right": _RIGHT,
    "the student alone is wrong": _GAINED,
    "the student is wrong": _WRONG,
    "both wrong": _BOTH_WRONG,
    "no label": _UNLABELED,
}
"""What a point is in a picture of the student against the student alone -> its color."""


class Cell(NamedTuple):
    """A cell of a table: its words, and what is drawn beside or behind them.

    Attributes
    ----------
    text
        What it says.
    bar
        Percent of its width that a bar fills, or None for no bar.
    color
        Of a small square before the words, as the style sheet takes it, or None.
    kind
        A class of the style sheet, or "".
    """

    text: str
    bar: float | None = None
    color: str | None = None
    kind: str = ""


class Table(NamedTuple):
    """A table: titles, and rows of cells; `even` gives columns of one width."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    even: bool = False


def html_page(report: RunReport) -> str:
    """Return the page as the text of an HTML file.

    The same report gives the same text. Everything that comes from files is escaped.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    apart = _difference(report)
    return environment.get_template("page.html.jinja").render(
        report=report,
        titles=TITLES,
        settings=dict(report.settings),
        difference=None if apart is None else f"{100 * apart:+.2f}",
        percent=_percent,
        scores=_scores(report),
        classes=_classes(report),
        absent=[name for name in report.spec.class_names if not _has_iou(report, name)],
        frames=[_frame(frame, report.spec) for frame in report.frames],
        class_legend=_class_legend(report),
        error_legend=[(_hex(color), word) for word, color in ERRORS.items()],
        change_legend=_change_legend(report),
        agreement=_agreement(report),
        confusion=_confusion(report),
        charts=_charts(report),
        gradients=[_gradients(logged) for logged in report.gradients],
        times=_times(report),
        how=Table(
            ("", ""),
            [[Cell(name), Cell(value, kind="words")] for name, value in report.settings],
        ),
    )


def _percent(share: float | None, digits: int = 1) -> str:
    return percent(share, digits, missing="-")


def _share(share: float | None, digits: int = 1) -> Cell:
    return Cell(_percent(share, digits), None if share is None else 100 * share)


def _signed(points: float | None, digits: int = 1) -> Cell:
    """Return a difference of shares in percentage points."""
    return Cell("" if points is None else f"{100 * points:+.{digits}f}")


def _difference(report: RunReport, name: str = "miou") -> float | None:
    """Return how far the student is above the student alone; None where one has no such score."""
    student, alone = report.scores_of("student"), report.scores_of("baseline")
    if student is None or alone is None:
        return None
    ours, theirs = getattr(student, name), getattr(alone, name)
    return None if ours is None or theirs is None else ours - theirs


def _scores(report: RunReport) -> Table:
    means = {
        name: title
        for name, title in (
            ("miou", "mIoU"),
            ("common_miou", "mIoU, common classes"),
            ("benchmark_miou", "mIoU of the benchmark"),
        )
        if name == "miou" or any(getattr(each, name) is not None for each in report.networks)
    }
    shown = [*means, "accuracy"]
    rows = [
        [
            Cell(TITLES[each.role]),
            *(_share(getattr(each, name), 2) for name in shown),
            Cell(f"{each.parameters:,}"),
        ]
        for each in report.networks
    ]
    if _difference(report) is not None:
        cells = [_signed(_difference(report, name), 2) for name in shown]
        rows.append([Cell("student minus student alone"), *cells, Cell("")])
    for each in report.networks:
        if (seen := each.augmented) is not None:
            of = f"{TITLES[each.role]}, {seen['augmentation']}, mean of {seen['passes']} passes"
            rows.append([Cell(of), *(_share(seen.get(name), 2) for name in shown), Cell("")])
    if report.untrained_miou is not None:
        first = [Cell("student before training"), _share(report.untrained_miou, 2)]
        rows.append([*first, *[Cell("")] * len(shown)])
    return Table(["", *means.values(), "accuracy", "parameters"], rows, even=True)


def _has_iou(report: RunReport, name: str) -> bool:
    return any(each.iou.get(name) is not None for each in report.networks)


def _classes(report: RunReport) -> Table:
    colors = class_colors(report.spec.class_names)
    both = _difference(report) is not None
    confusion = report.networks[0].confusion if report.networks else None
    head = ["class", *(TITLES[each.role] for each in report.networks)]
    head += [*(["difference"] if both else []), *(["labeled points"] if confusion else [])]
    rows = []
    for at, name in enumerate(report.spec.class_names):
        if not _has_iou(report, name):
            continue
        values = {each.role: each.iou.get(name) for each in report.networks}
        row = [Cell(name, color=_hex(colors[at]), kind="name"), *map(_share, values.values())]
        if both:
            ours, alone = values["student"], values["baseline"]
            row.append(_signed(None if ours is None or alone is None else ours - alone))
        if confusion is not None:
            row.append(Cell(f"{sum(confusion[at]):,}"))
        rows.append(row)
    return Table(head, rows, even=True)


def _hex(color: Sequence[float] | NDArray[np.float64]) -> str:
    red, green, blue = np.clip(np.round(np.asarray(color) * 255), 0, 255).astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _class_legend(report: RunReport) -> list[tuple[str, str]]:
    """Return color and name of the classes that the pictured frames have."""
    colors = class_colors(report.spec.class_names)
    seen: set[int] = set()
    for frame in report.frames:
        for labels in (frame.truth, *frame.predictions.values()):
            seen |= set(np.unique(labels).tolist())
    legend = [(_hex(colors[at]), n) for at, n in enumerate(report.spec.class_names) if at in seen]
    return [*legend, (_hex(colors[-1]), "no label")]


def _change_legend(report: RunReport) -> list[tuple[str, str]]:
    if not any({"student", "baseline"} <= frame.predictions.keys() for frame in report.frames):
        return []
    return [(_hex(color), word) for word, color in CHANGES.items() if word != "no label"]


def _frame(frame: PicturedFrame, spec: DatasetSpec) -> dict[str, Any]:
    around = from_sensor(
        frame.coord,
        origin_m=spec.sensor_origin_m,
        forward_deg=spec.forward_deg,
        height_from=frame.truth != IGNORE_INDEX,
    )
    views = (
        ("above", "From above", from_above(frame.coord)),
        ("around", "As the sensor sees it", around),
    )
    return {
        "place": frame.place.capitalize(),
        "name": frame.name,
        "scores": ", ".join(
            f"{TITLES[role]} {_percent(miou)}" for role, miou in frame.miou.items()
        ),
        "views": [
            (
                kind,
                title,
                [[_picture(view, *panel) for panel in card] for card in _cards(frame, spec)],
            )
            for kind, title, view in views
        ],
    }


_Panel = tuple[str, NDArray[np.int64], Sequence[Sequence[float]] | NDArray[np.float64]]
"""Caption, value of each point, and palette; its last color is that of no point."""


def _cards(frame: PicturedFrame, spec: DatasetSpec) -> Iterator[list[_Panel]]:
    """Yield what belongs together: the truth, then each network's classes and its errors."""
    unlabeled = len(spec.class_names)
    classes = np.concatenate([class_colors(spec.class_names), [_NO_POINT]])
    no_label = frame.truth == IGNORE_INDEX
    right = {role: labels == frame.truth for role, labels in frame.predictions.items()}
    truth: list[_Panel] = [("ground truth", np.where(no_label, unlabeled, frame.truth), classes)]
    if {"student", "baseline"} <= right.keys():
        changed = 2 * ~right["student"] + ~right["baseline"]
        values = np.where(no_label, len(CHANGES) - 1, changed)
        truth.append(("student against student alone", values, [*CHANGES.values(), _NO_POINT]))
    yield truth
    for role, labels in frame.predictions.items():
        named = np.where(labels == IGNORE_INDEX, unlabeled, labels)
        wrong = np.where(no_label, len(ERRORS) - 1, ~right[role])
        share = int((wrong == 1).sum()) / max(int((~no_label).sum()), 1)
        caption = f"{TITLES[role]}, errors: {_percent(share)} % of the points"
        palette = [*ERRORS.values(), _NO_POINT]
        yield [(TITLES[role], named, classes), (caption, wrong, palette)]


def _picture(
    view: NDArray[np.int64],
    caption: str,
    values: NDArray[np.int64],
    palette: Sequence[Sequence[float]] | NDArray[np.float64],
) -> dict[str, Any]:
    png = indexed_png(values_seen(view, values, len(palette) - 1), np.asarray(palette))
    height, width = view.shape
    data = base64.b64encode(png).decode()
    return {"caption": caption, "width": width, "height": height, "data": data}


def _agreement(report: RunReport) -> dict[str, Any] | None:
    compared = [(each, each.agreement) for each in report.networks if each.agreement]
    if not compared:
        return None
    losses = list(dict.fromkeys(name for _, of in compared for name in of["own_other"]))
    rows = [
        [
            Cell(TITLES[each.role]),
            Cell(number(of["distance_correlation"], ".3f", "-")),
            *(Cell(number(of["own_other"].get(name), ".3f", "-")) for name in losses),
            Cell(str(of["frames"])),
        ]
        for each, of in compared
    ]
    head = ["", "distance correlation", *(f"own/other, {name}" for name in losses), "frames"]
    left_out = sum(of["not_finite"] for _, of in compared)
    return {"table": Table(head, rows), "losses": losses, "left_out": left_out}


def _confusion(report: RunReport) -> dict[str, Any] | None:
    """Return the matrix of the network that the run is about, in shares of each class's points."""
    shown = report.scores_of("student") or report.scores_of("teacher")
    if shown is None or shown.confusion is None or not any(map(any, shown.confusion)):
        return None
    return {"role": shown.role, **confusion_matrix(report.spec.class_names, shown.confusion)}


def confusion_matrix(names: Sequence[str], counts: Sequence[Sequence[int]]) -> dict[str, Any]:
    """Return the columns' names, and rows of a name and cells (kind, share, what it says).

    Parameters
    ----------
    names
        Of the C classes.
    counts
        C rows (the truth) of C predictions. Classes without any count have no row and no column;
        classes that are only predicted have no row.
    """
    if len(counts) != len(names) or any(len(row) != len(names) for row in counts):
        raise ValueError(f"confusion_matrix: {len(names)} names for other counts")
    columns = [at for at in range(len(names)) if sum(counts[at]) or any(r[at] for r in counts)]
    rows = []
    for at, row in enumerate(counts):
        if not sum(row):
            continue
        shares = {other: row[other] / sum(row) for other in columns}
        cells = [
            (
                "hit" if other == at else "miss",
                share,
                f"{names[at]} taken for {names[other]}: {share:.1%}",
            )
            for other, share in shares.items()
        ]
        rows.append((names[at], cells))
    return {"columns": [names[at] for at in columns], "rows": rows}


def _charts(report: RunReport) -> list[Markup]:
    """Return the drawings of the loss terms, then those of the validation scores."""
    charts = [
        line_chart(f"{TITLES[curve.stage]}: {curve.name}", curve.steps, curve.values)
        for curve in report.losses
        if curve.values
    ]
    charts += [
        line_chart(
            f"{TITLES.get(curve.stage, curve.stage)}: validation mIoU, percent",
            curve.steps,
            [100 * value for value in curve.values],
            x_label="epoch",
            smooth=False,
        )
        for curve in report.validation
    ]
    return list(map(Markup, charts))


def _gradients(logged: GradientNorms) -> dict[str, Any]:
    shares = logged.shares()
    title = f"{TITLES[logged.stage]}: share of the gradient"
    rows = [
        [
            Cell(term),
            _share(sum(row[at] for row in shares) / len(shares)),
            Cell(f"{logged.norms[0][at]:.3g}"),
            Cell(f"{logged.norms[-1][at]:.3g}"),
        ]
        for at, term in enumerate(logged.terms)
    ]
    return {
        "chart": Markup(stacked_columns(title, logged.steps, logged.terms, shares)),
        "legend": [(f"var(--c{at % NUM_COLORS})", term) for at, term in enumerate(logged.terms)],
        "table": Table(["term", "mean share, percent", "norm, first", "norm, last"], rows),
    }


def _times(report: RunReport) -> Table:
    rows = [
        [
            Cell(_stage(time.stage)),
            Cell(f"{time.seconds:,.0f}"),
            Cell(f"{time.steps:,}" if time.steps else ""),
            Cell(number(time.median_s, ".3f", "")),
        ]
        for time in report.times
    ]
    return Table(["stage", "seconds", "steps", "median step, seconds"], rows)


def _stage(name: str) -> str:
    """Return what a reader calls a stage of the log, such as "baseline validation"."""
    role, _, rest = name.partition(" ")
    return f"{TITLES[role]}{f', {rest}' if rest else ''}" if role in TITLES else name

"""Writes a report as one HTML file: text, tables, charts and pictures, nothing from outside."""

import base64
from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

from train.data.dataset_spec import DatasetSpec
from train.data.frame import IGNORE_INDEX
from train.inspection.raster import from_above, from_sensor, indexed_png, values_seen
from train.inspection.views import class_colors
from train.report.gather import GradientNorms, NetworkScores, RunReport
from train.report.records import percent
from train.report.style import STYLE
from train.report.svg import NUM_COLORS, confusion_chart, line_chart, stacked_columns
from train.report.sweeps import PicturedSweep

TITLES: Final = {"teacher": "teacher", "student": "student", "baseline": "student alone"}
"""What a reader calls the networks; the student alone was trained without the teacher."""

ERROR_COLORS: Final = np.array(
    [(0.30, 0.34, 0.38), (1.0, 0.25, 0.20), (0.16, 0.18, 0.20), (0.0, 0.0, 0.0)]
)
"""Of right, wrong and unlabeled points, and of no point."""

CHANGE_COLORS: Final = np.array(
    [
        (0.30, 0.34, 0.38),
        (0.25, 0.85, 0.45),
        (1.0, 0.25, 0.20),
        (0.62, 0.47, 0.10),
        (0.16, 0.18, 0.20),
        (0.0, 0.0, 0.0),
    ]
)
"""Of points that student and student alone have right, the student alone wrong, the student wrong,
both wrong; of unlabeled points, and of no point."""

_NO_EVIDENCE: Final = (
    "This is one run with one seed, so the difference is no evidence that distilling helps or "
    "harms: another seed can turn it round. What several seeds say, with intervals and controls, "
    "is in docs/results/ablation.md, and <code>python -m train.ablate</code> measures it on your "
    "data."
)


def html_page(report: RunReport) -> str:
    """Return the page as the text of an HTML file.

    The same report gives the same text. Everything that comes from files is escaped.
    """
    kind = "simulated" if report.simulated else "recorded"
    title = f"A run on {report.spec.name}, {kind} sweeps"
    sections = (
        _answer(report),
        _scores(report),
        _classes(report),
        _sweeps(report),
        _agreement(report),
        _confusion(report),
        _losses(report),
        _gradients(report),
        _times(report),
        _how(report),
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>"
        f"<h1>{escape(title)}</h1>"
        f'<p class="soft">{escape(_subtitle(report))}</p>'
        + "".join(part for part in sections if part)
        + "<footer>Written by topodistill from the run's own records. "
        "<code>topodistill report --run DIR</code> writes it again.</footer></main></body></html>\n"
    )


def _subtitle(report: RunReport) -> str:
    settings = dict(report.settings)
    return f"Method {settings['Method']}; {settings['Networks']}; {settings['Device']}."


def _section(title: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2>{''.join(parts)}</section>"


def _paragraph(words: str, kind: str = "") -> str:
    return f"<p{f' class={chr(34)}{kind}{chr(34)}' if kind else ''}>{escape(words)}</p>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], *, even: bool = False) -> str:
    """Return a table; the cells of `rows` are HTML, with their tags. `even`: equal columns."""
    titles = "".join(f"<th>{escape(word)}</th>" for word in head)
    lines = "".join(f"<tr>{''.join(row)}</tr>" for row in rows)
    kind = "scroll even" if even else "scroll"
    return f'<div class="{kind}"><table><tr>{titles}</tr>{lines}</table></div>'


def _cell(words: str) -> str:
    return f"<td>{escape(words)}</td>"


def _share_cell(share: float | None, digits: int = 1) -> str:
    if share is None:
        return _cell("-")
    shown = percent(share, digits)
    return f'<td class="share" style="--share:{100 * share:.1f}%">{shown}</td>'


def _signed(points: float | None, digits: int = 1) -> str:
    """Return a difference of shares in percentage points."""
    return _cell("" if points is None else f"{100 * points:+.{digits}f}")


def _difference(report: RunReport, name: str = "miou") -> float | None:
    """Return how far the student is above the student alone; None where one has no such score."""
    student, alone = report.scores_of("student"), report.scores_of("baseline")
    if student is None or alone is None:
        return None
    ours, theirs = getattr(student, name), getattr(alone, name)
    return None if ours is None or theirs is None else ours - theirs


def _answer(report: RunReport) -> str:
    """Return what a reader wants to know first: the scores, and what distilling gave."""
    tiles = [
        f'<div class="tile"><b>{percent(each.miou, 2)}</b>'
        f"<span>mIoU, {TITLES[each.role]}</span></div>"
        for each in report.networks
    ]
    apart = _difference(report)
    words = ""
    if apart is not None:
        tiles.append(
            f'<div class="tile"><b>{100 * apart:+.2f}</b>'
            "<span>points, student minus student alone</span></div>"
        )
        words = f'<p class="note">{_NO_EVIDENCE}</p>'
    elif report.scores_of("student") is not None and report.scores_of("teacher") is not None:
        words = (
            '<p class="note">No student was trained alone beside this one, so the run cannot say '
            "what distilling gave: <code>--baseline</code> trains one, and <code>python -m "
            "train.ablate</code> compares over several seeds (docs/results/ablation.md).</p>"
        )
    notes = "".join(_paragraph(note, "note") for note in report.notes)
    return _section("In short", f'<div class="tiles">{"".join(tiles)}</div>', words, notes)


def _scores(report: RunReport) -> str:
    if not report.networks:
        return ""
    means = [
        (name, title)
        for name, title in (
            ("miou", "mIoU"),
            ("common_miou", "mIoU, common classes"),
            ("benchmark_miou", "mIoU of the benchmark"),
        )
        if name == "miou" or any(getattr(each, name) is not None for each in report.networks)
    ]
    head = ["", *(title for _, title in means), "accuracy", "parameters"]
    rows = []
    for each in report.networks:
        cells = [f"<td>{TITLES[each.role]}</td>"]
        cells += [_share_cell(getattr(each, name), 2) for name, _ in means]
        rows.append([*cells, _share_cell(each.accuracy, 2), _cell(f"{each.parameters:,}")])
    if _difference(report) is not None:
        cells = ["<td>student minus student alone</td>"]
        cells += [_signed(_difference(report, name), 2) for name, _ in means]
        rows.append([*cells, _signed(_difference(report, "accuracy"), 2), _cell("")])
    for each in report.networks:
        if each.augmented is not None:
            seen = each.augmented
            title = f"{TITLES[each.role]}, {seen.augmentation}, mean of {seen.passes} passes"
            cells = [f"<td>{escape(title)}</td>"]
            cells += [_share_cell(getattr(seen, name, None), 2) for name, _ in means]
            rows.append([*cells, _share_cell(seen.accuracy, 2), _cell("")])
    if report.untrained_miou is not None:
        cells = ["<td>student before training</td>", _share_cell(report.untrained_miou, 2)]
        rows.append([*cells, *[_cell("")] * (len(head) - 2)])
    words = (
        f"Percent, on {report.validation_sweeps} whole validation sweeps, every labeled point "
        "counted. mIoU is the mean over the classes that occur in the labels or the predictions."
    )
    if any(each.benchmark_miou is not None for each in report.networks):
        words += " That of the benchmark is over the classes that its own tool counts."
    if report.common_classes:
        words += (
            " Common classes are those that more than half of the sweeps have: "
            f"{', '.join(report.common_classes)}."
        )
    return _section("Scores", _table(head, rows, even=True), _paragraph(words, "soft"))


def _classes(report: RunReport) -> str:
    if not report.networks:
        return ""
    colors = class_colors(report.spec.class_names)
    both = _difference(report) is not None
    first = report.networks[0]
    points = None if first.confusion is None else [sum(row) for row in first.confusion]
    head = ["class", *(TITLES[each.role] for each in report.networks)]
    head += [*(["difference"] if both else []), *(["labeled points"] if points else [])]
    rows = []
    absent = []
    for number, name in enumerate(report.spec.class_names):
        values = {each.role: each.iou.get(name) for each in report.networks}
        if all(value is None for value in values.values()):
            absent.append(name)
            continue
        row = [f'<td class="name">{_swatch(colors[number])}{escape(name)}</td>']
        row += [_share_cell(value) for value in values.values()]
        if both:
            ours, alone = values["student"], values["baseline"]
            row.append(_signed(None if ours is None or alone is None else ours - alone))
        if points is not None:
            row.append(_cell(f"{points[number]:,}"))
        rows.append(row)
    words = "Percent."
    if both:
        words += " The difference is student minus student alone, taken before rounding."
    if absent:
        words += f" Neither labeled nor predicted: {', '.join(absent)}."
    return _section("IoU by class", _table(head, rows, even=True), _paragraph(words, "soft"))


def _swatch(color: NDArray[np.float64]) -> str:
    red, green, blue = np.clip(np.round(color * 255), 0, 255).astype(int)
    return f'<i style="background:#{red:02x}{green:02x}{blue:02x}"></i>'


def _sweeps(report: RunReport) -> str:
    if not report.sweeps:
        return ""
    seen: set[int] = set()
    for sweep in report.sweeps:
        for labels in (sweep.truth, *sweep.predictions.values()):
            seen |= set(np.unique(labels).tolist())
    colors = class_colors(report.spec.class_names)
    legend = [
        f"<li>{_swatch(colors[number])}{escape(name)}</li>"
        for number, name in enumerate(report.spec.class_names)
        if number in seen
    ]
    legend.append(f"<li>{_swatch(colors[-1])}no label</li>")
    errors = [
        f"<li>{_swatch(ERROR_COLORS[place])}{word}</li>"
        for place, word in enumerate(("right", "wrong", "no label"))
    ]
    changes = ""
    if any({"student", "baseline"} <= sweep.predictions.keys() for sweep in report.sweeps):
        words = ("both right", "the student alone is wrong", "the student is wrong", "both wrong")
        changes = "".join(
            f"<li>{_swatch(color)}{word}</li>"
            for color, word in zip(CHANGE_COLORS, words, strict=False)
        )
        changes = f'<ul class="legend">Student against student alone: {changes}</ul>'
    about = (
        "Validation sweeps by the mIoU of each alone (the classes that occur in it): the best, the "
        "worst and one in between. Views from above are 100 m wide, x to the right; panoramas are "
        "what the sensor sees in a full turn, ahead in the middle, nearest points in front."
    )
    return _section(
        "The best and the worst sweeps",
        _paragraph(about, "soft"),
        f'<ul class="legend">{"".join(legend)}</ul>',
        f'<ul class="legend">Errors: {"".join(errors)}</ul>',
        changes,
        *(_sweep(sweep, report.spec) for sweep in report.sweeps),
    )


def _sweep(sweep: PicturedSweep, spec: DatasetSpec) -> str:
    scores = ", ".join(f"{TITLES[role]} {percent(miou)}" for role, miou in sweep.miou.items())
    around = from_sensor(
        sweep.coord,
        origin_m=spec.sensor_origin_m,
        forward_deg=spec.forward_deg,
        height_from=sweep.truth != IGNORE_INDEX,
    )
    parts = [
        f"<h3>{escape(sweep.place.capitalize())}: {escape(sweep.name)}</h3>",
        _paragraph(f"mIoU of this sweep: {scores}.", "soft"),
    ]
    for kind, title, view in (
        ("above", "From above", from_above(sweep.coord)),
        ("around", "As the sensor sees it", around),
    ):
        cards = "".join(
            _card(view, f"{title}, sweep {sweep.name}", panels) for panels in _panels(sweep, spec)
        )
        parts.append(f'<h4>{title}</h4><div class="{kind}">{cards}</div>')
    return "".join(parts)


_Panel = tuple[str, NDArray[np.int64], NDArray[np.float64]]
"""Caption, value of each point, and palette; its last color is that of no point."""


def _panels(sweep: PicturedSweep, spec: DatasetSpec) -> Iterable[list[_Panel]]:
    """Yield what belongs together: the truth, then each network's classes and its errors."""
    unlabeled = len(spec.class_names)
    classes = np.concatenate([class_colors(spec.class_names), np.zeros((1, 3))])
    no_label = sweep.truth == IGNORE_INDEX
    right = {role: labels == sweep.truth for role, labels in sweep.predictions.items()}
    truth: list[_Panel] = [("ground truth", np.where(no_label, unlabeled, sweep.truth), classes)]
    if {"student", "baseline"} <= right.keys():
        changed = 2 * ~right["student"] + ~right["baseline"]
        caption = "student against student alone"
        truth.append((caption, np.where(no_label, 4, changed), CHANGE_COLORS))
    yield truth
    for role, labels in sweep.predictions.items():
        named = np.where(labels == IGNORE_INDEX, unlabeled, labels)
        wrong = np.where(no_label, 2, ~right[role])
        share = int((wrong == 1).sum()) / max(int((~no_label).sum()), 1)
        caption = f"{TITLES[role]}, errors: {percent(share)} % of the points"
        yield [(TITLES[role], named, classes), (caption, wrong, ERROR_COLORS)]


def _card(view: NDArray[np.int64], alternative: str, panels: Sequence[_Panel]) -> str:
    """Return pictures of one view, one below the other."""
    height, width = view.shape
    pictures = []
    for caption, values, palette in panels:
        png = indexed_png(values_seen(view, values, len(palette) - 1), palette)
        pictures.append(
            f'<img alt="{escape(f"{alternative}: {caption}")}" width="{width}" height="{height}" '
            f'src="data:image/png;base64,{base64.b64encode(png).decode()}">'
            f"<figcaption>{escape(caption)}</figcaption>"
        )
    return f"<figure>{''.join(pictures)}</figure>"


def _agreement(report: RunReport) -> str:
    compared = [each for each in report.networks if each.agreement]
    if not compared:
        return ""
    losses = list(dict.fromkeys(n for each in compared for n in _own_other(each)))
    rows = [
        [
            f"<td>{TITLES[each.role]}</td>",
            _cell(_number(each.agreement["distance_correlation"])),  # type: ignore[index]
            *(_cell(_number(_own_other(each).get(name))) for name in losses),
            _cell(str(each.agreement["sweeps"])),  # type: ignore[index]
        ]
        for each in compared
    ]
    words = (
        "Features of the last decoder stage at 512 voxels of a sweep. Distance correlation: how "
        "alike the distances between a sweep's points are in the two networks' features, 1 at "
        "best."
    )
    if losses:
        words += (
            " Own/other: the topological loss of the student's features to the teacher's at the "
            "same sweep over that at a sweep of another street; about 1 means that any sweep "
            "would have done, well under 1 that the features speak of this one. What the student "
            "alone reaches comes from the data: it never saw the teacher."
        )
    else:
        words += " The own/other test needs sweeps of at least two streets."
    left_out = sum(each.agreement["not_finite"] for each in compared if each.agreement)
    if left_out:
        words += f" {left_out} sweeps were left out: their features are not finite."
    head = ["", "distance correlation", *(f"own/other, {name}" for name in losses), "sweeps"]
    return _section(
        "Agreement with the teacher's features", _table(head, rows), _paragraph(words, "soft")
    )


def _own_other(scores: NetworkScores) -> dict[str, float | None]:
    return {} if scores.agreement is None else dict(scores.agreement["own_other"])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _confusion(report: RunReport) -> str:
    shown = report.scores_of("student") or report.scores_of("teacher")
    if shown is None or shown.confusion is None or not any(map(any, shown.confusion)):
        return ""
    words = (
        f"Each row is the points of one class, in percent of them: what the {TITLES[shown.role]} "
        "takes them for. Blue is right, red is wrong."
    )
    chart = confusion_chart(report.spec.class_names, shown.confusion)
    return _section(
        f"Confusion matrix of the {TITLES[shown.role]}",
        _paragraph(words, "soft"),
        f'<div class="scroll matrix">{chart}</div>',
    )


def _losses(report: RunReport) -> str:
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
    if not charts:
        return ""
    words = (
        "Each term before weighting, and their weighted total. Faint: the steps, averaged where "
        "there are many; strong: the mean of the last tenth so far."
    )
    return _section(
        "Loss terms", _paragraph(words, "soft"), f'<div class="charts">{"".join(charts)}</div>'
    )


def _gradients(report: RunReport) -> str:
    if not report.gradients:
        if not any(curve.stage == "student" for curve in report.losses):
            return ""
        return _section(
            "Gradient shares",
            "<p class='soft'>Not logged in this run: <code>--log-gradient-norms-every 20</code> "
            "says which loss term moves the student, and how much.</p>",
        )
    words = (
        "How much each loss term pulls at the parameters: the norm of the weighted term's gradient "
        "over the sum of all terms' norms. A term may be large and pull little."
    )
    return _section(
        "Gradient shares", _paragraph(words, "soft"), *map(_gradients_of, report.gradients)
    )


def _gradients_of(logged: GradientNorms) -> str:
    shares = logged.shares()
    legend = "".join(
        f'<li><i class="fill c{number % NUM_COLORS}"></i>{escape(term)}</li>'
        for number, term in enumerate(logged.terms)
    )
    chart = stacked_columns(
        f"{TITLES[logged.stage]}: share of the gradient", logged.steps, logged.terms, shares
    )
    rows = [
        [
            f"<td>{escape(term)}</td>",
            _share_cell(sum(row[at] for row in shares) / len(shares)),
            _cell(f"{logged.norms[0][at]:.3g}"),
            _cell(f"{logged.norms[-1][at]:.3g}"),
        ]
        for at, term in enumerate(logged.terms)
    ]
    head = ["term", "mean share, percent", "norm, first", "norm, last"]
    chart = f'<div class="scroll wide">{chart}</div>'
    return f'{chart}<ul class="legend">{legend}</ul>{_table(head, rows)}'


def _times(report: RunReport) -> str:
    rows = [
        [
            f"<td>{escape(_stage(time.stage))}</td>",
            _cell(f"{time.seconds:,.0f}"),
            _cell(f"{time.steps:,}" if time.steps else ""),
            _cell("" if time.median_s is None else f"{time.median_s:.3f}"),
        ]
        for time in report.times
    ]
    head = ["stage", "seconds", "steps", "median step, seconds"]
    words = "Wall time, reading and checkpoints included."
    return _section("Time", _table(head, rows), _paragraph(words, "soft"))


def _stage(name: str) -> str:
    """Return what a reader calls a stage of the log, such as "baseline validation"."""
    role, _, rest = name.partition(" ")
    return f"{TITLES[role]}{f', {rest}' if rest else ''}" if role in TITLES else name


def _how(report: RunReport) -> str:
    rows = [
        [f"<td>{escape(name)}</td>", f'<td class="words">{escape(value)}</td>']
        for name, value in report.settings
    ]
    return _section(
        "How it was run", f"<pre>{escape(report.command)}</pre>", _table(("", ""), rows)
    )

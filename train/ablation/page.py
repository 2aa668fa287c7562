"""Write `ablation.md`, `ablation.json` and `ablation.png` from the records that are there."""

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from train.ablation import page_words as words
from train.ablation.grids import Grid, Variant
from train.ablation.records import GRADIENT_ENTROPY, Records, RunRecord
from train.ablation.statistics import (
    CONFIDENCE,
    MIN_SEEDS_INTERVAL,
    Estimate,
    Metric,
    SceneBootstrap,
    metrics_of,
)
from train.ablation.verdicts import (
    MIN_SEEDS_CLAIM,
    Result,
    compare,
    hangs_on,
    primary_metric,
    teacher_gap,
)
from train.config import flattened
from train.core import blocks
from train.core.atomic_write import atomic_write, make_folder
from train.core.blocks import bullets, counted, heading, mean_sd, number, p_value, signed
from train.core.user_file import short_name
from train.data.labels import ALL


@dataclass(frozen=True)
class GridPlan:
    """What the page has to know of a grid: what there should be, and what it is to answer."""

    name: str
    grid: Grid
    seeds: tuple[int, ...]
    """The seeds that every variant should have."""


@dataclass(frozen=True)
class Section:
    """What the records say about one grid."""

    plan: GridPlan
    runs: tuple[RunRecord, ...]
    results: tuple[Result, ...]
    gap: Estimate
    """Teacher minus control, in points; without seeds where there is nothing to hold."""
    fragile: Mapping[tuple[str, str], list[str] | None]
    """By variant and baseline: what an interval without 0 hangs on, see `hangs_on`."""

    @property
    def asked(self) -> str:
        """The name of the metric in which the grid's questions are asked."""
        return primary_metric(self.runs)

    @property
    def positive_result(self) -> Result | None:
        """The positive control in the primary metric; None where the grid has none."""
        wanted = _positive(self.plan.grid)
        found = (r for r in self.results if r.metric.name == self.asked)
        return next((result for result in found if result.comparison.pair == wanted), None)

    @property
    def students(self) -> list[RunRecord]:
        """The runs without the teachers' scores."""
        return [run for run in self.runs if run.role == "student"]


def sections(
    records: Records, plans: Sequence[GridPlan], bootstrap: SceneBootstrap | None
) -> list[Section]:
    """Return what the records say, one section per plan, in their order.

    Parameters
    ----------
    records
        Of any grids; what belongs to no plan is left out.
    plans
        Of the grids to show, those without a run included.
    bootstrap
        Draws scenes; None leaves their variance out.
    """
    found: list[Section] = []
    for plan in plans:
        runs = tuple(run for run in records.runs if run.grid == plan.name)
        results = tuple(compare(runs, plan.grid.comparisons, bootstrap, _positive(plan.grid)))
        results = tuple(_as_said_before(result, runs, found) for result in results)
        gap = teacher_gap(runs, plan.grid.control or "", bootstrap)
        fragile = {
            result.comparison.pair: hangs_on(result, runs, bootstrap)
            for result in results
            if result.metric.name == primary_metric(runs)
        }
        found.append(Section(plan, runs, results, gap, fragile))
    return found


def _positive(grid: Grid) -> tuple[str, str] | None:
    """Return the positive control: what is known to help, and what it is held against."""
    if grid.positive is None or grid.control is None:
        return None
    return grid.positive, grid.control


def _as_said_before(result: Result, runs: Sequence[RunRecord], before: list[Section]) -> Result:
    """Return a result with the verdict of an earlier grid that asked it of the very same runs."""
    own = _runs_of(result, runs)
    for section in before:
        for other in section.results:
            same = other.primary and other.metric.name == result.metric.name
            if same and result.primary and _runs_of(other, section.runs) == own:
                return replace(
                    result, p_holm=other.p_holm, is_gate=other.is_gate, judged=other.judged
                )
    return result


def _runs_of(result: Result, runs: Sequence[RunRecord]) -> list[tuple[RunRecord, ...]]:
    """Return the runs of a comparison, without what their grid calls them."""
    return [
        tuple(replace(run, grid="x", variant="x") for run in runs if run.variant == name)
        for name in result.comparison.pair
    ]


def write_page(
    output: Path,
    records: Records,
    plans: Sequence[GridPlan],
    bootstrap: SceneBootstrap | None,
    *,
    command: str | None = None,
) -> list[Section]:
    """Write the page, its numbers and its picture; return what they say.

    Parameters
    ----------
    output
        The page without its ending; .md, .json and .png are added. Its folder is made.
    records, plans, bootstrap
        As for `sections`.
    command
        The command that makes the page, for its first lines.

    Raises
    ------
    UserError
        If a file cannot be written.
    """
    make_folder(output.parent, "--output")
    found = sections(records, plans, bootstrap)
    page, numbers, picture = (output.with_name(output.name + end) for end in _ENDINGS)
    drawn = {
        section.plan.name: section.results
        for section in found
        if any(result.estimate.seeds for result in section.results)
    }
    if drawn:
        from train.ablation.plot import draw  # loads matplotlib: not for --help

        with atomic_write(picture) as unfinished:
            draw(drawn, unfinished)
    text = markdown(found, records.notes, picture.name if drawn else None, numbers.name, command)
    entries = comparison_entries(found)
    with atomic_write(numbers) as unfinished:
        unfinished.write_text(json.dumps(entries, indent=1, allow_nan=False) + "\n", "utf-8")
    with atomic_write(page) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
    return found


_ENDINGS: Final = (".md", ".json", ".png")


def comparison_entries(found: Iterable[Section]) -> list[dict[str, Any]]:
    """Return every comparison in every metric as plain values, null for what is not known.

    A difference that has no interval is not given.
    """
    entries = []
    for section in found:
        for result in section.results:
            seen, metric = result.estimate, result.metric
            entries.append(
                {
                    "grid": section.plan.name,
                    "variant": result.comparison.variant,
                    "baseline": result.comparison.baseline,
                    "metric": metric.name,
                    "unit": metric.unit or None,
                    "higher_is_better": metric.higher_is_better,
                    "primary": result.primary,
                    "difference": None if seen.low is None else seen.difference,
                    "low": seen.low,
                    "high": seen.high,
                    "seeds": len(seen.seeds),
                    "seed_numbers": list(seen.seeds),
                    "teachers": seen.teachers,
                    "scenes": seen.scenes,
                    "interval_over": list(seen.over),
                    "standard_deviation": seen.standard_deviation,
                    "standard_error": seen.standard_error,
                    "degrees_of_freedom": seen.degrees_of_freedom,
                    "p": seen.p,
                    "p_holm": result.p_holm,
                    "p_sign_flip": seen.p_sign_flip,
                    "margin": metric.margin,
                    "equivalent": seen.equivalent,
                    "minimum_detectable": seen.minimum_detectable,
                    "bootstrap_low": seen.bootstrap_low,
                    "bootstrap_high": seen.bootstrap_high,
                    "gate": result.is_gate,
                    "hangs_on": section.fragile[result.comparison.pair]
                    if metric.name == section.asked
                    else None,
                    "verdict": result.verdict,
                    "setup": section.runs[0].setup if section.runs else None,
                }
            )
    return entries


def markdown(
    found: Sequence[Section],
    notes: Sequence[str],
    picture: str | None,
    numbers: str,
    command: str | None = None,
) -> str:
    """Return the page as Markdown.

    Parameters
    ----------
    found
        What to show.
    notes
        On the records, one sentence each.
    picture, numbers
        File names beside the page; no picture while there is nothing to draw.
    command
        What made the page.
    """
    method = words.METHOD.format(
        confidence=100 * CONFIDENCE, for_interval=MIN_SEEDS_INTERVAL, for_claim=MIN_SEEDS_CLAIM
    )
    return blocks.page(
        heading(words.TITLE, 1),
        words.SOURCE.format(by=f" by `{command}`" if command else "", numbers=numbers),
        picture and blocks.figure(picture, "differences and intervals"),
        *(block for section in found for block in _section(section, found)),
        heading("How the numbers were made"),
        method,
        *([heading("Notes on the records"), bullets(notes)] if notes else []),
    )


def _section(section: Section, found: Sequence[Section]) -> list[str]:
    title = [heading(f"Grid {section.plan.name}")]
    if section.plan.grid.own:
        title.append(section.plan.grid.title)
    if not section.runs:
        return [*title, f"No runs yet. {_missing(section)}"]
    parts = {
        "The setup": [_setup(section), _controls(section)],
        "Variants": _variants(section),
        "Comparisons": _primary(section),
        "Other metrics": _secondary(section),
        "What is missing": [_missing(section)],
        "Cost": _costs(section),
        "Gradient shares": _gradients(section),
        "Gradient entropy": _entropies(section),
        "What this speaks for": [_scope(section, found)],
    }
    shown = [[heading(name, 3), *part] for name, part in parts.items() if part]
    return [*title, _answer(section), *(block for part in shown for block in part)]


def _answer(section: Section) -> str:
    """Say in one paragraph what the primary comparisons came to, nulls as plainly as gains."""
    primary = [result for result in section.results if result.primary]
    if not primary:
        return words.NO_PRIMARY
    return bullets(
        f"`{result.comparison.variant}` against `{result.comparison.baseline}`: "
        f"**{result.verdict_with_size}**" + _numbers(result)
        for result in primary
    )


def _numbers(result: Result) -> str:
    seen, metric = result.estimate, result.metric
    if seen.low is None:
        return ""
    difference, interval = _difference(result)
    return f", {difference} {metric.title} {interval}, {counted(len(seen.seeds), 'seed')}"


def _difference(result: Result) -> tuple[str, str]:
    """Return the difference and its interval; dashes for both where there is no interval."""
    seen, digits = result.estimate, result.metric.digits
    difference = None if seen.low is None else seen.difference
    return signed(difference, digits), blocks.interval(seen.low, seen.high, digits)


def _setup(section: Section) -> str:
    runs = section.runs
    rows = [
        [f"`{name}`", _plain(value)] for name, value in flattened(runs[0].setup_settings).items()
    ]
    rows += [
        ["setup", f"`{runs[0].setup}`"],
        ["steps of a run", _distinct(f"{run.steps:,}" for run in runs)],
        ["teachers", str(len({run.teacher for run in runs}))],
        ["scenes scored", str(len(runs[0].scenes))],
        ["device", _distinct(run.device for run in runs)],
        ["commit", _distinct(_commit(run) for run in runs)],
    ]
    for package in sorted({name for run in runs for name in run.versions}):
        rows.append([package, _distinct(str(run.versions.get(package)) for run in runs)])
    return blocks.table(["setting", "value"], rows, "l")


def _commit(run: RunRecord) -> str:
    """Return a run's commit, and whether the files were others: it then ends in "+"."""
    commit = run.commit or "none"
    return f"`{commit[:12].rstrip('+')}`" + " with local changes" * commit.endswith("+")


def _controls(section: Section) -> str:
    grid = section.plan.grid
    if grid.control is None:
        return words.NO_CONTROL
    lines = [words.GAP.format(control=grid.control) + _gap(section)]
    if grid.positive is not None:
        asked = words.POSITIVE.format(positive=grid.positive, control=grid.control)
        result = section.positive_result
        if result is None:
            lines.append(asked + words.POSITIVE_ABSENT)
        elif result.verdict == "better":
            lines.append(f"{asked}passed{_numbers(result)}.")
        else:
            failed = words.POSITIVE_FAILED.format(verdict=result.verdict, seen=_numbers(result))
            lines.append(asked + failed)
    return bullets(lines)


def _gap(section: Section) -> str:
    gap = section.gap
    if gap.difference is None:
        return words.GAP_UNKNOWN
    seen = f"{signed(gap.difference, 2)} {blocks.interval(gap.low, gap.high, 2)}"
    if gap.low is None:
        seen = f"{signed(gap.difference, 2)}, no interval below {MIN_SEEDS_INTERVAL} seeds"
    return f"{seen}, {counted(len(gap.seeds), 'seed')} of {counted(gap.teachers, 'teacher')}."


def _variants(section: Section) -> list[str]:
    metrics = [
        metric
        for metric in metrics_of(section.runs)
        if any(run.scores.get(metric.name) is not None for run in section.runs)
    ]
    arrows = {True: "↑", False: "↓"}
    header = ["variant", "seeds", *(f"{m.title} {arrows[m.higher_is_better]}" for m in metrics)]
    rows = []
    for name in _shown_variants(section):
        runs = [run for run in section.runs if run.variant == name]
        of_teacher = runs and runs[0].role == "teacher"
        seeds = "(teacher)" if of_teacher else str(len({run.seed for run in runs}))
        rows.append([f"`{name}`", seeds, *(_mean(runs, metric) for metric in metrics)])
    grid = section.plan.grid
    described = [
        f"`{name}`: {_own_options(variant) if grid.own else variant.description}"
        for name, variant in grid.variants.items()
    ]
    return [bullets(described), words.VARIANTS, blocks.table(header, rows)]


def _own_options(variant: Variant) -> str:
    """Return what a file says of a variant: in words, then method and options."""
    options = {**variant.options, **({} if variant.labels == ALL else {"labels": variant.labels})}
    said = [f"{name} {_plain(value)}" for name, value in options.items()]
    method = f"`--method {short_name(variant.method)}`"
    return "; ".join(filter(None, [variant.description, ", ".join([method, *said])]))


def _shown_variants(section: Section) -> list[str]:
    """Return the teacher, the plan's variants, then variants of the records that the plan lacks."""
    teachers = [run.variant for run in section.runs if run.role == "teacher"]
    others = sorted({run.variant for run in section.runs})
    return list(dict.fromkeys([*teachers, *section.plan.grid.variants, *others]))


def _mean(runs: Iterable[RunRecord], metric: Metric) -> str:
    found = [run.scores.get(metric.name) for run in runs]
    return mean_sd([metric.scale * value for value in found if value is not None], metric.digits)


_HEADER: Final = ("variant", "against", "seeds", "difference", "95% interval")


def _compared(result: Result) -> list[str]:
    return [
        f"`{result.comparison.variant}`",
        f"`{result.comparison.baseline}`",
        str(len(result.estimate.seeds)),
        *_difference(result),
    ]


def _primary(section: Section) -> list[str]:
    results = [result for result in section.results if result.metric.name == section.asked]
    beside = {r.comparison: r for r in section.results if r.metric.name == "miou"}
    all_classes = section.asked != "miou"
    rows = []
    for result in sorted(results, key=lambda result: not result.primary):
        seen, fragile = result.estimate, section.fragile[result.comparison.pair]
        corrected = p_value(result.p_holm) if result.primary else "secondary"
        other = beside.get(result.comparison)
        rows.append(
            [
                *_compared(result),
                blocks.interval(seen.bootstrap_low, seen.bootstrap_high, result.metric.digits),
                *([" ".join(_difference(other)) if other else "–"] if all_classes else []),
                p_value(seen.p),
                "first, alone" if result.is_gate else corrected,
                number(seen.minimum_detectable, ".2f"),
                f"**{result.verdict_with_size}**" if result.primary else result.verdict_with_size,
                "–" if fragile is None else ", ".join(fragile) or "no single class or seed",
            ]
        )
    header = [*_HEADER, "bootstrap", *(["over all classes"] if all_classes else [])]
    header += ["p", "p, Holm", "detectable", "verdict", "hangs on"]
    family = sum(result.primary and not result.is_gate for result in results)
    metric = next((m.title for m in metrics_of(section.runs) if m.name == section.asked), "mIoU")
    text = words.PRIMARY.format(family=counted(family, "other primary comparison"), metric=metric)
    return [text, blocks.table(header, rows, f"llrrr{'r' * (4 + all_classes)}ll")]


def _secondary(section: Section) -> list[str]:
    parts = []
    for metric in metrics_of(section.runs):
        results = [r for r in section.results if r.metric.name == metric.name]
        if metric.name == section.asked or not results:
            continue
        rows = [[*_compared(r), p_value(r.estimate.p), r.verdict_with_size] for r in results]
        better = "more is better" if metric.higher_is_better else "less is better"
        unit = f"in {metric.unit}, " if metric.unit else ""
        parts.append(f"**{metric.title[0].upper()}{metric.title[1:]}** ({unit}{better})")
        parts.append(blocks.table([*_HEADER, "p", "verdict"], rows, "llrrrrl"))
    return [words.SECONDARY, *parts] if parts else []


def _missing(section: Section) -> str:
    there = {(run.variant, run.seed) for run in section.students}
    variants, seeds = section.plan.grid.variants, section.plan.seeds
    missing = {
        variant: [seed for seed in seeds if (variant, seed) not in there] for variant in variants
    }
    lines = [f"`{variant}`: seeds {_ranges(of)}" for variant, of in missing.items() if of]
    planned = len(variants) * len(seeds)
    head = f"{planned - sum(map(len, missing.values()))} of {planned} planned runs are there"
    short = []
    for result in section.results:
        wanted = MIN_SEEDS_CLAIM - len(result.estimate.seeds)
        if result.metric.name == section.asked and wanted > 0:
            pair = f"`{result.comparison.variant}` against `{result.comparison.baseline}`"
            short.append(f"{pair} needs {counted(wanted, 'more paired seed')} for a verdict")
    said = [f"{head}; missing:", bullets(lines)] if lines else [f"{head}."]
    return "\n\n".join([*said, *([bullets(short)] if short else [])])


def _ranges(numbers: Sequence[int]) -> str:
    """Return whole numbers in words: 0-3, 7."""
    groups: list[list[int]] = []
    for one in sorted(numbers):
        if groups and one == groups[-1][-1] + 1:
            groups[-1].append(one)
        else:
            groups.append([one])
    return ", ".join(
        str(group[0]) if len(group) == 1 else f"{group[0]}-{group[-1]}" for group in groups
    )


def _costs(section: Section) -> list[str]:
    """Return the median time of a step by variant, on the device that most runs were made on."""
    students = [run for run in section.students if run.seconds > 0]
    if not students:
        return []
    device, most = Counter(run.device for run in students).most_common(1)[0]
    times = {
        variant: [
            1000 * r.seconds / r.steps
            for r in students
            if (r.variant, r.device) == (variant, device)
        ]
        for variant in _shown_variants(section)
    }
    medians = {variant: statistics.median(of) for variant, of in times.items() if of}
    header = ["variant", "runs", "ms a step"]
    rows = [
        [f"`{variant}`", str(len(times[variant])), f"{of:.0f}"] for variant, of in medians.items()
    ]
    control = section.plan.grid.control
    if control in medians:
        header.append(f"times `{control}`")
        for row, median in zip(rows, medians.values(), strict=True):
            row.append(f"{median / medians[control]:.2f}")
    mixed = words.OTHER_DEVICES.format(most=most, all=len(students))
    text = words.COST.format(device=device, others=mixed if most < len(students) else "")
    return [text, blocks.table(header, rows)]


def _gradients(section: Section) -> list[str]:
    """Return each loss term's share of the sum of gradient norms, by variant and moment."""
    rows = []
    for variant in section.plan.grid.variants:
        for moment, logged in _norms(run for run in section.runs if run.variant == variant).items():
            terms = dict.fromkeys(term for norms in logged for term in norms)
            means = {t: statistics.fmean(norms.get(t, 0.0) for norms in logged) for t in terms}
            total = sum(means.values())
            cells = [
                f"{term} {mean:.3g} ({100 * mean / total:.1f}%)" if total else f"{term} 0"
                for term, mean in means.items()
            ]
            rows.append([f"`{variant}`", moment, str(len(logged)), ", ".join(cells)])
    if not rows:
        return []
    return [words.GRADIENTS, blocks.table(["variant", "moment", "runs", "terms"], rows, "l")]


def _norms(runs: Iterable[RunRecord]) -> dict[str, list[dict[str, float]]]:
    """Return the gradient norms of each run by moment; "" where a run names no moments."""
    found: dict[str, list[dict[str, float]]] = {}
    for run in runs:
        plain: dict[str, float] = {}
        for name, value in (run.gradient_norms or {}).items():
            if isinstance(value, Mapping):
                found.setdefault(name, []).append(dict(value))
            else:
                plain[name] = value
        if plain:
            found.setdefault("", []).append(plain)
    return found


def _entropies(section: Section) -> list[str]:
    """Return the entropy of the topological gradient over the pairs, by variant (Table 11)."""
    rows, width = [], 0
    for variant in section.plan.grid.variants:
        logged = [run.stats or {} for run in section.runs if run.variant == variant]
        cells = []
        for moment in ("first", "last"):
            stats = [dict(of[moment]) for of in logged if of.get(moment)]
            names = sorted({n for of in stats for n in of if n.startswith(GRADIENT_ENTROPY)})
            cells += [mean_sd([of[name] for of in stats if name in of], 2) for name in names]
        if cells:
            width = len(cells) // 2
            rows.append([f"`{variant}`", str(len(logged)), *cells])
    if not rows:
        return []
    moments = [f"H{dim}, {of} steps" for of in ("first", "last") for dim in range(width)]
    return [words.ENTROPIES, blocks.table(["variant", "runs", *moments], rows)]


def _scope(section: Section, found: Sequence[Section]) -> str:
    settings, students = section.runs[0].setup_settings, section.students
    over = {name for result in section.results for name in result.estimate.over}
    lines = []
    own = [replace(run, grid="x", variant="x") for run in students]
    for other in found:
        theirs = [replace(run, grid="x", variant="x") for run in other.runs]
        same = sum(run in theirs for run in own)
        if same and other is not section:
            lines.append(words.SHARED.format(same=same, own=len(own), grid=other.plan.name))
    if over:
        held = [name for name in ("seeds", "teachers", "scenes") if name in over]
        names = " and ".join(filter(None, [", ".join(held[:-1]), held[-1]]))
        lines.append(words.OVER.format(names=names))
    if "teachers" not in over:
        count = len({run.teacher for run in students})
        these = "this teacher" if count == 1 else "these teachers"
        lines.append(words.FEW_TEACHERS.format(teachers=counted(count, "teacher"), these=these))
    if over and "scenes" not in over:
        lines.append(words.THESE_SCENES)
    if settings.get("simulated"):
        lines.append(words.SIMULATED)
    if (pair := settings.get("pair")) is not None:
        lines.append(words.TINY if pair == "tiny" else words.OTHER_PAIR.format(pair=pair))
    return bullets([*lines, words.WEIGHTS])


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _distinct(values: Iterable[str]) -> str:
    """Return the distinct values; with how often each occurs where there are several."""
    counts = Counter(values)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{value} ({count} runs)" for value, count in sorted(counts.items()))

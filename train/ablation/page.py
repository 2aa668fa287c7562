"""Write `ablation.md`, `ablation.json` and `ablation.png` from the records that are there."""

import json
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from train.ablation.plot import Panel, draw
from train.ablation.records import GRADIENT_ENTROPY, Records, RunRecord, flattened
from train.ablation.statistics import (
    CONFIDENCE,
    MIN_SEEDS_CLAIM,
    MIN_SEEDS_INTERVAL,
    PRIMARY_METRIC,
    Comparison,
    Estimate,
    Metric,
    Result,
    StreetBootstrap,
    compare,
    metrics_of,
    teacher_gap,
)
from train.core.atomic_write import atomic_write, make_folder

GATE_POINTS: Final = 6.0
"""mIoU that a teacher must be above a student that learned from labels alone."""

Row = Sequence[str]


@dataclass(frozen=True)
class GridPlan:
    """What the page has to know of a grid: what there should be, and what it is to answer."""

    name: str
    arms: tuple[str, ...]
    """In the order of the page."""
    comparisons: tuple[Comparison, ...]
    """In the order of the page."""
    seeds: tuple[int, ...]
    """The seeds that every arm should have."""
    control: str | None = "ce"
    """The arm that learns from labels alone: the gate holds the teacher against it."""
    positive: str | None = "kd"
    """The arm that is known to help: an experiment that does not see it sees nothing."""
    descriptions: Mapping[str, str] | None = None
    """What an arm is, in a few words."""


@dataclass(frozen=True)
class Section:
    """What the records say about one grid in one assay."""

    plan: GridPlan
    runs: tuple[RunRecord, ...]
    results: tuple[Result, ...]
    gate: Estimate
    """Teacher minus control, in points of mIoU; without seeds where there is nothing to hold."""

    @property
    def assay(self) -> str:
        """The assay of its runs; "" while there are none."""
        return self.runs[0].assay if self.runs else ""

    @property
    def gate_verdict(self) -> str:
        """One of "met", "not met", "unknown"."""
        if self.gate.difference is None:
            return "unknown"
        return "met" if self.gate.difference >= GATE_POINTS else "not met"

    @property
    def positive_result(self) -> Result | None:
        """The positive control in mIoU; None where the grid has none."""
        wanted = (self.plan.positive, self.plan.control)
        for result in self.results:
            pair = (result.comparison.arm, result.comparison.baseline)
            if pair == wanted and result.metric.name == PRIMARY_METRIC:
                return result
        return None


def sections(
    records: Records, plans: Sequence[GridPlan], bootstrap: StreetBootstrap | None
) -> list[Section]:
    """Return what the records say, one section per grid and assay, in the order of the plans.

    Parameters
    ----------
    records
        Of any grids; what belongs to no plan is left out.
    plans
        Of the grids to show, those without a run included.
    bootstrap
        Draws streets; None leaves their variance out.
    """
    found = []
    for plan in plans:
        assays = sorted({run.assay for run in records.runs if run.grid == plan.name})
        for assay in assays or [""]:
            runs = tuple(r for r in records.runs if (r.grid, r.assay) == (plan.name, assay))
            results = tuple(compare(runs, plan.comparisons, bootstrap))
            gate = teacher_gap(runs, plan.control or "", bootstrap)
            found.append(Section(plan, runs, results, gate))
    return found


def write_page(
    output: Path,
    records: Records,
    plans: Sequence[GridPlan],
    bootstrap: StreetBootstrap | None,
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
    drawn = [Panel(_heading(section, found), section.results) for section in found]
    drawn = [panel for panel in drawn if any(r.estimate.seeds for r in panel.results)]
    if drawn:
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
                    "arm": result.comparison.arm,
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
                    "streets": seen.streets,
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
                    "gate": section.gate_verdict,
                    "verdict": result.verdict,
                    "assay": section.assay or None,
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
    parts = [
        "# Does distilling pay?",
        "Generated from the records of single runs"
        + (f" by `{command}`" if command else "")
        + f"; all numbers are in `{numbers}` beside this page.",
    ]
    if picture is not None:
        parts.append(f"![differences and intervals]({picture})")
    parts += [part for section in found for part in _section(section, found)]
    parts.append(_method())
    if notes:
        parts += ["## Notes on the records", "\n".join(f"- {note}" for note in notes)]
    return "\n\n".join(parts) + "\n"


def _heading(section: Section, found: Sequence[Section]) -> str:
    if sum(other.plan.name == section.plan.name for other in found) == 1:
        return section.plan.name
    dataset = section.runs[0].assay_settings.get("dataset")
    return ", ".join(filter(None, [section.plan.name, dataset, f"assay {section.assay}"]))


def _section(section: Section, found: Sequence[Section]) -> list[str]:
    parts = [f"## Grid {_heading(section, found)}"]
    if not section.runs:
        return [*parts, f"No runs yet. {_missing(section)}"]
    parts += [_answer(section), "### The assay", _assay(section), _controls(section)]
    parts += ["### Arms", _arms(section), "### Comparisons in mIoU", _primary(section)]
    if secondary := _secondary(section):
        parts += ["### Other metrics", *secondary]
    parts += ["### What is missing", _missing(section)]
    if costs := _costs(section):
        parts += ["### Cost", *costs]
    if shares := _gradients(section):
        parts += ["### Gradient shares", *shares]
    if entropies := _entropies(section):
        parts += ["### Gradient entropy", *entropies]
    parts += ["### What this speaks for", _scope(section, found)]
    return parts


def _answer(section: Section) -> str:
    """Say in one paragraph what the primary comparisons came to, nulls as plainly as gains."""
    primary = [result for result in section.results if result.primary]
    if not primary:
        return "This grid has no primary comparison: everything below is exploration."
    lines = [
        f"- `{result.comparison.arm}` against `{result.comparison.baseline}`: "
        f"**{_verdict(result)}**" + _numbers(result)
        for result in primary
    ]
    if section.gate_verdict == "not met":
        lines.insert(
            0, "**The assay is blind (see the gate below): no null here says anything.**\n"
        )
    return "\n".join(lines)


def _verdict(result: Result) -> str:
    """Return the verdict; a gain that is real but of no interest is called so."""
    words, margin = result.verdict, result.metric.margin
    if words in ("better", "worse") and result.estimate.equivalent and margin is not None:
        return f"{words}, by less than {margin:g} {result.metric.title}"
    return words


def _numbers(result: Result) -> str:
    seen, metric = result.estimate, result.metric
    if seen.low is None:
        return ""
    return f", {_difference(result)} {metric.title} {_interval(result)}, {_seeds(seen)}"


def _seeds(seen: Estimate) -> str:
    return f"{len(seen.seeds)} seed{'s' * (len(seen.seeds) != 1)}"


def _assay(section: Section) -> str:
    run = section.runs[0]
    rows = [[f"`{name}`", _plain(value)] for name, value in flattened(run.assay_settings).items()]
    rows.append(["assay", f"`{section.assay}`"])
    rows.append(["steps of a run", _counted(f"{r.steps:,}" for r in section.runs)])
    rows.append(["teachers", str(len({r.teacher for r in section.runs}))])
    rows.append(["streets scored", str(len(run.streets))])
    rows.append(["device", _counted(r.device for r in section.runs)])
    rows.append(["commit", _counted(f"`{(r.commit or 'none')[:12]}`" for r in section.runs)])
    packages = sorted({name for r in section.runs for name in r.versions})
    rows += [[name, _counted(str(r.versions.get(name)) for r in section.runs)] for name in packages]
    return _table(["setting", "value"], rows, numbers=False)


def _controls(section: Section) -> str:
    plan, gate = section.plan, section.gate
    lines = []
    if plan.control is not None:
        asked = f"the teacher at least {GATE_POINTS:g} mIoU above `{plan.control}`"
        if gate.difference is None:
            lines.append(
                f"- **Gate** ({asked}): not known, no teacher has both a score and a student "
                f"`{plan.control}` yet. Until then a null may only mean a blind assay."
            )
        else:
            seen = f"{gate.difference:+.2f}" + (
                f" [{gate.low:+.2f}, {gate.high:+.2f}]"
                if gate.low is not None and gate.high is not None
                else f", no interval below {MIN_SEEDS_INTERVAL} seeds"
            )
            seen = f"{seen}, {_seeds(gate)} of {_teachers(gate.teachers)}"
            lines.append(
                f"- **Gate** ({asked}): met, {seen}."
                if section.gate_verdict == "met"
                else f"- **Gate** ({asked}): not met, {seen}. **The assay is blind**: a teacher "
                "this close has too little to teach, and a null says nothing about any loss."
            )
    if plan.positive is not None and plan.control is not None:
        asked = f"`{plan.positive}` better than `{plan.control}`"
        result = section.positive_result
        if result is None:
            lines.append(f"- **Positive control** ({asked}): not among the grid's comparisons.")
        elif result.verdict == "better":
            lines.append(f"- **Positive control** ({asked}): passed{_numbers(result)}.")
        else:
            lines.append(
                f"- **Positive control** ({asked}): not passed, {result.verdict}"
                f"{_numbers(result)}. As long as what is known to help is not seen to help, a "
                "null elsewhere is weak evidence."
            )
    return "\n".join(lines) or "The grid names no control: nothing shows that it could see a gain."


def _teachers(count: int) -> str:
    return f"{count} teacher{'s' * (count != 1)}"


def _arms(section: Section) -> str:
    metrics = [
        m
        for m in metrics_of(section.runs)
        if any(r.scores.get(m.name) is not None for r in section.runs)
    ]
    header = ["arm", "seeds", *(f"{metric.title} {_arrow(metric)}" for metric in metrics)]
    rows = []
    for name in _shown_arms(section):
        runs = [run for run in section.runs if run.arm == name]
        values = [[run.scores.get(m.name) for run in runs] for m in metrics]
        cells = [
            _mean_sd([v for v in of if v is not None], m)
            for of, m in zip(values, metrics, strict=True)
        ]
        seeds = len({run.seed for run in runs})
        rows.append([f"`{name}`", "(teacher)" if _is_teacher(runs) else str(seeds), *cells])
    text = (
        "Mean and standard deviation over runs. IoU in percent. These are not what is compared: "
        "seeds are easier or harder for all arms alike, and the comparisons below take the "
        "difference within each seed."
    )
    about = section.plan.descriptions or {}
    described = [f"- `{name}`: {about[name]}" for name in section.plan.arms if name in about]
    return "\n\n".join(filter(None, ["\n".join(described), text, _table(header, rows)]))


def _is_teacher(runs: Sequence[RunRecord]) -> bool:
    return bool(runs) and runs[0].role == "teacher"


def _shown_arms(section: Section) -> list[str]:
    """Return the teacher, the plan's arms, then arms of the records that the plan lacks."""
    teachers = [run.arm for run in section.runs if run.role == "teacher"]
    others = sorted({run.arm for run in section.runs})
    return list(dict.fromkeys([*teachers, *section.plan.arms, *others]))


def _arrow(metric: Metric) -> str:
    return "↑" if metric.higher_is_better else "↓"


def _mean_sd(values: Sequence[float], metric: Metric) -> str:
    if not values:
        return "–"
    scaled = [metric.scale * value for value in values]
    mean = f"{statistics.fmean(scaled):.{metric.digits}f}"
    return f"{mean} ± {statistics.stdev(scaled):.{metric.digits}f}" if len(scaled) > 1 else mean


_COMPARISON_HEADER: Final = ["arm", "against", "seeds", "difference", "95% interval"]


def _primary(section: Section) -> str:
    results = [result for result in section.results if result.metric.name == PRIMARY_METRIC]
    rows = []
    for result in sorted(results, key=lambda result: not result.primary):
        seen = result.estimate
        rows.append(
            [
                *_compared(result),
                _p(seen.p),
                _p(result.p_holm) if result.primary else "secondary",
                "–" if seen.minimum_detectable is None else f"{seen.minimum_detectable:.2f}",
                f"{'**' * result.primary}{_verdict(result)}{'**' * result.primary}",
            ]
        )
    header = [*_COMPARISON_HEADER, "p", "p, Holm", "detectable", "verdict"]
    family = sum(result.primary for result in results)
    count = f"{family} primary comparison{'s' * (family != 1)}"
    text = (
        f"Arm minus baseline in points of mIoU, paired by seed. {count[0].upper()}{count[1:]}: "
        "their p values are corrected for their number by Holm's procedure, those not yet run "
        "included; the intervals are not corrected. Secondary rows are not corrected at all: "
        "with enough of them one will look good by chance. `detectable` is the true difference "
        "that as many seeds and streets would show four times in five."
    )
    return f"{text}\n\n{_table(header, rows, words=2)}"


def _secondary(section: Section) -> list[str]:
    parts = []
    for metric in metrics_of(section.runs):
        results = [r for r in section.results if r.metric.name == metric.name]
        if metric.name == PRIMARY_METRIC or not results:
            continue
        rows = [[*_compared(r), _p(r.estimate.p), _verdict(r)] for r in results]
        better = "more is better" if metric.higher_is_better else "less is better"
        unit = f"in {metric.unit}, " if metric.unit else ""
        parts.append(f"**{metric.title[0].upper()}{metric.title[1:]}** ({unit}{better})")
        parts.append(_table([*_COMPARISON_HEADER, "p", "verdict"], rows, words=2))
    if not parts:
        return []
    return [
        "Secondary: p values are uncorrected, no margin of equivalence was set, and a verdict "
        "here is a hint for the next experiment, not a finding.",
        *parts,
    ]


def _compared(result: Result) -> list[str]:
    return [
        f"`{result.comparison.arm}`",
        f"`{result.comparison.baseline}`",
        str(len(result.estimate.seeds)),
        _difference(result),
        _interval(result),
    ]


def _difference(result: Result) -> str:
    """Return the difference, or a dash where no interval can stand beside it."""
    seen = result.estimate
    if seen.difference is None or seen.low is None:
        return "–"
    return f"{seen.difference:+.{result.metric.digits}f}"


def _interval(result: Result) -> str:
    seen, digits = result.estimate, result.metric.digits
    if seen.low is None or seen.high is None:
        return "–"
    return f"[{seen.low:+.{digits}f}, {seen.high:+.{digits}f}]"


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _missing(section: Section) -> str:
    there = {(run.arm, run.seed) for run in section.runs if run.role == "student"}
    lines, missing = [], 0
    for arm in section.plan.arms:
        seeds = [seed for seed in section.plan.seeds if (arm, seed) not in there]
        missing += len(seeds)
        if seeds:
            lines.append(f"- `{arm}`: seeds {_ranges(seeds)}")
    planned = len(section.plan.arms) * len(section.plan.seeds)
    head = f"{planned - missing} of {planned} planned runs are there"
    short = []
    for result in section.results:
        wanted = MIN_SEEDS_CLAIM - len(result.estimate.seeds)
        if result.metric.name == PRIMARY_METRIC and wanted > 0:
            pair = f"`{result.comparison.arm}` against `{result.comparison.baseline}`"
            more = f"{wanted} more paired seed{'s' * (wanted != 1)}"
            short.append(f"- {pair} needs {more} for a verdict")
    lines = [f"{head}; missing:", "", *lines] if missing else [f"{head}."]
    if short:
        lines += ["", *short]
    return "\n".join(lines)


def _ranges(numbers: Sequence[int]) -> str:
    """Return whole numbers in words: 0-3, 7."""
    groups: list[list[int]] = []
    for number in sorted(numbers):
        if groups and number == groups[-1][-1] + 1:
            groups[-1].append(number)
        else:
            groups.append([number])
    return ", ".join(
        str(group[0]) if len(group) == 1 else f"{group[0]}-{group[-1]}" for group in groups
    )


def _costs(section: Section) -> list[str]:
    """Return the median time of a step by arm, on the device that most runs were made on."""
    students = [run for run in section.runs if run.role == "student" and run.seconds > 0]
    if not students:
        return []
    device, most = Counter(run.device for run in students).most_common(1)[0]
    times = {
        arm: [1000 * r.seconds / r.steps for r in students if (r.arm, r.device) == (arm, device)]
        for arm in _shown_arms(section)
    }
    medians = {arm: statistics.median(of) for arm, of in times.items() if of}
    base = medians.get(section.plan.control or "")
    rows = [
        [f"`{arm}`", str(len(times[arm])), f"{median:.0f}", f"{median / base:.2f}" if base else "–"]
        for arm, median in medians.items()
    ]
    text = f"Median over runs on {device}"
    if most < len(students):
        text += f" ({most} of {len(students)} runs; times of several devices are not mixed)"
    header = ["arm", "runs", "ms a step", f"times `{section.plan.control}`"]
    return [
        f"{text}; what else the machine did was not controlled, and no claim rests on it.",
        _table(header if base else header[:3], rows if base else [row[:3] for row in rows]),
    ]


def _gradients(section: Section) -> list[str]:
    """Return each loss term's share of the sum of gradient norms, by arm and moment."""
    rows = []
    for arm in section.plan.arms:
        for moment, logged in _norms(run for run in section.runs if run.arm == arm).items():
            terms = dict.fromkeys(term for norms in logged for term in norms)
            means = {t: statistics.fmean(norms.get(t, 0.0) for norms in logged) for t in terms}
            total = sum(means.values())
            cells = [
                f"{term} {mean:.3g} ({100 * mean / total:.1f}%)" if total else f"{term} 0"
                for term, mean in means.items()
            ]
            rows.append([f"`{arm}`", moment, str(len(logged)), ", ".join(cells)])
    if not rows:
        return []
    return [
        "Norm of each weighted term's gradient at the student's parameters, mean over runs, and "
        "its share of their sum. A term with a share near 0 cannot have done anything.",
        _table(["arm", "moment", "runs", "terms"], rows, numbers=False),
    ]


def _entropies(section: Section) -> list[str]:
    """Return the entropy of the topological gradient over the pairs, by arm (Table 11)."""
    rows, width = [], 0
    for arm in section.plan.arms:
        logged = [run.stats or {} for run in section.runs if run.arm == arm]
        cells = []
        for moment in ("first", "last"):
            stats = [dict(of[moment]) for of in logged if of.get(moment)]
            for name in sorted({n for of in stats for n in of if n.startswith(GRADIENT_ENTROPY)}):
                values = [of[name] for of in stats if name in of]
                spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
                cells.append(f"{statistics.fmean(values):.2f}{spread}")
        if cells:
            width = len(cells) // 2
            rows.append([f"`{arm}`", str(len(logged)), *cells])
    if not rows:
        return []
    moments = [f"H{dim}, {of} steps" for of in ("first", "last") for dim in range(width)]
    return [
        "How evenly the topological gradient is spread over the student's pairs "
        "(`reference.gradient_entropy`: 0 where one pair gets all of it, 1 where all get the "
        "same), mean and standard deviation over runs; a run's first and last 20 steps.",
        _table(["arm", "runs", *moments], rows),
    ]


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


def _scope(section: Section, found: Sequence[Section]) -> str:
    run = section.runs[0]
    teachers = len({r.teacher for r in section.runs if r.role == "student"})
    over = {name for r in section.results for name in r.estimate.over}
    lines = []
    own = [replace(run, grid="x", arm="x") for run in section.runs if run.role == "student"]
    for other in found:
        theirs = [replace(run, grid="x", arm="x") for run in other.runs]
        same = sum(run in theirs for run in own)
        if same and other is not section:
            lines.append(
                f"- {same} of {len(own)} runs are also those of grid {other.plan.name}: the same "
                "evidence and not more of it, and each grid corrects for its own questions alone."
            )
    if over:
        held = [name for name in ("seeds", "teachers", "streets") if name in over]
        lines.append(f"- Intervals are over {_and(held)}: other ones drawn in the same way.")
    if "teachers" not in over:
        lines.append(
            f"- {_teachers(teachers).capitalize()} only: the results are about "
            f"{'this teacher' if teachers == 1 else 'these teachers'}, not about teachers at large."
        )
    if over and "streets" not in over:
        lines.append("- Streets could not be drawn: the results are about these streets.")
    if run.assay_settings.get("simulated"):
        lines.append(
            "- Simulated streets can order losses under known conditions: same sensor, exact "
            "labels, classes as frequent as they were made. They cannot say how many points a "
            "loss gives on recorded sweeps: real clutter, rare classes, wrong labels and the gap "
            "between streets of one city and another are not in them."
        )
    if (pair := run.assay_settings.get("pair")) == "tiny":
        lines.append(
            "- The tiny pair shows whether a term does anything when both networks are small and "
            "training is short. A gain here may vanish at full size and full length, and a loss "
            "that needs wide features or a far better teacher may show nothing here and pay there."
        )
    elif pair is not None:
        lines.append(
            f"- The {pair} pair: other networks and longer schedules may answer otherwise."
        )
    lines.append(
        "- The arms' weights are those of the grid, not the best for each loss: this compares "
        "settings, and an arm that does nothing here may do something at another weight."
    )
    return "\n".join(lines)


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _method() -> str:
    return (
        "## How the numbers were made\n\n"
        "The arms of a seed share teacher, initial weights, crops and order; what is averaged is "
        f"the difference within a seed. The {100 * CONFIDENCE:.0f}% interval is Student's t on "
        "the variance of these differences, plus the variance of their mean when validation "
        "streets are drawn again with replacement, the same streets for both arms (and the "
        "teachers' variance from three teachers on). "
        f"Fewer than {MIN_SEEDS_INTERVAL} paired seeds: no number. Fewer than {MIN_SEEDS_CLAIM}: "
        'no verdict. "Better" and "worse" need an interval without 0 and, for a primary '
        'comparison, p below 0.05 after Holm\'s correction. "Equivalent" means that the 90% '
        'interval lies within 1 mIoU of 0 (two one-sided tests); "interval too wide" that '
        "neither was shown, which is no evidence of no effect. The percentiles of a hierarchical "
        "bootstrap (teachers, seeds, streets) and the exact sign-flip p value stand beside them "
        "in the JSON: with five seeds the first are too narrow and the second cannot be below "
        "0.06."
    )


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _counted(values: Iterable[str]) -> str:
    """Return the distinct values; with how often each occurs where there are several."""
    counts = Counter(values)
    if len(counts) == 1:
        return next(iter(counts))
    return ", ".join(f"{value} ({count} runs)" for value, count in sorted(counts.items()))


def _table(header: Row, rows: Iterable[Row], *, numbers: bool = True, words: int = 1) -> str:
    """Return a table whose columns after the first `words` are aligned right, if of numbers."""
    ends = ["---:" if numbers and i >= words else "---" for i in range(len(header))]
    if header[-1] == "verdict":
        ends[-1] = "---"
    return "\n".join("| " + " | ".join(line) + " |" for line in [header, ends, *rows])

"""`paper.md`: every table and figure of the paper, what makes ours, and what came of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.studies.figures import (
    barcode,
    embedding,
    gradient_weighting,
    panels,
    ripser_equality,
    score_over_cost,
)
from benchmarks.studies.figures.figure_file import read_numbers
from benchmarks.studies.figures.networks import ALONE, STUDENT, TEACHER
from benchmarks.studies.figures.paper_numbers import DIFFERENCES, table_7
from benchmarks.studies.figures.row_means import audit
from benchmarks.studies.study_page import read_json
from train.ablation.grids import built_in
from train.ablation.statistics import KNOWN_MIOU, PRIMARY_METRIC
from train.core import blocks
from train.core.errors import UserError

PAGE: Final = "paper.md"
EQUALITY_PAGE: Final = f"{ripser_equality.NAME}.md"
COMMAND: Final = "python -m benchmarks.studies figures"

GRIDS: Final = {f"Table {number}": f"table{number}" for number in (5, 7, 10, 11)}
"""The tables that an ablation makes, and the grids for it."""

_REQUIRED: Final = ("grid", "variant", "baseline", "metric", "difference", "low", "high", "seeds")
_NETWORKS: Final = f"`{COMMAND} --only {{}} --run DIR`"
_MEASURED: Final = "`pytest benchmarks/ --benchmark && python -m benchmarks.table`"
_EFFICIENCY: Final = "`python -m train.efficiency --output docs/results`"


@dataclass(frozen=True)
class Compared:
    """A variant against another, as `ablation.json` has it.

    Attributes
    ----------
    grid, variant, baseline
        Which.
    difference, low, high
        In points of mIoU, with the ends of the interval; None where there are too few runs.
    seeds
        How many pairs of runs.
    verdict
        In words; may be empty.
    setup
        What stands for data, networks and schedule; may be empty.
    """

    grid: str
    variant: str
    baseline: str
    difference: float | None
    low: float | None
    high: float | None
    seeds: int
    verdict: str
    setup: str


def read_ablation(path: Path) -> list[Compared]:
    """Return the comparisons in the primary metric that have runs; none where there is no file.

    Raises
    ------
    UserError
        If the file is damaged, or no list of comparisons.
    """
    if not path.is_file():
        return []
    again = "write it again: python -m train.ablate --page-only"
    entries = read_json(path, again)
    if not isinstance(entries, list):
        raise UserError(f"--ablation {path}: holds no list of comparisons; {again}")
    found = []
    # A grid asks over the classes that its teacher knows, where the page could tell which.
    known = {
        entry.get("grid")
        for entry in entries
        if isinstance(entry, dict) and entry.get("metric") == KNOWN_MIOU and entry.get("seeds")
    }
    for number, entry in enumerate(entries, start=1):
        missing = [name for name in _REQUIRED if not isinstance(entry, dict) or name not in entry]
        if missing:
            raise UserError(
                f"--ablation {path}: comparison {number} has no {', '.join(missing)}; {again}"
            )
        asked = KNOWN_MIOU if entry["grid"] in known else PRIMARY_METRIC
        if entry["metric"] == asked and entry["seeds"]:
            found.append(
                Compared(
                    **{name: entry[name] for name in ("grid", "variant", "baseline")},
                    **{name: entry[name] for name in ("difference", "low", "high", "seeds")},
                    verdict=str(entry.get("verdict") or ""),
                    setup=str(entry.get("setup") or ""),
                )
            )
    return found


def pages(folder: Path, ablation: Path) -> dict[str, str]:
    """Return the pages that the records in a folder give, by file name.

    Parameters
    ----------
    folder
        Where figures, records and other pages of results are.
    ablation
        `ablation.json`.

    Raises
    ------
    UserError
        If a record is damaged.
    """
    numbers = {name: read_numbers(folder, name) for name in FIGURES}
    made = {PAGE: _page(folder, numbers, read_ablation(ablation), _read_efficiency(folder))}
    equality = numbers[ripser_equality.NAME]
    if equality is not None:
        made[EQUALITY_PAGE] = ripser_equality.page(equality, f"{ripser_equality.NAME}.png")
    return made


@dataclass(frozen=True)
class PaperFigure:
    """One that `benchmarks.studies figures` makes.

    Attributes
    ----------
    title
        For the page.
    summary
        Says in a sentence or two what its numbers show.
    needs
        The networks that it cannot do without; others are shown where they are given.
    """

    title: str
    summary: Callable[[Mapping[str, Any]], str]
    needs: tuple[str, ...] = ()


FIGURES: Final[Mapping[str, PaperFigure]] = {
    score_over_cost.NAME: PaperFigure("Figure 1: score over cost", score_over_cost.summary),
    panels.NAME_OF_FRAME: PaperFigure(
        "Figure 3: a frame, and where each network is wrong",
        panels.summary_of_frame,
        (TEACHER, STUDENT),
    ),
    barcode.NAME: PaperFigure(
        "Figure 4: barcode and diagram of a cloud of known shape", barcode.summary
    ),
    barcode.NAME_OF_TEACHER: PaperFigure(
        "Figure 4: barcode and diagram of a teacher's features", barcode.summary, (TEACHER,)
    ),
    panels.NAME_OF_CELLS: PaperFigure(
        "Figure 5: where the distilled student gained and lost most",
        panels.summary_of_cells,
        (STUDENT, ALONE),
    ),
    embedding.NAME: PaperFigure(
        "Figure 6: features in a plane", embedding.summary, (TEACHER, STUDENT)
    ),
    gradient_weighting.NAME: PaperFigure(
        "Figure 9: gradient over persistence", gradient_weighting.summary
    ),
    ripser_equality.NAME: PaperFigure("Figure 10: equality with Ripser", ripser_equality.summary),
}
"""By the name of its files, in the order of the page."""


def _read_efficiency(folder: Path) -> dict[str, Any] | None:
    path = folder / "efficiency.json"
    if not path.is_file():
        return None
    score_over_cost.read_costs(path)  # refuses what is no such record
    return dict(read_json(path, "make it again: python -m train.efficiency"))


def _page(
    folder: Path,
    numbers: Mapping[str, dict[str, Any] | None],
    compared: Sequence[Compared],
    efficiency: dict[str, Any] | None,
) -> str:
    parts = [
        blocks.generated(COMMAND),
        "# The paper's tables and figures",
        "Every table and figure of [the paper](https://openreview.net/forum?id=1P2phGa5af): the "
        "command that makes ours, and what came out, or why nothing did. The paper trains on "
        "nuScenes, SemanticKITTI and Waymo, whose licenses everyone has to accept for themselves; "
        f"what needs them was not run here. Made again by `{COMMAND}`, held "
        f"against the records by `{COMMAND} --check`.",
        "## Tables",
        _listed("table", _tables(folder, compared, efficiency)),
        "What pays beyond these tables, with seeds, intervals, a placebo and controls: "
        f"{_link(folder, 'ablation.md')}.",
        "## Figures",
        _listed("figure", _figures(folder, numbers)),
        "## Row means",
        *audit(),
    ]
    for table, grid in GRIDS.items():
        parts += [f"## {table}", *_of_grid(folder, grid, compared)]
    for name, found in numbers.items():
        if found is not None:
            parts += [
                f"## {FIGURES[name].title}",
                blocks.figure(f"{name}.png", FIGURES[name].title),
                f"{_summary(name, found)}. Numbers: [{name}.json]({name}.json).",
            ]
    return blocks.page(*parts)


def _summary(name: str, numbers: dict[str, Any]) -> str:
    try:
        return FIGURES[name].summary(numbers).rstrip(".")
    except (KeyError, TypeError, ValueError, IndexError, StopIteration, AttributeError) as error:
        raise UserError(
            f"{name}.json: is damaged ({type(error).__name__}: {error}); make it again: "
            f"{COMMAND} --only {name}"
        ) from error


def _listed(what: str, rows: Sequence[tuple[str, str, str, str]]) -> str:
    return blocks.table([what, "shows", "command", "ours"], rows, "l")


def _tables(
    folder: Path, compared: Sequence[Compared], efficiency: dict[str, Any] | None
) -> list[tuple[str, str, str, str]]:
    def scores(title: str, note: str = "") -> str:
        return (
            f"Not run: needs {title}'s data and GPUs, and for the test set its server. The command "
            f"trains, distills and scores there.{note}"
        )

    def training(dataset: str, *flags: str) -> str:
        words = ["python -m train.run --dataset", dataset, "--data-root DIR --model paper", *flags]
        return f"`{' '.join(words)}`"

    means = " Its printed means: [row means](#row-means)."
    measured = _link(folder, "efficiency.md")
    return [
        (
            "1",
            "IoU by class, nuScenes test",
            training("nuscenes", "--submit"),
            scores("nuScenes", means),
        ),
        (
            "2",
            "IoU by class, SemanticKITTI test",
            training("semantickitti", "--submit"),
            scores("SemanticKITTI", means),
        ),
        ("3", "parameters and frames per second", _EFFICIENCY, _parameters(efficiency, measured)),
        ("4", "mIoU, Waymo", training("waymo"), scores("Waymo")),
        ("5", "each loss term", *_grid_cells("Table 5", compared)),
        (
            "6",
            "time and memory of the topological loss",
            _MEASURED,
            f"{_link(folder, 'table6.md')}; beside other packages: "
            f"{_link(folder, 'table6_peers.md')}",
        ),
        ("7", "weights of the terms", *_grid_cells("Table 7", compared)),
        ("8", "teacher and student: sizes, operations, time", _EFFICIENCY, measured),
        ("9", "teacher and student: memory and time by operation", _EFFICIENCY, measured),
        ("10", "layers of the saliency term", *_grid_cells("Table 10", compared)),
        ("11", "PWCD against Sinkhorn", *_grid_cells("Table 11", compared)),
    ]


def _figures(
    folder: Path, numbers: Mapping[str, dict[str, Any] | None]
) -> list[tuple[str, str, str, str]]:
    def made(name: str) -> str:
        anchor = FIGURES[name].title.lower().replace(":", "").replace(",", "").replace("'", "")
        anchor = anchor.replace(" ", "-")
        if numbers[name] is None:
            return "not made yet"
        return f"[{FIGURES[name].title.partition(': ')[2]}](#{anchor})"

    def of_networks(name: str) -> str:
        found = made(name)
        needs = "needs trained networks (the folder of a run, or files)"
        return f"not made yet, {needs}" if numbers[name] is None else found

    def only(name: str) -> str:
        return f"`{COMMAND} --only {name}`"

    score = score_over_cost.NAME
    return [
        (
            "1",
            "score, memory, operations and time of teacher and student",
            f"{only(score)}, {_EFFICIENCY}",
            f"Costs over voxels: {_link(folder, 'efficiency.md')}. Score over cost: "
            + (
                "not made yet, needs the records of an ablation, grid `main`"
                if numbers[score] is None
                else made(score)
            ),
        ),
        ("2", "overview of the method", "none", "A drawing: nothing is measured."),
        (
            "3",
            "predictions on a frame",
            _NETWORKS.format(panels.NAME_OF_FRAME),
            of_networks(panels.NAME_OF_FRAME),
        ),
        (
            "4",
            "filtration, barcode, diagram",
            f"{only(barcode.NAME)}, {_NETWORKS.format(barcode.NAME_OF_TEACHER)}",
            f"{made(barcode.NAME)}; of a teacher: {of_networks(barcode.NAME_OF_TEACHER)}. "
            "H0 and H1: the paper also draws H2, which its method never uses.",
        ),
        (
            "5",
            "crops: students with and without the method",
            _NETWORKS.format(panels.NAME_OF_CELLS),
            f"{of_networks(panels.NAME_OF_CELLS)}. Crops are found by counting points, the worst "
            "beside the best; the other student has learned from labels alone, or is the one that "
            "`--baseline` names.",
        ),
        (
            "6",
            "features in a plane",
            f"{_NETWORKS.format(embedding.NAME)}; `--embedding tsne` with scikit-learn",
            of_networks(embedding.NAME),
        ),
        ("7", "time of sampling", _MEASURED, _link(folder, "figure7.md")),
        ("8", "time of H1 and H2", _MEASURED, _link(folder, "figure8.md")),
        (
            "9",
            "gradient over persistence",
            only(gradient_weighting.NAME),
            made(gradient_weighting.NAME),
        ),
        (
            "10",
            "diagrams beside Ripser's",
            only(ripser_equality.NAME),
            _link(folder, EQUALITY_PAGE)
            if numbers[ripser_equality.NAME] is not None
            else "not made yet",
        ),
    ]


def _link(folder: Path, name: str) -> str:
    # The page of Figure 10 is written together with this one.
    there = name == EQUALITY_PAGE or (folder / name).is_file()
    return f"[{name}]({name})" if there else f"{name}, which is not there yet"


def _parameters(record: dict[str, Any] | None, link: str) -> str:
    """Return Table 3's rows of the teacher and the student."""
    if record is None or not {"teacher", "student"} <= record["models"].keys():
        return link
    found = []
    for name in ("teacher", "student"):
        model = record["models"][name]
        seconds = model["sizes"][-1]["seconds"]["total"]["p50_s"]
        found.append(f"{name} {model['parameters']:,} parameters, {1 / seconds:.2f} per second")
    return (
        f"{'; '.join(found)} on {record['processor']}, {record['device']} (the paper: 46.16M, "
        f"16.61 and 2.78M, 27.64 on an A100): {link}"
    )


def _grid_cells(table: str, compared: Sequence[Compared]) -> tuple[str, str]:
    grid = GRIDS[table]
    there = {(c.variant, c.baseline) for c in compared if c.grid == grid}
    wanted = {(c.variant, c.baseline) for c in built_in()[grid].comparisons}
    command = f"`python -m train.ablate --dataset waymo --simulate --grid {grid}`"
    done = len(there & wanted)
    where = f"[{table}](#{table.lower().replace(' ', '-')})"
    if done:
        return command, f"{done} of {len(wanted)} comparisons have runs: {where}"
    return command, f"Not run yet: {where}"


def _of_grid(folder: Path, grid: str, compared: Sequence[Compared]) -> list[str]:
    """Return a grid's comparisons in mIoU, and which of them have no runs."""
    plan = built_in()[grid]
    found = [c for c in compared if c.grid == grid]
    command = f"`python -m train.ablate --dataset waymo --simulate --grid {grid} --seeds 5`"
    asked = plan.title.partition(": ")[2]
    parts = [f"{asked[0].upper()}{asked[1:]}. {len(plan.variants)} variants; {command}."]
    if not found:
        return [*parts, "Not run: no records of this grid."]
    printed = _printed(grid)
    header = ["variant", "against", "difference, 95% interval", "seeds", "verdict"]
    header += ["the paper, nuScenes, one run"]
    for setup in sorted({c.setup for c in found}):
        rows = [
            [
                f"`{c.variant}`",
                f"`{c.baseline}`",
                interval(c),
                str(c.seeds),
                c.verdict,
                blocks.number(printed.get((c.variant, c.baseline)), "+.1f", missing=""),
            ]
            for c in found
            if c.setup == setup
        ]
        if setup:
            parts.append(f"Setup `{setup}`:")
        parts.append(blocks.table(header, rows, "lllrlr"))
    there = {(c.variant, c.baseline) for c in found}
    missing = [c for c in plan.comparisons if (c.variant, c.baseline) not in there]
    if missing:
        pairs = ", ".join(f"`{c.variant}` against `{c.baseline}`" for c in missing)
        parts.append(f"Not run: {pairs}.")
    parts.append(
        f"Other metrics and all that belongs to the comparison: {_link(folder, 'ablation.md')}."
    )
    return parts


def interval(found: Compared) -> str:
    """Return a difference with its interval, in words where there is none."""
    if found.difference is None:
        return "no pair of runs yet"
    if found.low is None or found.high is None:
        return f"{found.difference:+.2f}, too few seeds for an interval"
    return f"{found.difference:+.2f} [{found.low:+.2f}, {found.high:+.2f}]"


def _printed(grid: str) -> dict[tuple[str, str], float]:
    """Return what the paper prints for a grid's comparisons."""
    if grid == "table7":
        scores = table_7()
        best = scores[8.0, 1.0, 1.0]
        return {
            (f"t{t:g}-g{g:g}-k{k:g}", "t8-g1-k1"): score - best
            for (t, g, k), score in scores.items()
        }
    return {
        (variant, base): value for (of, variant, base), value in DIFFERENCES.items() if of == grid
    }

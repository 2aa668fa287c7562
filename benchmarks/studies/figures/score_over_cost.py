"""Figure 1's axes: the scores of an ablation's variants over what their networks cost."""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.studies.figures.figure_file import Drawn, rounded
from benchmarks.studies.figures.palette import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION
from train.ablation.grids import TEACHER, built_in
from train.ablation.records import RunRecord, read_records
from train.core.errors import UserError
from train.data.dataset_spec import dataset_spec
from train.data.frame import IN_CHANNELS
from train.networks.protocol import NetworkSpec
from train.networks.registry import build_network, parse_network

NAME: Final = "figure1"
GRIDS: Final = ("main", "exploratory")
_COLORS: Final = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY, "#7F7F7F")
_MARKERS: Final = "osD^vPX<>p*h"


def read_costs(path: Path) -> dict[str, float]:
    """Return seconds per frame by the size of network, from a record of `train.efficiency`.

    Raises
    ------
    UserError
        If the file is there and is no such record.
    """
    if not path.is_file():
        return {}
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {
            size: float(model["sizes"][-1]["seconds"]["total"]["p50_s"])
            for size, model in record["models"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(
            f"{path}: is no record of train.efficiency ({error}); make it again: "
            "python -m train.efficiency --output DIR"
        ) from error


def make(records: Sequence[Path], efficiency: Sequence[Path]) -> Drawn:
    """Return the figure; as `collect`."""
    numbers = collect(records, efficiency)
    return Drawn(numbers, _draw(numbers))


def collect(records: Sequence[Path], efficiency: Sequence[Path]) -> dict[str, Any]:
    """Return the scores and the costs.

    Parameters
    ----------
    records
        Files of `train.ablate`, with runs of the grid `main`.
    efficiency
        JSON files of `train.efficiency`; of a size that several have, the last counts.

    Raises
    ------
    UserError
        If there are no runs of that grid, or a record is damaged.
    """
    everything = read_records(records).runs
    grid = next((name for name in GRIDS if any(run.grid == name for run in everything)), None)
    if grid is None:
        raise UserError(
            f"{NAME}: no runs of grid {GRIDS[0]} in {', '.join(map(str, records))}; make some: "
            f"python -m train.ablate --grid {GRIDS[0]}"
        )
    runs = [run for run in everything if run.grid == grid]
    seconds = {size: value for path in efficiency for size, value in read_costs(path).items()}
    settings = runs[0].setup_settings
    names: dict[str, str] = dict(settings["networks"])
    classes = len(dataset_spec(settings["dataset"], settings.get("data")).class_names)
    costs = {role: _cost(role, name, classes, seconds) for role, name in names.items()}
    variants = {
        variant: [100 * value for value in _scores(runs, variant)]
        for variant in (TEACHER, *built_in()[grid].variants)
    }
    return {
        "grid": grid,
        "dataset": settings["dataset"],
        "simulated": bool(settings["simulated"]),
        "setup": runs[0].setup,
        "networks": {role: {"name": names[role], **cost} for role, cost in sorted(costs.items())},
        "miou": {
            variant: [rounded(v, 5) for v in values]
            for variant, values in variants.items()
            if values
        },
    }


def _cost(role: str, name: str, classes: int, seconds: Mapping[str, float]) -> dict[str, Any]:
    network, size = parse_network(role, name)
    built = build_network(NetworkSpec(network, size, classes, IN_CHANNELS))
    return {
        "parameters": sum(parameter.numel() for parameter in built.parameters()),
        "seconds_a_frame": seconds.get(size),
    }


def _scores(runs: Sequence[RunRecord], variant: str) -> list[float]:
    found = [run.scores.get("miou") for run in runs if run.variant == variant]
    return [value for value in found if value is not None]


def _draw(numbers: Mapping[str, Any]) -> Figure:
    networks = numbers["networks"]
    axes_of = [("parameters", "parameters, thousands", 1e-3)]
    if all(network["seconds_a_frame"] is not None for network in networks.values()):
        axes_of.append(("seconds_a_frame", "milliseconds per frame", 1e3))
    figure = Figure(figsize=(5.0 * len(axes_of) + 2.4, 4.4), layout="constrained")
    axes: Sequence[Axes] = figure.subplots(1, len(axes_of), squeeze=False, sharey=True)[0]
    students = [variant for variant in numbers["miou"] if variant != TEACHER]
    # Variants have the same network: side by side, so that their scores can be told apart.
    shifts = np.linspace(-0.16, 0.16, max(len(students), 2))
    for axis, (cost, title, unit) in zip(axes, axes_of, strict=True):
        for place, (variant, values) in enumerate(numbers["miou"].items()):
            role = TEACHER if variant == TEACHER else "student"
            at = unit * networks[role][cost]
            color, marker = BLACK, "*"
            if variant != TEACHER:
                number = students.index(variant)
                at *= 10 ** shifts[number]
                color, marker = _COLORS[number % len(_COLORS)], _MARKERS[number % len(_MARKERS)]
            axis.plot([at] * len(values), values, "_", ms=7, color=color, alpha=0.6, zorder=2)
            label = f"{variant} ({len(values)} run{'s' * (len(values) != 1)})"
            axis.plot(
                at, statistics.fmean(values), marker, ms=9, color=color, mec="white", mew=0.6,
                ls="", label=label, zorder=3 + place,
            )  # fmt: skip
        axis.set(xscale="log", xlabel=title)
        axis.margins(x=0.2)
        axis.minorticks_off()
        places = {role: unit * network[cost] for role, network in networks.items()}
        axis.set_xticks(
            list(places.values()), [f"{role}\n{at:,.0f}" for role, at in places.items()]
        )
        axis.grid(lw=0.4, color="0.85")
    axes[0].set_ylabel("mIoU, percent; dashes: single runs")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
    kind = "simulated " if numbers["simulated"] else ""
    figure.suptitle(f"Score over cost, {kind}{numbers['dataset']}, grid {numbers['grid']}")
    return figure


def summary(numbers: Mapping[str, Any]) -> str:
    """Return what the figure shows, in a sentence or two."""
    networks = numbers["networks"]
    kinds = "; ".join(
        f"{role} {network['name']}, {network['parameters']:,} parameters"
        + (
            f", {1e3 * network['seconds_a_frame']:.0f} ms per frame"
            if network["seconds_a_frame"] is not None
            else ""
        )
        for role, network in networks.items()
    )
    sizes = [
        network["name"].partition(":")[2]
        for network in networks.values()
        if network["seconds_a_frame"] is None
    ]
    if sizes:
        kinds += (
            "; time not measured: `python -m train.efficiency --output DIR --models "
            f"{','.join(sizes)}`, then `--efficiency DIR/efficiency.json`"
        )
    runs = sum(len(values) for values in numbers["miou"].values())
    return (
        f"{runs} runs of {len(numbers['miou'])} variants on "
        f"{'simulated ' if numbers['simulated'] else ''}{numbers['dataset']}; {kinds}. Differences "
        "between variants, with intervals, are in the ablation"
    )

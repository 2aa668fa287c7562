"""Draw an efficiency record (Figure 1): all costs in one chart, then each over voxels."""

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes
from matplotlib.ticker import MaxNLocator

from train.profiling.macs import total


def draw(record: dict[str, Any], path: Path) -> None:
    """Draw a chart of all costs, and seconds, memory and operations over voxels."""
    figure = Figure(figsize=(14, 3.6), layout="constrained")
    _draw_radar(figure, record)
    time_axis, memory_axis, operations_axis = (figure.add_subplot(1, 4, n) for n in (2, 3, 4))
    for number, (name, model) in enumerate(record["models"].items()):
        color = f"C{number}"
        sizes = model["sizes"]
        voxels = [size["geometry"]["voxels"][0] for size in sizes]
        for what, style in (("network", "-"), ("hierarchy", ":")):
            middle, low, high = (
                [size["seconds"][what][point] for size in sizes]
                for point in ("p50_s", "p20_s", "p80_s")
            )
            label = f"{name}, {what}"
            time_axis.plot(voxels, middle, style, marker="o", ms=3, color=color, label=label)
            time_axis.fill_between(voxels, low, high, color=color, alpha=0.2, linewidth=0)
        peaks = [size["memory"]["peak_bytes"] for size in sizes]
        if None not in peaks:
            gigabytes = [peak / 1e9 for peak in peaks]
            memory_axis.plot(voxels, gigabytes, "-", marker="o", ms=3, color=color, label=name)
        macs = [total(size["operations"]) / 1e9 for size in sizes]
        operations_axis.plot(voxels, macs, "-", marker="o", ms=3, color=color, label=name)
    for axis, title in (
        (time_axis, "seconds per frame"),
        (memory_axis, "peak memory, GB"),
        (operations_axis, "10^9 multiply-accumulates"),
    ):
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("thousand voxels", fontsize=8)
        axis.xaxis.set_major_formatter(lambda count, _: f"{count / 1000:g}")
        axis.xaxis.set_major_locator(MaxNLocator(5))
        axis.tick_params(labelsize=7)
        axis.set_ylim(bottom=0)
        # Room below 0, so that curves near it are whole, and above, so that the legend hides none.
        _, highest = axis.get_ylim()
        axis.set_ylim(-0.03 * highest, 1.3 * highest)
        if axis.lines:
            axis.legend(fontsize=7, loc="upper left", ncols=2)
    figure.savefig(path, dpi=110, format="png")


def costs(record: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Return each network's costs on the largest size, without those not measured."""
    found = {}
    for name, model in record["models"].items():
        whole = model["sizes"][-1]
        found[name] = {
            "time": whole["seconds"]["network"]["p50_s"],
            "memory": whole["memory"]["peak_bytes"],
            "operations": total(whole["operations"]),
            "parameters": model["parameters"],
            "time per batch": model["batch"]["seconds"]["p50_s"],
        }
    return {
        name: {what: float(cost) for what, cost in of.items() if cost is not None}
        for name, of in found.items()
    }


def _draw_radar(figure: Figure, record: dict[str, Any]) -> None:
    """Draw how many times better each network is than the worst, one axis per cost."""
    found = costs(record)
    titles = list(next(iter(found.values())))
    worst = {what: max(of[what] for of in found.values()) for what in titles}
    angles = np.linspace(0, 2 * np.pi, len(titles), endpoint=False)
    axis = figure.add_subplot(1, 4, 1, projection="polar")
    assert isinstance(axis, PolarAxes)
    for number, (name, of) in enumerate(found.items()):
        better = [np.log2(worst[what] / of[what]) for what in titles]
        axis.plot([*angles, angles[0]], [*better, better[0]], color=f"C{number}", label=name)
        axis.fill(angles, better, color=f"C{number}", alpha=0.2)
    axis.set_xticks(angles, [f"less {what}" for what in titles], fontsize=7)
    axis.tick_params(axis="x", pad=9)
    highest = int(max(np.ceil(axis.get_ylim()[1]), 1))
    # The worst network lies in the center: without some room there it would be half cut away.
    axis.set_rorigin(-0.15 * highest)
    axis.set_ylim(0, highest)
    powers = range(highest + 1)
    axis.set_yticks(powers, [f"{2**power}x" for power in powers], fontsize=6)
    axis.legend(fontsize=7, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=len(found))

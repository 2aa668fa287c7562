"""Draw an efficiency record: seconds, memory and operations over voxels (Figure 1, b to d)."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from train.operations import total


def draw(record: dict[str, Any], path: Path) -> None:
    """Draw seconds, peak memory and operations over voxels for every network."""
    figure = Figure(figsize=(11, 3.4), layout="tight")
    time_axis, memory_axis, operations_axis = figure.subplots(1, 3)
    for number, (name, model) in enumerate(record["models"].items()):
        colour = f"C{number}"
        sizes = model["sizes"]
        voxels = [size["geometry"]["voxels"][0] for size in sizes]
        for what, style in (("network", "-"), ("hierarchy", ":")):
            middle, low, high = (
                [size["seconds"][what][point] for size in sizes]
                for point in ("p50_s", "p20_s", "p80_s")
            )
            label = f"{name}, {what}"
            time_axis.plot(voxels, middle, style, marker="o", ms=3, color=colour, label=label)
            time_axis.fill_between(voxels, low, high, color=colour, alpha=0.2, linewidth=0)
        peaks = [size["memory"]["peak_bytes"] for size in sizes]
        if None not in peaks:
            gigabytes = [peak / 1e9 for peak in peaks]
            memory_axis.plot(voxels, gigabytes, "-", marker="o", ms=3, color=colour, label=name)
        macs = [total(size["operations"]) / 1e9 for size in sizes]
        operations_axis.plot(voxels, macs, "-", marker="o", ms=3, color=colour, label=name)
    for axis, title in (
        (time_axis, "seconds a sweep"),
        (memory_axis, "peak memory, GB"),
        (operations_axis, "10^9 multiply-accumulates"),
    ):
        axis.set_title(title, fontsize=9)
        axis.set_xlabel("voxels", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.set_ylim(bottom=0)
        if axis.lines:
            axis.legend(fontsize=7)
    figure.savefig(path, dpi=110, format="png")

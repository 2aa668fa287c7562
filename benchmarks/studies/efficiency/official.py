"""The part of the efficiency page that compares with the official modules on a CPU."""

from typing import Any

STATED = {
    "student": {"seconds": 6.2, "gigabytes": 2.5},
    "teacher": {"seconds": 27.4, "gigabytes": 4.3},
}
"""Stated for the official modules: CPU spconv, plain attention, two cores, `STATED_VOXELS`."""

STATED_VOXELS, STATED_THREADS = 91_888, 2
TIMES_FASTER = 2.0

Line = list[str]


def official_lines(record: dict[str, Any]) -> list[Line]:
    """Return one line per network and comparison: their figures, ours, and the verdict.

    Empty where nothing comparable was measured.
    """
    lines: list[Line] = []
    for name, model in record["models"].items():
        whole = model["sizes"][-1]
        ours_s = whole["seconds"]["total"]["p50_s"]
        ours_bytes = whole["memory"]["peak_bytes"]
        ours_gb = None if ours_bytes is None else ours_bytes / 1e9
        stated = STATED.get(name)
        others: list[tuple[str, float, float | None]] = []
        if stated is not None and fits_stated(record):
            title = "stated for the official modules"
            others.append((title, stated["seconds"], stated["gigabytes"]))
        measured = model["spconv_plain"]
        if "missing" not in measured:
            peak = measured["memory"]["peak_bytes"]
            gigabytes = None if peak is None else peak / 1e9
            title = "spconv and plain attention, this run"
            others.append((title, measured["seconds"]["p50_s"], gigabytes))
        for title, seconds, gigabytes in others:
            lines.append([name, title, *_compared(seconds, gigabytes, ours_s, ours_gb)])
    return lines


def fits_stated(record: dict[str, Any]) -> bool:
    """Say whether a run is like the one that the stated figures are from."""
    return (
        not record["on_gpu"]
        and record["precision"] == "float32"
        and record["threads"] == STATED_THREADS
        and abs(record["input"]["voxels"] / STATED_VOXELS - 1) < 0.01
    )


def _compared(other_s: float, other_gb: float | None, ours_s: float, ours_gb: float | None) -> Line:
    def gigabytes(value: float | None) -> str:
        return "-" if value is None else f"{value:.2f}"

    faster = other_s / ours_s
    less = "-" if ours_gb is None or other_gb is None else "yes" if ours_gb < other_gb else "no"
    return [
        f"{other_s:.3g}",
        f"{ours_s:.3g}",
        f"{faster:.2f}",
        "yes" if faster >= TIMES_FASTER else "no",
        gigabytes(other_gb),
        gigabytes(ours_gb),
        less,
    ]


HEADER = (
    "", "beside", "theirs, s", "ours, s", "times faster", "at least twice", "theirs, GB",
    "ours, GB", "less memory",
)  # fmt: skip


def official_text(record: dict[str, Any]) -> str:
    """Return the text that explains the lines."""
    missing = {
        f"{name}: {model['spconv_plain']['missing']}"
        for name, model in record["models"].items()
        if "missing" in model["spconv_plain"]
    }
    text = (
        "A whole pass, hierarchy and network, of the largest size; peaks are of a separate "
        "process. `spconv and plain attention` is this network with `convolution='spconv'` and "
        "`attention='plain'`, what the official modules compute with where there is no GPU; one "
        "pass after a small one to warm up. Only its cost is compared: on several threads the CPU "
        "wheel of spconv is not always correct."
    )
    if fits_stated(record):
        text += (
            f" The stated figures are for the same frame on {STATED_THREADS} cores, at "
            f"{STATED_VOXELS:,} voxels: cells counted from the cloud's smallest "
            "coordinates, floor((x - min) / 0.05). Here, as in Pointcept's GridSample, cells lie "
            f"on whole multiples of the grid, floor(x / 0.05) - min: "
            f"{record['input']['voxels']:,} voxels."
        )
    if missing:
        text += f" Not measured: {'; '.join(sorted(missing))}."
    return text

"""The generated page of the networks' sparse convolution beside spconv's CPU wheel."""

from benchmarks.markdown import GENERATED, measured_on, mebibytes, named, remarks, time_of
from benchmarks.schema import Record
from benchmarks.selection import Source, newest
from benchmarks.targets import convolution_targets, targets_table
from train.core.blocks import page, table

CASES = {
    "forward": {"op": "convolution", "direction": "forward"},
    "backward": {"op": "convolution", "direction": "backward"},
    "neighbor search": {"op": "neighbours", "direction": "forward"},
}


def convolution_page(records: dict[str, Record]) -> str:
    """Return the page."""
    source = newest(records, "convolution")
    return page(
        GENERATED,
        "# Sparse convolution beside spconv",
        "A 3 x 3 x 3 submanifold convolution, 64 to 64 channels, float32, on the 30,000 voxels "
        "of 5 cm nearest to the sensor of a 64-ray scan of a street. Before a case is timed "
        "its output and gradients are compared with sums over a dictionary of voxels in "
        "float64. `backward`: the gradients of input, weight and bias alone; `neighbor "
        "search`: once for all layers of a resolution. spconv is its CPU wheel, called "
        "through `convolution='spconv'`.",
        _times(source),
        remarks(
            source,
            lambda result: (
                f"{result.implementation}, {result.threads} threads, {result.direction}: "
                f"{result.remark}."
            ),
        ),
        "## What we set out for",
        targets_table(convolution_targets(records)),
        measured_on(source),
    )


def _times(source: Source) -> str:
    """One row an implementation: medians, and the peak memory of forward and backward."""
    rows = []
    for name in dict.fromkeys(result.implementation for result in source.results):
        found = [source.one(implementation=name, **case) for case in CASES.values()]
        known = next(result for result in found if result is not None)
        version = "" if name == "ours" else "spconv"
        peaks = [mebibytes(result) for result in found[:2]]
        rows.append(
            [
                named(source, name, known.threads, version),
                *(time_of(result) for result in found),
                *peaks,
            ]
        )
    return table(["", *CASES, "forward's peak", "backward's peak"], rows)

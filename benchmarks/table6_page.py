"""The generated page of Table 6, and what the README says of it."""

from benchmarks.markdown import GENERATED, measured_on, mebibytes, time_of, times
from benchmarks.schema import Record, Result
from benchmarks.selection import Source, newest
from train.core.blocks import DASH, page, table

PAPER_RATIOS = {30: "79x", 60: "6,039x", 100: "6,743x"}
"""Table 6 of the paper, forward and backward on its machine."""


def table6_page(records: dict[str, Record]) -> str:
    """Return the page of Table 6."""
    source = newest(records, "table6")
    limit = source.record.run.time_limit_s if source.record else 0.0
    return page(
        GENERATED,
        "# Table 6: the naive baseline and ours",
        "From N points of 64 channels to their H0 and H1 diagrams with critical edges "
        "(forward), and from a gradient at births and deaths back to the points (backward). "
        "The baseline is what the paper describes, a boundary-matrix reduction in plain "
        f"PyTorch (`benchmarks/naive.py`), stopped after {limit:g} s; sizes above the first "
        "that was stopped are not tried, and the ratio there takes the limit as its time. "
        "Peak memory is what the process held at most during a forward, above what it held "
        "before.",
        _table6(source, limit),
        "The ratio is of forward and backward together. The paper's own ratios are beside it: "
        "its baseline took 963 s at N = 100, so this one is the harder to beat. "
        + measured_on(source),
    )


def _table6(source: Source, limit: float) -> str:
    rows = []
    for n in sorted({result.num_points for result in source.results}):
        cells = [str(n)]
        for name in ("naive torch", "fast"):
            forward, backward = forward_and_backward(source, name, n)
            cells += [time_of(forward), time_of(backward), mebibytes(forward)]
        naive, ours = total(source, "naive torch", n), total(source, "fast", n)
        rows.append([*cells, _ratio(naive, ours, limit), PAPER_RATIOS.get(n, DASH)])
    return table(
        ["N", "naive forward", "backward", "peak", "ours forward", "backward", "peak", "ratio",
         "paper's ratio"],
        rows,
    )  # fmt: skip


def forward_and_backward(
    source: Source, name: str, num_points: int
) -> tuple[Result | None, Result | None]:
    """Return both results of an implementation at a size."""
    forward, backward = (
        source.one(implementation=name, num_points=num_points, direction=direction)
        for direction in ("forward", "backward")
    )
    return forward, backward


def total(source: Source, name: str, num_points: int) -> float | None:
    """Return the seconds of forward and backward; None unless both were timed."""
    forward, backward = forward_and_backward(source, name, num_points)
    if forward is None or backward is None or forward.p50_s is None or backward.p50_s is None:
        return None
    return forward.p50_s + backward.p50_s


def _ratio(naive: float | None, ours: float | None, limit: float) -> str:
    """How many times faster ours is; a baseline without a time took the limit at least."""
    if ours is None:
        return DASH
    return times(naive / ours) if naive is not None else f"over {times(limit / ours)}"

"""The generated page of training on processes: frames a second, and the exchange's share."""

from benchmarks.markdown import GENERATED, measured_on, per_second, seconds, times
from benchmarks.schema import Record, Result
from benchmarks.selection import Source, newest, ratio
from train.core.blocks import DASH, number, page, table

ONE = "one process"
TWO = {
    "two processes": "two processes of one thread",
    "two processes, joint batch norm": "two processes of one thread, `--sync-batch-norm`",
}


def processes_page(records: dict[str, Record]) -> str:
    """Return the page of training on several processes."""
    source = newest(records, "processes")
    return page(
        GENERATED,
        "# Two processes beside one",
        "The paper's method on the tiny pair, steps of the same four simulated sweeps of "
        f"{_rays(source)} rays on one machine's CPU: voxels of 10 cm, augmented, read by the "
        "training processes themselves. Two processes take two of the sweeps each and exchange "
        "gradients over gloo. The first two steps, which load kernels, do not count.",
        _throughput(source),
        "Time in which an exchange between the processes was under way, from torch's profiler "
        "on the first process, in runs of their own; its share is of the steps above. It "
        "includes waiting for a process with larger sweeps, and exchanges of gradients that "
        "run while others are still computed.",
        _exchange(source),
        measured_on(source),
    )


def _throughput(source: Source) -> str:
    one, threads = (source.one(op="steps", implementation=ONE, threads=n) for n in (1, 2))
    rows = [
        (f"{ONE}, one thread", one),
        (f"{ONE}, two threads", threads),
        *((title, source.one(op="steps", implementation=name)) for name, title in TWO.items()),
    ]
    return table(
        ["", "frames a second", "over one thread", "over two threads"],
        [
            [
                title,
                number(per_second(result), ".2f"),
                times(ratio(one, result)),
                times(ratio(threads, result)),
            ]
            for title, result in rows
        ],
    )


def _exchange(source: Source) -> str:
    rows = []
    for name, title in TWO.items():
        exchange = source.one(op="exchange", implementation=name)
        steps = source.one(op="steps", implementation=name)
        share = ratio(exchange, steps)
        rows.append([title, _a_step(exchange), DASH if share is None else f"{share:.1%}"])
    return table(["", "a step", "of the step"], rows)


def _rays(source: Source) -> str:
    return f"{source.results[0].num_points:,}" if source.results else DASH


def _a_step(result: Result | None) -> str:
    """Return a result's seconds per step of four sweeps."""
    return seconds(
        None if result is None or result.p50_s is None else 4 * result.p50_s / result.batch
    )

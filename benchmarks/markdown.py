"""How numbers, rows and sources look in the generated pages."""

from collections.abc import Callable

from benchmarks.schema import Record, Result
from benchmarks.selection import Source
from train.core.blocks import DASH, bullets, counted, generated, section

GENERATED = generated("python -m benchmarks.table")


def seconds(value: float | None) -> str:
    """Return a time in the unit that suits it, three digits."""
    if value is None:
        return DASH
    if value >= 1:
        return f"{_digits(value)} s"
    return f"{_digits(value * 1e3)} ms" if value >= 1e-3 else f"{_digits(value * 1e6)} µs"


def time_of(result: Result | None) -> str:
    """Return a result's median, or in a word why it has none."""
    if result is None:
        return DASH
    if result.check == "failed":
        return "wrong result"
    if result.p50_s is None:
        return "stopped" if result.state == "stopped" else "not run"
    return seconds(result.p50_s)


def mebibytes(result: Result | None) -> str:
    """Return a result's peak memory."""
    if result is None or result.peak_bytes is None:
        return DASH
    size = result.peak_bytes / 2**20
    return "< 0.1 MiB" if size < 0.1 else f"{_digits(size)} MiB"


def times(value: float | None) -> str:
    """Return a ratio."""
    return DASH if value is None else f"{_digits(value)}x"


def _digits(value: float) -> str:
    """Three significant digits, never in powers of ten."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def measured_on(*sources: Source) -> str:
    """Return the sentences that say which run, machine and code numbers are from."""
    lines = []
    seen: set[str] = set()
    for source in sources:
        if source.record is None or source.name in seen:
            continue
        seen.add(source.name)
        record = source.record
        lines.append(
            f"Measured {record.run.utc[:10]} at commit {record.run.commit} on "
            f"{record.machine.cpu}, {record.machine.cores} cores, {record.run.threads} threads; "
            "medians; record "
            f"`benchmarks/results/{source.name}`.{_caveats(record)}"
        )
    return " ".join(lines) if lines else "Not measured in a committed record."


def _caveats(record: Record) -> str:
    said = []
    if record.run.dirty:
        said.append("the checkout had uncommitted changes")
    if record.run.noisy:
        said.append("the machine was busy")
    if record.run.at_most is not None:
        said.append(f"sizes above {record.run.at_most} were left out")
    return f" Mind: {', '.join(said)}." if said else ""


def remarks(source: Source, say: Callable[[Result], str]) -> str:
    """Return what the checks found wrong with results that were timed all the same."""
    lines = bullets(say(result) for result in source.results if result.remark is not None)
    return section("Remarks of the checks:", lines) if lines else "No check had a remark."


def named(source: Source, name: str, threads: int, version: str = "", yields: str = "") -> str:
    """Return an implementation with its version, what it returns, and its threads."""
    title = "**ours**" if name in ("ours", "fast") else name.removesuffix(", one thread")
    known = getattr(source.record.software, version) if source.record and version else None
    return f"{title}{f' {known}' if known else ''} ({yields}{counted(threads, 'thread')})"


def per_second(result: Result | None) -> float | None:
    """Return how many of a batch a result does in a second."""
    return None if result is None or result.p50_s is None else result.batch / result.p50_s

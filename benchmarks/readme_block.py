"""The generated block between the README's markers: a table, one line on where we lose."""

from benchmarks.clouds import FAMILIES
from benchmarks.imports import EVERY_NAME
from benchmarks.markdown import measured_on, mebibytes, seconds, time_of, times
from benchmarks.peers_page import small_losses
from benchmarks.rips_cases import OF_POINTS
from benchmarks.schema import Record, Result
from benchmarks.selection import Source, geometric_mean, median, newest, ratio
from benchmarks.small_batches_page import FORWARD_AND_BACKWARD, NUM_CLOUDS
from benchmarks.suite_pages import total
from train.core.blocks import DASH, table

_SMALL = 64
_LARGE = 100_000


def readme_block(records: dict[str, Record]) -> str:
    """What stands between the README's markers."""
    peers, table6 = newest(records, "peers"), newest(records, "table6")
    limit = table6.record.run.time_limit_s if table6.record else 0.0
    sentences = []
    for n in (100, 1024):
        naive, ours = total(table6, "naive torch", n), total(table6, "fast", n)
        if ours is not None:
            took = f"over {limit:g} s" if naive is None else seconds(naive)
            sentences.append(f"{took} against our {seconds(ours)} at N = {n}")
    naive_line = (
        f"The paper's naive PyTorch reduction takes {', '.join(sentences)}, forward and backward "
        "([Table 6](docs/results/table6.md)). "
        if sentences
        else ""
    )
    small = small_losses(peers)
    importing = newest(records, "import")
    imported = median(importing.one(op=EVERY_NAME))
    import_line = f"Importing takes {seconds(imported)} beyond torch. " if imported else ""
    small_batches, large, scaling = (newest(records, s) for s in ("small", "large", "scaling"))
    return "\n\n".join(
        [
            "H0 and H1 with critical edges, from batches of small clouds to one large cloud; the "
            "last column names the library that comes next among those measured beside us.",
            _sizes_table(peers, small_batches, large, scaling),
            f"{naive_line}{small}{import_line}[All peers, sizes, families, targets and where we "
            "lose](docs/results/table6_peers.md).",
            measured_on(
                peers, table6, *([importing] if import_line else []), small_batches, large, scaling
            ),
        ]
    )


def _sizes_table(peers: Source, small: Source, large: Source, scaling: Source) -> str:
    """One row a kind of data: our time, the next library's, its ratio to ours."""
    batch = small.where(num_points=_SMALL, op=FORWARD_AND_BACKWARD)
    without = scaling.one(op=OF_POINTS, data="cube", num_points=_LARGE)
    peak = "" if without is None else f", {mebibytes(without)}"
    rows = [
        _row(f"{NUM_CLOUDS} clouds of {_SMALL} points in R^64, forward and backward", batch),
        _row_of_families(peers),
        _row("one cloud of 4,096 points in R^64", large.where(data="features")),
        [
            f"one cloud of {_LARGE:,} points in R^3, without a distance matrix",
            f"{time_of(without)}{peak}",
            DASH,
            f"none: {4 * _LARGE**2 / 1e9:.0f} GB of distances",
        ],
    ]
    return table(["", "**ours**", "we are faster by", "than"], rows)


def _row(what: str, results: list[Result]) -> list[str]:
    """Return a row; a peer on fewer threads than ours counts as it was run."""
    own = [result for result in results if result.implementation == "fast"]
    ours = max(own, key=lambda result: result.threads, default=None)
    compared = {
        result.implementation: value
        for result in results
        if (value := ratio(result, ours)) is not None and result not in own
    }
    return [what, time_of(ours), *_next(compared)]


def _row_of_families(peers: Source) -> list[str]:
    """Return the row of N = 1024: geometric means over the families of clouds."""
    compared = {}
    for name in peers.implementations(num_points=1024):
        pairs = [peers.pair(name, data=family, num_points=1024) for family in FAMILIES]
        mean = geometric_mean(ratio(theirs, ours) for ours, theirs in pairs)
        if name != "fast" and mean is not None:
            compared[name] = mean
    ours = [peers.one(implementation="fast", data=f, num_points=1024) for f in FAMILIES]
    mean = geometric_mean(map(median, ours))
    what = f"one cloud of 1,024 points, mean of {len(FAMILIES)} families"
    return [what, seconds(mean), *_next(compared)]


def _next(compared: dict[str, float]) -> tuple[str, str]:
    """Return the smallest ratio and its library."""
    if not compared:
        return DASH, DASH
    name = min(compared, key=lambda name: compared[name])
    return times(compared[name]), name

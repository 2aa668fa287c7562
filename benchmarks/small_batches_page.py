"""Batches of small clouds on the page of peers: the table and the targets."""

from benchmarks.markdown import seconds, time_of, times
from benchmarks.schema import Record, Result
from benchmarks.selection import Source, median, newest, ratio
from benchmarks.targets import Target
from train.core.blocks import table

NUM_CLOUDS = 256
SIZES = (32, 64, 128)
FORWARD_AND_BACKWARD = "rips_of_points, forward and backward"

_TIMES_FASTER = {"GUDHI": (8, 8, 12), "holos-tda": (5, 5, 5)}  # by size, on as many threads
_TIMES_FASTER_WITH_GRADIENT = 20
_H0_OVER_BOTH = 4
_ONE_CLOUD_S = 70e-6


def small_batches_section(records: dict[str, Record]) -> list[str]:
    """Return the section's paragraphs; none where no record has the suite."""
    source = newest(records, "small")
    if source.record is None:
        return []
    rows = []
    kinds = dict.fromkeys((r.implementation, r.op, r.max_dim, r.threads) for r in source.results)
    for name, op, max_dim, threads in kinds:
        found = [_one(source, name, n, threads, op, max_dim) for n in SIZES]
        what = "H0" if max_dim == 0 else "H0 and H1"
        if op == FORWARD_AND_BACKWARD:
            what += " of points, forward and backward"
        title = "**ours**" if name == "fast" else name
        plural = "s" * (threads > 1)
        rows.append([f"{title} ({what}; {threads} thread{plural})", *map(time_of, found)])
    return [
        f"## {NUM_CLOUDS} small clouds, features",
        table(["", *(f"N = {n}" for n in SIZES)], rows),
        "Ours takes the batch in one call, the others one cloud after another; GUDHI and holos-tda "
        "give values, torch-topological and ours a gradient at the points.",
    ]


def small_batches_targets(records: dict[str, Record]) -> list[Target]:
    """Return the targets of small clouds; none where no record has the suite."""
    source = newest(records, "small")
    if source.record is None:
        return []
    found = []
    for name, bounds in _TIMES_FASTER.items():
        for n, bound in zip(SIZES, bounds, strict=True):
            theirs = source.one(implementation=name, num_points=n)
            ours = None if theirs is None else _one(source, "fast", n, theirs.threads)
            what = f"{NUM_CLOUDS} clouds of {n}, times faster than {name}, as many threads"
            found.append(Target(what, bound, ratio(theirs, ours), times))
    for n in SIZES:
        used = max((r.threads for r in source.where(implementation="fast")), default=1)
        ours = _one(source, "fast", n, used, FORWARD_AND_BACKWARD)
        theirs = _one(source, "torch-topological", n, 1, FORWARD_AND_BACKWARD)
        what = f"{NUM_CLOUDS} clouds of {n}, forward and backward, times faster than"
        what += " torch-topological"
        found.append(Target(what, _TIMES_FASTER_WITH_GRADIENT, ratio(theirs, ours), times))
    for n in SIZES:
        both, components = (_one(source, "fast", n, 1, max_dim=dim) for dim in (1, 0))
        what = f"{NUM_CLOUDS} clouds of {n}, H0 alone, times faster than H0 and H1"
        found.append(Target(what, _H0_OVER_BOTH, ratio(both, components), times))
    single = newest(records, "peers").one(implementation="fast", data="features", num_points=30)
    one = Target("one cloud of 30 points", _ONE_CLOUD_S, median(single), seconds, False)
    return [*found, one]


def _one(
    source: Source, name: str, num_points: int, threads: int, op: str = "rips",
    max_dim: int | None = 1,
) -> Result | None:  # fmt: skip
    return source.one(
        implementation=name, num_points=num_points, threads=threads, op=op, max_dim=max_dim
    )

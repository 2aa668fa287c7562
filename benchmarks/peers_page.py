"""The generated page of other libraries beside ours: every table, the targets, where we lose."""

from collections.abc import Sequence

from benchmarks.clouds import FAMILIES, MORE_FAMILIES, TITLES
from benchmarks.hard_distances import HARD_TITLES
from benchmarks.imports import STATEMENTS
from benchmarks.losses import losses
from benchmarks.markdown import GENERATED, measured_on, mebibytes, named, remarks, time_of, times
from benchmarks.schema import Record, Result
from benchmarks.selection import Source, geometric_mean, newest, ratio
from benchmarks.small_batches_page import small_batches_section, small_batches_targets
from benchmarks.targets import targets, targets_table
from train.core.blocks import DASH, page, table


def peers_page(records: dict[str, Record]) -> str:
    """Return the page of peers, targets and losses."""
    peers, large, batch = (newest(records, suite) for suite in ("peers", "large", "batch"))
    backward, sampling, first, importing = (
        newest(records, suite) for suite in ("backward", "sampling", "first-call", "import")
    )
    return page(
        GENERATED,
        "# Beside other libraries",
        "The same float32 distances for everyone, H0 and H1, full filtration; those that have "
        "threads get as many as we do, the others run on one. `edges`: critical edges too, "
        "which a gradient needs; `values`: births and deaths alone. Before a case is timed its "
        "diagrams are compared, bit for bit, with `reference` (24 points) and with another "
        "library (full size).",
        "## N = 1024, four families of clouds",
        families_table(peers),
        f"Last columns: how many times faster we are, geometric mean and worst family. "
        f"Families: {'; '.join(f'*{name}*: {TITLES[name]}' for name in FAMILIES)}. "
        "GUDHI's critical edges come from a simplex tree that stores every triangle, about "
        "10^8 at this size: it is measured at small sizes only. torch-topological calls "
        "giotto-ph and reads births and deaths off its edges, so it is run on one thread: see "
        "the remarks.",
        remarks(
            peers,
            lambda result: (
                f"{result.implementation}, {result.threads} threads, {result.data}, "
                f"N = {result.num_points}: {result.remark}, births and deaths are right."
            ),
        ),
        *_more_families_section(newest(records, "families")),
        "## Small clouds, features",
        _sizes_table(peers, (30, 100, 256)),
        *small_batches_section(records),
        "## N = 4096",
        _large_table(large),
        *_adversarial_section(newest(records, "adversarial")),
        "## 24 clouds in one call, N = 1024, features",
        _batch_table(batch),
        "## Backward, N = 1024, and the whole loss",
        _backward_table(backward),
        "The loss row is the topological loss of one sweep of 30,000 points: sampling to "
        "1,024, two diagrams, the matching.",
        "## Sampling 30,000 points of 64 channels to 1,024",
        _sampling_table(sampling),
        "## From starting Python to the first diagram",
        _first_table(first),
        "## Importing",
        "Seconds beyond `import torch`, in fresh processes, with the kernels compiled already.",
        _import_table(importing),
        "## What we set out for",
        targets_table([*targets(records), *small_batches_targets(records)]),
        "Where the time of a line that is missed goes: [phase by phase](rips_profile.md); of "
        "one cloud of 30 points it is what lies around the compiled loop "
        "([numerics](../numerics.md)).",
        "## Where we lose",
        losses(records),
        measured_on(
            peers, large, batch, backward, sampling, first, importing, newest(records, "small")
        ),
    )


def _adversarial_section(source: Source) -> list[str]:
    """Return the section of distances made to be hard; none before they have been measured."""
    if not source.results:
        return []
    sizes = sorted({(r.data, r.num_points) for r in source.results}, key=_in_order)
    names = _implementations(source.results)
    rows = [
        [
            f"{HARD_TITLES[data]}, N = {size}",
            *(
                time_of(source.one(implementation=name, data=data, num_points=size))
                for name in names
            ),
        ]
        for data, size in sizes
    ]
    return ["## Distances made to be hard", table(["", *names], rows)]


def _in_order(place: tuple[str, int]) -> tuple[int, int]:
    """Sort key of a (family, number of points): families as they are listed."""
    return list(HARD_TITLES).index(place[0]), place[1]


def _more_families_section(source: Source) -> list[str]:
    """Return the section of the other families; none before they have been measured."""
    if not source.results:
        return []
    titles = "; ".join(f"*{name}*: {TITLES[name]}" for name in MORE_FAMILIES)
    return [
        "## N = 1024, four more families",
        families_table(source, MORE_FAMILIES),
        f"Families: {titles}.",
        measured_on(source),
    ]


def families_table(source: Source, families: Sequence[str] = FAMILIES) -> str:
    """One row an implementation: its time on each family at N = 1024, and how we compare."""
    rows = []
    for name in _implementations(source.where(num_points=1024)):
        results = [
            source.one(implementation=name, data=family, num_points=1024) for family in families
        ]
        ours = [
            source.one(implementation="fast", data=family, num_points=1024) for family in families
        ]
        ratios = [ratio(peer, own) for peer, own in zip(results, ours, strict=True)]
        known = [value for value in ratios if value is not None]
        rows.append(
            [
                _named(source, name, results),
                *(time_of(result) for result in results),
                DASH if name == "fast" else times(geometric_mean(ratios)),
                DASH if name == "fast" or len(known) < len(ratios) else times(min(known)),
            ]
        )
    return table(["N = 1024", *families, "geometric mean", "worst"], rows)


def _sizes_table(source: Source, sizes: tuple[int, ...]) -> str:
    rows = []
    for name in _implementations(source.where(data="features")):
        results = [source.one(implementation=name, data="features", num_points=n) for n in sizes]
        if any(results):
            rows.append([_named(source, name, results), *(time_of(result) for result in results)])
    return table(["", *(f"N = {n}" for n in sizes)], rows)


def _large_table(source: Source) -> str:
    rows = []
    for name in _implementations(source.results):
        cells = []
        results = [source.one(implementation=name, data=data) for data in ("features", "cube")]
        for result in results:
            cells += [time_of(result), mebibytes(result)]
        rows.append([_named(source, name, results), *cells])
    return table(["", "features", "peak", "cube", "peak"], rows)


def _batch_table(source: Source) -> str:
    rows = [
        [
            f"{result.threads} core{'s' * (result.threads > 1)}",
            time_of(result),
            DASH if result.p50_s is None else f"{result.batch / result.p50_s:.0f}",
            mebibytes(result),
        ]
        for result in sorted(source.results, key=lambda result: result.threads)
    ]
    return table(["", "time", "clouds a second", "peak"], rows)


def _backward_table(source: Source) -> str:
    rows = [
        [name, *(
            time_of(source.one(implementation=name, op="rips", data=family)) for family in FAMILIES
        ), "", ""]
        for name in _implementations(source.where(op="rips"))
    ]  # fmt: skip
    for op in sorted({r.op for r in source.results if r.op.startswith("topological_loss")}):
        loss = [time_of(source.one(op=op, direction=way)) for way in ("forward", "backward")]
        rows.append([op.replace("_", " "), *[""] * len(FAMILIES), *loss])
    return table(["", *FAMILIES, "loss forward", "loss backward"], rows)


def _sampling_table(source: Source) -> str:
    ours = source.one(implementation="fast")
    rows = [
        [
            _named(source, result.implementation, [result]),
            time_of(result),
            DASH if result is ours else times(ratio(result, ours)),
        ]
        for result in source.results
    ]
    return table(["", "time", "we are faster by"], rows)


def _first_table(source: Source) -> str:
    return table(
        ["", "time"],
        [[result.op.removeprefix("rips, "), time_of(result)] for result in source.results],
    )


def _import_table(source: Source) -> str:
    results = {op: source.one(op=op) for op in STATEMENTS}
    return table(["", "time"], [[op, time_of(result)] for op, result in results.items()])


def _implementations(results: tuple[Result, ...] | list[Result]) -> list[str]:
    """Names in the order measured, each once."""
    return list(dict.fromkeys(result.implementation for result in results))


_VERSIONS = {
    "ripser.py": "ripser",
    "giotto-ph": "giotto_ph",
    "giotto-ph, one thread": "giotto_ph",
    "holos-tda": "holos_tda",
    "GUDHI": "gudhi",
    "GUDHI simplex tree": "gudhi",
    "torch-topological": "torch_topological",
    "fpsample": "fpsample",
    "torch_cluster": "torch_cluster",
    "pytorch3d": "pytorch3d",
}


def _named(source: Source, name: str, results: list[Result | None]) -> str:
    """An implementation with its version, what it returns and its threads."""
    known = next((result for result in results if result is not None), None)
    if known is None or source.record is None:
        return name
    yields = "" if known.yields == "indices" else f"{known.yields}; "
    return named(source, name, known.threads, _VERSIONS.get(name, ""), yields)

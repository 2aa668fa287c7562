"""The generated page of other libraries beside ours: every table, the targets, where we lose."""

from collections.abc import Sequence

from benchmarks.clouds import FAMILIES, HARD_TITLES, MORE_FAMILIES, TITLES
from benchmarks.imports import STATEMENTS
from benchmarks.markdown import (
    GENERATED,
    measured_on,
    mebibytes,
    named,
    per_second,
    remarks,
    seconds,
    time_of,
    times,
)
from benchmarks.schema import Record, Result
from benchmarks.selection import Source, geometric_mean, newest, ratio
from benchmarks.small_batches_page import small_batches_section, small_batches_targets
from benchmarks.targets import targets, targets_table
from train.core.blocks import DASH, bullets, number, page, table


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
        "The loss row is the topological loss of one frame of 30,000 points: sampling to "
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
    names = source.implementations()
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
    for name in source.implementations(num_points=1024):
        pairs = [source.pair(name, data=family, num_points=1024) for family in families]
        results = [theirs for _, theirs in pairs]
        ratios = [ratio(theirs, ours) for ours, theirs in pairs]
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
    for name in source.implementations(data="features"):
        results = [source.one(implementation=name, data="features", num_points=n) for n in sizes]
        if any(results):
            rows.append([_named(source, name, results), *(time_of(result) for result in results)])
    return table(["", *(f"N = {n}" for n in sizes)], rows)


def _large_table(source: Source) -> str:
    rows = []
    for name in source.implementations():
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
            number(per_second(result), ".0f"),
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
        for name in source.implementations(op="rips")
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


def losses(records: dict[str, Record]) -> str:
    """Every measured case in which another implementation is faster than ours."""
    lost: dict[str, list[str]] = {}
    for suite in ("peers", "families", "large", "adversarial", "sampling", "backward"):
        source = newest(records, suite)
        for result in source.results:
            ours = source.one(
                implementation="fast", op=result.op, data=result.data, direction=result.direction,
                num_points=result.num_points, num_samples=result.num_samples, batch=result.batch,
                max_dim=result.max_dim,
            )  # fmt: skip
            faster = ratio(result, ours)
            if faster is not None and faster < 1 and ours is not None:
                case = f"{result.op} {result.direction}, {result.data}, N = {result.num_points}"
                lost.setdefault(f"{case} (ours {seconds(ours.p50_s)})", []).append(
                    f"{result.implementation} is {times(1 / faster)} faster"
                )
    lines = [f"{case}: {', '.join(who)}." for case, who in lost.items()]
    if not lines:
        lines = ["In no case measured here."]
    not_covered = (
        "Not covered: H3 and above, H2 beyond 1,024 points, coefficients other than Z/2, sparse "
        "filtrations, which ripser.py, giotto-ph, holos-tda and GUDHI have and we have not."
    )
    return bullets([*lines, not_covered])


def small_losses(source: Source) -> str:
    """One line on the smallest clouds, where a call's fixed cost decides."""
    ours = source.one(implementation="fast", data="features", num_points=30)
    faster = [
        result.implementation.removesuffix(", one thread")
        for result in source.where(data="features", num_points=30)
        if (value := ratio(result, ours)) is not None and value < 1
    ]
    if ours is None or not faster:
        return ""
    names = ", ".join(dict.fromkeys(faster))
    return f"At N = 30 we lose to {names}: a call of ours costs {seconds(ours.p50_s)}. "

"""The generated pages of one suite each: a figure, Table 6, the networks' convolution, images,
vectorizations, processes.
"""

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
from benchmarks.selection import Source, exponent, median, newest, ratio
from benchmarks.targets import convolution_targets, targets_table
from train.core.blocks import DASH, number, page, table


def figure_page(
    records: dict[str, Record], suite: str, title: str, text: str, series: dict[str, list[Result]]
) -> str:
    """Return a figure with the numbers it plots and the exponent of each curve."""
    source = newest(records, suite)
    sizes = sorted({result.num_points for result in source.results})
    rows = []
    for label, results in series.items():
        of_size = {result.num_points: result for result in results}
        rows.append(
            [label, *(time_of(of_size.get(n)) for n in sizes), number(exponent(results), ".2f")]
        )
    return page(
        GENERATED,
        f"# {title}",
        text,
        f"![{title}]({suite}.png)" if series else "Not measured in a committed record.",
        table(["", *(f"N = {n}" for n in sizes), "exponent"], rows),
        "The exponent p is the least-squares fit of c N^p to the medians. " + measured_on(source),
    )


# Table 6.

PAPER_RATIOS = {30: "79x", 60: "6,039x", 100: "6,743x"}
"""Table 6 of the paper, forward and backward on its machine."""


def table6_page(records: dict[str, Record]) -> str:
    """Return the page of Table 6."""
    source = newest(records, "table6")
    limit = source.record.run.time_limit_s if source.record else 0.0
    rows = []
    for n in sorted({result.num_points for result in source.results}):
        cells = [str(n)]
        for name in ("naive torch", "fast"):
            forward, backward = _both_ways(source, name, n)
            cells += [time_of(forward), time_of(backward), mebibytes(forward)]
        naive, ours = total(source, "naive torch", n), total(source, "fast", n)
        rows.append([*cells, _table6_ratio(naive, ours, limit), PAPER_RATIOS.get(n, DASH)])
    sides = [each for who in ("naive", "ours") for each in (f"{who} forward", "backward", "peak")]
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
        table(["N", *sides, "ratio", "paper's ratio"], rows),
        "The ratio is of forward and backward together. The paper's own ratios are beside it: "
        "its baseline took 963 s at N = 100, so this one is the harder to beat. "
        + measured_on(source),
    )


def total(source: Source, name: str, num_points: int) -> float | None:
    """Return the seconds of forward and backward; None unless both were timed."""
    taken = [median(result) for result in _both_ways(source, name, num_points)]
    known = [seconds for seconds in taken if seconds is not None]
    return sum(known) if len(known) == len(taken) else None


def _both_ways(source: Source, name: str, num_points: int) -> list[Result | None]:
    return [
        source.one(implementation=name, num_points=num_points, direction=direction)
        for direction in ("forward", "backward")
    ]


def _table6_ratio(naive: float | None, ours: float | None, limit: float) -> str:
    """How many times faster ours is; a baseline without a time took the limit at least."""
    if ours is None:
        return DASH
    return times(naive / ours) if naive is not None else f"over {times(limit / ours)}"


# The networks' sparse convolution.

_CONVOLUTION = {
    "forward": {"op": "convolution", "direction": "forward"},
    "backward": {"op": "convolution", "direction": "backward"},
    "neighbor search": {"op": "neighbours", "direction": "forward"},
}


def convolution_page(records: dict[str, Record]) -> str:
    """Return the page of the sparse convolution beside spconv's CPU wheel."""
    source = newest(records, "convolution")
    rows = []
    for name in source.implementations():
        found = [source.one(implementation=name, **case) for case in _CONVOLUTION.values()]
        known = next(result for result in found if result is not None)
        version = "" if name == "ours" else "spconv"
        shown = [*map(time_of, found), *map(mebibytes, found[:2])]
        rows.append([named(source, name, known.threads, version), *shown])
    return page(
        GENERATED,
        "# Sparse convolution beside spconv",
        "A 3 x 3 x 3 submanifold convolution, 64 to 64 channels, float32, on the 30,000 voxels "
        "of 5 cm nearest to the sensor of a 64-ray scan of a scene. Before a case is timed "
        "its output and gradients are compared with sums over a dictionary of voxels in "
        "float64. `backward`: the gradients of input, weight and bias alone; `neighbor "
        "search`: once for all layers of a resolution. spconv is its CPU wheel, called "
        "through `convolution='spconv'`.",
        table(["", *_CONVOLUTION, "forward's peak", "backward's peak"], rows),
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


# One persistence image.

_PAPER_IMAGES = {64: "1.07 ms", 256: "22.83 ms"}
"""By points: Table 13 of TopKD, GUDHI on one AMD Epyc 7742."""
_IMAGES = {
    "fast": "**ours**, exact",
    "fast, together": "**ours**, exact, several clouds in one call, each",
    "GUDHI": "GUDHI",
    "RipsNet": "RipsNet, a forward pass",
}


def persistence_image_page(records: dict[str, Record]) -> str:
    """Return the page of one persistence image: ours, GUDHI's, RipsNet's, TopKD's own times."""
    source = newest(records, "image")
    rows = [["GUDHI, in the paper (Table 13)", *_PAPER_IMAGES.values(), *[DASH] * 2]]
    ours = [source.one(implementation="fast", num_points=size) for size in _PAPER_IMAGES]
    for name, title in _IMAGES.items():
        found = [source.one(implementation=name, num_points=size) for size in _PAPER_IMAGES]
        compared = [DASH] * 2
        if name == "GUDHI":
            compared = [times(ratio(*pair)) for pair in zip(found, ours, strict=True)]
            if source.record is not None and any(found):
                title = f"{title} {source.record.software.gudhi or ''}".rstrip()
        rows.append([title, *map(_time_of_one, found), *compared])
    sizes = [f"{size} points" for size in _PAPER_IMAGES]
    return page(
        GENERATED,
        "# One persistence image",
        "From the points of one cloud (clustered features of 64 channels) to 20 x 20 pixels, "
        "dimension 0, one thread. Before a case is timed its image is compared with the "
        "definition's of the deaths that scipy's minimum spanning tree gives. GUDHI is called "
        "as TopKD's authors call it: Rips complex, pairs, `PersistenceImage`. RipsNet predicts "
        "the image; it is here for its time.",
        table(["", *sizes, *(f"we are faster by, {size}" for size in _PAPER_IMAGES)], rows),
        "The paper's clouds have 64 channels (64 points) and 512 (256 points), ours 64; its "
        "machine is another. A call of ours has a fixed cost of about a millisecond, most of "
        "what a single cloud of 64 points takes; a step of training makes the images of all "
        "its clouds in one call.",
        measured_on(source),
    )


def _time_of_one(result: Result | None) -> str:
    """Return the time of one cloud of a call."""
    if result is None or result.p50_s is None:
        return time_of(result)
    return seconds(result.p50_s / result.batch)


# Distances and vectorizations of diagrams.

_VECTORIZATIONS = {
    "wasserstein_distance": "Wasserstein distance, p = 2",
    "sliced_wasserstein": "sliced Wasserstein, 50 lines",
    "persistent_entropy": "persistent entropy",
    "persistence_landscape": "5 landscapes at 100 places",
    "betti_curve": "Betti curve at 100 places",
}
"""Each operation of the suite, in words."""


def vectorizations_page(records: dict[str, Record]) -> str:
    """Return the page of distances and vectorizations of diagrams, ours beside GUDHI's."""
    source = newest(records, "vectorizations")
    sizes = sorted({result.num_points for result in source.results})
    header, slower = [""], []
    for size in sizes:
        header += [f"**ours**, clouds of {size}", "GUDHI", "we are faster by"]
    rows = []
    for op, title in _VECTORIZATIONS.items():
        rows.append([title])
        for size in sizes:
            ours, theirs = source.pair("GUDHI", op=op, num_points=size)
            faster = ratio(theirs, ours)
            rows[-1] += [time_of(ours), time_of(theirs), times(faster)]
            if faster is not None and faster < 1:
                slower.append(f"{title} of clouds of {size} ({times(1 / faster)})")
    said = sorted({result.remark for result in source.results if result.remark is not None})
    sentences = [f"{remark}." for remark in said]
    if slower:
        sentences.append(f"We are slower at: {'; '.join(slower)}.")
    return page(
        GENERATED,
        "# Distances and vectorizations of diagrams",
        "Loops of clouds in the unit cube, 16 diagrams a call; the larger ones hold about half "
        "as many loops as points. GUDHI's functions run on one thread and take the diagrams "
        "one by one, or in a list; ours take the batch with its mask and have gradients. "
        "Before a case is timed its values are compared: the Wasserstein distance with scipy's "
        "assignment, the others with `reference`.",
        table(header, rows),
        " ".join(sentences) if sentences else "No check had a remark.",
        measured_on(source),
    )


# Training on processes.

_ONE = "one process"
_TWO = {
    "two processes": "two processes of one thread",
    "two processes, joint batch norm": "two processes of one thread, `--sync-batch-norm`",
}


def processes_page(records: dict[str, Record]) -> str:
    """Return the page of training on processes: frames a second, and the exchange's share."""
    source = newest(records, "processes")
    one, two = (source.one(op="steps", implementation=_ONE, threads=n) for n in (1, 2))
    steps = {name: source.one(op="steps", implementation=name) for name in _TWO}
    rates = [
        (f"{_ONE}, one thread", one),
        (f"{_ONE}, two threads", two),
        *zip(_TWO.values(), steps.values(), strict=True),
    ]
    throughput = [
        [title, number(per_second(result), ".2f"), *(times(ratio(of, result)) for of in (one, two))]
        for title, result in rates
    ]
    exchange = []
    for name, title in _TWO.items():
        result = source.one(op="exchange", implementation=name)
        rate = per_second(result)
        a_step = None if rate is None else 4 / rate  # of four frames
        exchange.append([title, seconds(a_step), number(ratio(result, steps[name]), ".1%")])
    rays = f"{source.results[0].num_points:,}" if source.results else DASH
    return page(
        GENERATED,
        "# Two processes beside one",
        "The paper's method on the tiny pair, steps of the same four simulated frames of "
        f"{rays} rays on one machine's CPU: voxels of 10 cm, augmented, read by the "
        "training processes themselves. Two processes take two of the frames each and exchange "
        "gradients over gloo. The first two steps, which load kernels, do not count.",
        table(["", "frames a second", "over one thread", "over two threads"], throughput),
        "Time in which an exchange between the processes was under way, from torch's profiler "
        "on the first process, in runs of their own; its share is of the steps above. It "
        "includes waiting for a process with larger frames, and exchanges of gradients that "
        "run while others are still computed.",
        table(["", "a step", "of the step"], exchange),
        measured_on(source),
    )

"""The generated page of distances and vectorizations of diagrams: ours beside GUDHI's."""

from benchmarks.markdown import GENERATED, measured_on, time_of, times
from benchmarks.schema import Record
from benchmarks.selection import Source, newest, ratio
from train.core.blocks import DASH, page, table

TITLES = {
    "wasserstein_distance": "Wasserstein distance, p = 2",
    "sliced_wasserstein": "sliced Wasserstein, 50 lines",
    "persistent_entropy": "persistent entropy",
    "persistence_landscape": "5 landscapes at 100 places",
    "betti_curve": "Betti curve at 100 places",
}
"""Each operation of the suite, in words."""


def vectorizations_page(records: dict[str, Record]) -> str:
    """Return the page."""
    source = newest(records, "vectorizations")
    return page(
        GENERATED,
        "# Distances and vectorizations of diagrams",
        "Loops of clouds in the unit cube, 16 diagrams a call; the larger ones hold about half "
        "as many loops as points. GUDHI's functions run on one thread and take the diagrams "
        "one by one, or in a list; ours take the batch with its mask and have gradients. "
        "Before a case is timed its values are compared: the Wasserstein distance with scipy's "
        "assignment, the others with `reference`.",
        _times(source),
        _remarks(source),
        measured_on(source),
    )


def _times(source: Source) -> str:
    sizes = sorted({result.num_points for result in source.results})
    rows = []
    for op, title in TITLES.items():
        cells = []
        for size in sizes:
            ours, theirs = (
                source.one(op=op, implementation=name, num_points=size)
                for name in ("fast", "GUDHI")
            )
            faster = ratio(theirs, ours)
            cells += [time_of(ours), time_of(theirs), DASH if faster is None else times(faster)]
        rows.append([title, *cells])
    header = [""]
    for size in sizes:
        header += [f"**ours**, clouds of {size}", "GUDHI", "we are faster by"]
    return table(header, rows)


def _remarks(source: Source) -> str:
    """Say where GUDHI computes something else, and where we are slower."""
    found = sorted({result.remark for result in source.results if result.remark is not None})
    sentences = [f"{remark}." for remark in found]
    slower = []
    for op, title in TITLES.items():
        for ours in source.where(op=op, implementation="fast"):
            theirs = source.one(op=op, implementation="GUDHI", num_points=ours.num_points)
            faster = ratio(theirs, ours)
            if faster is not None and faster < 1:
                slower.append(f"{title} of clouds of {ours.num_points} ({times(1 / faster)})")
    if slower:
        sentences.append(f"We are slower at: {'; '.join(slower)}.")
    return " ".join(sentences) if sentences else "No check had a remark."

"""The generated page of one persistence image: ours, GUDHI's, RipsNet's, and TopKD's own times."""

from benchmarks.markdown import GENERATED, measured_on, seconds, time_of, times
from benchmarks.schema import Record, Result
from benchmarks.selection import Source, newest, ratio
from train.core.blocks import DASH, page, table

SIZES = (64, 256)
PAPER = {64: "1.07 ms", 256: "22.83 ms"}
"""Table 13 of TopKD: GUDHI on one AMD Epyc 7742."""

_SHOWN = {
    "fast": "**ours**, exact",
    "fast, together": "**ours**, exact, several clouds in one call, each",
    "GUDHI": "GUDHI",
    "RipsNet": "RipsNet, a forward pass",
}


def persistence_image_page(records: dict[str, Record]) -> str:
    """Return the page."""
    source = newest(records, "image")
    return page(
        GENERATED,
        "# One persistence image",
        "From the points of one cloud (clustered features of 64 channels) to 20 x 20 pixels, "
        "dimension 0, one thread. Before a case is timed its image is compared with the "
        "definition's of the deaths that scipy's minimum spanning tree gives. GUDHI is called "
        "as TopKD's authors call it: Rips complex, pairs, `PersistenceImage`. RipsNet predicts "
        "the image; it is here for its time.",
        _times(source),
        "The paper's clouds have 64 channels (64 points) and 512 (256 points), ours 64; its "
        "machine is another. A call of ours has a fixed cost of about a millisecond, most of "
        "what a single cloud of 64 points takes; a step of training makes the images of all "
        "its clouds in one call.",
        measured_on(source),
    )


def _times(source: Source) -> str:
    rows = [["GUDHI, in the paper (Table 13)", *(PAPER[size] for size in SIZES), *[DASH] * 2]]
    ours = [source.one(implementation="fast", num_points=size) for size in SIZES]
    for name, title in _SHOWN.items():
        found = [source.one(implementation=name, num_points=size) for size in SIZES]
        compared = [
            DASH if name != "GUDHI" else times(ratio(peer, own))
            for peer, own in zip(found, ours, strict=True)
        ]
        rows.append([_titled(source, name, title, found), *map(_each, found), *compared])
    header = ["", *(f"{size} points" for size in SIZES)]
    return table([*header, *(f"we are faster by, {size}" for size in SIZES)], rows)


def _each(result: Result | None) -> str:
    """Return the time of one cloud of a call."""
    if result is None or result.p50_s is None:
        return time_of(result)
    return seconds(result.p50_s / result.batch)


def _titled(source: Source, name: str, title: str, found: list[Result | None]) -> str:
    version = None
    if name == "GUDHI" and source.record is not None and any(found):
        version = source.record.software.gudhi
    return f"{title} {version}" if version else title

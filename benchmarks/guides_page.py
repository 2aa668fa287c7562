"""The generated blocks of the guides: what an example costs, beside torch-topological.

`pytest benchmarks/test_guides.py --benchmark`, then `python -m benchmarks.table`.
"""

from pathlib import Path
from typing import Final

from benchmarks.clouds import TITLES
from benchmarks.markdown import measured_on, seconds, time_of, times
from benchmarks.schema import Record
from benchmarks.selection import Source, median, newest, ratio
from train.core.blocks import DASH, table, with_block

BLOCK: Final = "cost"
"""Name of the markers in a guide."""
SIZES: Final = (64, 256)

AUTOENCODER: Final = "signature loss of linked circles, H0 and H1, forward and backward"
LOOP: Final = "persistence of the largest loop, forward and backward"
MONITOR: Final = "summaries of H0 and H1 of features, no gradient"
UNEQUAL: Final = "total persistence of 64 clouds of 8 to N points, forward and backward"
REPLACED: Final = "H0 and H1 of 64 clouds in R^3, as torch-topological returns them"

GUIDES: Final = {
    "topological_autoencoder.md": AUTOENCODER,
    "keep_a_loop.md": LOOP,
    "topology_monitor.md": MONITOR,
    "unequal_sizes.md": UNEQUAL,
    "replace_other_libraries.md": REPLACED,
}
PEER: Final = "torch-topological"


def guide_blocks(records: dict[str, Record]) -> dict[str, str]:
    """Return what stands between the markers of each guide."""
    source = newest(records, "guides")
    blocks = {name: _examples(source, (op,)) for name, op in GUIDES.items()}
    blocks["gradients_at_ties.md"] = _backward(newest(records, "backward"))
    blocks["cost.md"] = "\n\n".join(
        [
            "### One cloud",
            _growth(newest(records, "scaling")),
            "The picture, and the exponents: [scaling.md](../results/scaling.md). Ripser, GUDHI, "
            "giotto-ph, holos-tda and torch-topological, with the cases in which they are faster: "
            "[table6_peers.md](../results/table6_peers.md).",
            "### The guides' examples",
            _examples(source, tuple(GUIDES.values())),
        ]
    )
    return blocks


def pages_with_blocks(folder: Path, records: dict[str, Record]) -> dict[Path, str]:
    """Return the guides of a folder with their blocks as the records have them.

    A folder without guides has none.

    Raises
    ------
    ValueError
        If a guide has no place for its block.
    """
    pages = {}
    for name, block in guide_blocks(records).items():
        path = folder / name
        if folder.is_dir():
            try:
                pages[path] = with_block(path.read_text(encoding="utf-8"), block, BLOCK)
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
    return pages


def _examples(source: Source, ops: tuple[str, ...]) -> str:
    """Return a row per example and size: ours, theirs, how many times faster we are."""
    version = source.record.software.torch_topological if source.record else None
    rows = []
    for op in ops:
        for size in SIZES:
            ours, theirs = source.pair(PEER, op=op, num_points=size)
            cells = [time_of(ours), time_of(theirs), times(ratio(theirs, ours))]
            rows.append([f"{op}, N = {size}", *cells])
    peer = f"{PEER} {version or ''}".strip()
    header = ["processor time, one thread", "**ours**", peer, "we are faster by"]
    return f"{table(header, rows)}\n\n{measured_on(source)}"


def _backward(source: Source) -> str:
    """Return what backward to the distances costs, by family."""
    families = dict.fromkeys(r.data for r in source.results if r.num_points == 1024)
    rows = []
    for family in families:
        case = {"data": family, "num_points": 1024, "op": "rips", "direction": "backward"}
        ours, theirs = source.pair(PEER, **case)
        if ours is not None:
            cells = [time_of(ours), time_of(theirs), times(ratio(theirs, ours))]
            rows.append([TITLES[family], *cells])
    what = "backward to the distances, N = 1024, H0 and H1"
    header = [what, "**ours**", PEER, "we are faster by"]
    return f"{table(header, rows)}\n\n{measured_on(source)}"


def _growth(source: Source) -> str:
    """Return time over N, and what the distances need."""
    sizes = sorted({result.num_points for result in source.results})
    rows = []
    for size in sizes:
        found = [
            source.one(op="rips", data="features", max_dim=max_dim, num_points=size)
            for max_dim in (0, 1)
        ]
        both = median(found[1])
        if both is not None or median(found[0]) is not None:
            rows.append(
                [
                    f"N = {size:,}",
                    *map(time_of, found),
                    DASH if both is None else seconds(both / size),
                    f"{4 * size**2 / 2**20:,.1f} MiB",
                ]
            )
    header = ["features in R^64", "H0", "H0 and H1", "a point", "the distances, float32"]
    return f"{table(header, rows)}\n\n{measured_on(source)}"

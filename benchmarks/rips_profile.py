"""`python -m benchmarks.rips_profile`: where the time of H0 and H1 goes on a CPU, phase by phase.

One thread, and its own CPU time, which other processes lengthen less than they lengthen the wall's.
`--page-only` writes the page again from its record.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from unittest import mock

import torch

from benchmarks.clouds import FAMILIES, MORE_FAMILIES, TITLES, distances
from benchmarks.machine import ROOT, checkout, describe_machine
from fast import rips
from fast.kernels.edges import edge_keys_cpu, edges_cpu, hubs_cpu
from fast.kernels.lunes import block_lunes_cpu, lunes_cpu
from fast.kernels.rips import rips_cpu
from fast.kernels.rips.cloud_cpu import Cloud
from fast.kernels.rips.large_cloud_cpu import LargeCloud
from train.core.blocks import generated, page, table

NAME: Final = "rips_profile"
FOLDER: Final = ROOT / "docs/results"
CASES: Final = (
    *((family, 1024) for family in (*FAMILIES, *MORE_FAMILIES)),
    ("tripartite", 512),
    ("features", 4096),
    ("cube", 16_384),
    ("features", 16_384),
)
PHASES: Final = ("checks", "edges", "lunes", "births to come", "pairing", "else")
"""In the order of the table."""
_REPEATS: Final = 3

_TIMED: Final[tuple[tuple[str, Any, str], ...]] = (
    ("checks", rips_cpu, "_checked_keys"),
    ("edges", edges_cpu, "sample_keys"),
    ("edges", edges_cpu, "count_edges"),
    ("edges", edges_cpu, "gather_edges"),
    ("edges", edges_cpu, "sort_edges"),
    ("edges", edge_keys_cpu, "sample_keys"),
    ("edges", edge_keys_cpu, "count_edges"),
    ("edges", edge_keys_cpu, "gather_edges"),
    ("edges", edge_keys_cpu, "nearby_order"),
    ("lunes", lunes_cpu, "examine_lunes"),
    ("lunes", block_lunes_cpu, "examine_lunes"),
    ("lunes", block_lunes_cpu, "insert_edges"),
    ("lunes", hubs_cpu, "choose_hubs"),
    ("births to come", lunes_cpu, "nearest_neighbors"),
    ("births to come", lunes_cpu, "first_uncertain_lune"),
    ("births to come", LargeCloud, "_later_empties"),
    ("pairing", Cloud, "_pair"),
    ("pairing", LargeCloud, "_pair"),
)
"""Phase, and the function of which module or class it is spent in."""


class Clock:
    """Adds up CPU time by phase; what is called within a phase counts for the inner one alone."""

    def __init__(self) -> None:
        self.spent = dict.fromkeys(PHASES, 0.0)
        self.examined = 0
        self._open: list[str] = ["else"]
        self._since = time.thread_time()

    def _turn(self) -> None:
        now = time.thread_time()
        self.spent[self._open[-1]] += now - self._since
        self._since = now

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function that does the same and is timed."""
        counts = function.__name__ == "examine_lunes"

        def call(*arguments: Any) -> Any:
            self._turn()
            self._open.append(phase)
            try:
                result = function(*arguments)
            finally:
                self._turn()
                self._open.pop()
            if counts:
                # Of clouds that are not large: from where, and how far it came.
                few = len(result) == 3
                self.examined += result[2] - arguments[2] if few else len(arguments[0])
            return result

        return call

    def stop(self) -> None:
        """Close the phase that is open."""
        self._turn()


@contextmanager
def watched() -> Iterator[Clock]:
    """Time the phases of all that is computed within, on this thread."""
    clock = Clock()
    with ExitStack() as patches:
        for phase, owner, name in _TIMED:
            timed = clock.timed(phase, getattr(owner, name))
            patches.enter_context(mock.patch.object(owner, name, timed))
        yield clock
    clock.stop()


def profile(family: str, num_points: int) -> dict[str, Any]:
    """Return the CPU time of the phases, seconds: of the repeat that took least."""
    square = torch.from_numpy(distances(family, num_points))
    found = []
    for _ in range(1 if num_points > 4096 else _REPEATS):
        with watched() as clock:
            rips.rips_persistence(square)
        found.append(clock)
    best = min(found, key=lambda clock: sum(clock.spent.values()))
    return {
        "family": family,
        "num_points": num_points,
        "edges": num_points * (num_points - 1) // 2,
        "examined": best.examined,
        "seconds": {phase: round(spent, 6) for phase, spent in best.spent.items()},
    }


def markdown(record: Mapping[str, Any]) -> str:
    """Return the page.

    Parameters
    ----------
    record
        What `measure` returned.
    """
    rows = []
    for case in record["cases"]:
        spent = case["seconds"]
        total = sum(spent.values())
        rows.append(
            [
                case["family"],
                f"{case['num_points']:,}",
                f"{1e3 * total:.3g} ms" if total < 1 else f"{total:.3g} s",
                f"{100 * case['examined'] / case['edges']:.0f}%",
                f"{1e9 * spent['lunes'] / max(1, case['examined']):.0f} ns",
                *(f"{100 * spent[phase] / total:.0f}%" for phase in PHASES),
            ]
        )
    header = ["cloud", "N", "CPU time", "edges examined", "lunes, per edge", *PHASES]
    families = "; ".join(f"*{name}*: {TITLES[name]}" for name in (*FAMILIES, *MORE_FAMILIES))
    return page(
        generated("python -m benchmarks.rips_profile"),
        "# Where the time of Rips persistence goes",
        "H0 and H1 with critical edges and triangles, from float32 distances, on one thread; "
        "CPU time of that thread, of the repeat that took least. What the targets of "
        "[the page of peers](table6_peers.md) ask for is wall time on two.",
        table(header, rows),
        "*checks*: are the distances finite, symmetric, zero on the diagonal, and what is the "
        "enclosing radius. *edges*: counted, gathered and sorted, chunk by chunk. *lunes*: is "
        "there a vertex nearer to both ends of an edge than they are to each other, and are "
        "those vertices connected; most edges end there. *births to come*: is there a later "
        "edge that gives birth; if not, and nothing is alive, the rest is never looked at. "
        "*pairing*: births and deaths. *else*: Python between them. How all that works: "
        "[numerics](../numerics.md).",
        "What it says of the targets that are missed:",
        _remarks(record),
        f"Families: {families}.",
        f"Measured {record['utc'][:10]} at commit {record['commit']} on "
        f"{record['cpu']}{record['caveat']}; record `{NAME}.json`.",
    )


def _remarks(record: Mapping[str, Any]) -> str:
    """Return what the numbers say, a line each."""

    def of(family: str, num_points: int) -> tuple[Mapping[str, float], float, int]:
        case = next(
            c for c in record["cases"] if (c["family"], c["num_points"]) == (family, num_points)
        )
        return case["seconds"], sum(case["seconds"].values()), case["examined"]

    lines = []
    small = [
        (case["family"], max(PHASES, key=case["seconds"].__getitem__), case["seconds"])
        for case in record["cases"]
        if case["num_points"] == 1024
    ]
    largest = ", ".join(
        f"{family} {phase} ({100 * spent[phase] / sum(spent.values()):.0f}%)"
        for family, phase, spent in small
    )
    lines.append(
        f"- **N = 1,024.** The phase that takes most: {largest}. Edges and lunes look at every "
        "edge up to the last death once; neither can be left out, so that a family gets faster "
        "only by less work for each edge."
    )
    spent, total, examined = of("tripartite", 512)
    lines.append(
        f"- **Tripartite, N = 512.** {100 * spent['pairing'] / total:.0f}% is pairing. Every edge "
        "between two parts, but for a tree of them, gives birth to a class, and all of those die "
        "at that same length, at triangles of it: as many births as that have to be told apart."
    )
    spent, total, examined = of("features", 4096)
    lines.append(
        f"- **N = 4,096 features.** {examined:,} edges are examined in "
        f"{1e3 * spent['lunes']:.0f} ms and found and sorted in {1e3 * spent['edges']:.0f} ms of "
        f"{1e3 * total:.0f} ms; 250 ms on two threads leave 500 ms of both for all phases."
    )
    spent, total, examined = of("features", 16_384)
    lines.append(
        f"- **N = 16,384 features.** {examined:,} edges are examined in {spent['lunes']:.1f} s and "
        f"found and sorted in {spent['edges']:.1f} s of {total:.1f} s; the target is 6 s on two "
        "threads, 12 s of both."
    )
    return "\n".join(lines)


def measure() -> dict[str, Any]:
    """Profile every case, on one thread; return the record."""
    torch.set_num_threads(1)
    rips.rips_persistence(torch.from_numpy(distances("cube", 300)))  # compiles
    rips.rips_persistence(torch.from_numpy(distances("features", 6200)))
    machine = describe_machine()
    cases = []
    for family, num_points in CASES:
        cases.append(profile(family, num_points))
        sys.stdout.write(f"{family}, {num_points}: {sum(cases[-1]['seconds'].values()):.3g} s\n")
    commit, dirty = checkout()
    busy = machine.load_1m_before > 1
    return {
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit + "+" * dirty,
        "cpu": machine.cpu,
        "caveat": " (the machine was busy)" if busy else "",
        "cases": cases,
    }


def main(arguments: list[str] | None = None, folder: Path = FOLDER) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rips_profile", description=__doc__)
    parser.add_argument("--page-only", action="store_true", help="from the record that is there")
    options = parser.parse_args(arguments)
    path = folder / f"{NAME}.json"
    if not options.page_only:
        path.write_text(json.dumps(measure(), indent=1) + "\n", encoding="utf-8")
    text = markdown(json.loads(path.read_text(encoding="utf-8")))
    (folder / f"{NAME}.md").write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

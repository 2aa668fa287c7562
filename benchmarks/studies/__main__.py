"""The studies whose results `docs/results` publishes.

python -m benchmarks.studies NAME --help
"""

import importlib
import sys
from collections.abc import Mapping, Sequence
from typing import Final

STUDIES: Final[Mapping[str, tuple[str, str]]] = {
    "figures": (
        "benchmarks.studies.figures.command",
        "the paper's figures, and a page of its tables and figures",
    ),
    "dd3d": (
        "benchmarks.studies.dd3d.command",
        "distilled sets of objects against coresets and the full set",
    ),
    "dd3d-lidar": (
        "benchmarks.studies.dd3d_lidar.command",
        "students of distilled LiDAR frames against those of as many real points",
    ),
    "cross-modal": (
        "benchmarks.studies.cross_modal.command",
        "methods of cameras against LiDAR alone and placebos",
    ),
    "topkd-digits": (
        "benchmarks.studies.topkd_digits.command",
        "digits distilled by TopKD, with seeds and intervals",
    ),
    "topkd-fidelity": (
        "benchmarks.studies.topkd_fidelity",
        "how far TopKD's RipsNet can be trusted on a run",
    ),
    "color-leak": (
        "benchmarks.studies.color_leak.command",
        "what colors of simulated images tell of classes",
    ),
    "exports": (
        "benchmarks.studies.exports",
        "exported networks: what precision costs, how long a frame takes",
    ),
    "compare": ("benchmarks.studies.compare.command", "simulated frames beside a real one"),
    "efficiency": (
        "benchmarks.studies.efficiency.command",
        "what the networks cost, from a record of train.efficiency",
    ),
}
"""Name -> (module whose `main(arguments)` returns the exit code, what it measures)."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one of the studies; return its exit code, 2 for an unknown name."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] in (["-h"], ["--help"]):
        sys.stdout.write(_help())
        return 0
    if not words or words[0] not in STUDIES:
        what = f"{words[0]!r} is no study" if words else "no study given"
        sys.stderr.write(f"error: {what}; choose one of {', '.join(STUDIES)}\n")
        return 2
    code: int = importlib.import_module(STUDIES[words[0]][0]).main(words[1:])
    return code


def _help() -> str:
    width = max(map(len, STUDIES))
    rows = "".join(f"  {name:<{width}}  {what}\n" for name, (_, what) in STUDIES.items())
    return (
        "usage: python -m benchmarks.studies NAME ...\n\n"
        f"studies:\n{rows}\n"
        "options of one: python -m benchmarks.studies NAME --help\n"
    )


if __name__ == "__main__":
    sys.exit(main())

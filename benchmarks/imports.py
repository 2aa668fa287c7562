"""What importing loads and how long it takes, in processes of its own."""

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Final

from benchmarks.machine import ROOT

EVERY_NAME: Final = "every public name"

STATEMENTS: Final = {
    "the package": "import topodistill",
    EVERY_NAME: "from topodistill import *",
    "the first diagram": "from topodistill import *\n"
    "rips_persistence(pairwise_distances(torch.eye(8)))",
}
"""What is timed: name -> statements; names of `fast` are looked up when they are first used."""

HEAVY: Final = frozenset(
    {"matplotlib", "pandas", "PIL", "pyarrow", "scipy", "tensorboard", "train", "tyro"}
)
"""What nobody who only wants the Rips layer should wait for, or have installed."""

COMPILER: Final = "numba"
"""Loaded where a kernel first runs, not before."""

_PROGRAM = """
import json, sys, time
{before}
before = set(sys.modules)
begin = time.perf_counter()
{statements}
seconds = time.perf_counter() - begin
print(json.dumps({{"seconds": seconds, "modules": sorted(set(sys.modules) - before)}}))
"""


@dataclass(frozen=True)
class Loaded:
    """How long statements took and which modules they loaded, beyond those there before."""

    seconds: float
    modules: frozenset[str]

    @property
    def packages(self) -> set[str]:
        """The first words of the modules' names."""
        return {module.partition(".")[0] for module in self.modules}


def in_fresh_process(statements: str, before: str = "import torch") -> Loaded:
    """Run statements in a new interpreter.

    Parameters
    ----------
    statements, before
        Python, whole lines; what `before` loads and takes is not counted.

    Raises
    ------
    subprocess.CalledProcessError
        If they fail.
    """
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM.format(before=before, statements=statements)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    return Loaded(said["seconds"], frozenset(said["modules"]))

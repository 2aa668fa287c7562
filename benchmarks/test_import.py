"""What importing `topodistill` costs beyond torch, in fresh processes.

N says nothing in these cases: it is 1.
"""

import functools

import pytest

from benchmarks.harness import SMOKE_POINTS, Case, Job, Measure
from benchmarks.imports import COMPILER, HEAVY, STATEMENTS, Loaded, in_fresh_process


@functools.cache
def _loaded_once(statements: str) -> Loaded:
    """Start an interpreter once for all tests; for the smallest size, which is only checked."""
    return in_fresh_process(statements)


def import_case(op: str, num_points: int) -> Case:
    load = _loaded_once if num_points == SMOKE_POINTS else in_fresh_process

    def check(output: Loaded) -> None:
        computes = op == "the first diagram"
        assert "topodistill" in output.packages
        assert (COMPILER in output.packages) == computes
        # The compiler loads scipy where it is installed.
        assert not output.packages & (HEAVY - {"scipy"} if computes else HEAVY)

    job = Job(lambda: load(STATEMENTS[op]), check, clock=lambda output: output.seconds)
    return Case(
        suite="import", op=op, implementation="topodistill", yields="names", build=lambda: job,
        num_points=1, threads=1, channels=None,
    )  # fmt: skip


@pytest.mark.parametrize("op", STATEMENTS)
@pytest.mark.sizes(1)
def test_importing(op: str, num_points: int, measure: Measure) -> None:
    """Fresh interpreters, five of them or more."""
    measure(lambda n: import_case(op, n), num_points)


def test_the_check_refuses_a_heavy_package() -> None:
    job = import_case("the package", SMOKE_POINTS).build()
    output = job.run()
    job.check(output)
    with pytest.raises(AssertionError):
        job.check(Loaded(output.seconds, output.modules | {"pyarrow.lib"}))
    with pytest.raises(AssertionError):
        job.check(Loaded(output.seconds, output.modules | {"numba"}))

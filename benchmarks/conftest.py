"""`--benchmark` and its options: check every case, time it (pytest-benchmark), write a record.

Without `--benchmark` every case runs once at its smallest size and is only checked.
"""

import itertools
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from benchmarks import harness, schema
from benchmarks.harness import SMOKE_POINTS, Case, Measure, Optional, StoppedError
from benchmarks.machine import (
    ROOT,
    checkout,
    cores,
    describe_machine,
    describe_software,
    machine_slug,
    num_cores,
)

RESULTS = ROOT / "benchmarks" / "results"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("measurements")
    group.addoption("--benchmark", action="store_true", help="time every case and write a record")
    group.addoption(
        "--record-to", type=Path, default=None, metavar="DIR", help=f"default: {RESULTS.name}/"
    )
    group.addoption("--threads", type=int, default=None, help="of every case; default: all cores")
    group.addoption(
        "--time-limit", type=float, default=60.0, metavar="S", help="of one call; default: 60"
    )
    group.addoption(
        "--at-most", type=int, default=None, metavar="N", help="leave out larger sizes (dry run)"
    )
    group.addoption("--noisy", action="store_true", help="record although the machine is busy")
    group.addoption(
        "--require-peers", action="store_true", help="a peer that is not installed is a failure"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "sizes(*num_points): the sizes to time; the smallest check has its own"
    )
    config.addinivalue_line(
        "markers", "each(*rows): suite, implementations, families and sizes, each with each"
    )
    if not config.getoption("--benchmark"):
        return
    if config.getoption("--at-most") is not None and config.getoption("--record-to") is None:
        raise pytest.UsageError("--at-most makes a partial record: say where with --record-to DIR")
    if config.getoption("dist", "no") != "no" or "PYTEST_XDIST_WORKER" in os.environ:
        raise pytest.UsageError("--benchmark times in one process: leave out -n and --dist")
    load = os.getloadavg()[0]
    if load > num_cores() / 2 and not config.getoption("--noisy"):
        raise pytest.UsageError(
            f"the machine is busy: load {load:.2f} on {num_cores()} cores; wait until it is below "
            f"{num_cores() / 2:g}, or pass --noisy, which the record will say"
        )
    config.stash[_RECORDER] = _Recorder(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give each case its sizes: all with --benchmark, else only the one of the smallest check."""

    def timed(sizes: Iterable[int]) -> list[int]:
        if not metafunc.config.getoption("--benchmark"):
            return [SMOKE_POINTS]
        at_most = metafunc.config.getoption("--at-most")
        return [n for n in sizes if at_most is None or n <= at_most]

    if (marker := metafunc.definition.get_closest_marker("sizes")) is not None:
        metafunc.parametrize("num_points", timed(marker.args))
    elif (marker := metafunc.definition.get_closest_marker("each")) is not None:
        rows = [
            case
            for suite, names, families, sizes in marker.args
            for case in itertools.product([suite], names, families, timed(sizes))
        ]
        metafunc.parametrize(("suite", "name", "family", "num_points"), list(dict.fromkeys(rows)))


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    recorder = session.config.stash.get(_RECORDER, None)
    if recorder is None or not recorder.results:
        return
    # What a run that is stopped (2) has is kept where somebody asked for it, not as a result.
    stopped = exitstatus == 2 and session.config.getoption("--record-to") is not None
    if exitstatus in (0, 1) or stopped:
        recorder.write()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    recorder = config.stash.get(_RECORDER, None)
    if recorder is None:
        return
    terminalreporter.section("measured")
    for result in recorder.results:
        terminalreporter.line(_line(result))
    if recorder.path is None:
        terminalreporter.line("no record was written: the run was cut short or had no case")
    else:
        terminalreporter.line(f"record: {recorder.path.name} in {recorder.path.parent.name}/")
        terminalreporter.line("next: python -m benchmarks.table")


def _line(result: schema.Result) -> str:
    """One result, for the terminal."""
    what = (
        f"{result.suite:10} {result.implementation:21} {result.direction:8} {result.data:8} "
        f"B={result.batch:<2} N={result.num_points:<6} threads={result.threads}"
    )
    if result.p50_s is None:
        return f"{what}  {result.state}: {result.error}"
    peak = "" if result.peak_bytes is None else f", peak {result.peak_bytes / 2**20:.1f} MiB"
    return f"{what}  {1e3 * result.p50_s:10.3f} ms (x{result.repeats}){peak}"


class _Recorder:
    """What a timed session collects."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.begin = time.monotonic()
        self.utc = datetime.now(UTC).isoformat(timespec="seconds")
        self.machine = describe_machine()
        self.commit, self.dirty = checkout()
        self.results: list[schema.Result] = []
        self.path: Path | None = None

    def write(self) -> None:
        """Validate and write the record."""
        option = self.config.getoption
        record = schema.Record(
            schema=schema.SCHEMA,
            run=schema.Run(
                utc=self.utc,
                commit=self.commit,
                dirty=self.dirty,
                command=_command(self.config),
                threads=_threads(self.config),
                time_limit_s=option("--time-limit"),
                noisy=option("--noisy"),
                at_most=option("--at-most"),
                wall_s=round(time.monotonic() - self.begin, 1),
            ),
            machine=self.machine,
            software=describe_software(),
            results=self.results,
        )
        folder = option("--record-to") or RESULTS
        self.path = schema.write(record, folder, machine_slug(self.machine))


_RECORDER = pytest.StashKey[_Recorder]()


def _command(config: pytest.Config) -> str:
    """Return the command line without folders, which are nobody's business."""
    words = [w for w in config.invocation_params.args if not Path(w).is_absolute()]
    return " ".join(["pytest", *(w for w in words if not w.startswith("--record-to"))])


def _threads(config: pytest.Config) -> int:
    return int(config.getoption("--threads") or num_cores())


@pytest.fixture(scope="session", autouse=True)
def threads(pytestconfig: pytest.Config) -> Any:
    """How many threads every implementation may use; they run on as many cores."""
    count = _threads(pytestconfig)
    with cores(count):
        yield count


@pytest.fixture
def used_cores(used: str, threads: int) -> Iterator[int]:
    """How many cores a case that is parametrized by `used` has: one, or all of the run's."""
    count = 1 if used == "one core" else threads
    with cores(count):
        yield count


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where data are made, once for all cases."""
    return tmp_path_factory.mktemp("frames")


Kind = tuple[str, str, str]  # suite, implementation, family


@pytest.fixture(scope="session")
def stopped() -> dict[Kind, int]:
    """What ran into the time limit, and at which size."""
    return {}


def _skip_missing(config: pytest.Config, reason: str, case: Case) -> None:
    """Skip a case whose implementation is not installed, and record why."""
    if config.getoption("--require-peers"):
        pytest.fail(f"{reason} (--require-peers)")
    recorder = config.stash.get(_RECORDER, None)
    if recorder is not None:
        recorder.results.append(harness.result_of(case, "not run", error=reason))
    pytest.skip(reason)


def _check_small(case_of: Callable[[int], Case]) -> Any:
    """Check a case at its smallest size, against the reference; returns its output."""
    job = case_of(SMOKE_POINTS).build()
    output = job.run()
    job.check(output)
    return output


@pytest.fixture
def measure(
    request: pytest.FixtureRequest, pytestconfig: pytest.Config, stopped: dict[Kind, int]
) -> Measure:
    """Check a case at its smallest size, then (with --benchmark) at its own, time it, keep it.

    `needs` is the implementation, where it may not be installed. Returns the output of the case,
    which a backward may start from.
    """

    def checked(
        case_of: Callable[[int], Case], num_points: int, needs: Optional | None = None
    ) -> Any:
        if needs is not None and needs.missing is not None:
            _skip_missing(pytestconfig, needs.missing, case_of(num_points))
        recorder = pytestconfig.stash.get(_RECORDER, None)
        if recorder is None:
            return _check_small(case_of)
        case = case_of(num_points)
        kind = (case.suite, case.implementation, case.data)
        before = stopped.get(kind)
        if before is not None and num_points >= before + (case.direction == "forward"):
            reason = f"not tried: {before} points were stopped at the time limit"
            recorder.results.append(harness.result_of(case, "not run", error=reason))
            pytest.skip(reason)

        def timer(call: Callable[[], object], rounds: int) -> list[float]:
            benchmark = request.getfixturevalue("benchmark")
            benchmark.pedantic(call, rounds=rounds, iterations=1)
            return list(benchmark.stats.stats.data)

        try:
            _check_small(case_of)
            result, output = harness.measure(case, timer, pytestconfig.getoption("--time-limit"))
        except StoppedError as error:
            stopped[kind] = num_points
            recorder.results.append(harness.result_of(case, "stopped", error=str(error)))
            pytest.skip(str(error))
        except AssertionError as error:
            said = f"wrong result: {error}".strip().partition("\n")[0]
            recorder.results.append(harness.result_of(case, "not run", check="failed", error=said))
            raise
        recorder.results.append(result)
        return output

    return checked


if sys.platform == "win32":
    raise RuntimeError("benchmarks: time limits and memory are measured by means Windows lacks")

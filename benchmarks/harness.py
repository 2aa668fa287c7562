"""How a case is measured: check, first call, peak memory, then the clock; one `Result` a case."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from benchmarks.machine import with_device_peak, with_peak
from benchmarks.schema import Result, State, Suite
from train.core.provenance import version
from train.profiling.timing import percentiles

SMOKE_POINTS = 24
"""Size of the check against the reference that every case passes first."""

Timer = Callable[[Callable[[], object], int], list[float]]
"""(what to call, how often) -> seconds of every call."""


Measure = Callable[..., Any]
"""The fixture `measure` of `conftest.py`."""


class Optional:
    """An implementation that may not be installed; `distribution` is None for our own."""

    distribution: str | None

    @property
    def missing(self) -> str | None:
        """Why it cannot be run here; None if it can."""
        if self.distribution is None or version(self.distribution):
            return None
        return f"{self.distribution} is not installed"


@dataclass(frozen=True)
class Job:
    """A case's work on its ready-made input, and the assertion about what it returns.

    `check` may return a remark: something that is wrong and known, and that readers must know.
    A job that starts processes and counts a part of their time alone has a `clock`: the seconds
    that count, read off what `run` returned.
    """

    run: Callable[[], Any]
    check: Callable[[Any], str | None]
    clock: Callable[[Any], float] | None = None


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is measured; the fields are those of `schema.Result`."""

    suite: Suite
    op: str
    implementation: str
    yields: str
    build: Callable[[], Job]
    num_points: int
    threads: int
    direction: Literal["forward", "backward"] = "forward"
    data: str = "features"
    seed: int = 0
    channels: int | None = 64
    batch: int = 1
    num_samples: int | None = None
    max_dim: int | None = None
    dtype: str = "float32"
    device: Literal["cpu", "cuda"] = "cpu"
    once: bool = False  # a first call is first only once


class StoppedError(Exception):
    """A case ran into the time limit."""


def measure(case: Case, timer: Timer, limit_s: float) -> tuple[Result, Any]:
    """Check and time one case; returns the result and the case's output (for its backward).

    Raises
    ------
    AssertionError
        If the output is wrong. Nothing is timed then.
    StoppedError
        If the first call, which is the check's, takes longer than `limit_s`.
    """
    job = case.build()
    if case.once:
        return _measure_once(case, job, timer)
    if job.clock is not None:
        return _measure_by_its_clock(case, job, job.clock, limit_s)

    def limited() -> tuple[Any, float]:
        with _alarm(limit_s):  # the call alone: the meter's own clean-up can take long
            return _stopwatch(job.run)

    peak_of = with_device_peak if case.device == "cuda" else with_peak
    (output, first), peak = peak_of(limited)
    remark = job.check(output)
    estimate = first
    if first < 5:  # else the first call's peak stands: nothing is compiled that is so slow
        (_, estimate), peak = peak_of(lambda: _stopwatch(job.run))
    seconds = timer(job.run, rounds_for(estimate))
    return (
        result_of(
            case,
            "timed",
            repeats=len(seconds),
            first_call_s=first,
            peak_bytes=peak,
            remark=remark,
            **percentiles(seconds),
        ),
        output,
    )


def _stopwatch(call: Callable[[], Any]) -> tuple[Any, float]:
    """Return what a call returns and its seconds."""
    begin = time.perf_counter()
    output = call()
    return output, time.perf_counter() - begin


def _measure_once(case: Case, job: Job, timer: Timer) -> tuple[Result, Any]:
    """Time the one call there is; its check comes after, and decides before anything is kept."""
    outputs: list[Any] = []
    (seconds,) = timer(lambda: outputs.append(job.run()), 1)
    job.check(outputs[0])
    times = percentiles([seconds])
    return result_of(case, "timed", repeats=1, first_call_s=seconds, **times), outputs[0]


def _measure_by_its_clock(
    case: Case, job: Job, clock: Callable[[Any], float], limit_s: float
) -> tuple[Result, Any]:
    """Repeat a job that says itself how long it took; its memory is in other processes."""
    with _alarm(limit_s):
        output, wall = _stopwatch(job.run)
    job.check(output)
    rounds = max(5, rounds_for(wall))  # fresh processes differ more than calls do
    times = percentiles([clock(job.run()) for _ in range(rounds)])
    return result_of(case, "timed", repeats=rounds, first_call_s=clock(output), **times), output


def rounds_for(estimate_s: float) -> int:
    """Return how often to repeat a call: about a second and a half of it, and not endlessly."""
    if estimate_s > 20:
        return 1
    if estimate_s > 5:
        return 2
    return int(min(200, max(5, 1.5 / max(estimate_s, 1e-6))))


def result_of(case: Case, state: State, **fields: Any) -> Result:
    """Return the case's result; a case that was not timed needs an `error`."""
    unknown = ("first_call_s", "p20_s", "p50_s", "p80_s", "peak_bytes", "error", "remark")
    values: dict[str, Any] = {
        **{name: value for name, value in vars(case).items() if name not in ("build", "once")},
        "state": state,
        "check": "passed" if state == "timed" else "not run",
        "repeats": 0,
        **dict.fromkeys(unknown),
    }
    return Result(**values | fields)


@contextmanager
def _alarm(limit_s: float) -> Iterator[None]:
    """Raise StoppedError in the block after `limit_s`; only Python code can be stopped so."""

    def stop(signum: int, frame: object) -> None:
        raise StoppedError(f"stopped after {limit_s:g} s")

    handler = signal.signal(signal.SIGALRM, stop)
    # Again every second: Python drops what is raised inside a destructor or a collector's callback.
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, limit_s, 1.0)
    begin = time.monotonic()
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if remaining:  # somebody's own limit (pytest-timeout's) goes on
            left = max(0.001, remaining - (time.monotonic() - begin))
            signal.setitimer(signal.ITIMER_REAL, left, interval)

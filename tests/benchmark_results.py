"""Results and records of benchmarks, made without measuring."""

from benchmarks import harness, schema
from benchmarks.harness import Case
from benchmarks.machine import describe_machine, describe_software


def case(build=None, **fields):
    """A case of ours at 1,024 points, but for the given fields."""
    wanted = {
        "suite": "peers", "op": "rips", "implementation": "fast", "yields": "edges, triangles",
        "num_points": 1024, "threads": 2, "max_dim": 1, "build": build,
    }  # fmt: skip
    return Case(**(wanted | fields))


def timed(seconds, *, first_call_s=None, remark=None, **fields):
    """A result whose median is so many seconds; the fields are those of its case."""
    return harness.result_of(
        case(**fields), "timed", repeats=5, first_call_s=first_call_s or 2 * seconds,
        p20_s=0.9 * seconds, p50_s=seconds, p80_s=1.1 * seconds, peak_bytes=3 * 2**20,
        remark=remark,
    )  # fmt: skip


def record_of(results, utc="2026-01-31T10:00:00+00:00", commit="1a2b3c4d5e"):
    """A record of results, made on this machine."""
    run = schema.Run(
        utc=utc, commit=commit, dirty=False, command="pytest benchmarks/ --benchmark",
        threads=2, time_limit_s=60.0, noisy=False, at_most=None, wall_s=1.5,
    )  # fmt: skip
    return schema.Record(
        schema=schema.SCHEMA, run=run, machine=describe_machine(), software=describe_software(),
        results=list(results),
    )  # fmt: skip

"""The page of the convolution says what the records say, also those from before it was measured."""

import json
from dataclasses import asdict

import pytest

from benchmarks import harness, schema
from benchmarks.convolution_page import convolution_page
from benchmarks.harness import Case
from benchmarks.machine import describe_machine, describe_software
from benchmarks.targets import convolution_targets


def timed(name, seconds, *, op="convolution", direction="forward", remark=None):
    case = Case(
        suite="convolution", op=op, implementation=name, yields="features", build=None,
        num_points=30_000, threads=1 if "one thread" in name else 2, direction=direction,
        data="street",
    )  # fmt: skip
    return harness.result_of(
        case, "timed", repeats=5, first_call_s=seconds, p20_s=seconds, p50_s=seconds,
        p80_s=seconds, peak_bytes=3 * 2**20, remark=remark,
    )  # fmt: skip


def record(*results):
    return schema.Record(
        schema=schema.SCHEMA,
        run=schema.Run(
            utc="2026-01-31T10:00:00+00:00", commit="1a2b3c4d5e", dirty=False, command="pytest",
            threads=2, time_limit_s=60.0, noisy=False, at_most=None, wall_s=1.5,
        ),
        machine=describe_machine(),
        software=describe_software(),
        results=list(results),
    )  # fmt: skip


@pytest.fixture
def measured():
    """A run in which our forward is faster than spconv's and our backward is not."""
    return record(
        timed("ours", 0.010),
        timed("ours", 0.060, direction="backward"),
        timed("ours", 0.004, op="neighbours"),
        timed("spconv", 0.025, remark="7 of 30000 rows of out are wrong"),
        timed("spconv", 0.045, direction="backward"),
        timed("spconv, one thread", 0.030),
    )


def test_times_peaks_remarks_and_verdicts_are_on_the_page(measured):
    page = convolution_page({"a.json": measured})
    assert "| **ours** (2 threads) | 10.0 ms | 60.0 ms | 4.00 ms | 3.00 MiB | 3.00 MiB |" in page
    assert "(1 thread) | 30.0 ms | – | – |" in page
    assert "- spconv, 2 threads, forward: 7 of 30000 rows of out are wrong." in page
    assert (
        "| convolution forward, times faster than spconv | at least 1.00x | 2.50x | yes |" in page
    )
    assert "| 0.75x | no, short by 1.33x |" in page


def test_nothing_measured_is_said(measured):
    page = convolution_page({})
    assert "Not measured in a committed record." in page
    assert [target.verdict for target in convolution_targets({})] == ["not measured"] * 2


def test_records_from_before_spconv_was_measured_are_still_read(measured):
    data = json.loads(json.dumps(asdict(measured)))
    del data["software"]["spconv"]
    assert schema.parse(data).software.spconv is None
    del data["software"]["torch"]
    with pytest.raises(ValueError, match="software lacks"):
        schema.parse(data)

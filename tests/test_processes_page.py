"""The page of training on several processes says what its record says."""

from benchmarks import harness
from benchmarks.harness import Case
from benchmarks.processes_page import processes_page
from tests.test_benchmark_data import records


def timed(seconds: float, implementation: str, threads: int, op: str = "steps"):
    case = Case(
        suite="processes", op=op, implementation=implementation, yields="", threads=threads,
        num_points=16_384, build=None, channels=None, batch=16, data="semantickitti",
    )  # fmt: skip
    return harness.result_of(
        case, "timed", repeats=5, first_call_s=seconds,
        p20_s=0.9 * seconds, p50_s=seconds, p80_s=1.1 * seconds,
    )  # fmt: skip


def test_the_page_has_frames_a_second_and_the_share():
    page = processes_page(
        records(
            timed(16.0, "one process", 1),
            timed(10.0, "one process", 2),
            timed(8.0, "two processes", 2),
            timed(0.8, "two processes", 2, "exchange"),
        )
    )
    assert "sweeps of 16,384 rays" in page
    assert "| one process, one thread | 1.00 | 1.00x | 0.62x |" in page
    assert "| two processes of one thread | 2.00 | 2.00x | 1.25x |" in page
    assert "| two processes of one thread, `--sync-batch-norm` | – | – | – |" in page
    assert "| two processes of one thread | 200 ms | 10.0% |" in page


def test_a_page_without_a_record_says_so():
    page = processes_page({})
    assert "Not measured in a committed record." in page
    assert "| one process, one thread | – | – | – |" in page

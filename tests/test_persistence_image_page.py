"""The page of one persistence image says what its record says."""

from benchmarks import harness
from benchmarks.harness import Case
from benchmarks.persistence_image_page import persistence_image_page
from tests.test_benchmark_data import records


def timed(seconds: float, implementation: str, num_points: int, batch: int = 1):
    case = Case(
        suite="image", op="persistence_image", implementation=implementation, yields="image",
        build=None, num_points=num_points, threads=1, max_dim=0, batch=batch,
    )  # fmt: skip
    return harness.result_of(
        case, "timed", repeats=5, first_call_s=seconds,
        p20_s=0.9 * seconds, p50_s=seconds, p80_s=1.1 * seconds,
    )  # fmt: skip


def test_times_stand_beside_the_papers():
    page = persistence_image_page(
        records(
            timed(0.0004, "fast", 64),
            timed(0.002, "fast", 256),
            timed(0.0012, "GUDHI", 64),
            timed(0.004, "fast, together", 64, batch=16),
        )
    )
    assert "| GUDHI, in the paper (Table 13) | 1.07 ms | 22.83 ms | – | – |" in page
    assert "| **ours**, exact | 400 µs | 2.00 ms | – | – |" in page
    assert "in one call, each | 250 µs | – | – | – |" in page
    assert "| 1.20 ms | – | 3.00x | – |" in page
    assert "| RipsNet, a forward pass | – | – | – | – |" in page


def test_a_page_without_a_record_says_so():
    assert "Not measured in a committed record." in persistence_image_page({})

"""The pages of vectorizations and of the README say what their records say."""

from benchmarks.readme_block import readme_block
from benchmarks.small_batches_page import FORWARD_AND_BACKWARD
from benchmarks.vectorizations_page import vectorizations_page
from tests.test_benchmark_data import records, timed


def of_suite(seconds: float, implementation: str, **fields):
    return timed(seconds, implementation=implementation, **({"max_dim": 1, "threads": 1} | fields))


def test_vectorizations_stand_beside_gudhis_and_the_slower_are_named():
    shared = {"suite": "vectorizations", "data": "cube", "batch": 16}
    page = vectorizations_page(
        records(
            of_suite(0.002, "fast", op="betti_curve", num_points=64, **shared),
            of_suite(0.008, "GUDHI", op="betti_curve", num_points=64, **shared),
            of_suite(0.004, "fast", op="sliced_wasserstein", num_points=64, **shared),
            of_suite(0.002, "GUDHI", op="sliced_wasserstein", num_points=64, **shared),
        )
    )
    assert "| Betti curve at 100 places | 2.00 ms | 8.00 ms | 4.00x |" in page
    assert "We are slower at: sliced Wasserstein, 50 lines of clouds of 64 (2.00x)." in page


def test_a_page_without_a_record_says_so():
    assert "Not measured in a committed record." in vectorizations_page({})


def test_the_readme_names_the_next_library_of_small_batches_and_of_large_clouds():
    small = {"suite": "small", "op": FORWARD_AND_BACKWARD, "num_points": 64, "data": "features"}
    large = {"suite": "large", "op": "rips", "num_points": 4096, "data": "features"}
    block = readme_block(
        records(
            of_suite(0.02, "fast", **small),
            of_suite(0.5, "torch-topological", **small),
            of_suite(0.2, "fast", **large),
            of_suite(4.0, "giotto-ph", **large),
            of_suite(3.0, "holos-tda", **large),
            of_suite(
                16.0, "fast", suite="scaling", op="rips of points, without distances",
                data="cube", num_points=100_000,
            ),
        )
    )  # fmt: skip
    batch, families, features, points = (
        line for line in block.splitlines() if line.startswith(("| 256 clouds", "| one cloud"))
    )
    assert batch.endswith("| 20.0 ms | 25.0x | torch-topological |")
    assert families.endswith("| – | – | – |")
    assert features.endswith("| 200 ms | 15.0x | holos-tda |")
    assert points.endswith("| 16.0 s, 3.00 MiB | – | none: 40 GB of distances |")

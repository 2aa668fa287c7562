"""The same distances, the same thread count: ours and every peer; families, sizes, gradients."""

import pytest
import torch

import fast
from benchmarks.clouds import FAMILIES, MANY_BIRTHS, MORE_FAMILIES, RANDOM, distances
from benchmarks.harness import Case, Job, Measure
from benchmarks.outputs import assert_same_rows
from benchmarks.peers import PEERS
from benchmarks.rips_cases import rips_backward_case, rips_case
from benchmarks.schema import Suite

FULL_SIZE = [name for name in PEERS if name != "GUDHI simplex tree"]  # see its comment
NUM_CLOUDS = 24


CASES = (
    ("peers", FULL_SIZE, FAMILIES, (1024,)),
    ("families", ["fast", "ripser.py", "giotto-ph", "holos-tda", "GUDHI"], MORE_FAMILIES, (1024,)),
    # Where a call's fixed cost is what one pays, and where storing every triangle still fits.
    ("peers", PEERS, ("features",), (30, 100, 256)),
    ("large", ["fast", "giotto-ph", "holos-tda"], ("features", "cube"), (4096,)),
    ("adversarial", ["fast", "giotto-ph", "holos-tda", "ripser.py"], MANY_BIRTHS, (512,)),
    # Small, because the peers take minutes at 256 points.
    ("adversarial", ["fast", "giotto-ph", "holos-tda", "ripser.py"], RANDOM, (128,)),
)
"""Suite, implementations, families and sizes: each with each."""


@pytest.mark.each(*CASES)
def test_diagrams(
    suite: Suite, name: str, family: str, num_points: int, threads: int, measure: Measure
) -> None:
    measure(lambda n: rips_case(suite, name, family, n, threads), num_points, PEERS[name])


@pytest.mark.parametrize("name", ["fast", "torch-topological"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.sizes(1024)
def test_backward(name: str, family: str, num_points: int, threads: int, measure: Measure) -> None:
    measure(lambda n: rips_backward_case(name, family, n, threads), num_points, PEERS[name])


@pytest.mark.parametrize("used", ["one core", "all cores"])
@pytest.mark.sizes(1024)
def test_batch(used_cores: int, num_points: int, measure: Measure) -> None:
    """24 clouds in one call."""
    measure(lambda n: batch_case(n, used_cores), num_points)


def batch_case(num_points: int, threads: int) -> Case:
    def build() -> Job:
        matrices = torch.stack(
            [
                torch.from_numpy(distances("features", num_points, seed))
                for seed in range(NUM_CLOUDS)
            ]
        )

        def check(output: list[fast.BatchedDiagram]) -> None:
            for seed in (0, NUM_CLOUDS - 1):  # one by one: each test of fast/ has the rest
                alone = fast.rips_persistence(matrices[seed])
                for together, single in zip(output, alone, strict=True):
                    assert_same_rows(together.cloud(seed).pairs, single.cloud(0).pairs)

        return Job(lambda: fast.rips_persistence(matrices), check)

    return Case(
        suite="batch", op="rips", implementation="fast", yields="edges, triangles", build=build,
        num_points=num_points, channels=None, batch=NUM_CLOUDS, threads=threads, max_dim=1,
    )  # fmt: skip

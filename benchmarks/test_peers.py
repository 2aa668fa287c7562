"""The same distances, the same thread count: ours and every peer; families, sizes, gradients."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

import fast
from benchmarks.clouds import FAMILIES, MORE_FAMILIES, distances
from benchmarks.hard_distances import MANY_BIRTHS, RANDOM
from benchmarks.harness import Case, Job
from benchmarks.outputs import assert_same_rows
from benchmarks.peers import PEERS
from benchmarks.rips_cases import rips_backward_case, rips_case
from benchmarks.threads import cores

Measure = Callable[..., Any]

FULL_SIZE = [name for name in PEERS if name != "GUDHI simplex tree"]  # see its comment
NUM_CLOUDS = 24


@pytest.mark.parametrize("name", FULL_SIZE)
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.sizes(1024)
def test_families(
    name: str, family: str, num_points: int, threads: int, measure: Measure, installed: Any
) -> None:
    installed(PEERS[name], rips_case("peers", name, family, num_points, threads))
    measure(lambda n: rips_case("peers", name, family, n, threads), num_points)


@pytest.mark.parametrize("name", ["fast", "ripser.py", "giotto-ph", "holos-tda", "GUDHI"])
@pytest.mark.parametrize("family", MORE_FAMILIES)
@pytest.mark.sizes(1024)
def test_more_families(
    name: str, family: str, num_points: int, threads: int, measure: Measure, installed: Any
) -> None:
    installed(PEERS[name], rips_case("families", name, family, num_points, threads))
    measure(lambda n: rips_case("families", name, family, n, threads), num_points)


@pytest.mark.parametrize("name", PEERS)
@pytest.mark.sizes(30, 100, 256)
def test_small_clouds(
    name: str, num_points: int, threads: int, measure: Measure, installed: Any
) -> None:
    """Where a call's fixed cost is what one pays, and where storing every triangle still fits."""
    installed(PEERS[name], rips_case("peers", name, "features", num_points, threads))
    measure(lambda n: rips_case("peers", name, "features", n, threads), num_points)


@pytest.mark.parametrize("name", ["fast", "giotto-ph", "holos-tda"])
@pytest.mark.parametrize("family", ["features", "cube"])
@pytest.mark.sizes(4096)
def test_large_clouds(
    name: str, family: str, num_points: int, threads: int, measure: Measure, installed: Any
) -> None:
    installed(PEERS[name], rips_case("large", name, family, num_points, threads))
    measure(lambda n: rips_case("large", name, family, n, threads), num_points)


@pytest.mark.parametrize("name", ["fast", "giotto-ph", "holos-tda", "ripser.py"])
@pytest.mark.parametrize("family", MANY_BIRTHS)
@pytest.mark.sizes(512)
def test_many_births(
    name: str, family: str, num_points: int, threads: int, measure: Measure, installed: Any
) -> None:
    installed(PEERS[name], rips_case("adversarial", name, family, num_points, threads))
    measure(lambda n: rips_case("adversarial", name, family, n, threads), num_points)


@pytest.mark.parametrize("name", ["fast", "giotto-ph", "holos-tda", "ripser.py"])
@pytest.mark.parametrize("family", RANDOM)
@pytest.mark.sizes(128)
def test_random_distances(
    name: str, family: str, num_points: int, threads: int, measure: Measure, installed: Any
) -> None:
    """Small, because the peers take minutes at 256 points."""
    installed(PEERS[name], rips_case("adversarial", name, family, num_points, threads))
    measure(lambda n: rips_case("adversarial", name, family, n, threads), num_points)


@pytest.mark.parametrize("name", ["fast", "torch-topological"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.sizes(1024)
def test_backward(
    name: str, family: str, num_points: int, threads: int, measure: Measure, installed: Any
) -> None:
    installed(PEERS[name], rips_backward_case(name, family, num_points, threads))
    measure(lambda n: rips_backward_case(name, family, n, threads), num_points)


@pytest.mark.parametrize("used", ["one core", "all cores"])
@pytest.mark.sizes(1024)
def test_batch(used: str, num_points: int, threads: int, measure: Measure) -> None:
    """24 clouds in one call."""
    count = 1 if used == "one core" else threads
    with cores(count):
        measure(lambda n: batch_case(n, count), num_points)


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

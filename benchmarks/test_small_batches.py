"""Batches of small clouds, ours in one call, peers one by one: values, edges, gradients."""

from typing import Any

import numpy as np
import pytest
import torch

import fast
from benchmarks.clouds import FloatArray, cloud, distances
from benchmarks.gradients import definition, moved_apart
from benchmarks.harness import Case, Job, Measure
from benchmarks.outputs import assert_rips
from benchmarks.peers import PEERS, read_fast, their_rips, values_by_another
from benchmarks.small_batches_page import FORWARD_AND_BACKWARD, NUM_CLOUDS, SIZES

FAMILY = "features"
CHECKED = (0, NUM_CLOUDS - 1)  # clouds whose diagrams are compared with another library's


@pytest.mark.parametrize("used", ["one core", "all cores"])
@pytest.mark.parametrize("max_dim", [0, 1])
@pytest.mark.sizes(*SIZES)
def test_ours(used_cores: int, max_dim: int, num_points: int, measure: Measure) -> None:
    measure(lambda n: rips_case("fast", n, used_cores, max_dim), num_points)


@pytest.mark.parametrize("name", ["GUDHI", "holos-tda"])
@pytest.mark.sizes(*SIZES)
def test_peers(name: str, num_points: int, threads: int, measure: Measure) -> None:
    count = threads if PEERS[name].threaded else 1
    measure(lambda n: rips_case(name, n, count, 1), num_points, PEERS[name])


@pytest.mark.parametrize(
    ("name", "used"),
    [("fast", "one core"), ("fast", "all cores"), ("torch-topological", "one core")],
)
@pytest.mark.sizes(*SIZES)
def test_forward_and_backward(
    name: str, used_cores: int, num_points: int, measure: Measure
) -> None:
    """torch-topological is right on one thread alone (`peers.py`)."""
    measure(lambda n: gradient_case(name, n, used_cores), num_points, PEERS[name])


def rips_case(name: str, num_points: int, threads: int, max_dim: int) -> Case:
    """Return all clouds by an implementation: ours in one call, others cloud by cloud."""
    peer = PEERS[name]

    def build() -> Job:
        matrices = [distances(FAMILY, num_points, seed) for seed in range(NUM_CLOUDS)]
        prepared = [peer.prepare(matrix) for matrix in matrices]
        batch = torch.stack(prepared) if name == "fast" else None

        def run() -> Any:
            if batch is not None:
                return fast.rips_persistence(batch, max_dim)
            return [peer.forward(matrix, max_dim, threads) for matrix in prepared]

        def check(output: Any) -> None:
            for seed in CHECKED:
                got = read_fast(output, seed) if name == "fast" else peer.read(output[seed])
                want = values_by_another(FAMILY, num_points, seed, not_by=name)
                assert_rips(got, matrices[seed], want if want is None else want[: max_dim + 1])

        return Job(run, check)

    return Case(
        suite="small", op="rips", implementation=name, yields=peer.yields, build=build,
        num_points=num_points, channels=None, batch=NUM_CLOUDS, threads=threads, max_dim=max_dim,
    )  # fmt: skip


def gradient_case(name: str, num_points: int, threads: int) -> Case:
    """Return the gradient at the points of the sum of all deaths less all births."""

    def build() -> Job:
        clouds = [cloud(FAMILY, num_points, seed) for seed in range(NUM_CLOUDS)]
        points = torch.from_numpy(np.stack(clouds)).requires_grad_()
        total = _our_total if name == "fast" else _their_total

        def run() -> torch.Tensor:
            (gradient,) = torch.autograd.grad(total(points), points)
            return gradient

        def check(gradient: torch.Tensor) -> None:
            for seed in CHECKED:
                want = _gradient(clouds[seed].astype(np.float64))
                np.testing.assert_allclose(gradient[seed].numpy(), want, atol=1e-4)

        return Job(run, check)

    return Case(
        suite="small", op=FORWARD_AND_BACKWARD, implementation=name, yields="gradient",
        build=build, num_points=num_points, batch=NUM_CLOUDS, threads=threads, max_dim=1,
    )  # fmt: skip


def _our_total(points: torch.Tensor) -> torch.Tensor:
    components, loops = fast.rips_persistence_of_points(points)
    return components.deaths.sum() + loops.deaths.sum() - loops.births.sum()


def _their_total(points: torch.Tensor) -> torch.Tensor:
    parts = [part for each in their_rips()(points) for part in each]
    # The births of H0 are 0 and have no gradient.
    return torch.stack([(part.diagram[:, 1] - part.diagram[:, 0]).sum() for part in parts]).sum()


def _gradient(points: FloatArray) -> FloatArray:
    """Return the gradient of one cloud by Theorem 1: critical edges pull and push their ends."""
    critical = []
    for diagram in definition(points):
        for edges, sign in ((diagram.death_edges, 1.0), (diagram.birth_edges, -1.0)):
            if edges is not None:
                critical.append((edges, np.full(len(edges), sign)))
    return moved_apart(points, critical)

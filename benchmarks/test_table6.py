"""Table 6: points to diagrams, and a gradient back to the points; the naive baseline and ours."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

import fast
from benchmarks.clouds import FloatArray, cloud
from benchmarks.gradients import assert_routed, differentiate
from benchmarks.harness import Case, Job
from benchmarks.naive import NaiveResult, naive_rips
from benchmarks.outputs import EXACT_POINTS, Diagram, assert_rips
from benchmarks.peers import PEERS, read_fast

SIZES = (30, 60, 100, 200, 400, 800, 1024)

Columns = list[tuple[torch.Tensor, torch.Tensor]]  # births and deaths of each dimension


@dataclass(frozen=True)
class Implementation:
    """How to call it, what it said, and from which distances."""

    forward: Callable[[torch.Tensor], Any]
    read: Callable[[Any], list[Diagram]]
    distances: Callable[[Any, torch.Tensor], FloatArray]
    columns: Callable[[Any], Columns]


def _read_naive(output: NaiveResult) -> list[Diagram]:
    return [
        Diagram(
            torch.stack([d.births, d.deaths], dim=1).detach().numpy(),
            d.birth_edges.numpy() if dim else None,
            d.death_edges.numpy(),
            d.death_simplices.numpy(),
        )
        for dim, d in enumerate(output.diagrams)
    ]


IMPLEMENTATIONS = {
    "fast": Implementation(
        fast.rips_persistence_of_points,
        read_fast,
        lambda output, points: fast.pairwise_distances(points.detach()).numpy(),
        lambda output: [(d.births[d.mask], d.deaths[d.mask]) for d in output],
    ),
    "naive torch": Implementation(
        naive_rips,
        _read_naive,
        lambda output, points: output.distances.detach().numpy(),
        lambda output: [(d.births, d.deaths) for d in output.diagrams],
    ),
}

_kept: dict[tuple[str, int], tuple[torch.Tensor, Any]] = {}
"""Points and output of a forward, for the backward of the same size: the naive one is slow."""


def _by_ripser(matrix: FloatArray) -> list[FloatArray] | None:
    if len(matrix) <= EXACT_POINTS:
        return None
    peer = PEERS["ripser.py"]
    return [d.pairs for d in peer.read(peer.forward(peer.prepare(matrix), 1, 1))]


def forward_case(name: str, num_points: int, threads: int) -> Case:
    this = IMPLEMENTATIONS[name]

    def build() -> Job:
        points = torch.from_numpy(cloud("features", num_points)).requires_grad_()

        def check(output: Any) -> None:
            matrix = this.distances(output, points)
            assert_rips(this.read(output), matrix, _by_ripser(matrix))
            _kept[name, num_points] = points, output

        return Job(lambda: this.forward(points), check)

    return Case(
        suite="table6", op="rips_of_points", implementation=name, yields="edges, triangles",
        build=build, num_points=num_points, threads=threads, max_dim=1,
    )  # fmt: skip


def backward_case(name: str, num_points: int, threads: int) -> Case:
    this = IMPLEMENTATIONS[name]

    def build() -> Job:
        if (name, num_points) not in _kept:
            forward = forward_case(name, num_points, threads).build()
            forward.check(forward.run())
        points, output = _kept.pop((name, num_points))
        run = differentiate(this.columns(output), points)

        def check(grad: torch.Tensor) -> None:
            assert_routed(grad.numpy(), points.detach().numpy(), this.read(output))

        return Job(run, check)

    return Case(
        suite="table6", op="rips_of_points", implementation=name, yields="gradient", build=build,
        num_points=num_points, threads=threads, direction="backward", max_dim=1,
    )  # fmt: skip


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.sizes(*SIZES)
def test_forward(name: str, num_points: int, threads: int, measure: Callable[..., Any]) -> None:
    measure(lambda n: forward_case(name, n, threads), num_points)


@pytest.mark.parametrize("name", IMPLEMENTATIONS)
@pytest.mark.sizes(*SIZES)
def test_backward(name: str, num_points: int, threads: int, measure: Callable[..., Any]) -> None:
    measure(lambda n: backward_case(name, n, threads), num_points)

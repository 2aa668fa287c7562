"""Cases that start from distances: an implementation, a family, a size; forward and backward."""

from typing import Any

import numpy as np
import torch

from benchmarks.clouds import distances
from benchmarks.gradients import differentiate, on_distances
from benchmarks.harness import Case, Job
from benchmarks.outputs import Diagram, assert_rips, values_by_another, wrong_edges
from benchmarks.peers import PEERS
from benchmarks.schema import Suite


def rips_case(
    suite: Suite, name: str, family: str, num_points: int, threads: int, max_dim: int = 1
) -> Case:
    """Return H0 up to `max_dim` of a family by an implementation."""
    peer = PEERS[name]
    used = threads if peer.threaded else 1

    def build() -> Job:
        matrix = distances(family, num_points)
        prepared = peer.prepare(matrix)

        def check(output: Any) -> str | None:
            told = peer.read(output)
            doubted = peer.edges_race and used > 1
            got = [Diagram(diagram.pairs) for diagram in told] if doubted else told
            assert len(got) == max_dim + 1
            want = values_by_another(family, num_points, 0, not_by=name)
            shared = got if want is None else got[: len(want)]
            assert_rips(shared, matrix, want if want is None else want[: len(shared)])
            return wrong_edges(told, matrix) if doubted else None

        return Job(lambda: peer.forward(prepared, max_dim, used), check)

    return Case(
        suite=suite, op="rips", implementation=name, yields=peer.yields, build=build, data=family,
        num_points=num_points, channels=None, threads=used, max_dim=max_dim,
    )  # fmt: skip


def rips_backward_case(name: str, family: str, num_points: int, threads: int) -> Case:
    """Return the gradient of births and deaths at the distances; `name` must be differentiable."""
    peer = PEERS[name]
    used = threads if peer.threaded else 1

    def build() -> Job:
        matrix = torch.from_numpy(distances(family, num_points)).requires_grad_()
        output = peer.forward(matrix, 1, used)
        if name == "fast":
            columns = [(d.births[d.mask], d.deaths[d.mask]) for d in output]
        else:
            columns = [(part.diagram[:, 0], part.diagram[:, 1]) for part in output]

        def check(grad: torch.Tensor) -> None:
            got = (grad + grad.T).numpy()  # one entry or both may have it: they are one variable
            np.fill_diagonal(got, 0)
            want = on_distances(num_points, peer.read(output))
            np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * np.abs(want).max())

        return Job(differentiate(columns, matrix), check)

    return Case(
        suite="backward", op="rips", implementation=name, yields="gradient", build=build,
        data=family, num_points=num_points, channels=None, threads=used, direction="backward",
        max_dim=1,
    )  # fmt: skip

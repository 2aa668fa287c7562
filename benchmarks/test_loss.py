"""The whole topological loss of one frame, as a training step pays for it, and its gradient.

Normalise, sample the teacher's features, distances and diagrams of both networks, match: by the
paper's distance, at the critical edges, or exactly (H0 alone).
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import fast
import reference
from benchmarks.clouds import cloud
from benchmarks.harness import Case, Job
from benchmarks.outputs import EXACT_POINTS
from fast.options import DiagramLoss

NUM_SAMPLES = 1024
OPS = {
    "pwcd": "topological_loss",
    "edges": "topological_loss, edges",
    "wasserstein": "topological_loss, wasserstein",
}
STEP = 1e-6
"""Of a central difference, relative to the features' length of 1."""


def loss_case(loss: DiagramLoss, direction: str, num_points: int, threads: int) -> Case:
    num_samples = min(NUM_SAMPLES, num_points)
    max_dim = 0 if loss == "wasserstein" else 1

    def build() -> Job:
        teacher = torch.from_numpy(cloud("features", num_points, seed=0))
        student = torch.from_numpy(cloud("features", num_points, seed=1)).requires_grad_()
        module = fast.TopologicalLoss(
            num_samples=num_samples, loss=loss, dim_weights=[1.0] * (max_dim + 1)
        )

        def value_of(of: torch.Tensor) -> torch.Tensor:
            value: torch.Tensor = module(teacher.to(of.dtype), of, torch.tensor([len(of)]))
            return value

        def check_value(value: torch.Tensor) -> None:
            want = _loss_by_reference(teacher, student, num_samples, loss, max_dim)
            np.testing.assert_allclose(value.item(), want, rtol=1e-4)

        def check_gradient(grad: torch.Tensor) -> None:
            if num_points <= EXACT_POINTS:
                want = reference.topological_loss(
                    teacher.double().numpy(), student.detach().double().numpy(), num_samples,
                    loss=loss, max_dim=max_dim, dim_weights=[1.0] * (max_dim + 1),
                )[1]  # fmt: skip
                scale = np.abs(want).max()
                np.testing.assert_allclose(grad.numpy(), want, rtol=0, atol=1e-4 * scale)
                return
            along = grad.double() / grad.double().norm()
            with torch.no_grad():
                ahead = value_of(student.double() + STEP * along)
                behind = value_of(student.double() - STEP * along)
            slope = float(ahead - behind) / (2 * STEP)
            np.testing.assert_allclose(slope, float(grad.double().norm()), rtol=0.02)

        if direction == "forward":
            return Job(lambda: value_of(student), check_value)
        value = value_of(student)

        def backward() -> torch.Tensor:
            (grad,) = torch.autograd.grad(value, student, retain_graph=True)
            return grad

        return Job(backward, check_gradient)

    return Case(
        suite="backward", op=OPS[loss], implementation="fast",
        yields="loss" if direction == "forward" else "gradient", build=build,
        direction="forward" if direction == "forward" else "backward",
        num_points=num_points, num_samples=num_samples, threads=threads, max_dim=max_dim,
    )  # fmt: skip


def _loss_by_reference(
    teacher: torch.Tensor, student: torch.Tensor, num_samples: int, loss: DiagramLoss, max_dim: int
) -> float:
    """The reference's loss; of large clouds its matching, on diagrams that have their own check."""
    if len(teacher) <= EXACT_POINTS:
        exact_teacher, exact_student = (c.detach().double().numpy() for c in (teacher, student))
        return reference.topological_loss(
            exact_teacher, exact_student, num_samples, loss=loss, max_dim=max_dim,
            dim_weights=[1.0] * (max_dim + 1),
        )[0]  # fmt: skip
    rows = [fast.normalise(features.detach()) for features in (teacher, student)]
    chosen, _ = fast.topology_preserving_sampling(rows[0], num_samples)
    points = [each[chosen] for each in rows]
    diagrams = [fast.rips_persistence_of_points(each, max_dim=max_dim) for each in points]
    distances = [reference.pairwise_distances(each.double().numpy()) for each in points]

    def matched(dim: int) -> float:
        pair = [each[dim].cloud(0) for each in diagrams]
        if loss == "edges":
            return reference.critical_edge_matching(pair[0], pair[1], distances[0], distances[1])
        if loss == "wasserstein":
            return reference.sorted_wasserstein(pair[0].pairs[:, 1], pair[1].pairs[:, 1])
        return reference.persistence_weighted_chamfer(pair[0].pairs, pair[1].pairs)

    return sum(matched(dim) for dim in range(max_dim + 1))


@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("loss", OPS)
@pytest.mark.sizes(30_000)
def test_topological_loss(
    loss: DiagramLoss, direction: str, num_points: int, threads: int, measure: Callable[..., Any]
) -> None:
    measure(lambda n: loss_case(loss, direction, n, threads), num_points)
